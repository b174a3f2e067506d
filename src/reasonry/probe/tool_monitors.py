"""Monitors of runs whose policy calls tools: tools given up, tools that fail, calls that are made for the reward alone."""

from __future__ import annotations

from reasonry.probe.monitor import FEWEST, Finding, Level, beginning, crossing, gain
from reasonry.probe.training_log import Log

TOOLS_LEFT, TOOLS_USED = 0.1, 0.05
"""Share of the calls made at the beginning below which tools count as given up; calls an attempt from which they were in use at all."""
SUCCESS = 0.7
"""Share of calls that must give a result: GRPO-TCR (arXiv 2510.11701) finds more than 70 % with agents that plan their calls."""
FOR_NOTHING = 2.0
"""Times the calls of the beginning, in groups without a right answer. There the tool-aware reward differs by calls alone."""


def tool_calls(log: Log, left: float = TOOLS_LEFT) -> list[Finding]:
    """Tools that were in use and are given up."""
    series = log.series["tool_calls"]
    start = beginning(series.values)
    if start < TOOLS_USED or not (c := crossing(series, left * start, above=False)):
        return []
    says = f"Tool calls fell from {start:.3g} to {c.value:.3g} an attempt: the policy has stopped using its tools."
    advice = (
        "Fine-tune on real multi-turn tool traces first, or start from an instruction-tuned model; long-CoT models drop tools under RL."
    )
    return [Finding("tool calls", Level.ALARM, "tool_calls", c.step, c.value, left * start, says, advice, c.ongoing)]


def tool_failures(log: Log, least: float = SUCCESS) -> list[Finding]:
    """Calls that fail too often; one that becomes rarer is being learnt, and is no finding."""
    series = log.series["tool_success"]
    c = crossing(series, least, above=False)
    change, error = gain(series)
    if c is None or (change > 2 * error and not c.ongoing):
        return []
    says = f"Up to {100 * (1 - c.value):.0f} % of tool calls fail. What comes back is noise that raises entropy and looks like exploration."
    advice = (
        "Look at the classes of failure (tool_failures/…): calls that cannot be read, unknown tools, errors, time-outs; mend the worst."
    )
    return [Finding("tool failures", Level.ALARM, "tool_success", c.step, c.value, least, says, advice, c.ongoing)]


def calls_for_nothing(log: Log, times: float = FOR_NOTHING) -> list[Finding]:
    """More and more calls where nothing is right: what a reward for calling teaches by itself."""
    series = log.series["tool_calls_all_wrong"]
    limit = times * max(beginning(series.values), TOOLS_USED)
    if not (c := crossing(series, limit)):
        return []
    rate = log.series["pass_rate"]
    if len(rate) >= FEWEST:
        change, error = gain(rate)
        if change > 2 * error:
            return []
    says = f"In groups without a right answer calls rose to {c.value:.3g} an attempt, and no more answers are right than at the beginning."
    advice = "There a reward for calling is the only difference: drop groups that are all wrong, use the plain verdict, or easier problems."
    return [Finding("calls for nothing", Level.ALARM, "tool_calls_all_wrong", c.step, c.value, limit, says, advice, c.ongoing)]
