"""What monitors of a training run are made of: findings, and where a rolling median stays beyond a limit.

Letters: N points of a series, w the window: N / 20, at least 5 and at most 25.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reasonry.probe.training_log import Log, Series

FEWEST = 10
"""Points below which a series is not judged."""


class Level(StrEnum):
    """How much a finding weighs."""

    ALARM = "alarm"
    HINT = "hint"
    """Worth a look; often harmless."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a monitor saw."""

    monitor: str
    level: Level
    series: str
    step: float
    """Where it began: the middle of the first window beyond the limit."""
    value: float
    """The rolling median where it was worst, or what `says` names."""
    threshold: float
    says: str
    advice: str
    ongoing: bool = True
    """Whether it was still so at the end of the log."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """A check with what it needs and why it is made."""

    check: Callable[[Log], list[Finding]]
    needs: tuple[str, ...]
    """Series without which it is skipped."""
    watches: str
    """What it looks for, with its limit."""
    fewest: int = FEWEST
    """Points below which a series is not judged."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a rolling median stayed beyond a limit."""

    step: float
    value: float
    ongoing: bool


def window(n: int) -> int:
    """w for a series of N points."""
    return min(max(n // 20, 5), 25)


def rolling_median(values: NDArray[np.float64], w: int) -> NDArray[np.float64]:
    """Median of each w consecutive values, [N − w + 1]; entry i is about values i … i + w − 1."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, w), axis=1)


def noise(values: NDArray[np.float64]) -> float:
    """Robust standard deviation about the trend: 1.4826 · median |xᵢ₊₁ − xᵢ| / √2. One jump, or a slow drift, hardly moves it."""
    return 1.4826 * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2) if len(values) > 1 else 0.0


def median_error(values: NDArray[np.float64], w: int) -> float:
    """Standard error of a median of w of these values: √(π/2) · σ / √w, σ by `noise`."""
    return math.sqrt(math.pi / 2) * noise(values) / math.sqrt(w)


def beginning(values: NDArray[np.float64]) -> float:
    """Where a series started: the median of its first window."""
    return float(np.median(values[: window(len(values))]))


def crossing(series: Series, limit: float, above: bool = True) -> Crossing | None:
    """Where the rolling median first lies beyond the limit, by two standard errors, for w windows in a row; `None` where it never does."""
    sign = 1.0 if above else -1.0
    w = window(len(series))
    medians = sign * rolling_median(series.values, w)
    beyond = medians - 2 * median_error(series.values, w) > sign * limit
    runs = np.lib.stride_tricks.sliding_window_view(beyond, min(w, len(beyond))).all(axis=1)
    if not runs.any():
        return None
    start = int(np.argmax(runs))
    return Crossing(float(series.steps[start + w // 2]), float(sign * medians[start:][beyond[start:]].max()), bool(beyond[-1]))


def gain(series: Series) -> tuple[float, float]:
    """(median of the last third − median of the first, its standard error)."""
    third = max(len(series) // 3, 1)
    change = float(np.median(series.values[-third:]) - np.median(series.values[:third]))
    return change, math.sqrt(2) * median_error(series.values, third)
