"""A node of a search tree, and what every search asks of it: children, the way to it, the frontier.

One kind of node serves MCTS over moves, chunks of a model's text, layer programs and the random walk of VGB: what it stands for is its
`payload`, what was found out about it once is in its `memo`. Invariants. A node is linked once, to one parent, when it is made. Statistics
are changed by `backup` functions alone, along a way that the search hands them, so that games whose information sets join ways keep
their own tables (`play`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, slots=True)
class Node:
    """Made by `Node()` (a root) or `child`; mutable, and gone with its tree."""

    payload: Any = None
    """What leads here from the parent: a move, a chunk of tokens, an edit."""
    parent: Node | None = None
    value: float = 0.0
    """Sum of what was backed up: q, W."""
    visits: int = 0
    """N."""
    prior: float = 1.0
    """Probability of the payload, where a policy or chance gives one."""
    entropy: float = 0.0
    """Of the choice that led here, in nats; for chunks the mean over their tokens."""
    available: int = 0
    """How often it could have been chosen: differs from the parent's visits where what may be done depends on what is hidden (ISMCTS)."""
    terminal: bool = False
    depth: int = 0
    memo: dict[str, Any] = field(default_factory=dict)
    """What was asked about it once: a verifier's value, an open sequence, its cost."""
    children: list[Node] = field(default_factory=list)

    def child(self, payload: Any, **more: Any) -> Node:
        """A new node below this one."""
        node = Node(payload, self, depth=self.depth + 1, **more)
        self.children.append(node)
        return node

    @property
    def mean(self) -> float:
        """Q = W/N; 0 where it was never visited."""
        return self.value / self.visits if self.visits else 0.0

    @property
    def path(self) -> list[Node]:
        """The nodes from below the root down to this one; empty for the root."""
        way: list[Node] = []
        node = self
        while node.parent is not None:
            way.append(node)
            node = node.parent
        return way[::-1]

    def walk(self) -> Iterator[Node]:
        """This node and all below it: parents before their children, children in the order they were made."""
        todo: list[Node] = [self]
        while todo:
            node = todo.pop()
            yield node
            todo.extend(reversed(node.children))

    def frontier(self, deepest: int | None = None) -> list[Node]:
        """Nodes that could be expanded: no children yet, not terminal, less than `deepest` deep."""
        return [n for n in self.walk() if not n.children and not n.terminal and (deepest is None or n.depth < deepest)]
