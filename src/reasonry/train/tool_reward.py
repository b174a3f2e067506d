"""Rewards that pay a wrong answer less badly for having called tools (GRPO-TCR, arXiv 2510.11701), in both published forms.

They part: the paper pays for calls in right answers too, the authors' code does not. n_tool calls of an attempt, num_turns its messages by
user, model and tools (2 without a call), so that each round of calls adds 2.

    code    right: 1                   wrong: min(−0.6, −1 + 0.1·(num_turns − 2)/2)
    paper   right: 1 + 0.1·n_tool      wrong: min(−1 + 0.1·n_tool, cap)

DAPO's overlong penalty (`reward.overlong`, sampled tokens only: results of tools are not counted) is added to either with factor 1.

Departures: the paper prints no cap; the code's −0.6 stands in. What to watch: where a whole group is wrong these are the only rewards, and
a normaliser by the group's sd makes them full size, so the policy is taught to call more and nothing else (`tool_calls_all_wrong` in the
log); and a bonus for calls in right answers invites calls that are not needed.
"""

from __future__ import annotations

from reasonry.core import Problem, Trajectory
from reasonry.probe.tool_use import tool_use
from reasonry.train.reward import Signal, Signals, each

CAP = -0.6
"""The most a wrong answer earns."""


def as_coded(passed: bool, num_turns: int) -> float:
    """The reward in the authors' code."""
    return 1.0 if passed else min(CAP, -1 + 0.1 * (num_turns - 2) / 2)


def as_printed(passed: bool, n_tool: int, cap: float = CAP) -> float:
    """The reward in the paper."""
    return 1 + 0.1 * n_tool if passed else min(-1 + 0.1 * n_tool, cap)


def _coded(problem: Problem, t: Trajectory) -> Signals | None:
    passed = None if t.verdict is None else t.verdict.passed
    return None if passed is None else {"tool_aware": as_coded(passed, tool_use(t).messages)}


def _printed(problem: Problem, t: Trajectory) -> Signals | None:
    passed = None if t.verdict is None else t.verdict.passed
    return None if passed is None else {"tool_aware": as_printed(passed, tool_use(t).calls)}


FORMS: dict[str, Signal] = {"code": each(_coded), "paper": each(_printed)}
"""Signals called `tool_aware`, in place of the verdict's `score`; an attempt without a verdict is not scored."""
