"""The three ways in which TUMIX's agents work (arXiv 2510.01279, table 1): in turns with tools, by one code block, under guidance.

    Tooled    think; call one tool; read what came back; at most 5 times; answer        (without tools: Base, CoT)
    Coded     think, write one code block; what it prints is the answer                 (CoT-code)
    Guided    a steering call writes guidance; the task's calls work under it           (CSG, CSG+)

An agent is asked in plain words and answers in plain words, so any endpoint will do: what a turn is shown is rendered anew from the turns
before it, and each call is scored on the very ids it saw. Invariants: no more tool calls than `interactions`; a tool that fails gives an
observation, never an exception; sampling stops where a call ends, so a turn cannot make up its own observation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reasonry.core import LM, Budget, Message, Problem, Sampling, Segment, Solver, Stop, ToolCall, Trajectory, UserError
from reasonry.solve.calls import inner_seed, prompt_length, room
from reasonry.solve.tumix_marks import FULL, Call, Kind, Marks, closed, judgeable, observation, read_call
from reasonry.solve.tumix_words import followed
from reasonry.tasks.tools import Tool, await_call

INTERACTIONS = 5
STEERING = "plan"
"""Role of the steering call."""


@dataclass(frozen=True)
class Tooled:
    """Answers in turns, with the tools it is given."""

    lm: LM
    instruction: str = ""
    """Said after the question and what others said."""
    tools: Mapping[Kind, Tool] = field(default_factory=dict)
    """Each of one argument, the code or the query."""
    interactions: int = INTERACTIONS
    """Tool calls of one answer, at most; failed ones count."""
    marks: Marks = FULL
    sampling: Sampling = Sampling(max_tokens=1024)
    """Of each turn; the seed is replaced by one derived from the attempt's."""
    name: str = "tooled"

    def __post_init__(self) -> None:
        if self.interactions < 0:
            raise UserError(f"{self.name}: interactions is {self.interactions} but must be 0 or more; raise it")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Its answer is everything that was written and came back; MAX_CHUNKS where it called once too often."""
        trace, text = Trajectory(problem.id), ""
        messages = followed(problem, self.instruction).messages
        allowed = self.interactions if self.tools else 0
        for turn in range(allowed + 1):
            tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, await prompt_length(self.lm, messages, budget))
            if unit:
                return trace.finish(Stop.BUDGET, text, unit)
            sampling = self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, turn))
            y = await self.lm.complete(messages, sampling.with_(stop=(*sampling.stop, *self._stops)))
            call = read_call(y.text, self.marks) if self.tools and y.stop in (Stop.EOS, Stop.STOP) else None
            said = y.text if call is None else closed(y.text, self.marks)
            text += said
            segment = Segment.of(y, role="answer" if call is None else "act", parent=turn - 1 if turn else None, model=self.lm.name)
            if call is None:
                trace = trace.add(segment)
                unit = budget.spent(trace.cost) if y.stop is Stop.LENGTH else None
                return trace.finish(Stop.BUDGET if unit else y.stop, judgeable(text, self.marks), unit)
            if turn == allowed:
                trace = trace.add(segment)
                break
            done = await ran(call, self.tools)
            trace = trace.add(replace(segment, tool=done))
            back = observation(call.kind if isinstance(call, Call) else "code", done.result or "", self.marks)
            text += back
            if turn + 1 == allowed:
                back += self.marks.exhausted
            messages = (*messages, Message("assistant", said), Message("user", back.strip()))
        return trace.finish(Stop.MAX_CHUNKS, judgeable(text, self.marks))

    @property
    def _stops(self) -> tuple[str, ...]:
        return tuple(self.marks.stops.values()) if self.tools else ()


async def ran(call: Call | str, tools: Mapping[Kind, Tool]) -> ToolCall:
    """A call with its result; what cannot be run is an error to read."""
    if isinstance(call, str):
        return ToolCall("", {}, call, is_error=True)
    tool = tools.get(call.kind)
    if tool is None:
        return ToolCall(call.kind, {}, f"error: there is no {call.kind} here; there is {', '.join(tools)}", is_error=True)
    (argument,) = tool.parameters["properties"]
    return await await_call(ToolCall(tool.name, {argument: call.body}), {tool.name: tool})


@dataclass(frozen=True)
class Coded:
    """Thinks, writes one code block, and answers with what it prints."""

    lm: LM
    python: Tool
    """Of one argument, the code."""
    instruction: str = ""
    marks: Marks = FULL
    sampling: Sampling = Sampling(max_tokens=1024)
    name: str = "CoT-code"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt, one call; without a block that runs there is no answer."""
        trace = Trajectory(problem.id)
        messages = followed(problem, self.instruction).messages
        tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, await prompt_length(self.lm, messages, budget))
        if unit:
            return trace.finish(Stop.BUDGET, "", unit)
        stops = (*self.sampling.stop, self.marks.stops["code"])
        y = await self.lm.complete(messages, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, 0), stop=stops))
        call = read_call(y.text, self.marks) if y.stop in (Stop.EOS, Stop.STOP) else None
        segment = Segment.of(y, model=self.lm.name)
        if not isinstance(call, Call) or call.kind != "code":
            trace = trace.add(segment)
            unit = budget.spent(trace.cost) if y.stop is Stop.LENGTH else None
            return trace.finish(Stop.BUDGET if unit else y.stop, y.text, unit)
        done = await ran(call, {"code": self.python})
        text = closed(y.text, self.marks) + observation("code", done.result or "", self.marks)
        if not done.is_error and (lines := (done.result or "").strip().splitlines()):
            text += lines[-1].strip().join(self.marks.answer)
        return trace.add(replace(segment, tool=done)).finish(y.stop, judgeable(text, self.marks))


@dataclass(frozen=True)
class Guided:
    """Two stages: a steering call writes guidance, then the task's calls work under it. Guidance is never taken for an answer."""

    lm: LM
    steering: str
    """What the steering call is told after the question and what others said."""
    task: Callable[[str], Solver]
    """Guidance -> who answers under it."""
    sampling: Sampling = Sampling(max_tokens=256)
    """Of the steering call."""
    name: str = "guided"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Where the budget pays for no task call after the guidance, there is no answer."""
        trace = Trajectory(problem.id)
        asked = followed(problem, self.steering).messages
        tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, await prompt_length(self.lm, asked, budget))
        if unit:
            return trace.finish(Stop.BUDGET, "", unit)
        y = await self.lm.complete(asked, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, 0)))
        trace = trace.add(Segment.of(y, role=STEERING, model=self.lm.name))
        made = await self.task(y.text.strip())(problem, budget.left(trace.cost), inner_seed(seed, 1))
        own = tuple(replace(s, parent=0 if s.parent is None else s.parent + 1) for s in made.segments)
        return replace(made, segments=trace.segments + own, cost=trace.cost + made.cost)
