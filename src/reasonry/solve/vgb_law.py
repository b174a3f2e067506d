"""Exact laws of decoders on a tree that is known whole: what a verifier's errors do, with no sampling at all.

A `Known` tree has k actions at every node and depth H. Everything is a recursion over depths, so a tree of 4^10 leaves takes a second.
Letters: h depth, k actions, π action probabilities, V values, τ a leaf's exact value, Z = E τ; π*(y) = π(y)τ(y)/Z.

    stationary   μ(v) ∝ π(v)[V(v) + Σ_a π(a|v)V(va)]           on leaves exactly π*, whatever V inside (VGB, arXiv 2510.03149, §4)
    first leaf   e(v) = P(↑)/(1 − Σ_a P(a)e(va)), the chance to leave v upwards before a leaf is met; an action is on the way to the first
                 leaf with chance ∝ π(a|v)V(va)(1 − e(va)): stepwise sampling by values that know their own dead ends
    stepwise     an action with chance ∝ π(a|v)V(va), never taken back (ActionLevelRS)

Invariant: the walk's steps are those of `tree.walk`, which tests compare with these by linear algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """A tree with its probabilities and values."""

    pi: tuple[Array, ...]
    """π(a|v) of depth h = 0 … H − 1, [k^h, k]; rows sum to 1."""
    value: tuple[Array, ...]
    """V(v) of depth h = 0 … H, [k^h]; the last is τ, the first is never used."""

    @property
    def depth(self) -> int:
        """H."""
        return len(self.pi)

    @property
    def k(self) -> int:
        """Actions."""
        return self.pi[0].shape[1]

    def reach(self) -> list[Array]:
        """π(v), the probability of every prefix: [k^h] for each h."""
        found = [np.ones(1)]
        for p in self.pi:
            found.append((found[-1][:, None] * p).ravel())
        return found

    def true(self) -> tuple[Array, ...]:
        """V*: what the leaves' exact values make of every prefix, E[τ | v]."""
        found = [self.value[-1]]
        for p in reversed(self.pi):
            found.append((p * found[-1].reshape(p.shape)).sum(1))
        return tuple(found[::-1])

    def with_values(self, inner: Sequence[Array]) -> Known:
        """The same tree with other values of depth 0 … H − 1; the leaves' stay exact."""
        return Known(self.pi, (*inner, self.value[-1]))

    def target(self) -> Array:
        """π*, over leaves."""
        weights = self.reach()[-1] * self.value[-1]
        return weights / weights.sum()


def stationary(tree: Known) -> list[Array]:
    """μ of the lazy walk, for every depth; all of it sums to 1."""
    reach, found = tree.reach(), list[Array]()
    for h in range(tree.depth + 1):
        own = tree.value[h] if h else np.zeros(1)
        down = (tree.pi[h] * tree.value[h + 1].reshape(tree.pi[h].shape)).sum(1) if h < tree.depth else 0.0
        found.append(reach[h] * (own + down))
    total = sum(float(m.sum()) for m in found)
    return [m / total for m in found]


def leaf_mass(tree: Known) -> float:
    """The share of its time that the walk is at leaves; 1/(2H) where V is proportional to V*."""
    return float(stationary(tree)[-1].sum())


def _steps(tree: Known, h: int) -> tuple[Array, Array]:
    """Chances of a step that moves, at depth h: upwards [n], and to each child [n, k]; nowhere where every way is closed."""
    up = tree.value[h] if h else np.zeros(1)
    down = tree.pi[h] * tree.value[h + 1].reshape(tree.pi[h].shape)
    total = up + down.sum(1)
    total = np.where(total > 0, total, 1.0)
    return up / total, down / total[:, None]


def first_leaf(tree: Known) -> tuple[Array, float]:
    """The law of the first leaf the walk meets, and the expected steps until then of the lazy walk (twice those of the other)."""
    escape, wait = np.zeros(tree.k**tree.depth), np.zeros(tree.k**tree.depth)
    weights: list[Array] = []
    for h in reversed(range(tree.depth)):
        up, down = _steps(tree, h)
        e, f = escape.reshape(down.shape), wait.reshape(down.shape)
        weights.append(down * (1 - e))
        stays = 1 - (down * e).sum(1)
        stays = np.where(stays > 0, stays, 1.0)
        escape, wait = up / stays, (1 + (down * f).sum(1)) / stays
    return _product(weights[::-1]), 2 * float(wait[0])


def stepwise(tree: Known) -> Array:
    """The law of ActionLevelRS over leaves; where all actions have value 0, the attempt is given up and its mass is missing."""
    return _product([_steps(tree, h)[1] for h in range(tree.depth)])


def _product(weights: Sequence[Array]) -> Array:
    law = np.ones(1)
    for w in weights:
        total = w.sum(1, keepdims=True)
        law = (law[:, None] * w / np.where(total > 0, total, 1.0)).ravel()
    return law


def after(tree: Known, T: int, at: Sequence[Array] | None = None) -> list[Array]:
    """Where the lazy walk is after T steps from the root, or from the law `at`: a law over nodes, for each depth."""
    if at is None:
        at = [np.ones(1), *(np.zeros(tree.k**h) for h in range(1, tree.depth + 1))]
    moves = [_steps(tree, h) for h in range(tree.depth)]
    for _ in range(T):
        new = [0.5 * p for p in at]
        new[tree.depth - 1] += 0.5 * at[tree.depth].reshape(-1, tree.k).sum(1)
        for h, (up, down) in enumerate(moves):
            new[h + 1] += 0.5 * (at[h][:, None] * down).ravel()
            if h:
                new[h - 1] += 0.5 * (at[h] * up).reshape(-1, tree.k).sum(1)
        at = new
    return list(at)


def tv(p: Array, q: Array) -> float:
    """Total variation, ½ Σ |p − q|; mass that is missing counts."""
    return 0.5 * float(np.abs(p - q).sum() + abs(p.sum() - q.sum()))


def kl(p: Array, q: Array) -> float:
    """KL(p‖q) in nats; infinite where q misses what p has."""
    at = p > 0
    with np.errstate(divide="ignore"):
        return float((p[at] * (np.log(p[at]) - np.log(q[at]))).sum())


def average_error(tree: Known) -> float:
    """ε of Theorem 4.2: the largest, over depths 1 … H − 1, of E_π*[V/V*] and E_π*[V*/V], less 1."""
    true, reach = tree.true(), tree.reach()
    worst = 1.0
    for h in range(1, tree.depth):
        p = reach[h] * true[h] / true[0]
        at = p > 0
        with np.errstate(divide="ignore"):
            over, under = tree.value[h][at] / true[h][at], true[h][at] / tree.value[h][at]
        worst = max(worst, float((p[at] * over).sum()), float((p[at] * under).sum()))
    return worst - 1
