"""Which node next: scores of children and of frontier nodes, and the argmax with fair ties.

Symbols: N visits, Q = W/N mean value, P prior, c exploration, d depth, d_T deepest, H entropy. A score is a function of one node, which
knows its parent; anything of that kind can stand in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reasonry.solve.tree.node import Node

Score = Callable[[Node], float]
"""A node -> how much it is worth looking at; infinite for one that must be looked at first."""


def best(nodes: Sequence[Node], score: Score, rng: Random) -> Node:
    """The node with the highest score, one of them at random where several have it."""
    scores = [score(node) for node in nodes]
    top = max(scores)
    return rng.choice([node for node, s in zip(nodes, scores, strict=True) if s == top])


@dataclass(frozen=True)
class UCT:
    """Q + c√(ln N_parent / N); ∞ for a node never visited (UCB1 on trees)."""

    c: float = math.sqrt(2)

    def __call__(self, node: Node) -> float:
        """The score; the parent must have been visited."""
        if not node.visits or node.parent is None:
            return math.inf
        return node.mean + self.c * math.sqrt(math.log(node.parent.visits) / node.visits)


@dataclass(frozen=True)
class PUCT:
    """Q + c·P·√N_parent / (1 + N): the prior decides what is looked at first (AlphaZero)."""

    c: float = 1.5

    def __call__(self, node: Node) -> float:
        """The score."""
        return node.mean + self.c * node.prior * math.sqrt(node.parent.visits if node.parent else 0) / (1 + node.visits)


@dataclass(frozen=True)
class AvailableUCT:
    """Q + c√(ln n / N), n how often the node could have been chosen: information-set MCTS (Cowling et al., 2012)."""

    c: float = math.sqrt(2)

    def __call__(self, node: Node) -> float:
        """The score."""
        return math.inf if not node.visits else node.mean + self.c * math.sqrt(math.log(node.available) / node.visits)


def square_root(x: float) -> float:
    """√x: rises early, so that middle depths are not passed over."""
    return math.sqrt(x)


def linear(x: float) -> float:
    """x."""
    return x


def no_bonus(x: float) -> float:
    """0."""
    return 0.0


@dataclass(frozen=True)
class Frontier:
    """F(s) = λ1·tanh(Q_parent) + λ2·H(s) + λ3·bonus(d/d_T), over all frontier nodes of a tree at once (DeepSearch, arXiv 2509.25454)."""

    deepest: int
    """d_T."""
    quality: float = 0.4
    """λ1."""
    entropy: float = 0.0
    """λ2; below 0 it looks for certainty."""
    depth: float = 0.01
    """λ3."""
    bonus: Callable[[float], float] = square_root
    """Of the share of the greatest depth."""
    mean: bool = True
    """Q_parent is q/N, as in the authors' code; else the sum q, which the paper's letter allows too."""

    def __call__(self, node: Node) -> float:
        """The score."""
        parent = node.parent
        Q = 0.0 if parent is None else parent.mean if self.mean else parent.value
        return self.quality * math.tanh(Q) + self.entropy * node.entropy + self.depth * self.bonus(node.depth / self.deepest)
