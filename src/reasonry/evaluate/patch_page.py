"""The page of a patch's training: its loss, and what its cells are worth at each size beside the plain window and a wrong memory.

Invariant: every number is in the run's log or was measured on sequences that were held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import MUTED, Section, axes, figure_svg, page, series, table


@dataclass(frozen=True)
class Worth:
    """Mean KL to full attention beyond the window, in nats, at one size."""

    total: int
    """Window and sinks together."""
    sinks: int
    alone: float
    """The window and the sinks, nothing written."""
    memory: float
    other: float
    """Another text's values written: what is left of the gain is no memory, but the model's recalibration to a short window."""


def said(w: Worth) -> str:
    """In a sentence."""
    return (
        f"{w.total} tokens kept, {w.sinks} of them sinks: {w.alone:.3f} nats from full attention with the window alone, {w.memory:.3f} "
        f"with the memory, {w.other:.3f} with another text's."
    )


def patch_page(model: str, loss: str, records: Sequence[Mapping[str, Any]], worth: Sequence[Worth], recipe: str, command: str) -> str:
    """The whole page as HTML."""
    rows = [[str(w.total), str(w.sinks), f"{w.alone:.3f}", f"{w.memory:.3f}", f"{w.other:.3f}"] for w in worth]
    head = ["tokens kept", "sinks", "window alone", "with the memory", "with another text's"]
    note = (
        "Mean KL to full attention in nats, at tokens beyond the window of texts that were held out. What another text's memory gains over "
        "the window alone is recalibration; only what lies below it is memory."
    )
    sections = [
        Section("What the memory is worth", table(head, rows, text_columns=0), note),
        Section("While training", _curve(records, loss), "The window is drawn anew for every step, and with it how hard the step is."),
        Section("Recipe", Markup("<pre>{}</pre>").format(recipe)),
    ]
    return page(f"A window and a memory for {model}", said(worth[len(worth) // 2]), sections, kicker="ahn", footer=command)


def _curve(records: Sequence[Mapping[str, Any]], loss: str) -> Markup:
    figure, ax = axes(height=300)
    ax.plot([r["step"] for r in records], [r["loss"] for r in records], color=series(0), linewidth=1.4)
    ax.set_xlabel("steps", color=MUTED)
    ax.set_ylabel(loss, color=MUTED)
    ax.set_ylim(bottom=0)
    return figure_svg(figure, "Loss against steps")
