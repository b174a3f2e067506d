"""Written traces of tool use for supervised training: real ones, which an agent makes by calling, and stitched ones, cut from plain text.

A real trace (`enacted`) is what happened: every result in it came from running the call before it, failed calls included, and what the
agent wrote next it wrote having read that. A stitched trace (`stitched`) is a text written without tools in which one computation was
replaced by a call afterwards: the call and its result are genuine too, but the lines after it were written by someone who never saw them.
GRPO-TCR (arXiv 2510.11701, section on data) finds the first a much better start for RL.

Invariant: a trace is chat messages; only the assistant's are to be learnt (`train.sft.chat_example` masks the results of tools).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reasonry.core import Message, ToolCall, UserError
from reasonry.tasks.tools import Tool, read_calls, run_call

Agent = Callable[[Sequence[Message]], str]
"""The conversation so far -> the agent's next message; one without a call ends the trace."""
Read = Callable[[str], list[ToolCall]]
"""A message -> the calls it makes."""


def enacted(
    prompt: Sequence[Message], agent: Agent, tools: Mapping[str, Tool], read: Read = read_calls, most: int = 16
) -> tuple[Message, ...]:
    """The chat that comes of letting the agent use the tools, prompt included. Raises UserError where it calls in `most` turns."""
    chat = [*prompt]
    for _ in range(most):
        said = agent(chat)
        chat.append(Message("assistant", said))
        calls = read(said)
        if not calls:
            return tuple(chat)
        chat += [Message("tool", run_call(call, tools).result or "") for call in calls]
    raise UserError(f"enacted: the agent has called in {most} turns and not ended; raise most, or mend the agent")


def stitched(
    prompt: Sequence[Message], lines: Sequence[str], at: int, call: str, tools: Mapping[str, Tool], read: Read = read_calls
) -> tuple[Message, ...]:
    """The text `lines` with the line `at` replaced by a call, its result, and the other lines as they were, whatever the result.

    Raises UserError where `call` makes no call.
    """
    calls = read(call)
    if not calls:
        raise UserError(f"stitched: {call!r} makes no call; write it as the reader of calls expects")
    results = [Message("tool", run_call(c, tools).result or "") for c in calls]
    before, after = "\n".join([*lines[:at], call]), "\n".join(lines[at + 1 :])
    return (*prompt, Message("assistant", before), *results, Message("assistant", after))


def right(chat: Sequence[Message], judge: Callable[[str], bool]) -> bool:
    """Whether the trace's last message passes: the filter of real traces by correctness."""
    return judge(chat[-1].content)
