"""Truncations against a reference written by hand for one row, and draws against the probabilities they should follow."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from engines import decoder, job, prompt, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from reasonry.core import Sampling
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.sampler import CANDIDATES, Draws, Settings, draw, truncate

CPU = torch.device("cpu")


def by_hand(logits: list[float], s: Sampling) -> list[float]:
    """The distribution of one row: temperature, top-k, top-p within it, min-p; ties with the last one kept stay."""
    if s.temperature == 0:
        raise AssertionError("greedy rows are not sampled")
    scaled = [x / s.temperature for x in logits]
    top = max(scaled)
    weights = [math.exp(x - top) for x in scaled]
    p = [w / sum(weights) for w in weights]
    order = sorted(range(len(p)), key=lambda i: -p[i])
    kept = order[: s.top_k] if s.top_k is not None else order
    if s.top_p < 1:
        mass, room, nucleus = 0.0, s.top_p * sum(p[i] for i in kept), []
        for i in kept:
            if nucleus and mass >= room:
                break
            nucleus.append(i)
            mass += p[i]
        kept = nucleus
    floor = max(p[kept[-1]], s.min_p * max(p))
    q = [x if x >= floor else 0.0 for x in p]
    return [x / sum(q) for x in q]


wishes = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.sampled_from([None, 1, 3, 40, 1000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)


@given(st.lists(wishes, min_size=1, max_size=6), st.sampled_from([7, 60, CANDIDATES, 600]), st.integers(0, 99), st.floats(0.1, 6))
@settings(max_examples=60, deadline=None)
def test_every_truncation_equals_the_one_by_hand(rows, vocabulary, seed, spread):
    """Any mix of rows, vocabularies smaller and larger than what is sorted at first, flat and peaked distributions."""
    logits = torch.randn(len(rows), vocabulary, generator=torch.Generator().manual_seed(seed)) * spread
    got = truncate(logits.log_softmax(-1), Settings.of(rows, vocabulary, CPU)).exp()
    for i, s in enumerate(rows):
        assert got[i].tolist() == pytest.approx(by_hand(logits[i].double().tolist(), s), abs=2e-5)


def test_ties_with_the_last_kept_are_kept():
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]])
    got = truncate(logits.log_softmax(-1), Settings.of([Sampling(top_k=2)], 5, CPU)).exp()[0]
    assert (got > 0).tolist() == [True, True, True, True, False]


def test_truncation_of_a_row_does_not_depend_on_the_others():
    """Bit for bit, though some rows make the whole batch be sorted."""
    logits = torch.randn(4, 600, generator=torch.Generator().manual_seed(1))
    rows = [Sampling(top_p=0.3), Sampling(top_p=0.9999), Sampling(top_k=500), Sampling(temperature=0)]
    model = logits.log_softmax(-1)
    together = truncate(model, Settings.of(rows, 600, CPU))
    for i in range(3):
        assert torch.equal(together[i], truncate(model[i : i + 1], Settings.of(rows[i : i + 1], 600, CPU))[0])


@pytest.mark.parametrize("s", [Sampling(), Sampling(temperature=0.6, top_k=5), Sampling(temperature=1.5, top_p=0.8), Sampling(min_p=0.2)])
def test_draws_follow_the_distribution(s):
    """Chi-square over 20,000 draws of one seed; what is cut off is never drawn; reported log-probabilities are those of the draw."""
    n, V = 20_000, 12
    logits = torch.randn(1, V, generator=torch.Generator().manual_seed(3)).expand(n, V)
    draws = Draws(5)
    drawn = draw(logits, Settings.of([s] * n, V, CPU), [draws(t) for t in range(n)])
    expected = by_hand(logits[0].double().tolist(), s)
    counts = Counter(drawn.ids)
    possible = [i for i in range(V) if expected[i] > 0]
    assert set(counts) <= set(possible)
    assert chisquare([counts[i] for i in possible], [n * expected[i] / sum(expected) for i in possible]).pvalue > 1e-3
    own = logits[0].log_softmax(-1)
    for i, lp, sampler_lp in list(zip(drawn.ids, drawn.logprobs, drawn.sampler_logprobs, strict=True))[:50]:
        assert lp == pytest.approx(float(own[i]), abs=1e-5)
        assert sampler_lp == pytest.approx(math.log(expected[i]), abs=1e-4)


def test_extreme_uniforms_never_leave_the_vocabulary():
    logits = torch.tensor([[0.0, -1e30, 0.0, -1e30]] * 2)
    ids = draw(logits, Settings.of([Sampling()] * 2, 4, CPU), [0.0, 1 - 2**-53]).ids
    assert ids == [0, 2]


def test_draw_t_depends_on_seed_and_t_alone():
    """In any order, across blocks, for any integer seed; without a seed two requests differ."""
    one, two = Draws(11), Draws(11)
    backwards = {t: two(t) for t in reversed(range(600))}
    assert [one(t) for t in range(600)] == [backwards[t] for t in range(600)]
    assert Draws(11)(0) != Draws(12)(0)
    assert 0 <= Draws(-3)(0) < 1
    assert Draws(None)(0) != Draws(None)(0)


def test_a_seeded_request_repeats_and_another_seed_differs():
    engine = Engine(decoder(), 8, 2048)
    jobs = [job(prompt(9), max_tokens=12, seed=s) for s in (1, 1, 2)]
    run(engine, *jobs)
    assert jobs[0].sampled == jobs[1].sampled != jobs[2].sampled
