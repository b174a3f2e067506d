"""Are the agents different from one another, for good? Likelihood-ratio tests of mixed models, in closed form, and a permutation test.

M0: y = the round's mean + error. M1: with an intercept of each agent, drawn from a normal law. M2: with a slope of each agent too. Every
agent acts in every round, so the maximum of each (restricted) likelihood has a closed form: agents' means, agents' slopes and the rest are
independent, with variances λ1 ≥ σ² and λ2 ≥ σ². Under the null the variance lies on its boundary, and the ratio is ½ χ²_0 + ½ χ²_1. The
paper takes off a trend in time; the rounds' means hold it, and with it every swing that all agents share.

These tests take errors for independent. Agents that merely persist differ for as long as they do, and would pass for different ones; so
series are freed of their first-order autocorrelation first. Of a random walk nothing is left that could tell agents apart.

Self and Liang, JASA 82 (1987) 605 for the boundary; Stram and Lee, Biometrics 50 (1994) 1171.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from reasonry.probe.coordination.states import detrended
from reasonry.probe.coordination.tables import PLUGIN, Floats, Ints, Table, count


@dataclass(frozen=True)
class Ratio:
    """A likelihood-ratio test of one group."""

    intercepts: float
    """2 (log-likelihood M1 − M0)."""
    slopes: float
    """2 (log-likelihood M2 − M1)."""
    p_intercepts: float
    p_slopes: float
    icc: float
    """Share of the variance that lies between agents: (F − 1) / (F + R − 1), below zero where they are more alike than chance."""
    autocorrelation: float
    """Taken off beforehand; 0 where nothing was."""


def ratio_test(y: Floats, whiten: bool = True) -> Ratio | None:
    """The tests of a group's actions [T, N]; `None` with fewer than 4 rounds, or where nothing varies within agents."""
    y = y - y.mean(1, keepdims=True)
    rho = _autocorrelation(y) if whiten else 0.0
    y = y[1:] - rho * y[:-1] if rho else y
    R, N = y.shape
    if R < 4:
        return None
    t = np.arange(R) - (R - 1) / 2
    means = R * float((y.mean(0) ** 2).sum())
    tilts = float(((t @ y) ** 2).sum() / (t @ t))
    rest = max(float((y**2).sum()) - means - tilts, 0.0)
    if rest <= 1e-12 * max(means + tilts, 1e-300):
        return None
    a, b, e = (means, N - 1), (tilts, N - 1), (rest, (N - 1) * (R - 2))  # sums of squares with their dimensions
    m0, m1 = _deviance([_sum(a, b, e)]), _free_or_pooled([a], _sum(b, e))
    m2 = _free_or_pooled([a, b], e)
    F = means / ((tilts + rest) / (R - 1))
    first, second = max(m0 - m1, 0.0), max(m1 - m2, 0.0)
    return Ratio(first, second, boundary_p(first), boundary_p(second), (F - 1) / (F + R - 1), rho)


def boundary_p(ratio: float) -> float:
    """The p-value under ½ χ²_0 + ½ χ²_1: 1 at zero."""
    return 1.0 if ratio <= 1e-12 else 0.5 * float(chdtrc(1, ratio))


def identity_information(states: Ints, K: int) -> Floats:
    """I(agent; state) of series [S, T, N], plug-in: what knowing who acts tells of the act. For categories, against the row shuffle."""
    S, T, N = states.shape
    codes = (np.arange(N) * K + states).reshape(S, T * N)
    return Table(count(codes, N * K).reshape(N, K, S), 2, PLUGIN).information((0,), (1,))


Part = tuple[float, int]


def _sum(*parts: Part) -> Part:
    return sum(s for s, _ in parts), sum(n for _, n in parts)


def _deviance(parts: list[Part]) -> float:
    """−2 log-likelihood at the maximum, each part with its own variance, without constants."""
    return sum(n * np.log(s / n) for s, n in parts)


def _free_or_pooled(free: list[Part], rest: Part) -> float:
    """The smallest deviance where each free part has a variance of its own, not below that of the rest, or is pooled with it."""
    best = np.inf
    for chosen in range(2 ** len(free)):
        own = [p for i, p in enumerate(free) if chosen >> i & 1]
        pooled = _sum(rest, *(p for i, p in enumerate(free) if not chosen >> i & 1))
        if all(s / n >= pooled[0] / pooled[1] for s, n in own):
            best = min(best, _deviance([*own, pooled]))
    return float(best)


def _autocorrelation(y: Floats) -> float:
    """Of what agents' own means and lines leave, lag 1, all agents together, less its bias of −(2 + 4 ρ) / T. At 1 it is a
    random walk, whose agents differ by drift alone."""
    left = detrended(y.T)
    power = float((left[:, :-1] ** 2).sum() + (left[:, 1:] ** 2).sum()) / 2
    if power <= 0:
        return 0.0
    rho = float((left[:, 1:] * left[:, :-1]).sum()) / power
    return float(np.clip((rho + 2 / len(y)) / max(1 - 4 / len(y), 0.2), 0.0, 1.0))
