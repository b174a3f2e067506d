"""The plot a report opens with: accuracy against the tokens an attempt took, one line per solver over its budgets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reasonry.evaluate.page import MUTED, PAPER, axes, series
from reasonry.evaluate.report import Arm, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^DvPX*"
"""Shapes beside colours, for those who tell colours apart badly."""

_LETTER, _HEIGHT = 8.2, 17.0
"""Width and height of a letter in a label, in pixels."""
_GAP = 11.0
"""Distance of a label from its point, in pixels."""
_PLACES = ((1, 0), (1, 12), (1, -12), (0, 18), (0, -18), (-1, 0), (-1, 14), (-1, -14), (1, 24), (1, -24), (0, 34), (0, -34))
"""Where a label may stand, best first: right of its point, above or below it, or left of it; and how many pixels up."""


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
    """Each name beside its line's end, on whichever side covers least of what is drawn there."""
    drawn = np.concatenate([_drawn(ax, arms) for arms in lines if arms])
    frame = ax.get_window_extent()
    placed: list[tuple[float, float, float, float]] = []
    for index, arms in enumerate(lines):
        if not arms:
            continue
        last = max(arms, key=lambda arm: arm.mean_cost["tokens"])
        assert last.accuracy is not None
        x, y = ax.transData.transform((last.mean_cost["tokens"], 100 * last.accuracy.mean))
        width = _LETTER * len(last.solver)

        def box(place: tuple[float, float], x: float = x, y: float = y, width: float = width) -> tuple[float, float, float, float]:
            side, rise = place
            left = x + (_GAP if side > 0 else -_GAP - width if side < 0 else -width / 2)
            return left, y + rise - _HEIGHT / 2, left + width, y + rise + _HEIGHT / 2

        def cost(place: tuple[float, float]) -> float:
            left, bottom, right, top = box(place)
            outside = left < frame.x0 or right > frame.x1 or bottom < frame.y0 or top > frame.y1
            touched = sum(left < r and le < right and bottom < t and b < top for le, b, r, t in placed)
            inside = (drawn[:, 0] > left) & (drawn[:, 0] < right) & (drawn[:, 1] > bottom) & (drawn[:, 1] < top)
            return 1000.0 * (outside + touched) + float(inside.sum()) + 2.0 * _PLACES.index(place)

        best = min(_PLACES, key=cost)
        placed.append(box(best))
        left, bottom, _, _ = placed[-1]
        offset = (left - x, bottom + _HEIGHT / 2 - y)
        end = (last.mean_cost["tokens"], 100 * last.accuracy.mean)
        text = ax.annotate(last.solver, end, xytext=offset, textcoords="offset pixels", va="center", color=series(index), fontsize=13)
        text.set_fontweight("bold")
        text.set_in_layout(False)


def _drawn(ax: Axes, arms: Sequence[Arm]) -> NDArray[np.float64]:
    """Points, in pixels, along the line and the intervals of one solver."""
    points: list[tuple[float, float]] = []
    for arm in arms:
        assert arm.accuracy is not None
        points += [(arm.mean_cost["tokens"], 100 * share) for share in np.linspace(arm.accuracy.low, arm.accuracy.high, 30)]
    corners = ax.transData.transform([(arm.mean_cost["tokens"], 100 * arm.accuracy.mean) for arm in arms if arm.accuracy])
    along = [np.linspace(a, b, 60) for a, b in pairwise(corners)]
    markers = np.repeat(corners, 20, axis=0)  # covering a marker is worse than covering a line
    return np.concatenate([ax.transData.transform(points), markers, *along])
