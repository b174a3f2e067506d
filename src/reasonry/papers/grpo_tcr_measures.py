"""Every figure of GRPO-TCR's experiment, as measures with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from reasonry.core import Measure
from reasonry.papers.grpo_tcr_findings import (
    BASE,
    CURATED,
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
        for arm in logs(arms, name):
            last = arm.log[-1]
            for metric, value in (
                ("sampled tokens in training", last.tokens), ("steps", len(arm.log)), ("calls in the first step", arm.log[0].tool_calls),
                ("calls in the last step", last.tool_calls), ("mean pass rate in training", _mean([s.pass_rate for s in arm.log])),
                ("groups without a signal", _mean([s.zero_variance for s in arm.log])),
                ("entropy, second half", _mean([s.entropy for s in arm.log[len(arm.log) // 2 :] if s.entropy is not None])),
                ("tokens clipped", _mean([s.clip_share for s in arm.log if s.clip_share is not None])),
                ("calls in all-wrong groups", _mean([s.tool_calls_all_wrong for s in arm.log if s.tool_calls_all_wrong is not None])),
            ):  # fmt: skip
                made.append(Measure(name, f"{metric}, seed {arm.seed}", value, value, value, len(arm.log)))
            if arm.name == CURATED:
                never, always = arm.ratings.count(0), arm.ratings.count(plan.ratings)
                for metric, n in (("never passed", never), ("always passed", always)):
                    value = n / len(arm.ratings)
                    made.append(Measure(name, f"rated problems {metric}, seed {arm.seed}", value, value, value, len(arm.ratings)))
    return tuple(made)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
