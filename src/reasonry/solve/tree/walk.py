"""Random walks over a tree of partial solutions, with values remembered at its nodes: the walk of Sinclair and Jerrum that VGB takes.

At a node v the walk goes to the parent with weight V(v) and to a child a with weight π(a|v)·V(a) (VGB, arXiv 2510.03149); a lazy walk stays
where it is every other time. With a leaf's exact value τ its law over leaves is, in the long run, π(y)τ(y)/Z whatever the values inside.

Invariant: a node's value is asked for once and kept in its `memo`: a value that changed between visits would belong to no such walk.
Weights are in logarithms; a value of zero is −∞ and closes the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from reasonry.solve.tree.node import Node

Expand = Callable[[Node], Sequence[tuple[object, float, bool]]]
"""A node -> (payload, π(payload | node), whether it ends there) of each child; asked once a node."""
LogValue = Callable[[Node], float]
"""A node -> log V; asked once a node."""
VALUE = "log_value"
"""Where `memo` keeps it."""


def grown(node: Node, expand: Expand) -> list[Node]:
    """The node's children, made at the first visit."""
    if not node.children and not node.terminal:
        for payload, prior, ends in expand(node):
            node.child(payload, prior=prior, terminal=ends)
    return node.children


def remembered(node: Node, log_value: LogValue) -> float:
    """log V of a node, asked for at most once."""
    if VALUE not in node.memo:
        node.memo[VALUE] = log_value(node)
    return node.memo[VALUE]


def neighbours(node: Node, expand: Expand, log_value: LogValue) -> list[tuple[Node, float]]:
    """Where the walk may go, with log weights; the root has no parent, and a leaf nothing else."""
    up = [] if node.parent is None else [(node.parent, remembered(node, log_value))]
    down = [(c, math.log(c.prior) + remembered(c, log_value)) for c in grown(node, expand) if c.prior > 0]
    return up + down


def chances(node: Node, expand: Expand, log_value: LogValue) -> list[tuple[Node, float]]:
    """The same as probabilities of a step that moves."""
    weights = neighbours(node, expand, log_value)
    top = max((w for _, w in weights), default=-math.inf)
    if top == -math.inf:
        return []
    sizes = [math.exp(w - top) for _, w in weights]
    return [(n, s / math.fsum(sizes)) for (n, _), s in zip(weights, sizes, strict=True)]


def step(node: Node, expand: Expand, log_value: LogValue, rng: Random, lazy: bool = True) -> Node:
    """Where the walk is next; it stays where every way is closed."""
    node.visits += 1
    if lazy and rng.random() < 0.5:
        return node
    moves = chances(node, expand, log_value)
    return rng.choices([n for n, _ in moves], [p for _, p in moves])[0] if moves else node


def first_leaf(root: Node, expand: Expand, log_value: LogValue, rng: Random, most: int) -> Node | None:
    """The first leaf the walk meets within `most` steps. Its law is biased; laziness does not matter to it."""
    node = root
    for _ in range(most):
        if node.terminal:
            return node
        node = step(node, expand, log_value, rng, lazy=False)
    return node if node.terminal else None


def after(root: Node, expand: Expand, log_value: LogValue, rng: Random, steps: int) -> Node | None:
    """Where the lazy walk is after so many steps, if that is a leaf: the law of leaves tends to the exact one."""
    node = root
    for _ in range(steps):
        node = step(node, expand, log_value, rng)
    return node if node.terminal else None
