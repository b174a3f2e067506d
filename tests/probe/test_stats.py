"""Oracles of the statistics: enumeration by brute force, published values, invariants."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.probe.stats import (
    clustered_mean,
    holm,
    maj_at_k,
    mcnemar,
    paired_difference,
    pass_at_k,
    permutation_test,
    wilson,
)


@pytest.mark.parametrize(
    ("passes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_of_newcombe_1998(passes, n, low, high):
    """Newcombe 1998, table I, method 3."""
    interval = wilson(passes, n)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_stays_in_the_unit_interval_and_mirrors(case):
    passes, n = case
    interval, mirror = wilson(passes, n), wilson(n - passes, n)
    assert 0 <= interval.low <= passes / n <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)
    assert 0 < interval.high - interval.low < 1


def test_pass_at_k_equals_enumeration():
    """Every subset of k attempts counted by hand."""
    for n in range(1, 8):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                subsets = list(combinations(right, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-15)


def test_pass_at_k_refuses_more_attempts_than_were_made():
    with pytest.raises(ValueError, match="k=5"):
        pass_at_k(4, 2, 5)


def majority_by_enumeration(answers, scores, k):
    """The definition, subset by subset, ties shared."""
    mean = {a: np.mean([s for b, s in zip(answers, scores, strict=True) if b == a]) for a in answers}
    total = []
    for subset in combinations(answers, k):
        votes = [a for a in subset if a is not None]
        most = max((votes.count(a) for a in votes), default=0)
        tied = {a for a in votes if votes.count(a) == most}
        total.append(float(np.mean([mean[a] for a in tied])) if tied else 0.0)
    return float(np.mean(total))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["1", "2", "3", "4", None]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=9).flatmap(
        lambda rows: st.tuples(st.just(rows), st.integers(1, len(rows)))
    )
)
def test_maj_at_k_equals_enumeration(case):
    rows, k = case
    answers, scores = [a for a, _ in rows], [s for _, s in rows]
    assert maj_at_k(answers, scores, k) == pytest.approx(majority_by_enumeration(answers, scores, k), abs=1e-12)


def test_maj_at_k_of_many_attempts_stays_exact_and_quick():
    """64 attempts, 32 drawn: C(64, 32) subsets cannot be enumerated; a strict majority of the attempts nearly always wins."""
    answers = ["7"] * 40 + [str(i) for i in range(24)]
    scores = [float(a == "7") for a in answers]
    assert maj_at_k(answers, scores, 32) == pytest.approx(1.0, abs=1e-9)
    assert maj_at_k(answers, scores, 1) == pytest.approx(41 / 64)


def test_mcnemar_equals_the_binomial_sum_written_out():
    """9 against 2: twice the lower tail of binomial(11, 1/2), (1 + 11 + 55)·2/2048."""
    a = [True] * 9 + [False] * 2 + [True] * 30 + [False] * 10
    b = [False] * 9 + [True] * 2 + [True] * 30 + [False] * 10
    result = mcnemar(a, b)
    assert (result.only_a, result.only_b) == (9, 2)
    assert result.p == pytest.approx(2 * (1 + 11 + 55) / 2048)
    assert mcnemar(b, a).p == pytest.approx(result.p)
    assert mcnemar([True, False], [True, False]).p == 1.0


def test_permutation_test_equals_enumeration_of_all_swaps():
    """Also with differences of zero, which no swap moves."""
    a, b = np.array([0.9, 0.5, 1.0, 0.25, 0.5, 0.7]), np.array([0.4, 0.5, 0.25, 0.5, 0.0, 0.6])
    d = a - b
    swaps = [abs(np.dot(signs, d)) >= abs(d.sum()) - 1e-12 for signs in product([1, -1], repeat=6)]
    assert permutation_test(a, b) == pytest.approx(np.mean(swaps))


def test_permutation_test_drawn_at_random_is_near_the_exact_binomial():
    """On passes the sum over sign patterns is McNemar's binomial; 17 disagreements are too many to enumerate within the draws."""
    a = np.array([1.0] * 13 + [0.0] * 4 + [1.0] * 20)
    b = np.array([0.0] * 13 + [1.0] * 4 + [1.0] * 20)
    exact = mcnemar(list(a > 0), list(b > 0)).p
    assert permutation_test(a, b, draws=20_000, seed=3) == pytest.approx(exact, abs=0.01)
    assert permutation_test(a, a) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_order_and_lies_between_raw_and_bonferroni(p_values):
    corrected = holm(p_values)
    for raw, new in zip(p_values, corrected, strict=True):
        assert raw <= new <= min(1.0, raw * len(p_values) * (1 + 1e-12))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert all(corrected[i] <= corrected[j] for i, j in pairwise(order))


def test_holm_gives_the_textbook_values():
    """0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_paired_difference_equals_the_enumerated_bootstrap():
    """Three problems have 27 equally likely resamples; the percentile ends must be theirs."""
    a, b = [1.0, 1.0, 0.0], [0.0, 1.0, 0.5]
    d = np.array(a) - np.array(b)
    resamples = [np.mean([d[i] for i in index]) for index in product(range(3), repeat=3)]
    got = paired_difference(a, b, level=0.8, draws=40_000, seed=1)
    low, high = np.quantile(np.repeat(resamples, 1000), [0.1, 0.9])
    assert (got.mean, got.low, got.high) == pytest.approx((d.mean(), low, high), abs=1e-9)
    assert got == paired_difference(a, b, level=0.8, draws=40_000, seed=1)


def test_paired_difference_is_antisymmetric_in_its_mean_and_narrower_than_unpaired():
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    a, b = (hard < 0.6).astype(float), (hard < 0.5).astype(float)
    paired = paired_difference(a, b)
    unpaired = paired_difference(a, rng.permutation(b))
    assert paired.mean == pytest.approx(-paired_difference(b, a).mean)
    assert paired.high - paired.low < unpaired.high - unpaired.low
    assert paired.excludes_zero


def test_identical_outcomes_do_not_claim_certainty():
    """A bootstrap of equal values has width zero; the interval must still say what n problems can hide."""
    same = paired_difference([1.0] * 30, [1.0] * 30)
    assert same.mean == 0
    assert not same.excludes_zero
    assert same.high == pytest.approx(wilson(0, 30).high) == pytest.approx(-same.low)
    all_right = clustered_mean([[1.0, 1.0]] * 30)
    assert (all_right.high, all_right.low) == (1.0, pytest.approx(wilson(30, 30).low))


def test_clustered_mean_does_not_count_attempts_as_problems():
    """Copying each attempt ten times adds no problem, so the interval must not shrink; a plain bootstrap over attempts would."""
    few = [[1.0], [0.0], [1.0], [1.0], [0.0], [0.0], [1.0], [0.0]]
    many = [row * 10 for row in few]
    assert clustered_mean(many) == clustered_mean(few)


def test_clustered_mean_weighs_problems_alike_when_attempts_are_missing():
    estimate = clustered_mean([[1.0], [0.0, 0.0, 0.0]])
    assert estimate.mean == 0.5
    assert estimate.n == 2
