"""What fits and comparisons of recipes say, in sentences and as plain values; nothing is said here that `scale_recipe` does not hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy.special import stdtrit

from reasonry.probe.scale_fit import LEVEL, Interval, Law, amount
from reasonry.probe.scale_recipe import HEALTHY, SPEED, UNSTABLE, Comparison, HeldOut, Options, Recipe, Truncation, Verdict, seed_spread


def metric(value: float) -> str:
    """A value of the metric, three decimals, a true minus."""
    return f"{value:.3f}".replace("-", "−")


def between(i: Interval, of_compute: bool = False) -> str:
    """An interval's ends; an end the data leave open is "open"."""
    write = amount if of_compute else metric
    low = "open" if of_compute and i.low == 0 else write(i.low)
    return f"{low} to {'open' if math.isinf(i.high) else write(i.high)}"


def signed(value: float) -> str:
    """A difference of the metric with its sign."""
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text in ("+0.000", "−0.000") else text


def verdict(c: Comparison) -> str:
    """A comparison in a sentence."""
    A = f"A differs by {signed(c.A.value)} ({signed(c.A.low)} to {signed(c.A.high)})"
    other = c.second if c.better == c.first else c.first
    match c.verdict:
        case Verdict.CEILING:
            gain = abs(c.A.value), *sorted((abs(c.A.low), abs(c.A.high)))
            behind = f"; up to {amount(c.crossing)} of compute {other} is ahead" if c.crossing else ""
            return f"{c.better} ends higher than {other}: A by {metric(gain[0])} ({metric(gain[1])} to {metric(gain[2])}){behind}."
        case Verdict.SPEED:
            r = c.compute_ratio
            r = r if c.better == c.first else Interval(1 / r.value, 1 / r.high, math.inf if r.low == 0 else 1 / r.low)
            b = c.B.value if c.better == c.first else -c.B.value
            against = "" if b > 0 else f" (although its B is lower by {-b:.2f}: its C_mid is smaller)"
            return (
                f"{c.first} and {c.second} end alike ({A}); {c.better} reaches {SPEED:.0%} of the gain with {r.value:.2f} "
                f"({r.low:.2f} to {r.high:.2f}) of {other}'s compute{against}."
            )
        case Verdict.TIE:
            r = c.compute_ratio
            return (
                f"{c.first} and {c.second}: no difference seen. {A}; compute for {SPEED:.0%} of the gain, {c.first} over {c.second}, "
                f"is {r.value:.2f} ({r.low:.2f} to {r.high:.2f})."
            )
        case Verdict.OPEN:
            return f"{c.first} and {c.second}: undecided. {A}, more than a tie but within its error; run longer, or more seeds."
        case Verdict.REFUSED:
            ahead = c.first if c.there.value > 0 else c.second
            seen = c.there.low > 0 or c.there.high < 0
            now = f"{ahead} is ahead by {metric(abs(c.there.value))}" if seen else "no difference is seen"
            return (
                f"{c.first} and {c.second}: ceilings are not known for both, so neither is chosen. At {amount(c.at)}, the last compute "
                f"both have, {now} ({signed(c.there.low)} to {signed(c.there.high)}); that order need not last."
            )


def choice(recipes: Sequence[Recipe], comparisons: Sequence[Comparison]) -> str:
    """Which recipe to scale: ceiling first, then speed."""
    known = [r.name for r in recipes if not r.refused]
    unknown = [r.name for r in recipes if r.refused]
    if len(recipes) == 1:
        (r,) = recipes
        if r.refused:
            return f"No forecast for {r.name}"
        return f"{r.name} ends at {metric(r.fit.A.value)} ({between(r.fit.A)})"
    if not known:
        return "No ceiling is known yet"
    lost = {c.first if c.better == c.second else c.second for c in comparisons if c.verdict is Verdict.CEILING}
    left = [name for name in known if name not in lost]
    slow = {
        c.first if c.better == c.second else c.second for c in comparisons if c.verdict is Verdict.SPEED and {c.first, c.second} <= {*left}
    }
    best = [name for name in left if name not in slow] or left
    undecided = any(c.verdict is Verdict.OPEN and {c.first, c.second} <= {*best} for c in comparisons)
    rest = f"; {_listed(unknown)} cannot be placed yet" if unknown else ""
    if len(best) > 1:
        return f"{_listed(best)} cannot be told apart{' yet' if undecided else ''}{rest}"
    if len(known) == 1:
        return f"Only {best[0]} has a known ceiling{rest}"
    return f"Scale {best[0]}: {'the higher ceiling' if len(left) == 1 else 'an equal ceiling, sooner'}{rest}"


def findings(r: Recipe) -> list[str]:
    """What a recipe's logs say, the forecast first, then its test, then every alarm."""
    f = r.fit
    found: list[str] = []
    if r.refused:
        found.append(f"No forecast: {'; '.join(r.refused)}.")
    power = f"A power law fitted to the same points would end at {metric(r.power.A)}"
    found.append(f"{power}, the metric's maximum." if f.ceiling <= r.power.A else f"{power}.")
    found.append(_tested(r.held_out))
    if r.seeds:
        each = ", ".join(metric(s.law.A) for s in r.seeds)
        sd, dof = seed_spread([r], "A")
        half = float(stdtrit(dof, (1 + LEVEL) / 2)) * sd / len(r.seeds) ** 0.5
        found.append(f"{len(r.seeds)} seeds, A of each alone: {each}. From their spread alone, their mean is known to ± {metric(half)}.")
    if r.paper:
        found.append(f"On the paper's grid: {law(r.paper)}.")
    found += alarms(r)
    return found


def alarms(r: Recipe) -> list[str]:
    """What should be mended or watched, a sentence each."""
    found: list[str] = []
    for c in r.collapses:
        found.append(
            f"{c.run} collapsed from {metric(c.peak)} at {amount(c.compute)} to {metric(c.last)}; only what came before is fitted."
        )
    for t in r.truncation:
        if said := _truncated(t):
            found.append(said)
    if not all(log.held_out for log in r.logs):
        names = _listed(list(dict.fromkeys(repr(log.y) for log in r.logs if not log.held_out)))
        found.append(f"{names} may be measured on training problems; a law is worth most on held-out ones.")
    if r.start_at > 0:
        found.append(f"R_0 is the first value, at {amount(r.start_at)}; --start gives the metric before training.")
    if r.fit.inflation > 1:
        wider = r.fit.inflation**0.5
        found.append(f"Neighbouring residuals are alike, or the curve has another shape: intervals are {wider:.1f} times as wide for it.")
    return found


def law(found: Law) -> str:
    """A law's four numbers."""
    return f"R_0 {metric(found.R0)}, A {metric(found.A)}, B {found.B:.2f}, C_mid {amount(found.C_mid)}"


def values(recipes: Sequence[Recipe], comparisons: Sequence[Comparison], at: Sequence[float], options: Options) -> dict[str, Any]:
    """Everything as values that JSON can hold; an open end is null, a refused forecast too."""
    spread, dof = seed_spread(recipes, "A")
    return {
        "choice": choice(recipes, comparisons),
        "recipes": [_recipe(r, at) for r in recipes],
        "comparisons": [
            {
                "first": c.first, "second": c.second, "verdict": c.verdict.value, "better": c.better, "says": verdict(c),
                "A": _interval(c.A), "common_A": c.common_A, "B": _interval(c.B), "compute_ratio": _interval(c.compute_ratio),
                "crossing": c.crossing, "at": c.at, "difference_at": _interval(c.there),
            }
            for c in comparisons
        ],
        "seed_sd_of_A": spread if dof else None,
        "tie": options.tie,
    }  # fmt: skip


def _recipe(r: Recipe, at: Sequence[float]) -> dict[str, Any]:
    f = r.fit
    held = r.held_out
    return {
        "name": r.name, "runs": [log.name for log in r.logs], "x": r.logs[0].x, "y": r.logs[0].y, "points": len(f.points),
        "R0": f.law.R0, "R0_measured": f.points.R0, "A": _interval(f.A), "B": _interval(f.B), "C_mid": _interval(f.C_mid), "noise": f.sd,
        "refused": list(r.refused), "forecasts": {f"{c:g}": None if r.refused else _interval(f.forecast(c)) for c in at},
        "power_law": r.power._asdict(), "paper_grid": r.paper._asdict() if r.paper else None,
        "held_out": {
            **{k: getattr(held, k) for k in held.__dataclass_fields__ if k != "fit"},
            "law": held.fit.law._asdict(), "rival": held.rival._asdict(), "refused": list(held.refused),
        }
        if isinstance(held, HeldOut) else None,
        "seeds": [{"A": s.law.A, "B": s.law.B, "C_mid": s.law.C_mid} for s in r.seeds],
        "truncation": [{k: getattr(t, k) for k in t.__dataclass_fields__} for t in r.truncation],
        "says": findings(r),
    }  # fmt: skip


def _interval(i: Interval) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in i._asdict().items()}


def _tested(h: HeldOut | str) -> str:
    if isinstance(h, str):
        return f"The forecast is not tested: {h}."
    first = f"Fitted up to {amount(h.until)} ({h.fitted} points), it is off by {metric(h.sigmoid)} on the {h.predicted} later ones"
    rivals = f"a power law by {metric(h.power)}, the last value by {metric(h.last_value)}, noise alone by {metric(h.noise)}"
    rivals += f". {h.inside} of {h.predicted} lie within its interval and noise"
    end = f"At the end it is off by {signed(h.at_end)}, the power law by {signed(h.power_at_end)}"
    refused = f" That early, it would have been refused: {'; '.join(h.refused)}." if h.refused else ""
    return f"{first}; {rivals}. {end}.{refused}"


def _truncated(t: Truncation) -> str | None:
    if t.above is not None:
        now = f"it is {t.last:.0%} now" if t.last != t.worst else "and that is now"
        return (
            f"Truncation alarm, {t.run}: above {UNSTABLE:.0%} from {amount(t.above)}, {t.worst:.0%} at worst, {now}; instability follows."
        )
    if t.worst > HEALTHY:
        return f"Truncation, {t.run}: {t.worst:.0%} at worst; healthy runs stay below {HEALTHY:.0%}."
    return None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
