"""Rewards for length, relative to the other answers of the same prompt.

Shapes: a group of G attempts; T_i the tokens attempt i sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

from reasonry.core import Problem, Trajectory
from reasonry.train.reward import Signals


def brevity(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
    """`length` λ_i = ½ − (T_i − min T)/(max T − min T) for a right answer, min(0, λ_i) for a wrong one, 0 where all are as long as each
    other (Kimi k1.5, arXiv 2501.12599 §2.3.3): the shortest right answer gains ½, the longest, right or wrong, loses ½.

    A `Signal`; the paper adds it to the verdict with a weight that it does not print, and only after a warm-up without it. An attempt
    without a verdict is not scored.
    """
    T = [t.cost.completion_tokens for t in group]
    least, span = min(T, default=0), max(T, default=0) - min(T, default=0)
    signals: list[Signals | None] = []
    for t, n in zip(group, T, strict=True):
        if t.verdict is None or t.verdict.passed is None:
            signals.append(None)
            continue
        gain = 0.5 - (n - least) / span if span else 0.0
        signals.append({"length": gain if t.verdict.passed else min(0.0, gain)})
    return signals
