"""The page of `reasonry scale-fit`: curves with their forecasts, the forecasts tested, every number as a table.

Invariant: nothing is drawn beyond a recipe's data where its forecast is refused.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from reasonry.evaluate.page import INK, MUTED, SERIES, Section, axes, download, figure_svg, page, series, table
from reasonry.probe.scale_fit import Fit, Interval, amount
from reasonry.probe.scale_recipe import SPEED, UNSTABLE, Comparison, HeldOut, Options, Recipe, Verdict
from reasonry.probe.scale_words import between, choice, findings, metric, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = 90


def scale_page(recipes: Sequence[Recipe], comparisons: Sequence[Comparison], at: Sequence[float], options: Options) -> str:
    """The whole page as HTML; `at` are the amounts of compute to forecast at, the last of them ends the curves."""
    x, y = recipes[0].logs[0].x, recipes[0].logs[0].y
    lead = choice(recipes, comparisons)
    said = Markup().join(Markup("<p>{}</p>").format(verdict(c)) for c in comparisons)
    curves = _both(lambda w, h, labels: _curves(recipes, max(at), x, w, h, labels), f"{y} against {x} with fitted laws and forecasts")
    how = (
        f"{y} against {x}. Lines are the fitted laws, dashed where they forecast, with 95 % intervals; dotted, a power law fitted to the "
        "same points. No forecast is drawn where it is refused."
    )
    sections = [
        *([Section("Ceiling first, then speed", said, _about_ties(comparisons, options))] if comparisons else []),
        Section("Curves", curves, how),
        Section("Numbers", _numbers(recipes, at, x) + _csv(recipes, at), "With 95 % profile intervals; open: the data set no end."),
    ]
    if any(isinstance(r.held_out, HeldOut) for r in recipes):
        tested = Markup().join(_tested(r, i, x) for i, r in enumerate(recipes) if isinstance(r.held_out, HeldOut))
        note = "Fitted on the full dots; hollow ones came later. Line: the law, 95 % interval. Dotted: a power law. Dashed: the last value."
        sections.append(Section("The forecast, tested", tested, note))
    if any(r.truncation for r in recipes):
        plot = _both(lambda w, h, labels: _truncation(recipes, x, w, h), f"Share of truncated answers against {x}")
        sections.append(Section("Truncated answers", plot, f"Above {UNSTABLE:.0%} (dashed) instability follows, as ScaleRL found."))
    each = Markup().join(
        Markup("<h3>{}</h3><ul>{}</ul>").format(r.name, Markup().join(Markup("<li>{}</li>").format(s) for s in findings(r)))
        for r in recipes
    )
    sections.append(Section("Recipe by recipe", each))
    footer = "R(C) = R_0 + (A − R_0) / (1 + (C_mid/C)^B), ScaleRL (arXiv 2510.13786)."
    return page(lead, how_known(recipes), sections, kicker="scale-fit", footer=footer)


def how_known(recipes: Sequence[Recipe]) -> str:
    """How many recipes, runs and points the page rests on."""
    runs, points = sum(len(r.logs) for r in recipes), sum(len(r.fit.points) for r in recipes)
    refused = sum(bool(r.refused) for r in recipes)
    told = f"{_count(len(recipes), 'recipe')}, {_count(runs, 'run')}, {_count(points, 'point')}"
    return f"{told}. {_count(refused, 'forecast')} refused." if refused else f"{told}."


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _about_ties(comparisons: Sequence[Comparison], options: Options) -> str:
    many = f", intervals hold for all {len(comparisons)} pairs together" if len(comparisons) > 1 else ""
    refused = " No choice is made while a ceiling is unknown." if any(c.verdict is Verdict.REFUSED for c in comparisons) else ""
    return f"Ceilings closer than {options.tie:g} are equal{many}. Each fit's error and the spread between seeds are allowed for.{refused}"


def _both(draw: Callable[[int, int, bool], Figure], label: str) -> Markup:
    return figure_svg(draw(920, 420, True), label, "wide") + figure_svg(draw(380, 330, False), label, "narrow")


def _curves(recipes: Sequence[Recipe], until: float, x: str, width: int, height: int, labels: bool) -> Figure:
    figure, ax = axes(width, height)
    for i, r in enumerate(recipes):
        colour, points = series(i), r.fit.points
        first, last = float(points.compute.min()), float(points.compute.max())
        ax.plot(points.compute, points.metric, "o", color=colour, markersize=3.5, alpha=0.45, markeredgewidth=0)
        within = np.geomspace(first, last, _STEPS)
        ax.plot(within, r.fit.law(within), color=colour, linewidth=2.2, label=r.name)
        if not r.refused and until > last:
            beyond = np.geomspace(last, until, _STEPS)
            bands = [r.fit.forecast(float(c)) for c in beyond]
            ax.fill_between(beyond, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.16, linewidth=0)
            ax.plot(beyond, r.fit.law(beyond), color=colour, linewidth=2.2, linestyle=(0, (4, 2)))
            ax.plot(beyond, r.power(beyond), color=colour, linewidth=1.2, linestyle=(0, (1, 2)))
    _finish(ax, x, log=True)
    ax.legend(frameon=False, labelcolor=INK, loc="lower right" if labels else "best")
    return figure


def _tested(r: Recipe, index: int, x: str) -> Markup:
    return Markup("<h3>{}</h3>").format(r.name) + _both(
        lambda w, h, labels: _forecast(r, index, x, w, min(h, 320)), f"{r.name}: forecast from the first part against what came later"
    )


def _forecast(r: Recipe, index: int, x: str, width: int, height: int) -> Figure:
    h, points, colour = r.held_out, r.fit.points, series(index)
    assert isinstance(h, HeldOut)
    figure, ax = axes(width, height)
    seen = points.compute <= h.until
    ax.plot(points.compute[seen], points.metric[seen], "o", color=colour, markersize=4.5, markeredgewidth=0)
    ax.plot(points.compute[~seen], points.metric[~seen], "o", color=colour, markersize=4.5, markerfacecolor="none", markeredgewidth=1)
    at = np.linspace(float(points.compute.min()), float(points.compute.max()), _STEPS)
    ax.plot(at, h.fit.law(at), color=colour, linewidth=2.2)
    late = at[at > h.until]
    bands = [h.fit.forecast(float(c)) for c in late]
    ax.fill_between(late, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.16, linewidth=0)
    ax.plot(late, h.rival(late), color=INK, linewidth=1.3, linestyle=(0, (1, 2)))
    ax.axhline(h.value, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    ax.axvline(h.until, color=MUTED, linewidth=1)
    _finish(ax, x, log=False)
    return figure


def _truncation(recipes: Sequence[Recipe], x: str, width: int, height: int) -> Figure:
    figure, ax = axes(width, min(height, 300))
    for i, r in enumerate(recipes):
        for j, log in enumerate(log for log in r.logs if log.truncation is not None):
            assert log.truncation is not None
            ax.plot(*log.truncation, color=series(i), linewidth=1.4, alpha=0.8, label=r.name if j == 0 else None)
    ax.axhline(UNSTABLE, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    _finish(ax, x, log=False)
    ax.legend(frameon=False, labelcolor=INK)
    return figure


def _finish(ax: Axes, x: str, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if log:
        low, high = ax.get_xlim()
        ax.set_xscale("log")
        ax.autoscale(axis="x")
        ax.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 1e4 * max(low, 1e-9) else (1, 3)))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda c, _: amount(c)))
    ax.set_xlabel(x, color=MUTED, labelpad=8)


def _numbers(recipes: Sequence[Recipe], at: Sequence[float], x: str) -> Markup:
    def cell(value: str, ends: str) -> Markup:
        return Markup('{} <span class="quiet">{}</span>').format(value, ends)

    laws, forecasts = [], []
    for i, r in enumerate(recipes):
        f: Fit = r.fit
        name = Markup('<span class="swatch" style="background:var(--s{})"></span>{}').format(i % SERIES + 1, r.name)
        b = cell(f"{f.B.value:.2f}", f"{f.B.low:.2f} to {'open' if math.isinf(f.B.high) else format(f.B.high, '.2f')}")
        c_mid = cell(amount(f.C_mid.value), between(f.C_mid, of_compute=True))
        laws.append([name, str(len(f.points)), metric(f.law.R0), cell(metric(f.A.value), between(f.A)), b, c_mid])
        speed = f.reach(SPEED)
        soon = "refused" if r.refused else cell(amount(speed.value), between(speed, of_compute=True))
        forecasts.append(
            [name, soon, *("refused" if r.refused else cell(metric(i.value), between(i)) for i in (f.forecast(c) for c in at))]
        )
    head = ["Recipe", f"{x} for {SPEED:.0%} of the gain", *(f"R at {amount(c)}" for c in at)]
    return table(["Recipe", "Points", "R_0", "A, ceiling", "B", f"C_mid, {x}"], laws) + table(head, forecasts)


def _csv(recipes: Sequence[Recipe], at: Sequence[float]) -> Markup:
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(["recipe", "number", "value", "low", "high"])
    for r in recipes:
        numbers: list[tuple[str, Interval]] = [
            ("A", r.fit.A),
            ("B", r.fit.B),
            ("C_mid", r.fit.C_mid),
            (f"C at {SPEED:.0%}", r.fit.reach(SPEED)),
        ]
        numbers += [(f"R at {c:g}", r.fit.forecast(c)) for c in at if not r.refused]
        write.writerows([r.name, name, *(f"{v:.6g}" for v in i)] for name, i in numbers)
    return download(text.getvalue(), "scale-fit.csv", "Numbers as CSV")
