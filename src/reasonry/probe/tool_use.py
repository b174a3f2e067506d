"""What an attempt did with its tools: how many calls, which of them failed and why, how many turns.

Read from what the tool loop keeps in a trajectory (`meta["tools"]`), else from the calls that its segments hold (one a segment); an attempt
of a solver without tools has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reasonry.core import Stop, ToolCall, Trajectory
from reasonry.tasks.tools import Failure, failure


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The calls of one attempt, or of several together (`+`)."""

    calls: int = 0
    failed: Mapping[Failure, int] = field(default_factory=dict)
    """Calls by class of failure; classes without one are left out."""
    turns: int = 0
    """Messages by the model."""
    rounds: int = 0
    """Turns that called, so messages of results."""

    @property
    def succeeded(self) -> int:
        """Calls that gave a result."""
        return self.calls - sum(self.failed.values())

    @property
    def messages(self) -> int:
        """verl's `num_turns`: the user's message, the model's, and the results'; 2 for an answer without a call, 2 more for each round."""
        return 1 + self.turns + self.rounds

    def __add__(self, other: ToolUse) -> ToolUse:
        failed = {kind: n for kind in Failure if (n := self.failed.get(kind, 0) + other.failed.get(kind, 0))}
        return ToolUse(self.calls + other.calls, failed, self.turns + other.turns, self.rounds + other.rounds)


def counted(calls: Iterable[ToolCall]) -> dict[str, int]:
    """How many calls there are, under `calls`, and how many of each class of failure: what a solver keeps as `meta["tools"]`."""
    told = {"calls": 0}
    for call in calls:
        told["calls"] += 1
        if (kind := failure(call)) is not None:
            told[kind.value] = told.get(kind.value, 0) + 1
    return told


def has_tools(t: Trajectory) -> bool:
    """Whether the attempt was made by a solver that runs tools, or holds a call."""
    return "tools" in t.meta or any(s.tool is not None for s in t.segments)


def tool_use(t: Trajectory) -> ToolUse:
    """The calls of an attempt."""
    told = t.meta.get("tools") or counted(s.tool for s in t.segments if s.tool is not None)
    failed = {kind: told[kind.value] for kind in Failure if told.get(kind.value)}
    turns = sum(s.stop is not Stop.ERROR for s in t.segments)
    return ToolUse(told["calls"], failed, turns, sum(s.tool is not None for s in t.segments))


def tool_health(groups: Sequence[Sequence[Trajectory]]) -> dict[str, float | None]:
    """What a training step's groups of attempts did with their tools; empty where none of them has any.

    `tool_calls` and `turns` an attempt; `tool_success`, the share of calls that gave a result, and `tool_failures/…`, the shares of each
    class of failure; `tool_calls_all_wrong`, calls an attempt in groups without a right answer, whose only signal may be how much they
    call. `None` where there is nothing to count.
    """
    if not any(has_tools(t) for group in groups for t in group):
        return {}
    uses = [[tool_use(t) for t in group] for group in groups]
    total, attempts = sum((u for group in uses for u in group), ToolUse()), sum(map(len, uses))
    wrong = [u.calls for group, own in zip(groups, uses, strict=True) if group and not any(map(_right, group)) for u in own]
    return {
        "tool_calls": total.calls / attempts,
        "turns": total.turns / attempts,
        "tool_success": total.succeeded / total.calls if total.calls else None,
        "tool_calls_all_wrong": sum(wrong) / len(wrong) if wrong else None,
        **{f"tool_failures/{kind}": n / total.calls for kind, n in total.failed.items()},
    }


def _right(t: Trajectory) -> bool:
    return t.verdict is not None and t.verdict.passed is True
