"""The page of HICRA's experiments: learning curves, planning against execution, the simulated reasoner, the extractor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.hicra_findings import CLAIMS
from reasonry.papers.hicra_measures import TESTED
from reasonry.papers.hicra_rows import GRPO, HICRA, Facts, Plan, Row, Step, curve, scores, spread
from reasonry.probe.seeds import level

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTH = 5
"""Steps that a point of a curve is the mean of."""


def report(plan: Plan, rows: Sequence[Row], steps: Sequence[Step], facts: Sequence[Facts], evidence: Evidence) -> str:
    """The whole page as HTML."""
    by = f"Means of {SMOOTH} steps of {plan.prompts} × {plan.group} attempts; bands span the seeds."
    sections = [
        Section("Right while training", _curves(steps, lambda s: s.passed, "right"), f"Fresh problems, the same for every arm. {by}"),
        Section("Held-out problems", _tested(rows), "Two attempts each; errors are of all attempts. 95 %, over seeds or problems."),
        Section("Execution grows sure", _curves(steps, lambda s: s.execution_perplexity, "execution perplexity"), by),
        Section("Strategies", _curves(steps, lambda s: s.sg_entropy, "strategic-gram entropy, nats"), f"Miller–Madow. {by}"),
        Section("All tokens", _curves(steps, lambda s: s.entropy, "token entropy, nats"), by),
        Section(
            "The simulated reasoner", _agents(plan, facts),
            f"No language model. Exact accuracy, mean over agents; q = {plan.bases[1]:g}, the chance of a right execution token at first.",
        ),
        Section(
            "Does it need a base?", _bases(plan, facts), "HICRA's gain in mean accuracy, as a share of GRPO's; bars: 95 % over agents.",
        ),
        Section("The extractor against the truth", _extractor(plan, facts), "In words; mean over seeds."),
    ]  # fmt: skip
    return evidence_page(
        "HICRA: credit for planning", CLAIMS, evidence, sections, "Each rule was written before any test problem was looked at."
    )


def _curves(steps: Sequence[Step], what: Callable[[Step], float], label: str) -> Markup:
    figure, ax = axes(height=340)
    for i, arm in enumerate(dict.fromkeys(s.arm for s in steps)):
        mine = [s for s in steps if s.arm == arm]
        seeds = sorted({s.seed for s in mine})
        points: list[tuple[float, list[float]]] = []
        for first in range(0, max(s.step for s in mine) + 1, SMOOTH):
            part = [[s for s in mine if s.seed == seed and first <= s.step < first + SMOOTH] for seed in seeds]
            if all(part):
                points.append((fmean(s.tokens for p in part for s in p) / 1000, [fmean(map(what, p)) for p in part]))
        xs, ys = [x for x, _ in points], [y for _, y in points]
        ax.plot(xs, [fmean(y) for y in ys], color=series(i), linewidth=2, marker="o", markersize=4, label=arm)
        ax.fill_between(xs, [min(y) for y in ys], [max(y) for y in ys], color=series(i), alpha=0.12, linewidth=0)
    _named(ax, "thousand sampled tokens", label)
    return figure_svg(figure, f"{label} by arm against sampled tokens")


def _named(ax: Axes, xlabel: str, ylabel: str) -> None:
    ax.set_xlabel(xlabel, color=MUTED)
    ax.set_ylabel(ylabel, color=MUTED)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK)


def _tested(rows: Sequence[Row]) -> Markup:
    lines = []
    for arm in dict.fromkeys(r.arm for r in rows):
        found = [level(scores(rows, arm, what)) for what in TESTED]
        lines.append([arm, *("" if e is None else f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in found)])
    return table(["arm", *TESTED.values()], lines)


def _agents(plan: Plan, facts: Sequence[Facts]) -> Markup:
    figure, ax = axes(height=340)
    q = plan.bases[1]
    marks = list(range(plan.marked, plan.updates + 1, plan.marked))
    for i, key in enumerate(k for k in (facts[0].agents if facts else ()) if k.startswith(f"{q:g}/")):
        arm = key.partition("/")[2]
        agents = curve(facts, q, arm)
        ax.plot(marks, [fmean(a[m] for a in agents) for m in range(len(marks))], color=series(i), linewidth=1.8, label=arm)
    _named(ax, "updates", "accuracy")
    return figure_svg(figure, "Accuracy of the simulated reasoner by update and arm")


def _bases(plan: Plan, facts: Sequence[Facts]) -> Markup:
    figure, ax = axes(height=260)
    for q in plan.bases:
        pairs = zip(curve(facts, q, HICRA), curve(facts, q, GRPO), strict=True)
        if (e := spread([100 * (fmean(x) / fmean(y) - 1) for x, y in pairs])) is not None:
            ax.errorbar([q], [e.mean], [[e.mean - e.low], [e.high - e.mean]], color=series(0), marker="o", capsize=4)
    ax.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    ax.set_xticks(plan.bases)
    _named(ax, "q at first", "gain, %")
    return figure_svg(figure, "HICRA's relative gain against the initial accuracy of execution")


def _extractor(plan: Plan, facts: Sequence[Facts]) -> Markup:
    every = [x for f in facts for x in f.quality]
    head = ["corpus", *(f"top {top:.0%}: precision" if i == 0 else "recall" for top in plan.tops for i in range(2))]
    lines = []
    for corpus in dict.fromkeys(x.corpus for x in every):
        cells = [
            f"{fmean(getattr(x, what) for x in every if (x.corpus, x.top) == (corpus, top)):.2f}"
            for top in plan.tops
            for what in ("precision", "recall")
        ]
        lines.append([corpus, *cells])
    return table(head, lines)
