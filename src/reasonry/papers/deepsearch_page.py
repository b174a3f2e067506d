"""The page of DeepSearch's experiment: learning curves by tokens, scores, a drawn tree of the start, the trees without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.evaluate.tree import tree_svg
from reasonry.papers.deepsearch_findings import ARMS, BACKED_RANDOM, CLAIMS, DIRECT, RANDOM, START, Plan, Trained, rates
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.seeds import gap, level, say, signed


def report(plan: Plan, made: Sequence[Trained], drawn: Sequence[Mapping[str, Any]], evidence: Evidence) -> str:
    """The whole page as HTML; `drawn` is one tree's records."""
    ends = [r for r in drawn if r["end"] is not None]
    right = sum(r["end"] > 0 for r in ends)
    tree = (
        f"One hard training problem, searched by the start: {len(drawn) - 1} steps made, {len(ends)} answers, {right} right. A star is a "
        "right answer, a cross a wrong one; beneath a step its value q. Thick ways were passed by a right answer: the constraint keeps "
        "them above zero. A round's ends are siblings, so the answers have few beginnings."
    )
    sections = [
        Section("Held-out hard problems, asked plainly", _scores(made), f"{plan.test_attempts} attempts at each; intervals over seeds."),
        Section(
            "Right attempts while training", _curve(plan, made),
            f"Every step, the mean of {len(evidence.seeds)} seeds, by sampled tokens. An arm's attempts are what its own way of "
            "making groups brings: searched, replayed or direct; a new round's problems are harder.",
        ),
        Section("A tree", tree_svg(drawn, f"a search tree with {len(ends)} ends, {right} of them right"), tree),
    ]  # fmt: skip
    rules = (
        "Each rule was written before any test problem was asked, but for `siblings`; `confident` got arms of its own after the first run."
    )
    return evidence_page("DeepSearch: tree search inside training", CLAIMS, evidence, sections, rules)


def _scores(made: Sequence[Trained]) -> Markup:
    rows = []
    for arm in (START, *ARMS):
        mine = rates(made, arm)
        if (e := level(mine)) is None:
            continue
        less = "" if arm in (START, DIRECT) else signed(gap(mine, rates(made, DIRECT)))
        rows.append([arm, say(e), less, *(f"{fmean(of.values()):.3f}" for of in mine.values())])
    seeds = sorted({t.seed for t in made})
    return table(["arm", "pass@1", "less direct", *(f"seed {s}" for s in seeds)], rows)


def _curve(plan: Plan, made: Sequence[Trained]) -> Markup:
    figure, ax = axes(height=400)
    for i, arm in enumerate(a for a in ARMS if a not in (RANDOM, BACKED_RANDOM)):
        points: dict[int, list[tuple[int, float]]] = {}
        for t in made:
            if t.arm == arm:
                for s in t.steps:
                    points.setdefault(s.step, []).append((s.tokens, s.pass_rate))
        if points:
            x = [fmean(tokens for tokens, _ in at) for at in points.values()]
            ax.plot(x, [fmean(rate for _, rate in at) for at in points.values()], color=series(i), linewidth=2, label=arm)
    ax.set_xlabel("tokens sampled", color=MUTED)
    ax.set_ylabel("share of attempts right", color=MUTED)
    ax.set_ylim(0, None)
    ax.legend(frameon=False, labelcolor=INK, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure_svg(figure, f"share of right attempts by tokens sampled for {', '.join(ARMS)}")
