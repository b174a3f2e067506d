"""A step of the random walk over a tree of partial solutions that Sinclair and Jerrum took and VGB takes, values remembered at its nodes.

At a node v the walk goes to the parent with weight V(v) and to a child a with weight π(a|v)·V(a) (VGB, arXiv 2510.03149). With a leaf's
exact value τ its law over leaves is, in the long run, π(y)τ(y)/Z whatever the values inside. The walks themselves are `solve.vgb`'s.

Invariant: a node's value is asked for once and kept in its `memo`: a value that changed between visits would belong to no such walk.
Weights are in logarithms; a value of zero is −∞ and closes the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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
