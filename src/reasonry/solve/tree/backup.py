"""What a result changes on the way that led to it.

A backup takes the nodes of a way, first to last without the root, and the value at its end. DeepSearch's changes q alone: its visits count
expansions, not results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reasonry.solve.tree.node import Node

Backup = Callable[[Sequence[Node], float], None]
"""(nodes of the way, value at its end): changes their statistics."""


def visit(way: Sequence[Node]) -> None:
    """Counts one more visit of each."""
    for node in way:
        node.visits += 1


def add(way: Sequence[Node], value: float) -> None:
    """W += value for each: the mean W/N is then the mean result."""
    for node in way:
        node.value += value


def share(i: int, l: int, least: float) -> float:
    """γ(i, l) = max(i/l, γ_min): the part of an end's value that its i-th node of l gets, more the nearer the end."""
    return max(i / l, least)


@dataclass(frozen=True)
class Decayed:
    """q(s_i) += γ(i, l)·q_end, whatever the signs."""

    least: float = 0.1
    """γ_min."""

    def __call__(self, way: Sequence[Node], value: float) -> None:
        """See above."""
        for i, node in enumerate(way, 1):
            node.value += share(i, len(way), self.least) * value


@dataclass(frozen=True)
class Constrained:
    """The same with one constraint: a node that a right way has passed stays above zero (DeepSearch, arXiv 2509.25454).

    With δ = γ(i, l)·q_end: q and q_end of one sign (or q zero) add up; a right end overwrites a negative q with δ; a wrong end leaves a
    positive q as it is. Results therefore do not commute: what came before decides what a result may change.
    """

    least: float = 0.1
    """γ_min."""

    def __call__(self, way: Sequence[Node], value: float) -> None:
        """See above."""
        for i, node in enumerate(way, 1):
            delta = share(i, len(way), self.least) * value
            if node.value * value >= 0:
                node.value += delta
            elif value > 0:
                node.value = delta
