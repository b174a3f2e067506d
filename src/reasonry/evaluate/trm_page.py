"""The page of a Tiny Recursive Model's training: its curves, what it solves after each step, and how hard the puzzles are.

Invariant: every number is in the run's log or was measured on its test puzzles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.hardness import band
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table

Record = Mapping[str, Any]


def trm_page(world: str, records: Sequence[Record], about: Mapping[str, Any], recipe: str, command: str) -> str:
    """The whole page as HTML; `about` is what was measured at the end."""
    told = about.get("said", ["No test puzzles were asked for."])
    sections = [
        Section(
            "While training", _training(records), "Solved: of the slots that halted at the step, with hints where the recipe gives some."
        )
    ]
    if "test" in about:
        note = "Unseen puzzles. Whole grids against single blanks: most blanks right is far from a grid that is right."
        sections.append(Section("Refinement", refinement({"averaged weights": about["test"]}), note))
    if "by_guesses" in about:
        rows = [[band(r), str(r["puzzles"]), f"{r['exact']:.1%} ({r['low']:.1%} to {r['high']:.1%})"] for r in about["by_guesses"]]
        head = ["guesses of a backtracking solver", "puzzles", "solved (95 %)"]
        sections.append(Section("By hardness", table(head, rows), "The solver always fills the blank with the fewest candidates."))
    sections.append(Section("Recipe", Markup("<pre>{}</pre>").format(recipe)))
    return page(f"A network for {world}", " ".join(told), sections, kicker="trm", footer=command)


def _training(records: Sequence[Record]) -> Markup:
    figure, ax = axes(height=340)
    for i, (name, key) in enumerate((("solved in training", "exact"), ("solved, validation puzzles", "validation"))):
        points = [(r["step"], 100 * r[key]) for r in records if key in r]
        ax.plot([x for x, _ in points], [y for _, y in points], color=series(i), linewidth=1.6, label=name)
    ax.set_ylim(-2, 102)
    ax.set_xlabel("steps", color=MUTED)
    ax.set_ylabel("% of grids", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Share of grids solved against optimiser steps")


def refinement(curves: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Whole grids (solid) and single blanks (dashed) right after each supervision step, a colour a curve."""
    figure, ax = axes(height=340)
    for i, (name, found) in enumerate(curves.items()):
        steps = range(1, len(found["exact"]) + 1)
        ax.plot(steps, [100 * x for x in found["exact"]], color=series(i), linewidth=2, marker="o", label=f"{name}: whole grids")
        ax.plot(steps, [100 * x for x in found["blanks"]], color=series(i), linewidth=1.4, linestyle=(0, (4, 3)), label=f"{name}: blanks")
    ax.set_ylim(-2, 102)
    ax.set_xlabel("supervision steps", color=MUTED)
    ax.set_ylabel("% right", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Share right after each supervision step")
