"""The page of TRM's experiment: refinement by arm, whole grids against blanks, and what each arm cost."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.trm_arms import DEEP, DIRECT, WHOLE, WRITES, Plan, Read
from reasonry.papers.trm_findings import CLAIMS, named, share


def report(plan: Plan, reads: Sequence[Read], evidence: Evidence) -> str:
    """The whole page as HTML."""
    names = list(dict.fromkeys(r.name for r in reads))
    sections = [
        Section(
            "Refinement", _curves(plan, reads, names),
            f"Unseen puzzles wholly right after each supervision step, all seeds; trained with {plan.N_sup} (dotted line). Direct networks "
            "answer once. Band: 95 % over puzzles, for the whole method alone.",
        ),
        Section("Arms", _arms(plan, reads, names), f"After {plan.N_sup} steps, where a network can make them. Seeds in their order."),
        Section(
            "Whole grids against blanks", _blanks(plan, reads, (WHOLE, DIRECT, DEEP, WRITES)),
            "Most blanks right is far from a grid that is right.",
        ),
    ]  # fmt: skip
    rules = "Each rule was written before any test puzzle was looked at."
    return evidence_page("TRM: recursive reasoning with tiny networks", CLAIMS, evidence, sections, rules)


def _curves(plan: Plan, reads: Sequence[Read], names: Sequence[str]) -> Markup:
    figure, ax = axes(height=420)
    ax.axvline(plan.N_sup, color=MUTED, linewidth=1, linestyle=(0, (1, 3)))
    for drawn, name in enumerate(names):
        last = len(named(reads, name)[0].exact)
        means = [share(reads, name, step) for step in range(1, last + 1)]
        if last == 1:
            ax.axhline(100 * means[0].mean, color=series(drawn), linewidth=1.4, linestyle=(0, (4, 3)), label=name)
        else:
            steps = range(1, last + 1)
            style = (0, (5, 2)) if drawn >= 8 else "-"
            ax.plot(steps, [100 * e.mean for e in means], color=series(drawn), linewidth=1.8, linestyle=style, label=name)
            if name == WHOLE:
                low, high = [100 * e.low for e in means], [100 * e.high for e in means]
                ax.fill_between(list(steps), low, high, color=series(drawn), alpha=0.15, linewidth=0)
    ax.set_ylim(-2, 102)
    ax.set_xlabel("supervision steps", color=MUTED)
    ax.set_ylabel("% of grids", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=2, fontsize=11)
    return figure_svg(figure, "Share of grids solved after each supervision step, by arm")


def _arms(plan: Plan, reads: Sequence[Read], names: Sequence[str]) -> Markup:
    rows = []
    for name in names:
        mine = named(reads, name)
        e = share(reads, name, plan.N_sup)
        each = ", ".join(f"{sum(r.right(plan.N_sup)) / len(r.right(plan.N_sup)):.1%}" for r in mine)
        rows.append(
            [name, f"{mine[0].parameters:,}", f"{mine[0].steps:,}", f"{mine[0].flops:.2g}", f"{e.mean:.1%}", each,
             f"{sum(r.first_halt for r in mine) / len(mine):.1f}"]
        )  # fmt: skip
    return table(["arm", "parameters", "steps", "training FLOPs", "grids", "by seed", "would halt at"], rows)


def _blanks(plan: Plan, reads: Sequence[Read], names: Sequence[str]) -> Markup:
    rows = []
    for name in names:
        mine = named(reads, name)
        at = min(plan.N_sup, len(mine[0].exact))
        rows.append([name, f"{sum(r.blanks[at - 1] for r in mine) / len(mine):.1%}", f"{share(reads, name, at).mean:.1%}"])
    return table(["arm", "blanks right", "grids right"], rows)
