"""In-flight staleness on one core, exactly as much as asked: old copies of the weights, changed in mid-answer with the keys kept.

    stale = Stale(lm, k=8, longest=48)
    await train(lm, solver, task, curriculum, problems, recipe, run, beside=[stale], validate=stale.fresh(validate))

With PipelineRL-k an answer that is learned from at step t was begun by the weights of step t − k, and its tokens come from newer and newer
ones. Here the batch of step t is sampled at step t, all answers side by side, and token n of each by the weights of step
t − k + ⌊n (k + 1) / longest⌋: staleness falls evenly from k at the first token to 0 at the longest answer's last. So arms of different k
see the same problems with the same random numbers, in the same number of updates, and differ in staleness alone.

Invariants. k = 0 is the ordinary loop, bit for bit. The copies are in the loop's checkpoint, so a resumed run ends with the same weights.
The engine computes the whole batch at once (its `max_rows` ≥ prompts × group), or later answers begin with newer weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.curriculum import Lesson
from reasonry.train.loop import Validate, frozen_copy
from reasonry.train.pipeline.staleness import staleness
from reasonry.train.reward import Rewarded
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch


class Stale:
    """A `Beside` that holds the last k + 1 weights and samples by them. Made before `train`, on the weights the run begins with."""

    def __init__(self, lm: LocalLM, k: int, longest: int) -> None:
        """`longest`: tokens an answer may have."""
        if k < 0 or longest < 1:
            raise UserError(f"Stale: k is {k} and longest {longest}; give k of at least 0 and longest of at least 1")
        self.k, self.longest, self._lm = k, longest, lm
        self.copies: deque[Decoder] = deque([frozen_copy(lm.decoder)], maxlen=k + 1)
        """Oldest first; fewer than k + 1 in the first steps."""
        self.updates = 0
        """Made so far: the version of the newest copy."""
        self._in_use = -1
        self._told: Mapping[str, float] = {}
        lm.engine.before_step = self._choose

    def close(self) -> None:
        """Gives the engine back to the trained weights."""
        self._lm.engine.before_step = None
        self._lm.engine.flush(self._lm.decoder)

    def fresh(self, validate: Validate) -> Validate:
        """A validation of the newest weights."""

        async def newest() -> float:
            engine = self._lm.engine
            engine.before_step = None
            engine.flush(self.copies[-1])
            try:
                return await validate()
            finally:
                engine.before_step = self._choose
                self._in_use = -1

        return newest

    def _choose(self) -> None:
        """The weights for the engine's coming step, in which the furthest of its answers samples token n; never back while one goes on."""
        n = max((len(job.sampled) for job in self._lm.engine.scheduler.active), default=0)
        behind = max(self.k - n * (self.k + 1) // self.longest, 0)
        place = max(len(self.copies) - 1 - behind, 0)
        if place > self._in_use or (n == 0 and place != self._in_use):
            self._in_use = place
            self._lm.engine.flush(self.copies[place], self.updates - (len(self.copies) - 1 - place))

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """Adds nothing, but looks how old the tokens are."""
        self._told = staleness(rewarded, self.updates)
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Takes a copy of the weights just learned; tells `staleness`, `staleness_max` and `versions` of what they learned from."""
        self.copies.append(frozen_copy(self._lm.decoder))
        self.updates += 1
        self._in_use = -1
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """The copies."""
        return {"copies": [copy.state_dict() for copy in self.copies], "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back."""
        like = self.copies[-1]
        self.copies.clear()
        for weights in state["copies"]:
            copy = frozen_copy(like)
            copy.load_state_dict(weights)
            self.copies.append(copy)
        self.updates, self._in_use = state["updates"], -1
