"""Prefixes computed before, kept for whoever asks again: a trie over blocks of token ids.

A node is `BLOCK` tokens after all those of its parents; it holds one reference to each of their slots. Two prompts share what they
have in common, to the block. Entries nobody else uses are dropped, the least recently used first, when the pool is short; all are
dropped when weights change. There is one trie per layer program, for a key computed by another program is another key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reasonry.lm.decoder import Program
from reasonry.lm.engine.pool import Pool, Slots

BLOCK = 8
"""Tokens per node: small, because a Delethink query or a chat preamble is short; a look-up per eight tokens is still nothing
beside computing them."""


@dataclass(eq=False, slots=True)
class Node:
    """A block of tokens at its place after its parents."""

    slots: Slots
    parent: Node | None
    key: tuple[int, ...]
    used: int = 0
    """When a request last passed here, in requests."""
    children: dict[tuple[int, ...], Node] = field(default_factory=dict)


class PrefixCache:
    """Tries over one pool. `tokens` is how many slots they hold, `version` how often all was forgotten: keys computed under another
    version are not kept."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._roots: dict[Program | None, Node] = {}
        self._clock = 0
        self.tokens = 0
        self.version = 0

    def find(self, program: Program | None, ids: list[int], limit: int) -> Slots:
        """Slots of the longest known prefix of `ids`, at most `limit` long; one reference to each now belongs to the caller."""
        self._clock += 1
        node, found = self._root(program), []
        for start in range(0, limit - BLOCK + 1, BLOCK):
            child = node.children.get(tuple(ids[start : start + BLOCK]))
            if child is None:
                break
            child.used = self._clock
            found.append(child.slots)
            node = child
        slots = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        self._pool.share(slots)
        return slots

    def known(self, program: Program | None, ids: list[int], limit: int) -> int:
        """Length of the longest known prefix, without taking it."""
        node = self._root(program)
        for start in range(0, limit - BLOCK + 1, BLOCK):
            child = node.children.get(tuple(ids[start : start + BLOCK]))
            if child is None:
                return start
            node = child
        return max(limit, 0) // BLOCK * BLOCK

    def keep(self, program: Program | None, ids: list[int], slots: Slots) -> None:
        """Remembers the whole blocks of `ids`, computed at `slots`. Blocks known already stay as they are."""
        self._clock += 1
        node = self._root(program)
        for start in range(0, len(slots) - BLOCK + 1, BLOCK):
            key = tuple(ids[start : start + BLOCK])
            child = node.children.get(key)
            if child is None:
                mine = slots[start : start + BLOCK].copy()
                self._pool.share(mine)
                child = node.children[key] = Node(mine, node, key)
                self.tokens += BLOCK
            child.used = self._clock
            node = child

    def evict(self, n: int) -> bool:
        """Frees at least `n` slots by dropping entries that only this cache holds; says whether it could.

        A slot may be in several entries: a row that was cut back or forked within a block goes on from the same slots by other tokens.
        Least recently used first; a parent is never dropped before its children. Where it can it frees a 32nd of the pool at once,
        for the search takes longer than the dropping.
        """
        enough = self._pool.free + n
        goal = max(enough, self._pool.size // 32)
        nodes = self._nodes()
        held = np.bincount(np.concatenate([node.slots for node in nodes])) if nodes else np.empty(0, dtype=np.int64)
        alone = [node for node in nodes if (self._pool.references(node.slots) == held[node.slots]).all()]
        alone.sort(key=lambda node: node.used)  # a parent was used no earlier than its children, and comes before them in `_nodes`
        queue = [node for node in alone if not node.children]
        waiting = set(alone)
        for node in queue:
            if self._pool.free >= goal:
                break
            self._drop(node)
            parent = node.parent
            if parent in waiting and not parent.children:
                queue.append(parent)
        return self._pool.free >= enough

    def clear(self) -> None:
        """Forgets everything."""
        for node in list(self._nodes()):
            self._pool.release(node.slots)
        self._roots.clear()
        self.tokens = 0
        self.version += 1

    def _drop(self, node: Node) -> None:
        self._pool.release(node.slots)
        self.tokens -= BLOCK
        if node.parent is not None:
            del node.parent.children[node.key]

    def _root(self, program: Program | None) -> Node:
        if program not in self._roots:
            self._roots[program] = Node(np.empty(0, dtype=np.int64), None, ())
        return self._roots[program]

    def _nodes(self) -> list[Node]:
        todo, out = list(self._roots.values()), []
        while todo:
            node = todo.pop()
            todo.extend(node.children.values())
            if node.parent is not None:
                out.append(node)
        return out
