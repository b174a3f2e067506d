"""The page of the survey's experiments: the weight of easy and hard prompts, the tournament, pass@k before and after."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from reasonry.core import Evidence, Measure
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.rl_survey_findings import CLAIMS

WEIGHT, PASS = "weight at pass rate ", "pass@"


def report(evidence: Evidence) -> str:
    """The whole page as HTML."""
    sections = [
        Section(
            "What dividing by the group's sd does", _lines(evidence, WEIGHT, "pass rate of the prompt", "weight"),
            "How much of the true gradient's weight a prompt keeps, by enumeration.",
        ),
        Section("The tournament", _tournament(evidence), "Right on held-out problems after equally many attempts; bars: 95 %, over seeds."),
        Section(
            "Sharpening or discovery", _lines(evidence, PASS, "k", "pass@k", log=True), "Unbiased; bars: 95 %, over problems.",
        ),
    ]  # fmt: skip
    return evidence_page(
        "Policy gradients, side by side", CLAIMS, evidence, sections, "Each rule was written before the experiment was run."
    )


def _by_arm(evidence: Evidence, prefix: str) -> Mapping[str, list[Measure]]:
    """The measures whose metric begins so, by arm."""
    found: dict[str, list[Measure]] = {}
    for m in evidence.measures:
        if m.metric.startswith(prefix):
            found.setdefault(m.arm, []).append(m)
    return found


def _lines(evidence: Evidence, prefix: str, xlabel: str, ylabel: str, log: bool = False) -> Markup:
    figure, ax = axes(height=360)
    for i, (arm, points) in enumerate(_by_arm(evidence, prefix).items()):
        xs = [float(m.metric.removeprefix(prefix)) for m in points]
        spread = [[m.mean - m.low for m in points], [m.high - m.mean for m in points]]
        ax.errorbar(xs, [m.mean for m in points], spread, color=series(i), marker="o", linewidth=2, capsize=2, label=arm)
    if log:
        ax.set_xscale("log", base=2)
    ax.set_xlabel(xlabel, color=MUTED)
    ax.set_ylabel(ylabel, color=MUTED)
    ax.set_ylim(bottom=0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, f"{ylabel} against {xlabel}")


def _tournament(evidence: Evidence) -> Markup:
    figure, ax = axes(height=400)
    arms = {arm: found[0] for arm, found in _by_arm(evidence, "accuracy").items()}
    slugs = list(dict.fromkeys(arm.split(", ")[0] for arm in arms))
    ways = list(dict.fromkeys(arm.split(", ")[1] for arm in arms))
    for i, way in enumerate(ways):
        shown = [(slugs.index(slug), m) for arm, m in arms.items() for slug, of in [arm.split(", ")] if of == way]
        spread = [[m.mean - m.low for _, m in shown], [m.high - m.mean for _, m in shown]]
        at = [x + 0.12 * (i - (len(ways) - 1) / 2) for x, _ in shown]
        ax.errorbar(at, [m.mean for _, m in shown], spread, color=series(i), marker="o", linestyle="", capsize=3, label=way)
    ax.set_xticks(range(len(slugs)), slugs)
    ax.set_ylabel("right", color=MUTED)
    ax.set_ylim(bottom=0)
    if ways:
        ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Accuracy after training, by objective and updates on a batch")
