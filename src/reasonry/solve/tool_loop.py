"""The plain tool loop: the model writes calls, their results come back as `tool` messages, until it answers without calling.

The baseline that agent methods are compared with. Calls have the form `tasks.tools.read_calls` reads (`<tool_call>{…}</tool_call>`), or
another that the loop is given. What was called, and what failed and why, is kept in the trajectory (`probe.tool_use`). A turn's context is
the ids of the turns before it, sampled ids included, plus the ids of the results: nothing sampled is re-tokenised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reasonry.core import LM, Budget, Ids, Message, Problem, Sampling, Segment, Stop, ToolCall, Trajectory, UserError
from reasonry.probe.tool_use import counted
from reasonry.solve.calls import inner_seed, room
from reasonry.tasks.tools import Tool, ToolsOf, await_call, read_calls

Read = Callable[[str], list[ToolCall]]
"""A turn's text -> the calls it makes, in order; what is no well-formed call has an empty name and is an error."""
Tell = Callable[[tuple[Message, ...], Mapping[str, Tool]], tuple[Message, ...]]
"""The problem's messages and its tools -> the messages the model gets."""


def known(messages: tuple[Message, ...], tools: Mapping[str, Tool]) -> tuple[Message, ...]:
    """The messages as they are: the model knows its tools, or the task's words tell of them."""
    return messages


async def after_turn(lm: LM, messages: tuple[Message, ...], results: tuple[Message, ...]) -> Ids:
    """What the chat template puts after an assistant's closed turn: the results, and the next turn opened.

    Raises UserError for a template that renders a turn differently once more messages follow.
    """
    opened = await lm.encode(messages)
    followed = await lm.encode((*messages, Message("assistant", ""), *results))
    if followed[: len(opened)] != opened:
        raise UserError(
            f"tools: the chat template of {lm.name} rewrites earlier turns, so their tokens cannot be kept; use another template"
        )
    return followed[len(opened) + 1 :]  # less the token that ends the turn, which the model samples itself


@dataclass(frozen=True)
class ToolLoop:
    """Answers with tools, in at most `max_turns` model calls."""

    lm: LM
    tools_of: ToolsOf
    max_turns: int = 6
    sampling: Sampling = Sampling(max_tokens=512)
    """Of each turn; the seed is replaced by one derived from the attempt's."""
    name: str = "tools"
    read: Read = read_calls
    tell: Tell = known

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise UserError(f"tools: max_turns is {self.max_turns} but at least one turn is needed; raise max_turns")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt; each turn is a segment, a turn that calls holds its last call and result."""
        tools = self.tools_of(problem)
        messages = self.tell(problem.messages, tools)
        trace, context = Trajectory(problem.id), await self.lm.encode(messages)
        text, called = "", list[ToolCall]()

        def end(stop: Stop, spent: str | None = None) -> Trajectory:
            return trace.finish(stop, text, spent, tools=counted(called))

        for turn in range(self.max_turns):
            tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, len(context))
            if unit:
                return end(Stop.BUDGET, unit)
            y = await self.lm.complete(context, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, turn)))
            text = y.text
            done = [await await_call(call, tools) for call in self.read(text)] if y.stop is Stop.EOS else []
            called += done
            role = "act" if done else "answer"
            segment = Segment.of(y, role=role, parent=turn - 1 if turn else None, model=self.lm.name)
            trace = trace.add(replace(segment, tool=done[-1] if done else None))
            if not done:
                unit = budget.spent(trace.cost) if y.stop is Stop.LENGTH else None
                return end(Stop.BUDGET if unit else y.stop, unit)
            if y.ids is None:
                raise UserError(f"tools: {self.lm.name} returned no token ids, and the next turn goes on from them; use a server that does")
            results = tuple(Message("tool", call.result or "") for call in done)
            context = context + y.ids + await after_turn(self.lm, messages, results)
        return end(Stop.MAX_CHUNKS)
