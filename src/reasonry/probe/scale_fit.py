"""The compute–performance law of reinforcement learning, fitted: R(C) = R_0 + (A − R_0) / (1 + (C_mid/C)^B), with profile intervals.

Paper: ScaleRL (arXiv 2510.13786), equation 1. Symbols: C compute spent, R metric on held-out problems, R_0 the metric before training,
A the asymptote (ceiling), B the efficiency exponent, C_mid the compute at which half of A − R_0 is gained. N points.

Invariant: nothing depends on the unit of compute; C → λC multiplies C_mid by λ and changes nothing else. Every interval is a range over
one region {parameters: SSE ≤ SSE_min · (1 + τ t²/(N − 3))}, so intervals of A, B, C_mid and of any forecast agree with one another.

Departures from the paper.
1. For given (B, C_mid) the law is linear in (R_0, A), so these two are solved exactly and only (B, C_mid) are searched, without grid steps.
   `fit_on_grid` is the paper's own procedure.
2. The paper holds the measured R_0 exact. It is as noisy as any other point, and holding it exact makes intervals too narrow
   (`tests/probe/test_scale_fit.py` counts the misses). Here it is one more measurement, at C = 0; `start_weight=None` is the paper's.
3. The paper gives no intervals from a single run. Here they are profile-likelihood intervals, widened by τ = (1 + ρ)/(1 − ρ) where
   neighbouring residuals are correlated with ρ, which is also what a curve of another shape leaves behind.
"""

# ruff: noqa: N802, N815 (the paper's letters)
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, stdtrit

Floats = NDArray[np.float64]

LEVEL = 0.95
FEWEST = 6
"""Points a fit needs: three parameters and as many to see the noise by."""
EFFICIENCIES = (0.1, 20.0)
"""Values of B searched; an interval that reaches an end is open there."""
BEYOND = 100.0
"""C_mid is searched from the smallest compute divided by this to the largest times this."""
WIDEST = 5
"""Ties that A's interval may be wide before a forecast is refused."""
TIE = 0.02
"""Differences of A below this share of the metric's range are ties; the paper's, from three repeated runs (A ± 0.015)."""
PAPER_ASYMPTOTES, PAPER_MIDPOINTS = np.linspace(0.45, 0.8, 71), np.linspace(100, 40_000, 100)
"""The paper's grids of A, and of C_mid in GPU-hours."""

_CELLS = 61
_ROUNDS = 12


class Interval(NamedTuple):
    """An estimate and its interval; an end that the data leave open is `inf` or 0."""

    value: float
    low: float
    high: float


class Law(NamedTuple):
    """The sigmoid's four numbers."""

    R0: float
    A: float
    B: float
    C_mid: float

    def __call__(self, compute: ArrayLike) -> Floats:
        """R at these amounts of compute; R_0 at 0."""
        return self.R0 + (self.A - self.R0) * _share(np.asarray(compute, dtype=np.float64), self.B, self.C_mid)

    def reach(self, share: float) -> float:
        """The compute at which this share of the gain A − R_0 is reached; 0 < share < 1."""
        return self.C_mid * (share / (1 - share)) ** (1 / self.B)


class PowerLaw(NamedTuple):
    """R(C) = A − D·C^(−B): the sigmoid far beyond C_mid, and the usual rival."""

    A: float
    D: float
    B: float

    def __call__(self, compute: ArrayLike) -> Floats:
        """R at these amounts of compute, which must be above 0."""
        return self.A - self.D * np.asarray(compute, dtype=np.float64) ** -self.B


@dataclass(frozen=True)
class Points:
    """What a law is fitted to; all arrays [N]."""

    compute: Floats
    """Above 0, in any unit."""
    metric: Floats
    weight: Floats
    """How many records each point is the mean of."""
    R0: float
    """The metric before training, as measured."""
    start_weight: float | None = 1.0
    """How many measurements `R0` is the mean of; None holds it exact."""
    run: NDArray[np.int64] | None = None
    """Which run each point is of; None where there is one. Points of a run are in the order of their compute."""

    def __len__(self) -> int:
        return len(self.compute)

    @property
    def runs(self) -> NDArray[np.int64]:
        """Which run each point is of, [N]."""
        return np.zeros(len(self), dtype=np.int64) if self.run is None else self.run


@dataclass(frozen=True)
class _Cells:
    """Least squares at many (B, C_mid): the best (R_0, A), its inverse normal matrix, and the error there and at A ≤ ceiling. All [K]."""

    B: Floats
    L: Floats
    """log C_mid."""
    R0: Floats
    A: Floats
    var_R0: Floats
    cov: Floats
    var_A: Floats
    free: Floats
    bound: Floats

    def only(self, kept: NDArray[np.bool_]) -> _Cells:
        return _Cells(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Fit:
    """A law fitted to points, and the region of laws the points allow."""

    law: Law
    points: Points
    ceiling: float
    """The highest the metric can be."""
    sd: float
    """Noise of one record, from the residuals."""
    inflation: float
    """τ, by how much correlated residuals widen every squared half-width."""
    flat: bool
    """Whether a constant fits as well."""
    region: _Cells
    threshold: float
    open_B: tuple[bool, bool]
    open_C: tuple[bool, bool]

    @cached_property
    def A(self) -> Interval:
        """The asymptote; its lower end is at least R_0, its upper end at most the ceiling."""
        found = self._range(self.law.A, np.zeros(()), np.ones(()))
        return found._replace(low=max(found.low, min(self.law.R0, found.value)))

    @cached_property
    def B(self) -> Interval:
        """The efficiency exponent."""
        low, high = float(self.region.B.min()), float(self.region.B.max())
        return _around(self.law.B, 0.0 if self.open_B[0] else low, np.inf if self.open_B[1] else high)

    @cached_property
    def C_mid(self) -> Interval:
        """The compute of half the gain."""
        low, high = float(np.exp(self.region.L.min())), float(np.exp(self.region.L.max()))
        return _around(self.law.C_mid, 0.0 if self.open_C[0] else low, np.inf if self.open_C[1] else high)

    def forecast(self, compute: float) -> Interval:
        """The law at this much compute: where the curve runs, without the noise of a single measurement."""
        x = _share(np.float64(compute), self.region.B, np.exp(self.region.L))
        return self._range(float(self.law(compute)), 1 - x, x)

    def reach(self, share: float) -> Interval:
        """The compute at which this share of the gain is reached."""
        found = np.exp(self.region.L + np.log(share / (1 - share)) / self.region.B)
        low, high = 0.0 if self.open_C[0] else float(found.min()), np.inf if self.open_C[1] else float(found.max())
        return _around(self.law.reach(share), low, high)

    def refusals(self, tie: float = TIE) -> tuple[str, ...]:
        """Why this fit may not be extrapolated, a clause each; empty where it may. `tie` is a difference of A that does not count."""
        if self.flat:
            return ("the metric does not rise: a constant fits these points as well",)
        found: list[str] = []
        last = float(self.points.compute.max())
        if self.C_mid.high > last:
            reach = "has no upper end" if self.C_mid.high == np.inf else f"reaches {amount(self.C_mid.high)}"
            found.append(f"the bend is not behind the data (C_mid's interval {reach}, the last point is at {amount(last)})")
        if self.A.high - self.A.low > WIDEST * tie:
            side = ", and open up to the metric's maximum" if self.A.high >= self.ceiling else ""
            width = f"wider than {WIDEST} ties of {tie:g}{side}"
            found.append(f"A is not pinned down (its interval {self.A.low:.3f} to {self.A.high:.3f} is {width})")
        return tuple(found)

    def _range(self, value: float, cR: Floats, cA: Floats) -> Interval:
        """Range of cR·R_0 + cA·A over the region."""
        r = self.region
        spread = np.sqrt(
            np.maximum(self.threshold - r.free, 0) * np.maximum(cR * cR * r.var_R0 + 2 * cR * cA * r.cov + cA * cA * r.var_A, 0)
        )
        middle = cR * r.R0 + cA * r.A
        return _around(value, float((middle - spread).min()), min(float((middle + spread).max()), self.ceiling))


def fit(points: Points, ceiling: float = 1.0, A: float | None = None, level: float = LEVEL) -> Fit:
    """Least squares over the law's parameters with A ≤ `ceiling`, and the region of its `level` intervals; `A` given holds it.

    Raises ValueError for fewer than FEWEST points, a compute that is not above 0, or no spread of compute.
    """
    n, C = len(points), points.compute
    if n < FEWEST or not (C > 0).all() or C.min() == C.max():
        raise ValueError(
            f"fit: {n} points at compute {C.min() if n else '-'} to {C.max() if n else '-'}; needs {FEWEST} at different C > 0"
        )
    box = np.log([EFFICIENCIES, (C.min() / BEYOND, C.max() * BEYOND)])
    best = _polish(points, ceiling, A, box)
    dof = n - (3 if A is None else 2)
    smallest = max(float(best.bound[0]), 1e-18 * float(points.weight @ (points.metric - points.R0) ** 2) + 1e-300)
    law = _law(best, points, ceiling, A)
    inflation = _inflation(points, law)
    t = float(stdtrit(max(dof / inflation, 1.0), (1 + level) / 2))
    threshold = smallest * (1 + inflation * t * t / dof)
    region, found = _region(points, ceiling, A, best, threshold, box)
    touch = np.isclose(found, box, atol=1e-9)
    mean = _constant(points)
    return Fit(
        law, points, ceiling, (smallest / dof) ** 0.5, inflation, mean <= threshold or law.A <= law.R0, region, threshold,
        (bool(touch[0, 0]), bool(touch[0, 1])), (bool(touch[1, 0]), bool(touch[1, 1])),
    )  # fmt: skip


def fit_on_grid(points: Points, asymptotes: Floats = PAPER_ASYMPTOTES, midpoints: Floats = PAPER_MIDPOINTS) -> Law:
    """The paper's procedure: for each (A, C_mid) of the grid fit B by least squares; the pair of smallest error. R_0 is held exact."""
    logs = np.linspace(np.log(EFFICIENCIES[0]), np.log(EFFICIENCIES[1]), 400)
    y, gains = points.metric - points.R0, (np.asarray(asymptotes) - points.R0)[:, None]
    errors, at = np.empty((len(asymptotes), len(midpoints))), np.empty((len(asymptotes), len(midpoints)))
    rows = np.arange(len(asymptotes))
    for j, midpoint in enumerate(midpoints):
        x = _share(points.compute, np.exp(logs)[:, None], midpoint)
        sse = points.weight @ (y * y) - 2 * gains * (x @ (points.weight * y)) + gains**2 * ((x * x) @ points.weight)
        i = np.clip(sse.argmin(axis=1), 1, len(logs) - 2)
        left, middle, right = sse[rows, i - 1], sse[rows, i], sse[rows, i + 1]
        bend = np.maximum(left - 2 * middle + right, 1e-300)
        shift = np.clip((left - right) / (2 * bend), -1, 1)  # the parabola through the three values around the smallest
        errors[:, j] = middle - (left - right) * shift / 4
        at[:, j] = logs[i] + shift * (logs[1] - logs[0])
    a, c = np.unravel_index(errors.argmin(), errors.shape)
    return Law(points.R0, float(asymptotes[a]), float(np.exp(at[a, c])), float(midpoints[c]))


def fit_power(points: Points, ceiling: float = 1.0) -> PowerLaw:
    """Least squares of A − D·C^(−B) with D ≥ 0 and A ≤ `ceiling`. R_0 plays no part: a power law has no start."""
    unit = float(points.compute.max())
    y, w, C = points.metric, points.weight, points.compute / unit

    def at(log_B: float) -> tuple[float, float, float]:
        z = C ** -np.exp(log_B)
        mean_z, mean_y = np.average(z, weights=w), np.average(y, weights=w)
        D = max(-float(w @ ((z - mean_z) * (y - mean_y)) / max(w @ (z - mean_z) ** 2, 1e-300)), 0.0)
        A = mean_y + D * mean_z
        if ceiling < A:
            A, D = ceiling, max(float(w @ (z * (ceiling - y)) / (w @ (z * z))), 0.0)
        return float(w @ (y - A + D * z) ** 2), float(A), D

    logs = np.linspace(np.log(0.01), np.log(EFFICIENCIES[1]), 161)
    step, best = logs[1] - logs[0], logs[0]
    for _ in range(4):
        best = min(logs, key=lambda log_B: at(log_B)[0])
        logs, step = np.linspace(best - step, best + step, 21), step / 10
    _, A, D = at(best)
    B = float(np.exp(best))
    return PowerLaw(A, D * unit**B, B)


def amount(value: float) -> str:
    """A compute in four figures at most."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:.3g}"


def _share(C: ArrayLike, B: ArrayLike, C_mid: ArrayLike) -> Floats:
    """1 / (1 + (C_mid/C)^B), 0 at C = 0."""
    with np.errstate(divide="ignore"):
        return expit(np.multiply(B, np.log(C) - np.log(C_mid)))


def _around(value: float, low: float, high: float) -> Interval:
    """The region is known to a cell's width; the estimate lies in it."""
    return Interval(value, min(low, value), max(high, value))


def _cells(points: Points, B: Floats, L: Floats, ceiling: float, A: float | None) -> _Cells:
    """Weighted least squares for (R_0, A) at each (B, log C_mid), in closed form."""
    y, w, w0 = points.metric - points.R0, points.weight, points.start_weight  # measured from R_0: fewer digits are lost
    top = ceiling - points.R0
    x = expit(B[:, None] * (np.log(points.compute) - L[:, None]))
    z = 1 - x
    Sxx, Sxy, Syy = (x * x) @ w, x @ (w * y), float(w @ (y * y))
    if w0 is None:
        Szz, Szx, Szy = np.full_like(Sxx, np.inf), np.zeros_like(Sxx), np.zeros_like(Sxx)
    else:
        Szz, Szx, Szy = (z * z) @ w + w0, (z * x) @ w, z @ (w * y)

    def held(a: Floats) -> tuple[Floats, Floats]:
        """R_0 and the error with A held."""
        R = (Szy - a * Szx) / Szz
        rest = Syy - 2 * a * Sxy + a * a * Sxx
        return R, rest if w0 is None else rest - (Szy - a * Szx) ** 2 / Szz

    zero = np.zeros_like(Sxx)
    if A is not None:
        a = np.full_like(Sxx, A - points.R0)
        R, sse = held(a)
        return _Cells(B, L, R + points.R0, a + points.R0, 1 / Szz, zero, zero, sse, sse)
    own = np.maximum(Sxx - (zero if w0 is None else Szx * Szx / Szz), 1e-300)
    a = (Sxy - (zero if w0 is None else Szx * Szy / Szz)) / own
    R, free = held(a)
    bound = np.where(a > top, held(np.full_like(a, top))[1], free) if np.isfinite(top) else free
    var_A = 1 / own
    cov = zero if w0 is None else -Szx / Szz * var_A
    var_R0 = zero if w0 is None else 1 / Szz + (Szx / Szz) ** 2 * var_A
    return _Cells(B, L, R + points.R0, a + points.R0, var_R0, cov, var_A, free, bound)


def _grid(points: Points, box: Floats, ceiling: float, A: float | None) -> _Cells:
    log_B, L = (axis.ravel() for axis in np.meshgrid(*(np.linspace(low, high, _CELLS) for low, high in box), indexing="ij"))
    block = max(1, 2_000_000 // len(points))
    parts = [
        _cells(points, np.exp(log_B[i : i + block]), L[i : i + block], ceiling, A) for i in range(0, len(L), block)
    ]  # bounds memory, whatever N is
    return _Cells(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Cells.__dataclass_fields__))


def _polish(points: Points, ceiling: float, A: float | None, box: Floats) -> _Cells:
    """The best cell of a coarse grid, then the smallest error near it."""
    from scipy.optimize import minimize

    coarse = _grid(points, box, ceiling, A)
    i = int(coarse.bound.argmin())

    def error(at: Floats) -> float:
        inside = np.clip(at, box[:, 0], box[:, 1])
        return float(_cells(points, np.exp(inside[:1]), inside[1:], ceiling, A).bound[0])

    start = np.array([np.log(coarse.B[i]), coarse.L[i]])
    simplex = start + 0.05 * np.array([[0, 0], [1, 0], [0, 1]])
    found = minimize(error, start, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-9, "fatol": 0, "maxiter": 400})
    at = np.clip(found.x, box[:, 0], box[:, 1])
    return _cells(points, np.exp(at[:1]), at[1:], ceiling, A)


def _law(best: _Cells, points: Points, ceiling: float, A: float | None) -> Law:
    a = float(best.A[0])
    if A is None and a > ceiling:
        held = _cells(points, best.B, best.L, ceiling, ceiling)
        return Law(float(held.R0[0]), ceiling, float(best.B[0]), float(np.exp(best.L[0])))
    return Law(float(best.R0[0]), a, float(best.B[0]), float(np.exp(best.L[0])))


def _region(points: Points, ceiling: float, A: float | None, best: _Cells, threshold: float, limits: Floats) -> tuple[_Cells, Floats]:
    """The cells whose error is within the threshold, on a grid drawn closer and closer around them; and the box they fill."""
    centre = np.array([np.log(best.B[0]), best.L[0]])
    found, box, filled = best, limits, limits
    for _ in range(_ROUNDS):
        cells = _grid(points, box, ceiling, A)
        found = cells.only(cells.bound <= threshold)
        at = np.stack([np.append(np.log(found.B), centre[0]), np.append(found.L, centre[1])])
        filled = np.stack([at.min(axis=1), at.max(axis=1)], axis=1)
        margin = (box[:, 1] - box[:, 0]) / (_CELLS - 1) * (1 if len(found.B) > 3 else 2)
        drawn = np.clip(filled + np.stack([-margin, margin], axis=1), limits[:, :1], limits[:, 1:])
        if len(found.B) and ((drawn[:, 1] - drawn[:, 0]) > 0.75 * (box[:, 1] - box[:, 0])).all():
            break
        box = drawn
    whole = _Cells(*(np.append(getattr(found, name), getattr(best, name)) for name in _Cells.__dataclass_fields__))
    return whole, filled


def _inflation(points: Points, law: Law) -> float:
    """τ = (1 + ρ)/(1 − ρ) from the lag-1 correlation ρ of residuals within runs, 1 where ρ is no larger than chance makes it."""
    residual = (points.metric - law(points.compute)) * np.sqrt(points.weight)
    beside = points.runs[1:] == points.runs[:-1]
    rho = float((residual[1:] * residual[:-1])[beside].sum() / max(float(residual @ residual), 1e-300))
    return (1 + min(rho, 0.95)) / (1 - min(rho, 0.95)) if rho > 1.645 / len(points) ** 0.5 else 1.0


def _constant(points: Points) -> float:
    """The error of the best constant; the start counts as in the fit."""
    if points.start_weight is None:
        return float(points.weight @ (points.metric - points.R0) ** 2)
    y, w = np.append(points.metric, points.R0), np.append(points.weight, points.start_weight)
    return float(w @ (y - np.average(y, weights=w)) ** 2)
