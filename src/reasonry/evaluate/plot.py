"""The plot a report opens with: accuracy against the tokens an attempt took, one line per solver over its budgets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from reasonry.evaluate.page import MUTED, PAPER, axes, series
from reasonry.evaluate.report import Arm, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^DvPX*"
"""Shapes beside colours, for those who tell colours apart badly."""

_LETTER = 7.3
"""Width of a letter in a label, in pixels."""
_LEADING = 19
"""Least distance of two labels that stand above one another, in pixels."""


def accuracy_cost(report: Report, width: int = 920, height: int = 430, labelled: bool = True) -> Figure:
    """Accuracy in % with 95 % intervals against mean tokens per attempt, as an endpoint would bill them.

    Not the tokens computed: those depend on what a cache held, hence on which method asked first. `labelled` writes each solver's name
    at its line's end; where there is no room for that, say which is which beside the figure.
    """
    figure, ax = axes(width, height)
    lines = [[arm for arm in report.arms if arm.solver == solver and arm.accuracy] for solver in report.solvers]
    for index, arms in enumerate(lines):
        if arms:
            _draw_line(ax, arms, index)
    xs = [arm.mean_cost["tokens"] for arms in lines for arm in arms]
    if xs:
        _scale_x(ax, xs, room=max(map(len, report.solvers)) * _LETTER / width if labelled else 0.0)
        _scale_y(ax, [arm for arms in lines for arm in arms])
    ax.set_xlabel("Mean tokens per attempt, prompt and sampled", color=MUTED, labelpad=10)
    figure.suptitle("Accuracy, %", x=0, ha="left", color=MUTED, fontsize=13)
    if labelled:
        figure.draw_without_rendering()  # label places are in pixels, known only after the layout
        _label(ax, lines)
    return figure


def _draw_line(ax: Axes, arms: Sequence[Arm], index: int) -> None:
    xs = [arm.mean_cost["tokens"] for arm in arms]
    ys = [100 * arm.accuracy.mean for arm in arms if arm.accuracy]
    below = [100 * (arm.accuracy.mean - arm.accuracy.low) for arm in arms if arm.accuracy]
    above = [100 * (arm.accuracy.high - arm.accuracy.mean) for arm in arms if arm.accuracy]
    colour = series(index)
    ax.errorbar(xs, ys, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=1.4, alpha=0.4, zorder=2)
    ax.plot(xs, ys, color=colour, linewidth=2.2, zorder=3)
    ax.plot(xs, ys, MARKERS[index % len(MARKERS)], color=colour, markersize=8.5, markeredgecolor=PAPER, markeredgewidth=1.6, zorder=4)


def _scale_x(ax: Axes, xs: Sequence[float], room: float) -> None:
    """Limits with `room` (a share of the width) free at the right; logarithmic where costs differ more than fourfold."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = min(xs), max(xs)
    if low > 0 and high / low > 4:
        ax.set_xscale("log")
        span = (high / low) ** (1 / (0.92 - room))
        ax.set_xlim(low / span**0.04, high * span ** (0.04 + room))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 30 else (1, 1.5, 2, 3, 5, 7)))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        span = max(high - low, 0.2 * high, 1) / (0.92 - room)
        ax.set_xlim(low - 0.04 * span, high + (0.04 + room) * span)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _scale_y(ax: Axes, arms: Sequence[Arm]) -> None:
    from matplotlib.ticker import MaxNLocator

    low = min(100 * arm.accuracy.low for arm in arms if arm.accuracy)
    high = max(100 * arm.accuracy.high for arm in arms if arm.accuracy)
    margin = max(0.06 * (high - low), (10 - (high - low)) / 2, 1)
    ax.set_ylim(max(low - margin, -1), min(high + margin, 101))
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _label(ax: Axes, lines: Sequence[Sequence[Arm]]) -> None:
    """Names at the ends of the lines, moved apart where they would meet; a thin stroke joins a moved name to its point."""
    ends = []
    for index, arms in enumerate(lines):
        if arms:
            last = max(arms, key=lambda arm: arm.mean_cost["tokens"])
            assert last.accuracy is not None
            x, y = ax.transData.transform((last.mean_cost["tokens"], 100 * last.accuracy.mean))
            ends.append([y, x, y, index, last.solver])
    ends.sort()
    for _ in range(40):  # relax: neighbours that overlap sideways push each other apart by half of what is missing
        for lower, upper in pairwise(ends):
            missing = _LEADING - (upper[0] - lower[0])
            if missing > 0 and abs(upper[1] - lower[1]) < _LETTER * max(len(upper[4]), len(lower[4])) + 20:
                lower[0] -= missing / 2
                upper[0] += missing / 2
    for y, x, point, index, name in ends:
        moved = abs(y - point) > 3
        place_x, place_y = ax.transData.inverted().transform((x, point))
        ax.annotate(
            name,
            (place_x, place_y),
            xytext=(22 if moved else 12, y - point),
            textcoords="offset pixels",
            va="center",
            color=series(index),
            fontweight="bold",
            fontsize=13,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": series(index), "linewidth": 0.8, "shrinkA": 2, "shrinkB": 6} if moved else None,
        ).set_in_layout(False)
