"""Attempts taken up again in their middle: the same solver, told what it was told before, up to one token of one model call.

Invariant: before the place where it is taken up, a solver gets the recorded completions and so walks the recorded way, spends the recorded
cost and asks what it asked; at that place it gets the recorded tokens with a new ending; from there on everything is sampled anew. So any
solver that is a frozen dataclass with an `lm` can be continued from any token of any attempt, chunks, votes and all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, cast

from reasonry.core import LM, Completion, Cost, Ids, Prompt, Sampling, Segment, Solver, Stop, Trajectory, UserError

Bind = Callable[[LM], Solver]
"""A model -> the solver, calling it."""


def binder(solver: Solver) -> Bind:
    """How to give the solver another model. Raises UserError for one that is no dataclass with a field `lm`."""
    if not is_dataclass(solver) or not hasattr(solver, "lm"):
        raise UserError(f"continuations: solver {solver.name} has no field `lm`, so its attempts cannot be taken up again; use another")
    return lambda lm: cast(Solver, replace(cast(Any, solver), lm=lm))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is taken up: before token `token` of its call `call`."""

    call: int
    token: int


@dataclass
class Replay:
    """An `LM` that says again what was said up to a place, and then asks the real one. Lives for one attempt."""

    lm: LM
    recorded: Trajectory
    place: Place
    seed: int
    """Of the new ending; later calls have the seeds the solver gives them."""
    spent: int = 0
    """Tokens really sampled."""
    _calls: int = field(default=0)

    @property
    def name(self) -> str:
        """The real one's."""
        return self.lm.name

    async def encode(self, prompt: Prompt) -> Ids:
        """As the real one does."""
        return await self.lm.encode(prompt)

    async def decode(self, ids: Ids) -> str:
        """As the real one does."""
        return await self.lm.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """The recorded completion, its beginning with a new ending, or a new one. Raises UserError where the solver left its way."""
        call, self._calls = self._calls, self._calls + 1
        if call > self.place.call:
            return self._count(await self.lm.complete(prompt, sampling))
        then = self.recorded.segments[call]
        if then.context is None or then.ids is None or await self.encode(prompt) != then.context:
            raise UserError(
                f"continuations: call {call} of an attempt at {self.recorded.problem_id!r} is not what was recorded; "
                "the solver must ask the same again when it is told the same"
            )
        if call < self.place.call:
            return _again(then)
        kept = then.ids[: self.place.token]
        left = sampling.max_tokens - len(kept)
        if left <= 0:
            return _again(then)
        new = self._count(await self.lm.complete(then.context + kept, sampling.with_(max_tokens=left, seed=self.seed)))
        ids = kept + (new.ids or ())
        text = await self.decode(ids) if new.stop is not Stop.STOP else await self.decode(kept) + new.text
        cost = replace(new.cost, prompt_tokens=len(then.context), completion_tokens=len(ids))
        logprobs = (then.logprobs or ())[: len(kept)] + (new.sampler_logprobs or ())
        return replace(new, text=text, cost=cost, prompt_ids=then.context, ids=ids, logprobs=None, sampler_logprobs=logprobs)

    def _count(self, completion: Completion) -> Completion:
        self.spent += completion.cost.completion_tokens
        return completion


def _again(then: Segment) -> Completion:
    cost: Cost = then.cost
    return Completion(then.text, then.stop, cost, then.context, then.ids, then.logprobs, then.logprobs)
