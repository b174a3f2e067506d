"""VGB and what it is compared with as solvers: a decoder (`vgb`, `vgb_baselines`) on a model's blocks (`vgb_ground`) under a verifier.

What trains. Every call is a segment: blocks of the answer that was returned have the role `answer`, all others `draft`, each on its own
context with the log-probabilities it was drawn with; with `roles = ["answer"]` training learns from the returned answer alone. Where tokens
are listed there are no draws: the returned answer is one segment, with the model's own chances, and its cost is that of all listings. What
the verifier took is in the cost, and, where it reads tokens, a segment `judge`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from reasonry.core import LM, Budget, Problem, Sampling, Segment, Stop, Trajectory, UserError
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import VALUE
from reasonry.solve.vgb import Bound, Walked, enumerated, first_leaf, retried, stationary
from reasonry.solve.vgb_baselines import beam, best_of, forward, listed_on, outcome_level, rejection, retried_on
from reasonry.solve.vgb_ground import MADE, STOP, Answers, Blocks, Spent
from reasonry.solve.vgb_verifier import Verifier

Decode = Callable[[Answers, Random, Walked], Awaitable[None]]
"""Looks for an answer, taking note of where it goes."""
SHOWN = 200
"""Depths that an attempt's record keeps."""


def walk_to_first(bound: Bound, steps: int) -> Decode:
    """VGB's practical mode."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await first_leaf(ground, enumerated(ground) if ground.blocks.listed else retried(ground, bound), rng, steps, walked)

    return decode


def walk_stationary(bound: Bound, steps: int, starts: int) -> Decode:
    """VGB's exact mode."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        move = enumerated(ground) if ground.blocks.listed else retried(ground, bound)
        await stationary(ground, move, rng, steps, starts, walked)

    return decode


def by_action(bound: Bound) -> Decode:
    """ActionLevelRS."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await forward(ground, listed_on(ground) if ground.blocks.listed else retried_on(ground, bound), rng, walked)

    return decode


def by_outcome(bound: Bound, tries: int) -> Decode:
    """OutcomeLevelRS."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await outcome_level(ground, bound, tries, rng, walked)

    return decode


def by_best_block(n: int) -> Decode:
    """Block best-of-n."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await forward(ground, best_of(ground, n), rng, walked)

    return decode


def by_block_rejection(bound: Bound, n: int) -> Decode:
    """Block rejection."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await forward(ground, rejection(ground, bound, n), rng, walked)

    return decode


def by_beam(width: int, draws: int) -> Decode:
    """Beam search; `draws` of each where blocks cannot be listed."""

    async def decode(ground: Answers, rng: Random, walked: Walked) -> None:
        await beam(ground, width, None if ground.blocks.listed else draws, rng, walked)

    return decode


@dataclass(frozen=True)
class Guided:
    """A decoder under a verifier, as a solver."""

    lm: LM
    verifier: Verifier
    decode: Decode
    blocks: Blocks = Blocks()  # noqa: RUF009 (a frozen value)
    sampling: Sampling = Sampling()
    """Of a block; its temperature and truncation are part of π."""
    ahead: int = 1
    """Blocks drawn together."""
    name: str = "vgb"

    def __post_init__(self) -> None:
        if self.sampling.temperature == 0:
            raise UserError("vgb: temperature is 0, so there is one answer and nothing to walk over; raise it")
        if self.ahead < 1:
            raise UserError(f"vgb: ahead is {self.ahead} but at least one block is drawn; raise it")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Where no answer is found in the steps it stops with `max_chunks`, and says where it stood."""
        prompt, walked, spent = await self.lm.encode(problem.messages), Walked(), None
        ground = Answers(self.lm, problem, prompt, self.blocks, self.sampling, self.verifier, budget, seed, self.ahead)
        cut: Node | None = None
        try:
            await self.decode(ground, Random(f"vgb/{seed}"), walked)
        except Spent as error:
            spent, cut = error.unit, error.node
        finally:
            ground.close()
        taken = walked.leaf or cut or walked.node
        text = await ground.text(taken) if taken else ""
        trace = self._trace(problem, ground, taken, text)
        stop = Stop.BUDGET if spent else self._stop(walked)
        value = taken.memo.get(VALUE) if taken else None
        known = [n for n in ground.root.walk() if VALUE in n.memo]
        return trace.finish(
            stop, text, spent, steps=walked.steps, starts=walked.starts,
            depths=walked.depths[:SHOWN], moves=len(walked.depths), back=_back(walked), valued=len(known),
            log_value=value if value is not None and value > float("-inf") else None,
        )  # fmt: skip

    def _stop(self, walked: Walked) -> Stop:
        if walked.leaf is None:
            return Stop.MAX_CHUNKS
        stop = walked.leaf.memo[STOP]
        return stop if stop in (Stop.EOS, Stop.CONTEXT) else Stop.LENGTH

    def _trace(self, problem: Problem, ground: Answers, taken: Node | None, text: str) -> Trajectory:
        way = taken.path if taken else []
        kept = {n.memo.get(MADE) for n in way}
        segments = [replace(s, role="answer") if i in kept else s for i, s in enumerate(ground.segments)]
        if ground.blocks.listed and way:
            ids = ground.ids(way[-1])
            logs = tuple(math.log(n.prior) for n in way)
            segments.append(Segment(ground.prompt, ids, text, logs, way[-1].memo[STOP], ground.listing, model=self.lm.name))
        if ground.verifier.reads and ground.checking.verifier_calls:
            said = f"{ground.checking.verifier_calls} values"
            segments.append(Segment(None, None, said, None, Stop.EOS, ground.checking, role="judge", model=self.verifier.name))
        return replace(Trajectory(problem.id), segments=tuple(segments), cost=ground.cost)


def _back(walked: Walked) -> int:
    """Steps that went back."""
    depths = [0, *walked.depths]
    return sum(b < a for a, b in pairwise(depths))
