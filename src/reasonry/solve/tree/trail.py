"""One open sequence that follows a walk over prefixes: going on appends, going back truncates, proposals fork.

However long the walk, one sequence's slots are held. Moving computes only what the last place did not have (and the last token before a
cut once more). Invariant: what is sampled or read at a place is what a fresh start from its ids would give; `tests/solve/test_vgb_ground`
and `benchmarks/tree_prefix.py --walk` compare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Seq
from dataclasses import replace

from torch import Tensor

from reasonry.core import Completion, Cost, Ids, Sampling
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.local import LocalLM
from reasonry.solve.tree.grow import moved


class Trail:
    """One walk's; close it."""

    def __init__(self, lm: LocalLM) -> None:
        self._lm = lm
        self._sequence: Sequence | None = None

    async def _at(self, ids: Ids) -> tuple[Sequence, Cost]:
        """The sequence, moved to `ids`, and what it had cost before."""
        if self._sequence is None:
            self._sequence = await self._lm.sequence(ids)
            return self._sequence, Cost()
        sequence, here = self._sequence, self._sequence.ids
        before = sequence.cost
        same = next((i for i, (a, b) in enumerate(zip(here, ids, strict=False)) if a != b), min(len(here), len(ids)))
        sequence.truncate(same)
        await sequence.append(ids[same:])
        return sequence, before

    async def logits(self, ids: Ids) -> tuple[Tensor, Cost]:
        """The model's logits [V] after `ids`, priced as a call for one token."""
        sequence, before = await self._at(ids)
        logits = await sequence.logits()
        return logits, moved(sequence.cost, before) + Cost(prompt_tokens=len(ids), completion_tokens=1, calls=1)

    async def grow(self, ids: Ids, samplings: Seq[Sampling]) -> list[Completion]:
        """A continuation of `ids` for each sampling, by forks; what moving there took is in the first one's cost."""
        sequence, before = await self._at(ids)
        after = sequence.cost
        twigs = [sequence.fork() for _ in samplings]
        try:
            made = await asyncio.gather(*(self._lm.grow(twig, s) for twig, s in zip(twigs, samplings, strict=True)))
        finally:
            for twig in twigs:
                twig.close()
        return [replace(made[0], cost=moved(after, before) + made[0].cost), *made[1:]]

    def close(self) -> None:
        """Gives the slots back; the next use opens the sequence again."""
        if self._sequence is not None:
            self._sequence.close()
            self._sequence = None
