"""Children of a node as chunks of a model's text: several continuations of one prefix, token ids in, token ids out.

Two ways to the same text. `Forked` keeps the prefix's keys and values on our engine and forks them, so that a prefix is computed once for
all that grows from it. `Reread` asks any `LM` to complete the ids from the start: its naive twin, and the way for models elsewhere. Same
seeds, same tokens; prompts are priced alike (`Cost.prompt_tokens`), what was computed (`prefill_tokens`, FLOPs) is what differs.

Invariant: text never becomes ids again, so a chunk may end within a character or a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import Protocol

from reasonry.core import LM, Completion, Cost, Ids, Sampling
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.local import LocalLM
from reasonry.solve.tree.node import Node

SEQUENCE = "sequence"
"""Where a node's `memo` keeps its open sequence."""


class Grow(Protocol):
    """Makes chunks. One tree's, used by one search at a time."""

    async def children(self, node: Node, prefix: Ids, samplings: Seq[Sampling]) -> list[tuple[Completion, Node]]:
        """A continuation of `prefix`, the prompt and all chunks down to `node`, for each sampling, with the child made of it."""
        ...

    def close(self, node: Node) -> None:
        """Says that nothing more will grow from a node."""
        ...


class Reread:
    """Asks `complete` with the whole prefix every time."""

    def __init__(self, lm: LM) -> None:
        self._lm = lm

    async def children(self, node: Node, prefix: Ids, samplings: Seq[Sampling]) -> list[tuple[Completion, Node]]:
        """See `Grow`."""
        made = await asyncio.gather(*(self._lm.complete(prefix, s) for s in samplings))
        return [(c, node.child(c.ids)) for c in made]

    def close(self, node: Node) -> None:
        """Nothing is open."""


class Forked:
    """Forks open sequences. What is open holds slots of the engine's pool until it is closed; forks share what they have in common."""

    def __init__(self, lm: LocalLM) -> None:
        self._lm = lm

    async def children(self, node: Node, prefix: Ids, samplings: Seq[Sampling]) -> list[tuple[Completion, Node]]:
        """See `Grow`. What it took to compute the prefix's last tokens is in the first child's cost."""
        trunk: Sequence | None = node.memo.get(SEQUENCE)
        if trunk is None:
            trunk = node.memo[SEQUENCE] = await self._lm.sequence(prefix)
            before = Cost()
        else:
            before = trunk.cost
            await trunk.append(())
        after = trunk.cost
        twigs = [trunk.fork() for _ in samplings]
        try:
            made = await asyncio.gather(*(self._lm.grow(twig, s) for twig, s in zip(twigs, samplings, strict=True)))
        except BaseException:
            for twig in twigs:
                twig.close()
            raise
        made[0] = replace(made[0], cost=moved(after, before) + made[0].cost)
        children = [(c, node.child(c.ids)) for c in made]
        for (_, child), twig in zip(children, twigs, strict=True):
            child.memo[SEQUENCE] = twig
        return children

    def close(self, node: Node) -> None:
        """See `Grow`."""
        if (sequence := node.memo.pop(SEQUENCE, None)) is not None:
            sequence.close()


def grower(lm: LM) -> Forked | Reread:
    """The fastest way a model allows."""
    return Forked(lm) if isinstance(lm, LocalLM) else Reread(lm)


def moved(after: Cost, before: Cost) -> Cost:
    """What computing a prefix took between two readings of a sequence's cost, calls and prompt tokens apart."""
    return Cost(
        prefill_tokens=after.prefill_tokens - before.prefill_tokens, flops=after.flops - before.flops,
        layers_run=after.layers_run - before.layers_run, seconds=after.seconds - before.seconds,
    )  # fmt: skip
