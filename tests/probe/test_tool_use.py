"""Accounts of tool calls: every class of failure, verl's count of messages, and what a step's groups did together."""

from dataclasses import replace

import pytest

from reasonry.core import Cost, Segment, Stop, ToolCall, Trajectory, Verdict
from reasonry.probe.tool_use import ToolUse, counted, tool_health, tool_use
from reasonry.tasks.tools import Failure, failure, read_calls, run_call, tool


def slow(x: str) -> str:
    """Gives up."""
    raise TimeoutError


def broken(x: str) -> str:
    """Raises."""
    raise KeyError(x)


def fine(x: str) -> str:
    """Says it back."""
    return x


TOOLS = {name: tool(f) for name, f in {"slow": slow, "broken": broken, "fine": fine}.items()}


def call(name: str) -> ToolCall:
    return run_call(ToolCall(name, {"x": "1"}), TOOLS)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (call("fine"), None),
        (call("slow"), Failure.TIMEOUT),
        (call("broken"), Failure.ERROR),
        (call("nowhere"), Failure.UNKNOWN),
        (run_call(ToolCall("fine", {"y": "1"}), TOOLS), Failure.ERROR),
        (run_call(read_calls("<tool_call>{oops</tool_call>")[0], TOOLS), Failure.UNDECODABLE),
    ],
)
def test_every_failure_has_its_class_and_none_is_raised(made: ToolCall, kind: Failure | None) -> None:
    assert failure(made) is kind
    assert made.is_error == (kind is not None)
    assert made.result


def attempt(*calls: ToolCall | None, right: bool = False, **meta: object) -> Trajectory:
    """One segment for each; `None` is a turn without a call."""
    segments = tuple(Segment((1,), (2,), "", (0.0,), Stop.EOS, Cost(), tool=c) for c in calls)
    return Trajectory("p", segments, stop=Stop.EOS, verdict=Verdict(float(right), right), meta=meta)


def test_messages_are_counted_as_verl_counts_turns() -> None:
    """2 without a call, 2 more for each round; an attempt cut after a result lacks the last message."""
    assert tool_use(attempt(None)).messages == 2
    assert tool_use(attempt(call("fine"), None)).messages == 4
    assert tool_use(attempt(call("fine"), call("slow"), None)).messages == 6
    assert tool_use(attempt(call("fine"))).messages == 3


def test_the_solvers_own_account_goes_before_what_segments_show() -> None:
    """A turn may make several calls; its segment holds the last."""
    t = attempt(call("fine"), None, tools=counted([call("fine"), call("slow"), call("fine")]))
    assert tool_use(t) == ToolUse(3, {Failure.TIMEOUT: 1}, 2, 1)
    assert tool_use(t).succeeded == 2
    assert (tool_use(t) + tool_use(t)).failed == {Failure.TIMEOUT: 2}


def test_a_steps_groups_by_hand() -> None:
    """Six attempts, 7 calls of which 2 failed; the second group is all wrong and makes 4 calls in 2 attempts."""
    good, bad = call("fine"), call("broken")
    groups = [
        [attempt(good, None, right=True), attempt(good, None), attempt(None), attempt(bad, None)],
        [attempt(good, good, bad, None), attempt(good, None)],
    ]
    told = tool_health(groups)
    assert told == {
        "tool_calls": 7 / 6, "turns": (2 + 2 + 1 + 2 + 4 + 2) / 6, "tool_success": 5 / 7, "tool_calls_all_wrong": 2.0,
        "tool_failures/error": 2 / 7,
    }  # fmt: skip


def test_no_calls_any_more_is_zero_and_no_tools_at_all_is_nothing() -> None:
    """A policy that has given its tools up is seen; a solver that never had any is not asked."""
    given_up = attempt(None, tools=counted([]))
    assert tool_health([[given_up, replace(given_up, verdict=Verdict(1.0, True))]])["tool_calls"] == 0.0
    assert tool_health([[given_up]])["tool_success"] is None
    assert tool_health([[attempt(None)]]) == {}
