"""Delethink tracing: think in chunks of fixed size, and carry only a short piece of text across each boundary.

Paper: "The Markovian Thinker" (arXiv 2510.06557). Its symbols: q the query's token ids; C the thinking tokens of a chunk, the query
not counted; m < C the tokens that cross a boundary; I the most chunks; x_l, y_l the context and the sampled tokens of chunk l;
T_max = C + (I - 1)(C - m) the whole thinking budget. The context never holds more than |q| + C tokens, however long the thought, so
memory is constant and compute linear in the thought's length.

A boundary is a fresh context with positions starting over, not a window that slides: nothing of the old key-value store is kept, and
the carried tokens are read again (they are prefilled twice; `delethink_cost` counts it). What crosses is token ids, never text.

Differs from the paper: (1) the carry-over is a function (`Carry`); the paper's is `head_and_tail`, in the trainer's form (head + tail
= m; the official trainer's "progressive" trimmer) by default, and `head_beside_tail` in the form of its listing; (2) an attempt also
ends at a `Budget`; (3) the judge reads the whole trace, all chunks' new tokens decoded together with the carried part counted once,
so an answer split by a boundary is still read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reasonry.core import LM, Budget, Completion, Ids, Problem, Sampling, Segment, Stop, Trajectory, UserError
from reasonry.solve.calls import inner_seed, room


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a `Carry` may look at. Made at each boundary, gone after it."""

    lm: LM
    q: Ids
    carried: Ids
    """What the last chunk was given beside the query; empty after the first."""
    chunks: tuple[Ids, ...]
    """Every chunk's sampled ids so far."""
    m: int
    room: Callable[[int], int]
    """Prompt tokens -> how many tokens a call with such a prompt may sample; 0 where the budget leaves none."""
    sampling: Sampling
    """How the attempt samples, with a seed of this boundary's own."""

    @property
    def running(self) -> Ids:
        """The running answer: what was carried in, then the last chunk."""
        return self.carried + self.chunks[-1]


@dataclass(frozen=True, slots=True)
class Carried:
    """What crosses a boundary, and the model calls made to write it."""

    ids: Ids
    calls: tuple[Segment, ...] = ()


Carry = Callable[[Boundary], Awaitable[Carried]]
"""Decides what crosses a boundary: at most m ids."""


def progressive(running: Ids, head: int, tail: int) -> Ids:
    """The running answer's first `head` and last `tail` ids; raises ValueError when it is not longer than both together."""
    if len(running) <= head + tail:
        raise ValueError(f"a running answer of {len(running)} tokens is not longer than head {head} + tail {tail}")
    return running[:head] + running[len(running) - tail :]


def head_and_tail(head: int = 100) -> Carry:
    """Keeps the first `head` ids of the thought (its plan) and the last m - head: head + tail = m. The trainer's form."""

    async def carry(at: Boundary) -> Carried:
        if head > at.m:
            raise UserError(f"Delethink: keep_head is {head} but must be at most m ({at.m}); lower keep_head or raise m")
        return Carried(progressive(at.running, head, at.m - head))

    return carry


def head_beside_tail(head: int = 100) -> Carry:
    """Keeps the first `head` ids of the thought as if they were part of the query, and the last m beside them: m + head cross.

    The form of the paper's listing and demo; the context can then reach |q| + head + C.
    """

    async def carry(at: Boundary) -> Carried:
        if len(at.running) <= head + at.m:
            raise UserError(
                f"Delethink: keep_head is {head} but with m ({at.m}) beside it must stay below C; lower keep_head or m, or raise C"
            )
        return Carried(progressive(at.running, head, at.m))

    return carry


async def tail(at: Boundary) -> Carried:
    """Keeps the last m ids: the plain Markovian state of the paper's equations."""
    return Carried(progressive(at.running, 0, at.m))


def multi_head(head: int = 16) -> Carry:
    """Keeps the first `head` ids of every chunk so far, then as much of the tail as m leaves: h_1, h_2, …, tail.

    Raises UserError when the heads alone fill m: then nothing of the recent thought would cross.
    """

    async def carry(at: Boundary) -> Carried:
        heads = tuple(i for y in at.chunks for i in y[:head])
        if len(heads) >= at.m:
            raise UserError(
                f"Delethink: keep_head is {head} in each of {len(at.chunks)} chunks, filling m ({at.m}); lower keep_head or I, or raise m"
            )
        earlier = sum(len(y[:head]) for y in at.chunks[:-1])
        recent = at.carried[earlier:] + at.chunks[-1][head:]
        return Carried(heads + recent[len(heads) - at.m :])

    return carry


def summary(cue: str = "\nState so far:\n") -> Carry:
    """The model writes the state: the running answer is followed by `cue`, and cue and continuation cross, at most m ids.

    The call is a segment of its own, with role `summary` and its own cost; it is not part of the trace. Its context holds the running
    answer too, so the context can reach |q| + C + m. Without room to write, only the cue crosses.
    """

    async def carry(at: Boundary) -> Carried:
        cue_ids = await at.lm.encode(cue)
        if len(cue_ids) >= at.m:
            raise UserError(f"Delethink: the summary's cue has {len(cue_ids)} tokens but must be shorter than m ({at.m}); raise m")
        x = at.q + at.running + cue_ids
        tokens = min(at.m - len(cue_ids), at.room(len(x)))
        if tokens == 0:
            return Carried(cue_ids)
        y = await at.lm.complete(x, at.sampling.with_(max_tokens=tokens))
        written = _ids(y, at.lm)
        state = written if y.stop is Stop.LENGTH else written[:-1]
        return Carried(cue_ids + state, (Segment.of(y, role="summary", model=at.lm.name),))

    return carry


def tagged(pattern: str, otherwise: Carry = tail) -> Carry:
    """Keeps the last stretch of the running answer that matches `pattern` (a regular expression over its text), its last m ids at most.

    The text only locates the stretch: the ids that cross are those that were sampled. Where nothing matches, `otherwise` decides.
    """
    compiled = re.compile(pattern, re.DOTALL)

    async def carry(at: Boundary) -> Carried:
        text = await at.lm.decode(at.running)
        matches = list(compiled.finditer(text))
        if not matches:
            return await otherwise(at)
        lengths = [len(await at.lm.decode(at.running[:n])) for n in range(len(at.running) + 1)]
        start = bisect_left(lengths, matches[-1].start() + 1) - 1
        end = bisect_left(lengths, matches[-1].end())
        return Carried(at.running[start:end][-at.m :])

    return carry


@dataclass(frozen=True)
class Delethink:
    """Thinks in up to `I` chunks; each sees the query and at most m carried ids."""

    lm: LM
    C: int = 8192
    """Thinking tokens in a chunk; the query is not counted."""
    m: int = 4096
    """Tokens that cross a boundary."""
    I: int = 5
    """Most chunks; T_max = C + (I - 1)(C - m)."""
    carry: Carry = head_and_tail(head=100)  # noqa: RUF009 - a function value, made once
    sampling: Sampling = Sampling()
    """Its `max_tokens` and seed are set per chunk. `stop_token_ids` end the thought early."""
    name: str = "delethink"

    def __post_init__(self) -> None:
        if not 0 <= self.m < self.C:
            mend = "lower m or raise C" if self.m >= self.C else "use zero or more"
            raise UserError(f"Delethink: m is {self.m} but must be smaller than C ({self.C}); {mend}.")
        if self.I < 1:
            raise UserError(f"Delethink: I is {self.I} but at least one chunk is needed; raise I.")
        if self.sampling.stop:
            raise UserError(f"Delethink: stop is {self.sampling.stop!r} but a boundary may split a stop string; use stop_token_ids.")

    @property
    def t_max(self) -> int:
        """Most thinking tokens of an attempt: C + (I - 1)(C - m)."""
        return self.C + (self.I - 1) * (self.C - self.m)

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Raises UserError for an LM that gives no token ids."""
        q = await self.lm.encode(problem.messages)
        trace, chunks, carried = Trajectory(problem.id), tuple[Ids, ...](), Ids()
        for l in range(self.I):
            x = q + carried
            tokens, unit = room(budget, trace.cost, self.C if l == 0 else self.C - self.m, len(x))
            if unit:
                return await self._finish(trace, chunks, Stop.BUDGET, unit)
            y = await self.lm.complete(x, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, l)))  # a fresh context
            trace = trace.add(Segment.of(y, role="think", parent=len(trace.segments) - 1 if l else None, model=self.lm.name))
            chunks += (_ids(y, self.lm),)
            if y.stop is not Stop.LENGTH:
                return await self._finish(trace, chunks, y.stop)  # before carrying: an ended chunk is final
            if unit := budget.spent(trace.cost):
                return await self._finish(trace, chunks, Stop.BUDGET, unit)
            if l + 1 < self.I:
                carried, trace = await self._cross(q, carried, chunks, trace, budget, inner_seed(seed, -l - 1))
        return await self._finish(trace, chunks, Stop.MAX_CHUNKS)  # a truncation, not a wrong answer

    async def _cross(
        self, q: Ids, carried: Ids, chunks: tuple[Ids, ...], trace: Trajectory, budget: Budget, seed: int
    ) -> tuple[Ids, Trajectory]:
        def left(prompt_tokens: int) -> int:
            return room(budget, trace.cost, self.m, prompt_tokens)[0]

        crossing = await self.carry(Boundary(self.lm, q, carried, chunks, self.m, left, self.sampling.with_(seed=seed)))
        return crossing.ids, trace.add(*crossing.calls)

    async def _finish(self, trace: Trajectory, chunks: tuple[Ids, ...], stop: Stop, unit: str | None = None) -> Trajectory:
        thought = tuple(i for y in chunks for i in y)
        text = await self.lm.decode(thought)
        return trace.finish(stop, text, unit, chunks=len(chunks), thinking_tokens=len(thought), C=self.C, m=self.m, I=self.I)


def _ids(y: Completion, lm: LM) -> Ids:
    if y.ids is None:
        raise UserError(f"Delethink: {lm.name} returned no token ids, and ids are what crosses a boundary; use a server that returns them")
    return y.ids
