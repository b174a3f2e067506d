"""Tables of discrete series and what they hold: entropies, mutual information, and the decomposition of two sources' information.

Invariant: every quantity of one table comes from one set of probabilities, so the four atoms always add up to the joint information.
All information is in bits. Any number of tables (surrogates, pairs, triplets) are computed together; no zero is ever put into a logarithm.

Williams and Beer 2010 (arXiv 1004.2515) for I_min, Barrett 2015 (arXiv 1411.2832) for MMI, Miller 1955 for the bias of an entropy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Estimator:
    """How counts become probabilities and entropies."""

    name: str
    alpha: float
    """Added to each cell of the table: p = (n_c + alpha) / (n + alpha · cells)."""
    miller_madow: bool = False
    """Adds (occupied cells − 1) / (2 n ln 2) to each entropy."""


PLUGIN = Estimator("plugin", 0.0)
JEFFREYS = Estimator("jeffreys", 0.5)
MILLER_MADOW = Estimator("miller_madow", 0.0, miller_madow=True)
ESTIMATORS = {e.name: e for e in (JEFFREYS, MILLER_MADOW, PLUGIN)}


@dataclass(frozen=True, eq=False)
class Atoms:
    """What two sources tell of a target, decomposed; each field [...]."""

    redundancy: Floats
    """What either tells."""
    unique_a: Floats
    unique_b: Floats
    synergy: Floats
    """What only both together tell."""


def count(codes: Ints, cells: int) -> Floats:
    """How often each code from 0 to cells − 1 stands in the last dimension: [..., T] -> [cells, ...]."""
    rows = codes.reshape(-1, codes.shape[-1])
    at = rows * np.intp(len(rows)) + np.arange(len(rows))[:, None]
    return np.bincount(at.ravel(), minlength=len(rows) * cells).astype(np.float64).reshape(cells, *codes.shape[:-1])


class Table:
    """Counts over some variables, the first dimensions, with probabilities by an estimator.

    `counts` is [*sizes, ...] with a size for each variable; every method gives [...]. Tables lie side by side in memory, so that a sum
    over a variable adds whole rows of tables.
    """

    def __init__(self, counts: Floats, variables: int, estimator: Estimator) -> None:
        self.counts, self.variables, self.estimator = counts, variables, estimator
        self.n = counts.sum(tuple(range(variables)))
        self.p = (counts + estimator.alpha) / (self.n + estimator.alpha * float(np.prod(counts.shape[:variables])))
        self._entropies: dict[tuple[int, ...], Floats] = {}

    def entropy(self, *kept: int) -> Floats:
        """Of the named variables together, numbered from 0."""
        kept = tuple(sorted(kept))
        if kept not in self._entropies:
            dropped, inside = tuple(i for i in range(self.variables) if i not in kept), tuple(range(len(kept)))
            found = -plogp(self.p.sum(dropped)).sum(inside)
            if self.estimator.miller_madow:
                found = found + ((self.counts.sum(dropped) > 0).sum(inside) - 1) / (2 * self.n * np.log(2))
            self._entropies[kept] = found
        return self._entropies[kept]

    def information(self, a: tuple[int, ...], b: tuple[int, ...]) -> Floats:
        """I(a; b) = H(a) + H(b) − H(a, b)."""
        return self.entropy(*a) + self.entropy(*b) - self.entropy(*a, *b)


def plogp(p: Floats) -> Floats:
    """p log2 p, and 0 where p is 0."""
    return p * np.log2(p, out=np.zeros_like(p), where=p > 0)


def i_min(table: Table) -> Floats:
    """Williams and Beer's redundancy of variables 0 and 1 about 2: Σ_τ p(τ) min_i I(X_i; T = τ), equation 3.

    With the Miller–Madow estimator it is the plug-in value, since that correction is one of entropies.
    """
    p = table.p
    target = plogp(p.sum((0, 1)))

    def specific(other: int) -> Floats:
        """p(τ) I(X; T = τ) = Σ_x p(x, τ) log2 [p(x, τ) / (p(x) p(τ))]; [τ, ...]."""
        pair = p.sum(other)
        x = pair.sum(1, keepdims=True)
        return (plogp(pair) - pair * np.log2(x, out=np.zeros_like(x), where=x > 0)).sum(0) - target

    return np.minimum(specific(1), specific(0)).sum(0)


def mmi(table: Table) -> Floats:
    """The minimum of the two sources' mutual information with the target: the largest redundancy any measure may claim."""
    return np.minimum(table.information((0,), (2,)), table.information((1,), (2,)))


def decompose(table: Table, redundancy: Floats) -> Atoms:
    """The four atoms of variables 0 and 1 about 2, given their redundancy; they add up to I(0, 1; 2)."""
    a, b = table.information((0,), (2,)), table.information((1,), (2,))
    return Atoms(redundancy, a - redundancy, b - redundancy, table.information((0, 1), (2,)) - a - b + redundancy)
