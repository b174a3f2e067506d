"""A search tree as a drawing for reports, from the plain records of `solve.tree.dump`: values as colour, ends as marks, labels where there
is room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, LINE, MUTED, PAPER, axes, figure_svg, series

ROOM = 34
"""Leaves beyond which labels are left out."""
ABOVE, BELOW, NEUTRAL = series(1), series(5), MUTED
"""Colours of nodes with a value above zero, below it, and of zero."""


def places(records: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(x, y) of each node: y its depth downwards, leaves side by side, a parent over the middle of its children."""
    children: list[list[int]] = [[] for _ in records]
    for i, r in enumerate(records):
        if r["parent"] is not None:
            children[r["parent"]].append(i)
    x = [0.0] * len(records)
    leaves, todo = 0, [(0, False)] if records else []
    while todo:
        i, done = todo.pop()
        if not children[i]:
            x[i], leaves = float(leaves), leaves + 1
        elif done:
            x[i] = (x[children[i][0]] + x[children[i][-1]]) / 2
        else:
            todo.append((i, True))
            todo.extend((c, False) for c in reversed(children[i]))
    return [(x[i], -float(r["depth"])) for i, r in enumerate(records)]


def tree_svg(records: Sequence[Mapping[str, Any]], label: str = "", labels: bool = True) -> Markup:
    """The drawing. A node's size grows with its visits; a filled mark is an end that was right, a cross one that was not, a ring one that
    was never judged; `label` is read out to those who cannot see it."""
    at = places(records)
    depth = max((r["depth"] for r in records), default=0)
    figure, ax = axes(height=120 + 78 * depth)
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for i, r in enumerate(records):
        if (parent := r["parent"]) is not None:
            passed = r["value"] > 0 or (r["end"] or 0) > 0
            (x0, y0), (x1, y1) = at[parent], at[i]
            ax.plot([x0, x1], [y0, y1], color=ABOVE if passed else LINE, linewidth=2.4 if passed else 1.2, zorder=1)
    parents = {r["parent"] for r in records}
    wide = sum(i not in parents for i in range(len(records))) <= ROOM
    for i, r in enumerate(records):
        value, end, (x, y) = r["value"], r["end"], at[i]
        colour = ABOVE if (end or value) > 0 else BELOW if (end or value) < 0 else NEUTRAL
        size = 40 + 12 * min(r["visits"], 8)
        if end is None and r["terminal"]:
            ax.scatter([x], [y], s=size, facecolors=PAPER, edgecolors=colour, linewidths=2, zorder=2)
        elif end is not None and end < 0:
            ax.scatter([x], [y], s=size, color=colour, marker="x", linewidths=2.2, zorder=2)
        else:
            ax.scatter([x], [y], s=size * (1.6 if end is not None else 1.0), color=colour, marker="*" if end is not None else "o", zorder=2)
        said = "".join(c if c.isprintable() else "·" for c in r["label"].strip()).replace("$", "\\$")
        if labels and wide and said:
            leaf = i not in parents
            words = f"{said}  {value:+.2f}" if value and leaf else f"{said}\n{value:+.2f}" if value else said
            turned, beside = (90, (0, -9)) if leaf else (0, (9, 4))
            sides = ("center", "top") if leaf else ("left", "bottom")
            ax.annotate(
                words, (x, y), xytext=beside, textcoords="offset points", ha=sides[0], va=sides[1], fontsize=9, color=INK, rotation=turned
            )
    ax.set_ylim(-depth - 1.3, 0.4)
    return figure_svg(figure, label)
