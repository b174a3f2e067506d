"""Does coordination pay? Logistic regression of success with an interaction, and mediation, over groups.

The paper regresses success on early synergy, early redundancy and their product, all in standard units, and asks whether a condition acts
through synergy. Weighted maximum likelihood by Newton's method; mediation as in Imai, Keele and Tingley, Psychological Methods 15 (2010)
309, with a bootstrap over groups.

Departure: a weak normal prior (variance 100 in standard units) on every coefficient keeps separated data from running away; with overlap it
changes nothing that is printed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from reasonry.core import UserError
from reasonry.probe.coordination.tables import Floats
from reasonry.probe.stats import Estimate

RIDGE = 0.01


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fit. The first coefficient is the intercept's."""

    coefficients: Floats
    errors: Floats
    p: Floats
    """Two-sided, Wald."""


def logistic(y: Floats, X: Floats, weights: Floats | None = None) -> Logistic:
    """Fits P(y = 1) = expit(b0 + X b); X is [n, k], weights [n] (inverse probabilities of a condition) with robust errors."""
    A = np.column_stack([np.ones(len(y)), X])
    w = np.ones(len(y)) if weights is None else weights
    b, prior = np.zeros(A.shape[1]), RIDGE * np.eye(A.shape[1])
    bread = prior
    for _ in range(100):
        mu = expit(A @ b)
        bread = (A * (w * mu * (1 - mu))[:, None]).T @ A + prior
        step = np.linalg.solve(bread, A.T @ (w * (y - mu)) - prior @ b)
        b = b + step
        if np.abs(step).max() < 1e-10:
            break
    inverse = np.linalg.inv(bread)
    if weights is None:
        covariance = inverse
    else:
        scores = A * (w * (y - expit(A @ b)))[:, None]
        covariance = inverse @ (scores.T @ scores) @ inverse
    errors = np.sqrt(np.diag(covariance))
    return Logistic(b, errors, 2 * ndtr(-np.abs(b / errors)))


def standard(x: Floats) -> Floats:
    """In standard units; a constant is zero."""
    spread = x.std()
    return (x - x.mean()) / spread if spread > 0 else np.zeros_like(x)


def interaction(
    success: Floats, synergy: Floats, redundancy: Floats, controls: Floats | None = None, weights: Floats | None = None
) -> Estimate:
    """The slope of synergy × redundancy on success, with its 95 % interval: e to that power is what a standard unit of one adds to the odds
    ratio of the other. `controls` is [n, k]. Raises UserError where all groups fared alike."""
    if len(np.unique(success)) < 2:
        raise UserError("success: all groups fared alike, and nothing can be learnt of it; give groups that won and groups that lost")
    s, r = standard(synergy), standard(redundancy)
    columns = [s, r, s * r]
    X = np.column_stack(columns if controls is None else [*columns, controls])
    fit = logistic(success.astype(np.float64), X, weights)
    slope, error = float(fit.coefficients[3]), float(fit.errors[3])
    return Estimate(slope, slope - 1.959964 * error, slope + 1.959964 * error, len(success))


def mediated(treated: Floats, mediator: Floats, success: Floats, draws: int = 500, seed: int = 0) -> Estimate:
    """How much of a condition's effect on success goes through a mediator (ACME), in probability, with a bootstrap interval over groups."""
    rng = np.random.default_rng(seed)
    n = len(success)
    made = [_mediated(treated, mediator, success)]
    for _ in range(draws):
        pick = rng.integers(0, n, n)
        if 0 < treated[pick].mean() < 1 and 0 < success[pick].mean() < 1:
            made.append(_mediated(treated[pick], mediator[pick], success[pick]))
    low, high = np.quantile(made[1:], [0.025, 0.975]) if len(made) > 1 else (np.nan, np.nan)
    return Estimate(made[0], float(low), float(high), n)


def _mediated(treated: Floats, mediator: Floats, success: Floats) -> float:
    """Mean over groups and both conditions of P(success | mediator as treated) − P(success | mediator as not treated)."""
    by = mediator[treated == 1].mean() - mediator[treated == 0].mean()
    plain = mediator - by * treated
    b = logistic(success.astype(np.float64), np.column_stack([mediator, treated])).coefficients
    return float(np.mean([expit(b[0] + b[1] * (plain + by) + b[2] * t) - expit(b[0] + b[1] * plain + b[2] * t) for t in (0, 1)]))
