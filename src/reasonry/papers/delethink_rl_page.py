"""The page of Delethink's RL experiment: restating rate and reward by step, every model in every environment, and every figure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.delethink_rl_findings import CLAIMS, Learnt, Plan, Row, values
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.seeds import level, say

SMOOTH = 5
"""Steps that a point of a curve is the mean of."""
CURVES = {"restated": "restating rate", "reward": "reward"}


def report(plan: Plan, rows: Sequence[Row], learnt: Sequence[Learnt], evidence: Evidence) -> str:
    """The whole page as HTML."""
    by = f"Means of {SMOOTH} steps of {plan.prompts} × {plan.group} attempts; bands span the {len(evidence.seeds)} seeds. C = {plan.C}."
    sections = [
        Section("Restating rate while training", _curve(plan, learnt, "restated"), f"Each arm in its own environment. {by}"),
        Section("Reward while training", _curve(plan, learnt, "reward"), f"Each arm in its own environment. {by}"),
        Section("Test reward: each model in each environment", _crossed(plan, rows, "passed"), "Held-out problems; rows are models."),
        Section("Restating rate on the same attempts", _crossed(plan, rows, "restated")),
    ]
    return evidence_page(
        "The Markovian Thinker: RL in chunks",
        CLAIMS,
        evidence,
        sections,
        "Each rule was written before the results were seen; only its intervals were widened since.",
    )


def _curve(plan: Plan, learnt: Sequence[Learnt], metric: str) -> Markup:
    figure, ax = axes(height=360)
    for i, arm in enumerate(plan.shapes):
        mine = [x for x in learnt if x.arm == arm]
        at, mean, low, high = list[float](), list[float](), list[float](), list[float]()
        for first in range(0, plan.steps, SMOOTH):
            per_seed = {
                x.seed: [float(getattr(y, metric)) for y in mine if y.seed == x.seed and first <= y.step < first + SMOOTH] for x in mine
            }
            means = [fmean(of) for of in per_seed.values() if of]
            if means:
                at.append(min(first + SMOOTH, plan.steps) - (SMOOTH - 1) / 2)
                mean.append(fmean(means))
                low.append(min(means))
                high.append(max(means))
        ax.plot(at, mean, color=series(i), linewidth=2, marker="o", markersize=4, label=arm)
        ax.fill_between(at, low, high, color=series(i), alpha=0.15, linewidth=0)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("step", color=MUTED)
    ax.set_ylabel(CURVES[metric], color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=len(plan.shapes), loc="lower left", bbox_to_anchor=(0, 1))
    return figure_svg(figure, f"{CURVES[metric]} by training step for {', '.join(plan.shapes)}")


def _crossed(plan: Plan, rows: Sequence[Row], metric: str) -> Markup:
    models = dict.fromkeys(r.arm for r in rows)

    def cell(model: str, environment: str) -> str:
        e = level(values(rows, model, environment, metric))
        return "" if e is None else say(e)

    lines = [[model, *(cell(model, environment) for environment in plan.shapes)] for model in models]
    return table(["trained in", *(f"tried in {environment}" for environment in plan.shapes)], lines)
