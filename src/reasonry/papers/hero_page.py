"""The page of HERO's experiments: the table's curves, true accuracy of every model by regime and kind, and every figure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.hero_findings import (
    ALPHAS,
    ARMS,
    CLAIMS,
    FULL,
    MIXED,
    POOR,
    SD,
    SPARSE,
    START,
    Cell,
    Learnt,
    Plan,
    Row,
    accuracy,
    alpha_arm,
    at,
    carefulness,
)
from reasonry.papers.hero_task import KINDS
from reasonry.probe.seeds import level, say

HEAD = ("trained on", "paid by", *(f"{kind} problems" for kind in KINDS), "careful workings")
SMOOTH = 5
"""Steps that a point of a curve is the mean of."""


def report(plan: Plan, cells: Sequence[Cell], rows: Sequence[Row], learnt: Sequence[Learnt], evidence: Evidence) -> str:
    """The whole page as HTML."""
    n = len(evidence.seeds)
    sections = [
        Section(
            "True accuracy of the trained models",
            _models(rows),
            f"Share of {plan.test_problems} held-out problems of each kind and seed answered rightly in any form; {n} seeds. "
            "Careful: every line is written, right or wrong.",
        ),
        Section(
            "True accuracy while training on both kinds",
            _curves(plan, learnt),
            f"Of the attempts being learned from, means of {SMOOTH} steps; bands span the seeds. No arm is paid by this.",
        ),
        Section("The table: accuracy by update", _table(cells), f"Mean over {n} seeds; 128 prompts, 8 answers each, exact gradients."),
        Section("The table: how wide the strata", _widths(cells), "Recall 1, mean-only; the poor reward model has noise 1 and hack 3."),
    ]
    return evidence_page(
        "HERO: a verifier and a reward model in one reward", CLAIMS, evidence, sections, "Each rule was written before the stored run."
    )


def _models(rows: Sequence[Row]) -> Markup:
    lines = [
        [regime, arm, *(say(level(accuracy(rows, regime, arm, [kind]))) for kind in KINDS), say(level(carefulness(rows, regime, arm)))]
        for regime, arm in dict.fromkeys((r.regime, r.arm) for r in rows)
    ]
    return table(HEAD, [["–" if x == START else x for x in r] for r in lines])


def _curves(plan: Plan, learnt: Sequence[Learnt]) -> Markup:
    figure, ax = axes(height=360)
    arms = list(dict.fromkeys(x.arm for x in learnt if x.regime == MIXED))
    for i, arm in enumerate(arms):
        mine = [x for x in learnt if (x.regime, x.arm) == (MIXED, arm)]
        place, mean, low, high = list[float](), list[float](), list[float](), list[float]()
        for first in range(0, plan.steps, SMOOTH):
            of = {s: [x.true for x in mine if x.seed == s and first <= x.step < first + SMOOTH] for s in {x.seed for x in mine}}
            means = [fmean(v) for v in of.values() if v]
            if means:
                place.append(min(first + SMOOTH, plan.steps) - (SMOOTH - 1) / 2)
                mean.append(fmean(means))
                low.append(min(means))
                high.append(max(means))
        ax.plot(place, mean, color=series(i), linewidth=2, marker="o", markersize=4, label=arm)
        ax.fill_between(place, low, high, color=series(i), alpha=0.15, linewidth=0)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("step", color=MUTED)
    ax.set_ylabel("right in any form", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure_svg(figure, f"Share of right attempts by training step for {', '.join(arms)}")


def _table(cells: Sequence[Cell]) -> Markup:
    worlds = (FULL, SPARSE, f"{FULL}, {SD}", f"{SPARSE}, {SD}")
    updates = sorted({c.update for c in cells if c.world == FULL and c.arm == ARMS[0] and c.update})
    lines = [[world, arm, *(_mean(cells, world, arm, u) for u in updates)] for world in worlds for arm in ARMS]
    return table(["world", "paid by", *(f"{u} updates" for u in updates)], lines)


def _widths(cells: Sequence[Cell]) -> Markup:
    worlds = {"good reward model": FULL, "poor reward model": f"{FULL}, {POOR}"}
    updates = sorted({c.update for c in cells if c.arm == alpha_arm(ALPHAS[0]) and c.update})
    lines = [[f"α = {a:g}", *(_mean(cells, world, alpha_arm(a), u) for world in worlds.values() for u in updates)] for a in ALPHAS]
    return table(["", *(f"{name}, {u} updates" for name in worlds for u in updates)], lines)


def _mean(cells: Sequence[Cell], world: str, arm: str, update: int) -> str:
    found = at(cells, world, arm, update)
    return f"{fmean(found.values()):.3f}" if found else "–"
