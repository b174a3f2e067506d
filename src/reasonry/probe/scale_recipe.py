"""From logs to decisions: one curve from a recipe's seeds, its forecast tested on later training, recipes ranked by ceiling, then speed.

Paper: ScaleRL (arXiv 2510.13786): fit each recipe, call asymptotes within ±0.02 equal, refit equal ones with a common A and compare B.
Symbols as in `scale_fit`.

Invariant: a forecast that is tested saw no point it is tested on, and nothing computed from one.

Departures from the paper.
1. Its transient of 1.5k GPU-hours is a share of each log's compute here (`skip`), so that it fits any unit.
2. ±0.02 is a floor. A ceiling is higher only where the difference's interval excludes zero as well; the interval holds each fit's own error
   and, where any recipe has seeds, the spread between them (pooled over recipes, Student's t), and is Bonferroni's over all pairs.
3. B alone is not speed: a curve of larger B may reach every level later, because its C_mid is larger. The compute for 90 % of the gain is
   compared beside B, and decides.
4. A run that collapses is fitted up to its peak.
"""

# ruff: noqa: N815 (the paper's letters)
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

import numpy as np
from scipy.special import ndtri, stdtrit

from reasonry.core import UserError
from reasonry.probe.scale_fit import FEWEST, LEVEL, Fit, Floats, Interval, Law, Points, PowerLaw, amount, fit, fit_on_grid, fit_power
from reasonry.probe.scale_log import Log

MOST_POINTS = 300
"""Longer logs are averaged over neighbouring records to this many points."""
SPEED = 0.9
"""Share of the gain whose compute says how fast a recipe is."""
HEALTHY, UNSTABLE = 0.05, 0.10
"""Shares of truncated answers: healthy runs stay below the first, instability follows above the second (ScaleRL)."""
WINDOW = 5
"""Records that truncation, and the search for a collapse, are averaged over."""
LAST = 3
"""Points whose mean is "the last value", the forecast of someone who fits nothing."""


_Difference = Callable[["Recipe", Fit, "Recipe", Fit, str], Interval]


@dataclass(frozen=True)
class Options:
    """How logs become points and points become verdicts."""

    start: float | None = None
    """R_0; None takes the metric at the smallest compute."""
    ceiling: float = 1.0
    """The metric's maximum."""
    skip: float = 0.05
    """Compute whose points are dropped as transient: a share of the log's last compute."""
    skip_compute: float | None = None
    """The same as an amount; goes before `skip`."""
    until: float = 0.4
    """Share of the compute that the tested forecast is fitted on."""
    tie: float = 0.02
    """Differences of A up to this are ties."""
    level: float = LEVEL


@dataclass(frozen=True)
class Collapse:
    """A run that fell and did not come back."""

    run: str
    compute: float
    """Where it stood highest; later points are not fitted."""
    peak: float
    last: float


@dataclass(frozen=True)
class Truncation:
    """How many answers a limit cut, as a mean over WINDOW records."""

    run: str
    last: float
    worst: float
    worst_at: float
    above: float | None
    """The compute from which on it was first above UNSTABLE; None where it never was."""


@dataclass(frozen=True)
class HeldOut:
    """A forecast made from the first part of the compute, against what came after."""

    until: float
    """The last compute the fit saw."""
    fitted: int
    predicted: int
    fit: Fit
    rival: PowerLaw
    value: float
    """The last value."""
    sigmoid: float
    """Mean |forecast − measured| over the later points."""
    power: float
    last_value: float
    noise: float
    """Mean |residual| the full fit leaves on the same points: what is left to a perfect forecast."""
    inside: int
    """Later points within the forecast's interval and their own noise."""
    at_end: float
    """Forecast − measured, mean of the last LAST points."""
    power_at_end: float
    refused: tuple[str, ...]
    """Why `fit` would not have been extrapolated."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's seeds, the law fitted to all of them, and what else its logs say."""

    name: str
    logs: tuple[Log, ...]
    fit: Fit
    power: PowerLaw
    paper: Law | None
    """The paper's grid fit, where it was asked for."""
    seeds: tuple[Fit, ...]
    """A fit per log; empty for one log."""
    start_at: float
    """The compute R_0 was measured at."""
    refused: tuple[str, ...]
    held_out: HeldOut | str
    """Or why there is none."""
    collapses: tuple[Collapse, ...]
    truncation: tuple[Truncation, ...]


class Verdict(StrEnum):
    """What a pair of recipes allows one to say."""

    CEILING = "ceiling"
    """One has the higher asymptote."""
    SPEED = "speed"
    """Equal asymptotes; one gets there with less compute."""
    TIE = "tie"
    """Equal asymptotes, and no difference in speed seen."""
    OPEN = "open"
    """Asymptotes differ by more than a tie, but not beyond their error."""
    REFUSED = "refused"
    """An asymptote is not known."""


@dataclass(frozen=True)
class Comparison:
    """Two recipes, the ceiling first, then the speed; differences are first minus second."""

    first: str
    second: str
    verdict: Verdict
    better: str | None
    A: Interval
    common_A: float
    B: Interval
    """Both refitted with the common A."""
    compute_ratio: Interval
    """Compute for SPEED of the gain, first over second, both refitted with the common A."""
    crossing: float | None
    """Below this compute the one with the higher ceiling is behind; None where it never is or where ceilings do not differ."""
    at: float
    """The largest compute both have data at."""
    there: Interval
    """The difference of the two curves there."""


def points(logs: Sequence[Log], options: Options) -> tuple[Points, float, list[Collapse]]:
    """The logs of one recipe as points to fit, the compute R_0 was measured at, and the collapses cut off.

    Raises UserError where too little is left to fit, or the metric goes beyond its maximum.
    """
    names = " + ".join(log.name for log in logs)
    highest = max(float(log.metric.max()) for log in logs)
    if highest > options.ceiling:
        raise UserError(f"{names}: {logs[0].y!r} reaches {highest:g}, above the maximum {options.ceiling:g}; give the right --max")
    kept = [_kept(log, options) for log in logs]
    curves = [(C, R) for C, R, _ in kept]
    start_at = min(float(C[0]) for C, _ in curves) if options.start is None else 0.0
    first = np.concatenate([R[C == 0] if start_at == 0 else R[:1] for C, R in curves])
    skipped = options.skip_compute if options.skip_compute is not None else options.skip * max(float(C[-1]) for C, _ in curves)
    own_start = options.start is None and start_at > 0
    curves = [(C[own_start:], R[own_start:]) for C, R in curves]
    curves = [(C[(C > 0) & (skipped <= C)], R[(C > 0) & (skipped <= C)]) for C, R in curves]
    total = sum(len(C) for C, _ in curves)
    if len({float(c) for C, _ in curves for c in C}) < FEWEST:
        raise UserError(
            f"{names}: {total} points are left after the start and the skipped {amount(skipped)} of compute; "
            f"a fit needs {FEWEST} at different compute: give a longer log, evaluate more often, or lower --skip"
        )
    size = -(-total // MOST_POINTS)
    blocks = [(i, C[j : j + size], R[j : j + size]) for i, (C, R) in enumerate(curves) for j in range(0, len(C), size)]
    data = Points(
        np.array([C.mean() for _, C, _ in blocks]), np.array([R.mean() for _, _, R in blocks]),
        np.array([float(len(C)) for _, C, _ in blocks]), float(first.mean()) if options.start is None else options.start,
        float(len(first)) if options.start is None else None, np.array([i for i, _, _ in blocks]),
    )  # fmt: skip
    return data, start_at, [c for _, _, c in kept if c is not None]


def recipe(name: str, logs: Sequence[Log], options: Options, paper_grid: bool = False) -> Recipe:
    """Fits a recipe to all its logs, to each alone, and to the first part alone. Raises UserError as `points` does."""
    data, start_at, collapses = points(logs, options)
    fitted = fit(data, options.ceiling, level=options.level)
    seeds = tuple(_seed_fits(logs, options)) if len(logs) > 1 else ()
    refused = fitted.refusals(options.tie)
    return Recipe(
        name, tuple(logs), fitted, fit_power(data, options.ceiling), fit_on_grid(data) if paper_grid else None, seeds, start_at,
        refused, held_out(logs, options, fitted), tuple(collapses), tuple(t for log in logs if (t := truncation(log))),
    )  # fmt: skip


def held_out(logs: Sequence[Log], options: Options, whole: Fit) -> HeldOut | str:
    """Fits the first `until` of the compute and forecasts the points of `whole` after it; a sentence where that cannot be done."""
    until = options.until * float(whole.points.compute.max())
    early = [
        replace(log, compute=log.compute[log.compute <= until], metric=log.metric[log.compute <= until])
        for log in logs
        if (log.compute <= until).any()
    ]
    late = [(C[until < C], R[until < C]) for C, R, _ in (_kept(log, options) for log in logs)]
    C, R = np.concatenate([C for C, _ in late]), np.concatenate([R for _, R in late])
    try:
        seen = points(early, options)[0] if early else None
    except UserError:
        seen = None
    if seen is None or not len(C):
        return f"the first {options.until:.0%} of the compute holds too few points to fit"
    early_fit, power = fit(seen, options.ceiling, level=options.level), fit_power(seen, options.ceiling)
    ends = np.concatenate([seen.metric[seen.runs == run][-LAST:] for run in np.unique(seen.runs)])

    def off(forecast: Floats) -> float:
        return float(np.abs(forecast - R).mean())

    end = np.argsort(C)[-LAST:]
    z = float(ndtri((1 + options.level) / 2))
    inside = 0
    for c, r in zip(C, R, strict=True):
        f = early_fit.forecast(float(c))
        inside += -np.hypot(f.value - f.low, z * early_fit.sd) <= r - f.value <= np.hypot(f.high - f.value, z * early_fit.sd)
    return HeldOut(
        until, len(seen), len(C), early_fit, power, float(ends.mean()),
        sigmoid=off(early_fit.law(C)), power=off(power(C)), last_value=off(np.full(len(C), ends.mean())), noise=off(whole.law(C)),
        inside=int(inside), at_end=float((early_fit.law(C) - R)[end].mean()), power_at_end=float((power(C) - R)[end].mean()),
        refused=early_fit.refusals(options.tie),
    )  # fmt: skip


def truncation(log: Log) -> Truncation | None:
    """The log's truncation, None where it has none."""
    if log.truncation is None or not len(log.truncation[0]):
        return None
    C, share = log.truncation
    size = min(WINDOW, len(share))
    mean = np.convolve(share, np.full(size, 1 / size), mode="valid")
    at = C[size - 1 :]
    above = np.flatnonzero(mean > UNSTABLE)
    worst = int(mean.argmax())
    return Truncation(log.name, float(mean[-1]), float(mean[worst]), float(at[worst]), float(at[above[0]]) if len(above) else None)


def seed_spread(recipes: Sequence[Recipe], of: str) -> tuple[float, int]:
    """Standard deviation between seeds of a number of their laws, pooled over recipes, and its degrees of freedom; (0, 0) without seeds.

    `of` is `A`, `B`, or `speed`, the logarithm of the compute for SPEED of the gain.
    """
    squares, dof = 0.0, 0
    for r in recipes:
        values = [_of(f, of).value for f in r.seeds]
        if len(values) > 1:
            squares += float(np.var(values)) * len(values)
            dof += len(values) - 1
    return ((squares / dof) ** 0.5, dof) if dof else (0.0, 0)


def compare(recipes: Sequence[Recipe], options: Options) -> list[Comparison]:
    """Every pair of recipes; intervals hold for all pairs together."""
    pairs = list(combinations(recipes, 2))
    level = 1 - (1 - options.level) / max(len(pairs), 1)
    at = {r.name: fit(r.fit.points, options.ceiling, level=level) for r in recipes}
    spread = {of: seed_spread(recipes, of) for of in ("A", "B", "speed")}

    def difference(r: Recipe, f: Fit, s: Recipe, g: Fit, of: str) -> Interval:
        sd, dof = spread[of]
        t = float(stdtrit(dof, (1 + level) / 2)) if dof else 0.0
        return _minus(_widened(_of(f, of), t * sd / len(r.logs) ** 0.5), _widened(_of(g, of), t * sd / len(s.logs) ** 0.5))

    return [_compared(r, s, at[r.name], at[s.name], difference, options, level) for r, s in pairs]


def _compared(r: Recipe, s: Recipe, f: Fit, g: Fit, difference: _Difference, options: Options, level: float) -> Comparison:
    A = difference(r, f, s, g, "A")
    common = (f.law.A + g.law.A) / 2
    f_common, g_common = (fit(x.points, options.ceiling, common, level) for x in (f, g))
    B = difference(r, f_common, s, g_common, "B")
    speed = difference(r, f_common, s, g_common, "speed")
    with np.errstate(over="ignore"):
        ratio = Interval(*(float(np.exp(end)) for end in speed))
    at = min(float(f.points.compute.max()), float(g.points.compute.max()))
    there = _minus(f.forecast(at), g.forecast(at))
    verdict, better, crossing = Verdict.TIE, None, None
    apart = A.low > 0 or A.high < 0
    if r.refused or s.refused:
        verdict = Verdict.REFUSED
    elif apart and abs(A.value) > options.tie:
        verdict, better = Verdict.CEILING, r.name if A.value > 0 else s.name
        crossing = _crossing(f.law, g.law, min(f.points.compute.min(), g.points.compute.min()))
    elif abs(A.value) > options.tie:
        verdict = Verdict.OPEN
    elif speed.low > 0 or speed.high < 0:
        verdict, better = Verdict.SPEED, r.name if speed.value < 0 else s.name
    return Comparison(r.name, s.name, verdict, better, A, common, B, ratio, crossing, at, there)


def _of(f: Fit, of: str) -> Interval:
    if of == "speed":
        reach = f.reach(SPEED)
        return Interval(float(np.log(reach.value)), float(np.log(reach.low)) if reach.low > 0 else -np.inf, float(np.log(reach.high)))
    return f.A if of == "A" else f.B


def _widened(i: Interval, half: float) -> Interval:
    """Fit error and seed spread both hold the noise of a run's points: the wider of the two, not their sum."""
    return Interval(i.value, min(i.low, i.value - half), max(i.high, i.value + half))


def _minus(a: Interval, b: Interval) -> Interval:
    """Interval of a − b for independent a and b, lopsided ones too. MOVER: Zou & Donner, Statistics in Medicine 27 (2008) 1693."""
    value = a.value - b.value
    return Interval(
        value, value - float(np.hypot(a.value - a.low, b.high - b.value)), value + float(np.hypot(a.high - a.value, b.value - b.low))
    )


def _crossing(f: Law, g: Law, first: float) -> float | None:
    """The largest compute at which the law of higher A is still behind, from `first` on; None where it never is."""
    high, low = (f, g) if f.A > g.A else (g, f)
    at = np.geomspace(first, 1000 * max(f.C_mid, g.C_mid, first), 4000)
    behind = np.flatnonzero(high(at) < low(at))
    return float(at[behind[-1]]) if len(behind) else None


def _kept(log: Log, options: Options) -> tuple[Floats, Floats, Collapse | None]:
    """The log in the order of its compute, up to the peak where it collapsed.

    It collapsed where its last WINDOW points lie more than two and a half ties, and five standard errors, below its best WINDOW.
    """
    order = np.argsort(log.compute, kind="stable")
    C, R = log.compute[order], log.metric[order]
    if len(R) < 3 * WINDOW:
        return C, R, None
    mean = np.convolve(R, np.full(WINDOW, 1 / WINDOW), mode="valid")
    noise = float(np.median(np.abs(np.diff(R)))) / (0.6745 * 2**0.5)
    best = int(mean.argmax())
    if mean[best] - mean[-1] <= max(2.5 * options.tie, 5 * noise * (2 / WINDOW) ** 0.5):
        return C, R, None
    end = best + WINDOW
    return C[:end], R[:end], Collapse(log.name, float(C[end - 1]), float(mean[best]), float(mean[-1]))


def _seed_fits(logs: Sequence[Log], options: Options) -> list[Fit]:
    return [fit(points([log], options)[0], options.ceiling, level=options.level) for log in logs]
