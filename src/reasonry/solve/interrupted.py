"""Forced interruption: think up to a length drawn from a window, then be told that time is up, and answer.

Paper: ScaleRL (arXiv 2510.13786), where training bounds its answers this way instead of by a penalty on their length: "at a random length
in [10k, 12k] thinking tokens", a fixed phrase and the mark that closes thinking are appended, and the model answers.

Invariants. Token ids in, token ids out: the answer's context is the very ids of the prompt, of the thought and of the forced words. Forced
words are context, never samples: they carry no loss, and are counted as prompt. A thought of which the model itself has closed the mark, or
ended the turn, is never interrupted; one that had no mark where its length was used up always is.

Differs from the paper: (1) the phrase is ours, since the paper prints it only in part; (2) an attempt also ends at a `Budget`, and is then
truncated, not interrupted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from reasonry.core import LM, Budget, Ids, Problem, Sampling, Segment, Stop, Trajectory, UserError
from reasonry.solve.calls import inner_seed, room

PHRASE = "\n\nTime is up: what follows is my answer, from what I have so far.\n"
CLOSES = {"think": "</think>\n\n", "hash": "\n#### "}
"""Marks that end a thought and begin its answer: of models that think between tags, and of the shipped ones."""


@dataclass(frozen=True)
class Interrupted:
    """Thinks for at most a drawn number of tokens, then answers in at most `answer`.

    An attempt samples at most `hi + answer` tokens. `meta` holds `interrupted`, `thinking_limit` (the length drawn) and `forced` (tokens of
    the forced words, 0 without).
    """

    lm: LM
    lo: int = 10_240
    hi: int = 12_288
    """The window: a length is drawn evenly from lo … hi by the attempt's seed, so attempts of one group have lengths of their own."""
    answer: int = 2_048
    """Tokens that may be sampled after the drawn length."""
    phrase: str = PHRASE
    close: str = CLOSES["think"]
    """The mark; a thought that has it is not interrupted."""
    sampling: Sampling = Sampling()
    """Its `max_tokens` and seed are set per call."""
    name: str = "interrupted"

    def __post_init__(self) -> None:
        if not 1 <= self.lo <= self.hi:
            raise UserError(f"interrupted: the window is {self.lo} to {self.hi} tokens; lo must be at least 1 and at most hi")
        if self.answer < 1:
            raise UserError(f"interrupted: answer is {self.answer} but at least one token is needed; raise answer")
        if not self.close.strip():
            raise UserError(f"interrupted: close is {self.close!r} but must hold the mark that ends a thought; name it")
        if self.sampling.stop:
            raise UserError(f"interrupted: stop is {self.sampling.stop!r} but the drawn length may split a stop string; use stop_token_ids")

    def limit(self, seed: int) -> int:
        """The length drawn for the attempt with this seed."""
        return random.Random(f"interrupted/{seed}").randint(self.lo, self.hi)

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Ends with BUDGET where the budget cut it short, LENGTH where the answer was not finished in `answer` tokens.

        Raises UserError for an LM that gives no token ids.
        """
        context, limit = await self.lm.encode(problem.messages), self.limit(seed)
        trace = Trajectory(problem.id, meta={"interrupted": False, "thinking_limit": limit, "forced": 0})
        tokens, unit = room(budget, trace.cost, limit, len(context))
        if unit:
            return trace.finish(Stop.BUDGET, "", unit)
        y = await self.lm.complete(context, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, 0)))
        if y.ids is None:
            raise UserError(f"interrupted: {self.lm.name} returned no token ids, and the answer goes on from them; use a server that does")
        trace = trace.add(Segment.of(y, role="think" if y.stop is Stop.LENGTH else "answer", model=self.lm.name))
        if y.stop is not Stop.LENGTH or tokens < limit:
            unit = budget.spent(trace.cost) if y.stop is Stop.LENGTH else None
            return trace.finish(Stop.BUDGET if unit else y.stop, y.text, unit)
        closed = self.close.strip() in y.text or _within(await self._plain(self.close.strip()), y.ids)
        forced = () if closed else await self._plain(self.phrase + self.close)
        thought = context + y.ids + forced
        tokens, unit = room(budget, trace.cost, self.answer, len(thought))
        if unit:
            return trace.finish(Stop.BUDGET, y.text, unit)
        z = await self.lm.complete(thought, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, 1)))
        trace = trace.add(Segment.of(z, parent=0, model=self.lm.name))
        unit = budget.spent(trace.cost) if z.stop is Stop.LENGTH else None
        text = await self.lm.decode(thought[len(context) :] + (z.ids or ()))
        return trace.finish(Stop.BUDGET if unit else z.stop, text, unit, interrupted=not closed, forced=len(forced))

    async def _plain(self, text: str) -> Ids:
        """The ids of a text that stands inside a context: without what the checkpoint puts before a whole one."""
        before, ids = await self.lm.encode(""), await self.lm.encode(text)
        return ids[len(before) :]


def _within(part: Ids, whole: Ids) -> bool:
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
