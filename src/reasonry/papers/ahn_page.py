"""The page of AHN's experiment: what is remembered beyond the window, by arm and window."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series
from reasonry.papers.ahn_findings import CLAIMS, DN, FULL, GDN, MAMBA, PLAIN, POOLED, SWAPPED, Plan, Row, of
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.seeds import level

SHOWN = (FULL, GDN, DN, MAMBA, SWAPPED, POOLED, PLAIN)


def report(plan: Plan, rows: Sequence[Row], evidence: Evidence) -> str:
    """The whole page as HTML."""
    sections = [
        Section(
            "Notes that have left the window", _lines(plan, rows, "notes"),
            "Answers right whose note lies beyond the window; bars: 95 %, over seeds and streams. 'Another stream's values': AHN-GDN with "
            "a wrong memory: what it keeps of AHN's gain is not memory.",
        ),
        Section(
            "Many keys, each to be recalled exactly", _lines(plan, rows, "many keys"),
            "The built-in case where the method fails: the state has no room.",
        ),
    ]  # fmt: skip
    return evidence_page("A window and a memory", CLAIMS, evidence, sections, "Each rule was written before the evidence was collected.")


def _lines(plan: Plan, rows: Sequence[Row], kind: str) -> Markup:
    figure, ax = axes(height=380)
    for i, arm in enumerate(SHOWN):
        found = [(w, e) for w in plan.windows if (e := level(of(rows, arm, kind, w)))]
        if found:
            spread = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
            ax.errorbar(
                [w for w, _ in found], [e.mean for _, e in found], spread, color=series(i), marker="o", linewidth=2, capsize=2, label=arm
            )
    ax.set_xlabel("tokens of the window", color=MUTED)
    ax.set_ylabel("right beyond the window", color=MUTED)
    ax.set_xticks(plan.windows)
    ax.set_ylim(0, 1.02)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=2)
    return figure_svg(figure, f"Share right against the window, {kind}")
