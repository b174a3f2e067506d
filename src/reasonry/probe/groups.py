"""Groups of agents from a table of their first answers: coverage, what members' errors share, and which group to take.

All that is needed is who was right where, so groups are compared without asking anybody again (TUMIX-Evolve, arXiv 2510.01279, section on
agent design). Letters: N agents, Q questions, K size of a group, G groups.

Invariant: a group is chosen on some questions and judged on others. Coverage needs labels: it is for evaluation, never a signal to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasonry.core import UserError

Floats = NDArray[np.float64]


def independent_coverage(chances: ArrayLike) -> float:
    """1 − Π_i (1 − p_i): the chance that at least one of several independent agents is right."""
    return float(1 - np.prod(1 - np.asarray(chances, float)))


def coverage(right: ArrayLike) -> float:
    """The share of questions that at least one agent has right; `right` is [K, Q]."""
    return float(np.asarray(right, bool).any(axis=0).mean())


def average(right: ArrayLike) -> float:
    """The mean accuracy of the agents."""
    return float(np.asarray(right, bool).mean())


def phi(a: ArrayLike, b: ArrayLike) -> float | None:
    """Correlation of two agents' being right over questions [Q]; `None` where one of them is always right or always wrong."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    return None if x.std() == 0 or y.std() == 0 else float(np.corrcoef(x, y)[0, 1])


@dataclass(frozen=True, slots=True)
class Shared:
    """How far agents fail together."""

    within: float | None
    """Mean correlation over pairs of one kind; `None` where there is no such pair that can be measured."""
    between: float | None
    """The same over pairs of two kinds."""


def shared_errors(right: ArrayLike, kinds: Sequence[str]) -> Shared:
    """Mean correlation of being right [N, Q] over pairs of copies, and over pairs of different kinds.

    Diversity pays for itself only where copies share more than different agents do.
    """
    table = np.asarray(right, bool)
    if len(kinds) != len(table):
        raise UserError(f"shared errors: {len(kinds)} kinds for {len(table)} agents; give each agent its kind")
    pairs = [(kinds[i] == kinds[j], phi(table[i], table[j])) for i, j in combinations(range(len(table)), 2)]
    within, between = ([p for same, p in pairs if same is wanted and p is not None] for wanted in (True, False))
    return Shared(float(np.mean(within)) if within else None, float(np.mean(between)) if between else None)


def combined(covered: ArrayLike, averages: ArrayLike) -> Floats:
    """coverage / mean coverage + average / mean average, of each of G groups [G]; its mean over the groups is 2.

    Raises UserError where no group is ever right: there is nothing to compare.
    """
    c, a = np.asarray(covered, float), np.asarray(averages, float)
    if not c.size or c.mean() == 0 or a.mean() == 0:
        raise UserError("groups: no group has a question right, so none is better; use easier questions or other agents")
    return c / c.mean() + a / a.mean()


@dataclass(frozen=True, slots=True)
class Group:
    """A group with its scores on the questions it was chosen by, and on those held out."""

    members: tuple[int, ...]
    chosen_by: float
    """Combined score on the first questions."""
    held_out: float
    """The same on the others, against the same groups' means there."""
    coverage: float
    """On the questions held out."""
    average: float


def search_groups(right: ArrayLike, size: int, draws: int, seed: int, keep: int = 3, held_out: float = 0.5) -> list[Group]:
    """The best `keep` of `draws` random groups of `size` of N agents, by the combined score on a part of the questions, best first.

    `right` is [N, Q]. All groups are tried where there are no more than `draws`. Raises UserError for sizes that make no sense.
    """
    table = np.asarray(right, bool)
    n, q = table.shape
    if not 1 <= size <= n:
        raise UserError(f"groups: size is {size} but must be from 1 to the {n} agents there are")
    if q < 2:
        raise UserError(f"groups: {q} questions cannot be split into some to choose by and some held out; ask more")
    rng = np.random.default_rng(seed)
    order = rng.permutation(q)
    cut = min(max(round(q * held_out), 1), q - 1)
    away, by = order[:cut], order[cut:]
    groups = _groups(n, size, draws, rng)
    (c1, a1), (c2, a2) = (_scores(table[:, part], groups) for part in (by, away))
    first, second = combined(c1, a1), combined(c2, a2)
    best = np.argsort(-first, kind="stable")[:keep]
    return [Group(tuple(int(i) for i in groups[g]), float(first[g]), float(second[g]), float(c2[g]), float(a2[g])) for g in best]


def _groups(n: int, size: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[G, K] different groups, each in ascending order."""
    from math import comb

    if comb(n, size) <= draws:
        return np.array(list(combinations(range(n), size)))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < draws:
        found[tuple(sorted(int(i) for i in rng.choice(n, size, replace=False)))] = None
    return np.array(list(found))


def _scores(table: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Coverage and average of each group, [G] both."""
    each = [table[g] for g in groups]
    return np.array([coverage(t) for t in each]), np.array([average(t) for t in each])
