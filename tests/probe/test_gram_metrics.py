"""The strategic-gram probes: entropies against closed forms and enumeration, perplexity split by mask, and which errors are whose."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.probe.gram_metrics import (
    Trace,
    by_step,
    equal_count,
    equations,
    error_kind,
    measure,
    miller_madow,
    rarefied,
    relative_perplexity,
    strategic_gram_entropy,
)
from reasonry.probe.strategic_grams import listed

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=12)
GRAMS = listed(["work backwards from the goal", "let us try another way"])


@pytest.mark.parametrize("m", [1, 2, 7])
def test_uniform_over_m_grams_is_log_m_and_one_gram_is_0(m: int) -> None:
    assert strategic_gram_entropy([5] * m) == pytest.approx(math.log(m))
    assert strategic_gram_entropy([9]) == 0.0 == strategic_gram_entropy([]) == miller_madow([9])


@given(COUNTS, st.randoms())
def test_relabelling_changes_nothing_and_merging_never_adds(counts: list[int], rng: random.Random) -> None:
    shuffled = counts[:]
    rng.shuffle(shuffled)
    assert strategic_gram_entropy(shuffled) == pytest.approx(strategic_gram_entropy(counts), abs=1e-12)
    if len(counts) > 1:
        merged = [counts[0] + counts[1], *counts[2:]]
        assert strategic_gram_entropy(merged) <= strategic_gram_entropy(counts) + 1e-12


def test_miller_and_madow_correct_most_of_the_bias_of_small_batches() -> None:
    """Uniform over 8, 40 draws: the plug-in mean is too low by about 7/80, the corrected one by less than a third of that."""
    rng = random.Random(0)
    batches = [[draws.count(k) for k in range(8)] for draws in ([rng.randrange(8) for _ in range(40)] for _ in range(400))]
    plug = sum(map(strategic_gram_entropy, batches)) / 400 - math.log(8)
    corrected = sum(map(miller_madow, batches)) / 400 - math.log(8)
    assert plug == pytest.approx(-7 / 80, rel=0.2)
    assert abs(corrected) < abs(plug) / 3


def test_rarefied_is_the_mean_over_all_subsets() -> None:
    counts, m = [3, 2, 1], 4
    balls = [k for k, c in enumerate(counts) for _ in range(c)]
    subsets = list(itertools.combinations(range(6), m))
    by_hand = sum(strategic_gram_entropy([[balls[i] for i in s].count(k) for k in range(3)]) for s in subsets) / len(subsets)
    assert rarefied(counts, m) == pytest.approx(by_hand)
    assert rarefied(counts, 6) == pytest.approx(strategic_gram_entropy(counts))
    assert rarefied(counts, 1) == 0.0
    with pytest.raises(ValueError, match="7 of 6"):
        rarefied(counts, 7)


def test_batches_are_compared_at_the_smaller_ones_number() -> None:
    x, y, m = equal_count([30, 30], [2, 2])
    assert m == 4
    assert y == pytest.approx(math.log(2))
    assert x < y  # four of sixty are seldom two and two


def trace(words: list[tuple[str, float]], **more: object) -> Trace:
    text, spans = "", []
    for word, _ in words:
        spans.append((len(text), len(text) + len(word)))
        text += word
    return Trace(text, tokens=tuple(spans), logprobs=tuple(p for _, p in words), **more)  # type: ignore[arg-type]


def test_perplexities_are_over_their_own_tokens() -> None:
    plan = [("work", -2.0), (" backwards from", -1.0), (" the goal", 0.0)]
    t = trace([*plan, ("\n", -0.5), ("3-2=1", -0.1)], entropies=(1.0, 1.0, 1.0, 0.2, 0.4), passed=True)
    found = measure([t], GRAMS)
    assert found.planning_perplexity == pytest.approx(math.exp(1.0))
    assert found.execution_perplexity == pytest.approx(math.exp(0.3))
    assert found.execution_entropy == pytest.approx(0.3)
    assert found.planning_entropy == pytest.approx(1.0)
    assert found.planning_token_ratio == pytest.approx(3 / 5)
    assert (found.pass_rate, found.coverage, found.occurrences, found.length) == (1.0, 1.0, 1, 5)


def test_what_a_log_does_not_hold_is_not_known() -> None:
    found = measure([Trace("work backwards from the goal now we add")], GRAMS)
    assert found.planning_token_ratio == pytest.approx(5 / 8)
    assert found.execution_perplexity is found.execution_entropy is found.pass_rate is found.planning_errors is None
    assert measure([Trace("")], GRAMS).strategic_gram_entropy is None


def test_perplexity_is_told_relative_to_the_first_step() -> None:
    steps = [trace([("3-2=1", -p)], step=s) for s, p in ((10, 0.2), (0, 0.4), (20, 0.1))]
    assert relative_perplexity(by_step(steps, GRAMS)) == pytest.approx({0: 1.0, 10: math.exp(-0.2), 20: math.exp(-0.3)})


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3+4=7", [True]), ("3 + 4 = 8", [False]), ("2*(3+4)=14 and 1/3=0.33", [True, True]), ("5 - 7 = -2", [True]), ("x=3", []),
        ("7=3+4", []), ("3×4=12, 8÷2=4", [True, True]), ("4=4", []), ("2+2=4+1", []), ("10/4=2.4", [False]), ("1+1=2.", [True]),
    ],
)  # fmt: skip
def test_equations_in_plain_digits_are_checked(text: str, right: list[bool]) -> None:
    assert equations(text) == right


def test_a_failure_is_execution_where_a_calculation_is_wrong_and_planning_where_all_are_right() -> None:
    assert error_kind("3+4=8\n8+1=9") == "execution"
    assert error_kind("3+4=7") == "planning"
    assert error_kind("no idea") is None
    traces = [Trace("3+4=8", False), Trace("3+4=7", False), Trace("?", False), Trace("1+1=2", True), Trace("unjudged 1+1=3")]
    found = measure(traces, GRAMS)
    assert (found.planning_errors, found.execution_errors, found.pass_rate) == (0.25, 0.25, 0.25)
    assert measure(traces, GRAMS, check=lambda text: [True]).planning_errors == 0.75
