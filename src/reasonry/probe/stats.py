"""Statistics of attempts at problems: intervals, paired tests, and pass@k, avg@k, maj@k.

Invariant: the problem is the unit. Attempts at one problem resemble one another, so every interval over more than one attempt
resamples whole problems, and every comparison of two methods is paired by problem. All randomness comes from the `seed` given.

Letters: P problems, A attempts at each, k attempts counted, n attempts made, c of them right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri  # scipy.stats says the same in more words, and takes a second to import

DRAWS = 10_000
"""Bootstrap and permutation draws: the percentile ends then move by less than a tenth of the interval from seed to seed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int
    """Problems it rests on."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class McNemar:
    """How two methods disagree, problem by problem."""

    only_a: int
    """Problems only the first method passed."""
    only_b: int
    p: float
    """Two-sided exact p-value of "each disagreement falls either way with chance 1/2"."""


def wilson(passes: int, n: int, level: float = 0.95) -> Estimate:
    """Wilson's score interval of a share: [p̂ + z²/2n ± z √(p̂(1−p̂)/n + z²/4n²)] / (1 + z²/n).

    Keeps near its level for small n and for shares near 0 and 1, where p̂ ± z·se does not. Raises ValueError unless 0 ≤ passes ≤ n, n ≥ 1.
    Wilson, JASA 22 (1927) 209; Newcombe, Statistics in Medicine 17 (1998) 857, method 3.
    """
    if not 0 <= passes <= n or n < 1:
        raise ValueError(f"wilson: {passes} passes of {n}")
    z = float(ndtri((1 + level) / 2))
    share = passes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    low = 0.0 if passes == 0 else centre - half  # exact at the ends, where rounding would leave 1e-17
    high = 1.0 if passes == n else centre + half
    return Estimate(share, low, high, n)


def clustered_mean(scores: Sequence[Sequence[float]], level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Mean score over problems × attempts, with a percentile bootstrap that resamples whole problems.

    `scores` is [P][A] and may be ragged; every problem weighs the same, so the mean is the mean of the problems' means. Where all
    problems have the same mean the bootstrap sees no spread; the half-width is then Wilson's for 0 of P (see `_widen`).
    Davison & Hinkley, Bootstrap Methods (1997), section 3.8 (resampling clusters); scores in [0, 1].
    """
    means = np.array([float(np.mean(s)) for s in scores])
    return _widen(_bootstrap_mean(means, level, draws, seed), means, bounds=(0.0, 1.0), level=level)


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Mean of a − b over the same P problems, with a percentile bootstrap of the paired differences.

    `a` and `b` are [P], scores in [0, 1]. Pairing removes the problems' difficulty from the error. Where every problem gives the same
    difference the half-width is Wilson's for 0 of P (see `_widen`).
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    difference = _paired(a, b)
    return _widen(_bootstrap_mean(difference, level, draws, seed), difference, bounds=(-1.0, 1.0), level=level)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """McNemar's exact test of two methods' passes on the same problems: twice binomial(≤ min; only_a + only_b, 1/2), at most 1.

    Problems on which they agree say nothing about the difference. With no disagreement p is 1.
    McNemar, Psychometrika 12 (1947) 153; exact form: Fagerland et al., BMC Medical Research Methodology 13 (2013) 91, section 3.
    """
    if len(a) != len(b):
        raise ValueError(f"mcnemar: {len(a)} against {len(b)} problems")
    only_a = sum(1 for x, y in zip(a, b, strict=True) if x and not y)
    only_b = sum(1 for x, y in zip(a, b, strict=True) if y and not x)
    p = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return McNemar(only_a, only_b, p)


def permutation_test(a: ArrayLike, b: ArrayLike, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p-value of "swapping a and b within any problem changes nothing": random signs on the paired differences [P].

    p = share of sign patterns with |Σ ±d| ≥ |Σ d|. All 2^m patterns of the m differences that are not zero where these are no more than
    `draws`; otherwise `draws` random ones, with (hits + 1)/(draws + 1), which never gives 0.
    Fisher, The Design of Experiments (1935), section 21; Phipson & Smyth, SAGMB 9 (2010) 39 for the + 1.
    """
    difference = _paired(a, b)
    moved = difference[difference != 0]
    m = len(moved)
    if m == 0:
        return 1.0
    reached = abs(moved.sum()) * (1 - 1e-12)  # sums of the same numbers in another order may differ in the last digit
    if 2**m <= draws:
        signs = 1 - 2 * ((np.arange(2**m)[:, None] >> np.arange(m)) & 1)
        return float(np.mean(np.abs(signs @ moved) >= reached))
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, draws, _BLOCK):
        signs = rng.integers(0, 2, size=(min(_BLOCK, draws - start), m), dtype=np.int8) * 2 - 1
        hits += int(np.sum(np.abs(signs @ moved) >= reached))
    return (hits + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several comparisons, in the order given; the chance of any false alarm stays below the level.

    p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎), p₍ⱼ₎ the j-th smallest of m. Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    m = len(p_values)
    corrected, running = [0.0] * m, 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k attempts drawn from the n made (c right) is right: 1 − C(n−c, k)/C(n, k).

    Unbiased for k ≤ n; raises ValueError otherwise. Chen et al. 2021 (arXiv 2107.03374), equation 1.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass_at_k: n={n}, c={c}, k={k}; needs 0 <= c <= n and 1 <= k <= n")
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))


def avg_at_k(scores: Sequence[float]) -> float:
    """Mean score of the k attempts made at one problem : pass@1 estimated with k (DeepSeek-R1, arXiv 2501.12948, section 3)."""
    return float(np.mean(scores))


def maj_at_k(answers: Sequence[str | None], scores: Sequence[float], k: int) -> float:
    """Expected score of the majority answer of k attempts drawn without replacement from the n made: exact, over all C(n, k) subsets.

    `answers` are the votes as the judge read them; `None` is no vote, and a subset without votes scores 0. Tie rule: tied answers are
    chosen with equal chance. An answer's score is the mean over the attempts that gave it. maj@k as in Lewkowycz et al. 2022
    (arXiv 2206.14858); the sum runs over how many votes the winner has (hypergeometric counts), not over subsets.
    """
    n = len(answers)
    if len(scores) != n or not 1 <= k <= n:
        raise ValueError(f"maj_at_k: {n} answers, {len(scores)} scores, k={k}; needs as many scores as answers and 1 <= k <= n")
    votes = Counter(a for a in answers if a is not None)
    silent = n - votes.total()
    expected = Fraction(0)
    for answer, count in votes.items():
        score = np.mean([s for a, s in zip(answers, scores, strict=True) if a == answer])
        if score > 0:
            rivals = [c for other, c in votes.items() if other != answer]
            wins = sum(comb(count, j) * _ways(rivals, silent, k - j, j) for j in range(1, min(count, k) + 1))
            expected += Fraction(float(score)) * wins / comb(n, k)
    return float(expected)


def _ways(rivals: Sequence[int], silent: int, rest: int, j: int) -> Fraction:
    """Ways to draw `rest` attempts from rivals and silent ones with no rival above j votes, each weighted 1/(1 + rivals that tie at j)."""
    ways: Counter[tuple[int, int]] = Counter({(i, 0): comb(silent, i) for i in range(min(silent, rest) + 1)})  # (drawn, ties) -> ways
    for count in rivals:
        grown: Counter[tuple[int, int]] = Counter()
        for (drawn, ties), number in ways.items():
            for i in range(min(count, j, rest - drawn) + 1):
                grown[drawn + i, ties + (i == j)] += number * comb(count, i)
        ways = grown
    return sum((Fraction(number, ties + 1) for (drawn, ties), number in ways.items() if drawn == rest), Fraction(0))


_BLOCK = 500
"""Draws made at once: bounds memory to 500 × P numbers."""


def _bootstrap_mean(values: NDArray[np.float64], level: float, draws: int, seed: int) -> Estimate:
    if len(values) == 0:
        raise ValueError("bootstrap: no values")
    rng = np.random.default_rng(seed)
    blocks = (rng.integers(0, len(values), size=(min(_BLOCK, draws - start), len(values))) for start in range(0, draws, _BLOCK))
    means = np.concatenate([values[index].mean(axis=1) for index in blocks])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def _widen(estimate: Estimate, values: NDArray[np.float64], bounds: tuple[float, float], level: float) -> Estimate:
    """Equal values give an interval of width zero, which would claim certainty: its half-width becomes Wilson's upper end for 0 of n."""
    if np.ptp(values) > 0:
        return estimate
    half = wilson(0, estimate.n, level).high
    return Estimate(estimate.mean, max(bounds[0], estimate.mean - half), min(bounds[1], estimate.mean + half), estimate.n)


def _paired(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"paired scores have shapes {left.shape} and {right.shape}; both must be [P]")
    return left - right
