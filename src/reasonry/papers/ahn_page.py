"""The page of AHN's experiment: what is remembered beyond the window, by arm and window."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.ahn_findings import CLAIMS, DN, FULL, GDN, MAMBA, PLAIN, POOLED, SWAPPED, Plan, Row, of
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.seeds import level

SHOWN = (FULL, GDN, DN, MAMBA, SWAPPED, POOLED, PLAIN)


def report(plan: Plan, rows: Sequence[Row], evidence: Evidence) -> str:
    """The whole page as HTML."""
    sections = [
        Section(
            "Notes that have left the window", _lines(plan, rows, "notes"),
            "Answers right whose note lies beyond the window; a dot is a seed, the line their mean. 'Another stream's values': AHN-GDN "
            "with a wrong memory: what it keeps of AHN's gain is not memory.",
        ),
        Section(
            "Seed by seed", _seeds(plan, rows),
            "Right beyond the middle window. Every seed has a base model of its own, and its cells the same number of steps.",
        ),
        Section(
            "Many keys, each to be recalled exactly", _lines(plan, rows, "many keys"),
            "The built-in case where the method fails: the state has no room.",
        ),
    ]  # fmt: skip
    return evidence_page(
        "A window and a memory",
        CLAIMS,
        evidence,
        sections,
        "Each rule was written before the evidence was collected; only identity has been measured in double precision since.",
    )


def _lines(plan: Plan, rows: Sequence[Row], kind: str) -> Markup:
    figure, ax = axes(height=380)
    for i, arm in enumerate(SHOWN):
        found = [(w, e) for w in plan.windows if (e := level(of(rows, arm, kind, w)))]
        if found:
            ax.plot([w for w, _ in found], [e.mean for _, e in found], color=series(i), linewidth=2, label=arm)
            dots = [(w, mean(each.values())) for w in plan.windows for each in of(rows, arm, kind, w).values() if each]
            ax.plot([w for w, _ in dots], [y for _, y in dots], "o", color=series(i), markersize=4, alpha=0.6)
    ax.set_xlabel("tokens of the window", color=MUTED)
    ax.set_ylabel("right beyond the window", color=MUTED)
    ax.set_xticks(plan.windows)
    ax.set_ylim(0, 1.02)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure_svg(figure, f"Share right against the window, {kind}")


def _seeds(plan: Plan, rows: Sequence[Row]) -> Markup:
    middle = plan.windows[len(plan.windows) // 2]
    seeds = sorted({r.seed for r in rows})
    arms = dict.fromkeys(r.arm for r in rows)
    shown = [(arm, of(rows, arm, "notes", middle)) for arm in arms]
    cells = [[arm, *(f"{mean(found[s].values()):.3f}" if found.get(s) else "" for s in seeds)] for arm, found in shown]
    return table(["arm", *(f"seed {s}" for s in seeds)], cells)
