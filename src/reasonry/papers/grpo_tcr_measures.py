"""Every figure of GRPO-TCR's experiment, as measures with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from reasonry.core import Measure
from reasonry.papers.grpo_tcr_findings import (
    BASE,
    FILTERED,
    REAL,
    STITCHED,
    TEST,
    UNSEEN,
    Arm,
    Asked,
    Of,
    Plan,
    at,
    avg,
    calls,
    level,
    scores,
    success,
)

STARTS = (BASE, REAL, STITCHED, FILTERED)
MODES = {"react": "asked step by step", "deliberate": "asked to plan"}


def names(arms: Sequence[Arm]) -> list[str]:
    """Models in the order they were made, those before RL first."""
    return list(dict.fromkeys(arm.name for arm in sorted(arms, key=lambda a: a.name not in STARTS)))


def logs(arms: Sequence[Arm], name: str) -> list[Arm]:
    """The runs of one arm, a seed each."""
    return [arm for arm in arms if arm.name == name and arm.log]


def measures(plan: Plan, arms: Sequence[Arm]) -> tuple[Measure, ...]:
    """Accuracy, calls and tokens of every model on every set it was asked; then what its training log says."""
    made: list[Measure] = []

    def tokens(a: Asked) -> float:
        return fmean(a.tokens)

    def cut(a: Asked) -> float:
        return fmean(a.cut)

    for name in names(arms):
        k = plan.sft_attempts if name in STARTS[1:] else plan.attempts
        kinds: dict[str, Of] = {
            f"avg@{k}": avg, f"pass@{k}": at(k), "calls an attempt": calls, "success a call": success, "sampled tokens": tokens,
            "cut short": cut,
        }  # fmt: skip
        for where in (TEST, *MODES, UNSEEN):
            for metric, what in kinds.items():
                shown = {TEST: metric, UNSEEN: f"{metric}, unseen family"}.get(where, f"{metric}, {MODES.get(where)}")
                e = level(scores(arms, name, where, what))
                if e is not None:
                    made.append(Measure(name, shown, e.mean, e.low, e.high, e.n))
        made += [Measure(name, metric, fmean(x), min(x), max(x), len(x)) for metric, x in logged(plan, arms, name).items() if x]
    return tuple(made)


def logged(plan: Plan, arms: Sequence[Arm], name: str) -> dict[str, list[float]]:
    """What an arm's training logs say, a number for each seed."""
    own = logs(arms, name)
    steps = [a.log for a in own]
    rated = [a for a in own if a.ratings]
    return {
        "tokens sampled in training": [float(log[-1].tokens) for log in steps],
        "calls an attempt in the first step": [log[0].tool_calls for log in steps],
        "calls an attempt in the last step": [log[-1].tool_calls for log in steps],
        "right in training": _means([[s.pass_rate for s in log] for log in steps]),
        "groups without a signal": _means([[s.zero_variance for s in log] for log in steps]),
        "entropy in the second half": _means([[s.entropy for s in log[len(log) // 2 :]] for log in steps]),
        "tokens clipped": _means([[s.clip_share for s in log] for log in steps]),
        "calls an attempt in all-wrong groups": _means([[s.tool_calls_all_wrong for s in log] for log in steps]),
        "rated problems never passed": [a.ratings.count(0) / len(a.ratings) for a in rated],
        "rated problems always passed": [a.ratings.count(plan.ratings) / len(a.ratings) for a in rated],
    }


def _means(logs: Sequence[Sequence[float | None]]) -> list[float]:
    """The mean of what each log holds; logs that hold nothing are left out."""
    held = [[x for x in log if x is not None] for log in logs]
    return [fmean(log) for log in held if log]
