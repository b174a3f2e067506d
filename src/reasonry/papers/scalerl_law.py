"""ScaleRL's law on synthetic truth: curves of known (A, B, C_mid) with noise, fitted early and asked far ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasonry.probe.scale_fit import Law, Points, fit, fit_power

VALUES = {1500.0: 0.382596, 5000.0: 0.543549, 20_000.0: 0.604204, 100_000.0: 0.609732}
"""Compute -> R of the brief's worked example."""
EXAMPLE = Law(0.30, 0.61, 1.92, 2542.0)
FIRST, LAST, POINTS, NOISE = 1500.0, 8000.0, 40, 0.007
"""GPU-hours that evaluations span, how many they are, and their standard deviation (the paper's is 0.003 to 0.01)."""
AHEAD = 10
"""Times the last compute that is forecast."""


@dataclass(frozen=True)
class Drawn:
    """One synthetic curve. Errors are forecast − truth."""

    seed: int
    law_error: float
    power_error: float
    inside: bool
    """Whether the forecast's 95 % interval holds the truth."""
    refused: bool
    """Whether the tool would have refused the forecast."""


def law_values() -> tuple[float, float]:
    """The largest error on the brief's values, and the slope of log F in log C, with F from R as the paper defines it."""
    off = max(abs(float(EXAMPLE(C)) - R) for C, R in VALUES.items())
    off = max(off, abs(float(EXAMPLE(EXAMPLE.C_mid)) - (0.30 + 0.61) / 2), abs(float(EXAMPLE(0.0)) - 0.30))
    C = np.array([700.0, 9000.0])
    F = EXAMPLE.C_mid**EXAMPLE.B / ((EXAMPLE.A - EXAMPLE.R0) / (EXAMPLE(C) - EXAMPLE.R0) - 1)
    return off, float(np.diff(np.log(F))[0] / np.diff(np.log(C))[0])


def draw(seed: int, n: int) -> list[Drawn]:
    """`n` curves; the first has the brief's truth, the others truths like those the paper reports."""
    rng = np.random.default_rng(seed)
    return [_one(seed, EXAMPLE if i == 0 else _truth(rng), rng) for i in range(n)]


def _truth(rng: np.random.Generator) -> Law:
    return Law(0.30, rng.uniform(0.5, 0.7), rng.uniform(1.5, 2.5), rng.uniform(1500, 3500))


def _one(seed: int, truth: Law, rng: np.random.Generator) -> Drawn:
    C = np.linspace(FIRST, LAST, POINTS)
    points = Points(C, truth(C) + rng.normal(0, NOISE, POINTS), np.ones(POINTS), truth.R0 + rng.normal(0, NOISE))
    fitted, there = fit(points), AHEAD * LAST
    forecast, true = fitted.forecast(there), float(truth(there))
    return Drawn(
        seed, forecast.value - true, float(fit_power(points)(there)) - true, forecast.low <= true <= forecast.high,
        bool(fitted.refusals()),
    )  # fmt: skip
