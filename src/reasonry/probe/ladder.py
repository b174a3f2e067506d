"""The aggregation ladder: what each way of making one answer of several candidates is worth on the same candidates, and what it costs.

    pass@1  <  majority  <  weighted votes, best by score, best by check  <  an aggregator  <  pass@m, which only an oracle reaches

Invariants. Candidates are cut into sets of m in the order they stand in, and every rung sees the same sets. Ties are valued in expectation
(`probe.votes`), so no rung depends on the order within a set. Sets of one problem resemble one another: every interval resamples whole
problems, every difference is paired by problem.

Symbols: m candidates of a set, N of a problem; the selection gap of a rung is pass@m less its accuracy. A set is *minority-correct* where
some candidate is right and no answer with the most votes is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, fsum

import numpy as np

from reasonry.core import UserError
from reasonry.probe.stats import Estimate, clustered_mean, maj_at_k, paired_difference, pass_at_k
from reasonry.probe.votes import Same, any_one, by_score, by_vote, classes, expected, largest, spelled, weights
from reasonry.tasks.pool import Aggregated, Candidate, Pool

PASS1, MAJORITY, WEIGHTED, BEST, CHECKED, BEST_CHECK, AGGREGATOR, ORACLE = (
    "pass@1", "majority", "vote weighted by score", "best by score", "vote weighted by check", "best by check", "aggregator", "pass@m",
)  # fmt: skip
KS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 24, 32, 48, 64, 96, 128)
"""Where the majority's curve is computed, up to N."""
CURVE_N = 256
"""Most candidates of a problem that the exact curve is computed over; of more, the first so many."""


@dataclass(frozen=True, slots=True)
class Set:
    """One set of one problem."""

    candidates: tuple[Candidate, ...]
    keys: tuple[int | None, ...]
    right: tuple[float, ...]
    aggregated: tuple[Aggregated, ...]

    @property
    def size(self) -> int:
        """Votes of the most frequent answer."""
        return largest(self.keys)

    @property
    def minority_correct(self) -> bool:
        """Whether a right candidate is there and the majority is wrong, ties included."""
        return max(self.right) >= 1 and expected(by_vote(self.keys), self.right) == 0


Rule = Callable[[Set], float | None]
"""The expected score of a rung on a set; `None` where the rung cannot be had."""


def _by(chances: Callable[[Set], Sequence[float]]) -> Rule:
    return lambda s: expected(chances(s), s.right)


def _told(s: Set, name: str) -> bool:
    return all(getattr(c, name) is not None for c, key in zip(s.candidates, s.keys, strict=True) if key is not None)


def _scores(s: Set, name: str) -> list[float | None]:
    return [getattr(c, name) if key is not None else None for c, key in zip(s.candidates, s.keys, strict=True)]


def _weighted(name: str) -> Rule:
    def value(s: Set) -> float | None:
        scores = _scores(s, name)
        if not _told(s, name):
            return None
        return expected(by_vote(s.keys, weights(scores)), s.right) if any(x is not None for x in scores) else 0.0

    return value


def _best(name: str) -> Rule:
    return lambda s: expected(by_score(s.keys, _scores(s, name)), s.right) if _told(s, name) else None


def _aggregated(s: Set) -> float | None:
    told = [a.correct for a in s.aggregated if a.correct is not None]
    return fsum(told) / len(told) if told else None


RUNGS: dict[str, Rule] = {
    PASS1: _by(lambda s: any_one(s.keys)),
    MAJORITY: _by(lambda s: by_vote(s.keys)),
    WEIGHTED: _weighted("score"),
    BEST: _best("score"),
    CHECKED: _weighted("check"),
    BEST_CHECK: _best("check"),
    AGGREGATOR: _aggregated,
    ORACLE: lambda s: max(s.right),
}
"""Rungs in the order they are shown."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung, measured."""

    name: str
    accuracy: Estimate
    tokens: float
    """Sampled tokens for one answer: one candidate's, all m candidates', or theirs and the aggregation's."""
    gain: Estimate | None
    """Over the majority vote, paired by problem; `None` for the vote itself."""
    gap: float
    """pass@m less the accuracy."""
    recovered: Estimate | None
    """Accuracy on minority-correct sets; `None` where there are none."""
    by_size: dict[str, float]
    """Accuracy by the size of the majority."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Everything that was measured. Made by `ladder`."""

    m: int
    problems: int
    sets: int
    rungs: tuple[Rung, ...]
    curve: tuple[tuple[int, float, float], ...]
    """(k, tokens, accuracy) of the expected majority of k candidates, over all N of each problem."""
    oracle: tuple[tuple[int, float, float], ...]
    """(k, tokens, pass@k), unbiased."""
    sizes: dict[str, int]
    """How many sets have a majority of this size."""
    minority: int
    """Minority-correct sets."""
    silent: float
    """Share of candidates without a readable answer."""
    same_cost: float | None
    """The majority's accuracy for as many tokens as the aggregator takes, read off the curve; `None` without an aggregator."""

    def rung(self, name: str) -> Rung | None:
        """The rung of this name, where it is there."""
        return next((r for r in self.rungs if r.name == name), None)


def ladder(pools: Sequence[Pool], m: int | None = None, same: Callable[[Pool], Same] = lambda _: spelled, seed: int = 0) -> Ladder:
    """Measures every rung that the candidates allow on sets of `m`, by default all that the smallest pool holds.

    Raises UserError for candidates that nobody judged, and for m out of range.
    """
    if not pools:
        raise UserError("ladder: there is no problem; give at least one with its candidates")
    least = min(len(pool.candidates) for pool in pools)
    m = least if m is None else m
    if not 1 <= m <= least:
        raise UserError(f"m: is {m} but the smallest problem has {least} candidates; use 1 to {least}")
    cut = [cut_up(pool, m, same(pool)) for pool in pools]
    return _measure(pools, cut, m, seed, same)


def cut_up(pool: Pool, m: int, same: Same = spelled) -> list[Set]:
    """The pool's sets of m, with the aggregations made of each. Raises UserError for a candidate that is not judged."""
    if any(c.correct is None for c in (*pool.candidates, *pool.aggregated)):
        raise UserError(f"problem {pool.problem.id!r}: a candidate is not judged; give correct, or the gold answer and a judge")
    keys = classes(pool.candidates, same)
    right = [float(c.correct or 0) for c in pool.candidates]
    return [
        Set(
            pool.candidates[i : i + m],
            tuple(keys[i : i + m]),
            tuple(right[i : i + m]),
            tuple(a for a in pool.aggregated if a.set == i // m),
        )
        for i in range(0, len(keys) - m + 1, m)
    ]


def _measure(pools: Sequence[Pool], cut: Sequence[Sequence[Set]], m: int, seed: int, same: Callable[[Pool], Same]) -> Ladder:
    every = [s for sets in cut for s in sets]
    bounds = [(1, ceil(3 * m / 8)), (ceil(3 * m / 8) + 1, ceil(5 * m / 8)), (ceil(5 * m / 8) + 1, m)]
    buckets = {(f"{a}" if a == b else f"{a}–{b}"): (a, b) for a, b in bounds if a <= b}
    candidates = [c for pool in pools for c in pool.candidates]
    each = fsum(c.tokens for c in candidates) / len(candidates)
    values = {name: v for name, rule in RUNGS.items() if (v := _values(cut, rule)) is not None}
    base, top = values[MAJORITY], np.mean([np.mean(v) for v in values[ORACLE]])
    rungs: list[Rung] = []
    for name, own in values.items():
        accuracy = clustered_mean(own, seed=seed)
        gain = (
            None if name == MAJORITY else paired_difference([float(np.mean(v)) for v in own], [float(np.mean(v)) for v in base], seed=seed)
        )
        hard = [kept for v, sets in zip(own, cut, strict=True) if (kept := [x for x, s in zip(v, sets, strict=True) if s.minority_correct])]
        flat = [(s, x) for v, sets in zip(own, cut, strict=True) for x, s in zip(v, sets, strict=True)]
        by_size = {
            label: fsum(found) / len(found)
            for label, (a, b) in buckets.items()
            if (found := [x for s, x in flat if a <= max(s.size, 1) <= b])
        }
        recovered = clustered_mean(hard, seed=seed) if hard else None
        rungs.append(Rung(name, accuracy, _tokens(name, every, m, each), gain, float(top) - accuracy.mean, recovered, by_size))
    curve, oracle = _curve(pools, each, same)
    found = Ladder(
        m, len(pools), len(every), tuple(rungs), curve, oracle,
        {label: sum(a <= max(s.size, 1) <= b for s in every) for label, (a, b) in buckets.items()},
        sum(s.minority_correct for s in every), sum(c.answer is None for c in candidates) / len(candidates), None,
    )  # fmt: skip
    aggregator = found.rung(AGGREGATOR)
    return found if aggregator is None else replace(found, same_cost=_read_off(curve, aggregator.tokens))


def _values(cut: Sequence[Sequence[Set]], rule: Rule) -> list[list[float]] | None:
    values = [[rule(s) for s in sets] for sets in cut]
    told = [[v for v in row if v is not None] for row in values]
    return told if all(len(a) == len(b) for a, b in zip(told, values, strict=True)) else None


def _tokens(name: str, sets: Sequence[Set], m: int, each: float) -> float:
    if name == PASS1:
        return each
    if name != AGGREGATOR:
        return m * each
    made = [a.tokens for s in sets for a in s.aggregated]
    return m * each + fsum(made) / len(made)


Curve = tuple[tuple[int, float, float], ...]


def _curve(pools: Sequence[Pool], each: float, same: Callable[[Pool], Same]) -> tuple[Curve, Curve]:
    N = min(len(pool.candidates) for pool in pools)
    rows = [pool.candidates[:CURVE_N] for pool in pools]
    keys = [[None if key is None else str(key) for key in classes(row, same(pool))] for row, pool in zip(rows, pools, strict=True)]
    votes, best = [], []
    for k in sorted({k for k in KS if k <= min(N, CURVE_N)} | {min(N, CURVE_N)}):
        majority = [maj_at_k(own, [float(c.correct or 0) for c in row], k) for own, row in zip(keys, rows, strict=True)]
        oracle = [pass_at_k(len(row), sum((c.correct or 0) >= 1 for c in row), k) for row in rows]
        votes.append((k, k * each, fsum(majority) / len(rows)))
        best.append((k, k * each, fsum(oracle) / len(rows)))
    return tuple(votes), tuple(best)


def _read_off(curve: Curve, tokens: float) -> float:
    """The curve at so many tokens, straight between its points; its last value beyond them."""
    return float(np.interp(tokens, [t for _, t, _ in curve], [a for _, _, a in curve]))
