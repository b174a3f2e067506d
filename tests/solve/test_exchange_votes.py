"""Votes: equivalent answers are one, order does not matter, and log-odds weights are Bayes' rule."""

from __future__ import annotations

import random
from itertools import permutations, product
from math import log, log2, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Budget, Problem, UserError
from reasonry.solve.exchange import Moment, Said
from reasonry.solve.exchange.votes import (
    Tie,
    Voters,
    all_rounds,
    as_spelled,
    calibrated,
    drawn_tie,
    entropy,
    first_round,
    first_round_tie,
    last_answers,
    last_round,
    log_odds,
    majority,
    margin,
    same_answer,
    share,
    top,
)


def said(*answers: str | None, round: int = 0) -> tuple[Said, ...]:
    return tuple(Said(f"agent {i}", round, f"#### {a}", a) for i, a in enumerate(answers))


async def winner(
    *rounds: tuple[Said, ...], seed: int = 0, weights: dict[str, float] | None = None, voters: Voters = last_round, tie: Tie = drawn_tie
) -> str | None:
    chosen = await majority(same_answer, voters, weights, tie)(Moment(Problem("p", "?"), rounds, Budget(), seed))
    return None if chosen.said is None else chosen.said.answer


@pytest.mark.parametrize(
    "alike",
    [
        ("1/2", "0.5", ".50", " 1/2 ", "\\frac{1}{2}", "$0.5$", "5e-1"), ("1,234", "1234", "1234.0", "+1234"),
        ("B", "b", "(B)", "B.", "[b]", "B) a cat", "option B"), ("New York", "new  york", "NEW YORK"), ("-3", "-3.0", "−3"),
    ],
)  # fmt: skip
def test_equivalent_answers_merge(alike: tuple[str, ...]) -> None:
    """Numerals by value, option letters with or without their dress, words without case."""
    assert len({same_answer(a) for a in alike}) == 1


@pytest.mark.parametrize(
    "apart", [("1/2", "1/3"), ("A", "B"), ("12", "21"), ("5 apples", "5 pears"), ("0", "O"), ("a", "at"), ("50%", "0.5")]
)
def test_different_answers_stay_apart(apart: tuple[str, str]) -> None:
    """Nothing else merges; a per cent sign is a unit, as it is for the judges."""
    assert same_answer(apart[0]) != same_answer(apart[1])


ANSWERS = st.lists(st.sampled_from(["1/2", "0.5", "B", "(b)", "7", None]), min_size=1, max_size=5)


@given(ANSWERS, st.integers(0, 5), st.lists(st.integers(0, 9), min_size=5, max_size=5))
async def test_permuting_the_turns_changes_nothing(answers: list[str | None], seed: int, weights: list[int]) -> None:
    """Winner up to spelling, margin, share and entropy, with and without weights, ties included."""
    turns, by_agent = said(*answers), {f"agent {i}": w / 7 for i, w in enumerate(weights)}
    shuffled = list(turns)
    random.Random(seed).shuffle(shuffled)
    for w in (None, by_agent):
        a, b = await winner(turns, seed=seed, weights=w), await winner(tuple(shuffled), seed=seed, weights=w)
        assert (a is None) == (b is None)
        assert a is None or b is None or same_answer(a) == same_answer(b)
    for value in (margin, share, entropy, top):
        assert value(turns, same_answer) == value(shuffled, same_answer)


@given(ANSWERS)
def test_bounds(answers: list[str | None]) -> None:
    """Share in [1/n, 1], margin in [0, 1] and 1 exactly for full agreement; entropy in [0, log2 n], 0 exactly where all agree."""
    turns, n = said(*answers), len(answers)
    kinds = {same_answer(a) for a in answers if a is not None}
    if not kinds:
        assert (share(turns, same_answer), margin(turns, same_answer), entropy(turns, same_answer)) == (0, 0, 0)
        return
    assert 1 / n <= share(turns, same_answer) <= 1
    assert 0 <= margin(turns, same_answer) <= share(turns, same_answer)
    assert (margin(turns, same_answer) == 1) == (len(kinds) == 1 and None not in answers)
    assert 0 <= entropy(turns, same_answer) <= log2(n)
    assert (entropy(turns, same_answer) == 0) == (len(kinds) == 1)


def test_values_of_margin_share_and_entropy() -> None:
    """Three, one and one of six, with one silent."""
    turns = said("1", "1", "1", "2", "3", None)
    assert (margin(turns, as_spelled), share(turns, as_spelled)) == (2 / 6, 3 / 6)
    assert entropy(turns, as_spelled) == pytest.approx(-(0.6 * log2(0.6) + 2 * 0.2 * log2(0.2)))
    assert entropy(said(*"1234"), as_spelled) == 2


async def test_ties_are_drawn_evenly_or_fall_back_to_the_first_round() -> None:
    """Over seeds each of three tied answers wins a third; the other rule takes what led before anybody talked."""
    drawn = [await winner(said("1", "2", "3"), seed=s) for s in range(900)]
    assert all(abs(drawn.count(a) - 300) < 70 for a in "123")
    key = first_round_tie(same_answer)
    back = {await winner(said("2", "2", "9"), said("1", "2", "3", round=1), seed=s, tie=key) for s in range(20)}
    assert back == {"2"}
    among_tied = {await winner(said("9", "9", "9"), said("1", "2", "2", "1", round=1), seed=s, tie=key) for s in range(20)}
    assert among_tied == {"1", "2"}


async def test_who_votes() -> None:
    """The last round, the first, all of them, or each agent's last answer that could be read."""
    rounds = said("1", "1", "2", "2"), said("2", "1", None, None, round=1)
    assert await winner(*rounds, voters=first_round, tie=first_round_tie(same_answer)) in ("1", "2")
    assert await winner(*rounds, voters=last_answers) == "2"
    assert await winner(said("1", "1", "1"), said("2", "2", "1", round=1), voters=last_round) == "2"
    assert await winner(said("1", "1", "1"), said("2", "2", "1", round=1), voters=all_rounds) == "1"
    assert await winner(said("1", "1", "1"), said("2", "2", "2", round=1), voters=first_round) == "1"
    assert await winner(said(None, None)) is None


async def test_log_odds_are_bayes_for_independent_binary_voters() -> None:
    """For every pattern of votes the weighted vote is the more probable answer; equal chances make it the plain majority."""
    for chances in ((0.9, 0.6, 0.6), (0.7, 0.7, 0.7), (0.95, 0.8, 0.75, 0.7, 0.6), (0.55, 0.99, 0.6)):
        weights = log_odds({f"agent {i}": p for i, p in enumerate(chances)})
        for pattern in product("xy", repeat=len(chances)):
            likelihood = {truth: prod(p if v == truth else 1 - p for p, v in zip(chances, pattern, strict=True)) for truth in "xy"}
            if abs(log(likelihood["x"] / likelihood["y"])) < 1e-9:
                continue
            assert await winner(said(*pattern), weights=weights) == max(likelihood, key=lambda t: likelihood[t])
            if len(set(chances)) == 1:
                assert await winner(said(*pattern)) == await winner(said(*pattern), weights=weights)


@pytest.mark.parametrize(
    ("strong", "others", "decides"), [(0.9, (0.7, 0.7), True), (0.8, (0.7, 0.7), False), (0.85, (0.6, 0.6, 0.6), True)]
)
async def test_a_strong_agent_decides_iff_its_log_odds_exceed_the_others_together(
    strong: float, others: tuple[float, ...], decides: bool
) -> None:
    """logit p_s > Σ logit p_i."""
    assert (log(strong / (1 - strong)) > sum(log(p / (1 - p)) for p in others)) == decides
    weights = log_odds({"agent 0": strong, **{f"agent {i + 1}": p for i, p in enumerate(others)}})
    assert await winner(said("x", *["y"] * len(others)), weights=weights) == ("x" if decides else "y")


async def test_weights_below_zero_count_nothing_and_bounds_are_kept() -> None:
    """An agent known to be mostly wrong has no say; chances of 0 and 1 stay finite; others are refused."""
    weights = log_odds({"agent 0": 0.2, "agent 1": 0.2, "agent 2": 0.6})
    assert await winner(said("1", "1", "2"), weights=weights) == "2"
    assert log_odds({"a": 1.0, "b": 0.0, "c": 0.5}) == {"a": 6.0, "b": -6.0, "c": 0.0}
    assert calibrated({"a": [True] * 8, "b": []}) == {"a": 0.9, "b": 0.5}
    with pytest.raises(UserError, match="between 0 and 1"):
        log_odds({"a": 1.2})


async def test_the_text_taken_is_the_heaviest_agents() -> None:
    """Of those that gave the winner; of equals the first seat."""
    turns = said("1/2", "0.5", "7")
    assert await winner(turns) == "1/2"
    assert await winner(turns, weights={"agent 1": 2.0}) == "0.5"


def test_majority_of_independent_agents_follows_the_binomial_tail() -> None:
    """Three at p: p²(3 − 2p), .896 at .8, counted over all patterns with fair ties."""
    p = 0.8
    total = sum(
        prod(p if v == "x" else 1 - p for v in votes) for votes in product("xy", repeat=3) if top(said(*votes), as_spelled) == {"x"}
    )
    assert total == pytest.approx(p * p * (3 - 2 * p)) == pytest.approx(0.896)
    assert all(top(said(*p), as_spelled) == {"1"} for p in permutations("112"))
