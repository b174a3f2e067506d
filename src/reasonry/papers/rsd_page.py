"""The page of RSD's experiment: what each set of traces is like to the student, and what learning it does."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, LINE, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.rsd_findings import (
    CLAIMS,
    FEW,
    FOREIGNER,
    HAND,
    HARD,
    IN,
    LONGER,
    LOST,
    MASKED,
    NONE,
    OWN,
    PREFIXES,
    SIBLING,
    TEACHER,
    WHOLE,
    Found,
    Plan,
    again,
    known,
    rsd,
    solved,
    values,
    whole_sets,
)
from reasonry.probe.seeds import level
from reasonry.probe.stats import Estimate


def report(plan: Plan, found: Found, evidence: Evidence) -> str:
    """The whole page as HTML."""
    ours = [rsd(p) for p in plan.p_th]
    main = (NONE, TEACHER, MASKED, OWN, *ours, HAND)
    sections = [
        Section(
            "What learning each set does", _accuracy(found, main) + _table(found, (*main, SIBLING, FOREIGNER, FEW, WHOLE, PREFIXES)),
            f"Right answers to {plan.test} problems in style and {plan.test} harder ones, in %; bars: 95 % over seeds and problems. Every "
            f"set is written for the same {plan.problems} problems and learnt for as many tokens. By hand: the right working in the "
            "student's own style, which no method has.",
        ),
        Section("Seed by seed", _seeds(found, (*main, again(plan.rounds))), "Right in style · harder, in %; a seed is another student."),
        Section("What the student finds impossible", _scatter(found), "Each point is a set of one seed, under the student as it was."),
        Section(
            "RSD again and again", _rounds(plan, found),
            "Each round's student approves the next round's traces. The control is the first round's set, learnt as long as all rounds.",
        ),
        Section("The sets", _sets(found, (OWN, TEACHER, *ours, SIBLING, FOREIGNER, FEW, LOST)), _LOST),
    ]  # fmt: skip
    return evidence_page(
        "Traces that a student can follow", CLAIMS, evidence, sections, "The rules were written before the evidence was collected."
    )


_LOST = "The last is the built-in failure: a teacher whose digits the student does not know. Its fallback leaves no whole trace."


def _accuracy(found: Found, arms: Sequence[str]) -> Markup:
    figure, ax = axes(height=380)
    for i, (kind, shift) in enumerate(((IN, -0.18), (HARD, 0.18))):
        points = [(x, level(solved(found, arm, kind))) for x, arm in enumerate(arms)]
        known = [(x, e) for x, e in points if e is not None]
        spans = [[100 * (e.mean - e.low) for _, e in known], [100 * (e.high - e.mean) for _, e in known]]
        places = [x + shift for x, _ in known]
        ax.bar(places, [100 * e.mean for _, e in known], width=0.34, color=series(i), label=kind)
        ax.errorbar(places, [100 * e.mean for _, e in known], spans, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    ax.set_xticks(range(len(arms)), [arm.replace(" ", "\n", 2) for arm in arms], fontsize=11)
    ax.set_ylabel("% right", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, bbox_to_anchor=(1, 1), loc="upper left")
    return figure_svg(figure, "Accuracy after learning each set")


def _table(found: Found, arms: Sequence[str]) -> Markup:
    head = ["learnt", "in style, %", "harder, %", "rare, %", "nats a token", "entropy"]
    lines = [
        [
            arm, _said(level(solved(found, arm, IN)), 0, 100), _said(level(solved(found, arm, HARD)), 0, 100),
            _said(known(found, arm, "rare tokens"), 2, 100), _said(known(found, arm, "nats a token"), 2),
            _said(known(found, arm, "entropy, nats a token"), 2),
        ]
        for arm in arms
    ]  # fmt: skip
    return table(head, lines)


def _seeds(found: Found, arms: Sequence[str]) -> Markup:
    seeds = sorted(solved(found, NONE, IN))
    lines = []
    for arm in arms:
        both = [solved(found, arm, kind) for kind in (IN, HARD)]
        cells = [" · ".join(f"{100 * fmean(of[s].values()):.0f}" for of in both) if all(s in of for of in both) else "–" for s in seeds]
        lines.append([arm, *cells])
    return table(["learnt", *(f"seed {s}" for s in seeds)], lines)


def _scatter(found: Found) -> Markup:
    figure, ax = axes(height=360)
    for i, arm in enumerate(whole_sets(found)):
        share, right = values(found, arm, "rare tokens"), solved(found, arm, IN)
        points = [(100 * share[s], 100 * fmean(right[s].values())) for s in share if s in right]
        marker = "o" if i < 8 else "s"
        ax.plot([x for x, _ in points], [y for _, y in points], marker, color=series(i), markersize=8, label=arm)
    for s, y in {s: 100 * fmean(v.values()) for s, v in solved(found, NONE, IN).items()}.items():
        ax.axhline(y, color=LINE, linewidth=1, label=NONE if s == min(solved(found, NONE, IN)) else None)
    ax.set_ylim(0, 100)
    ax.set_xlabel("tokens below 1 %, % of the set's", color=MUTED)
    ax.set_ylabel("% right in style after learning it", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=11, bbox_to_anchor=(1, 1), loc="upper left")
    return figure_svg(figure, "Share of rare tokens against accuracy")


def _rounds(plan: Plan, found: Found) -> Markup:
    ours = rsd(plan.p_th[1])
    lines = []
    for name, arm in (
        ("before", NONE),
        ("round 1", ours),
        *((f"round {r}", again(r)) for r in range(2, plan.rounds + 1)),
        ("control", LONGER),
    ):
        figures = [
            _said(level(solved(found, arm, IN)), 0, 100), _said(level(solved(found, arm, HARD)), 0, 100),
            _said(known(found, arm, "entropy, nats a token"), 3), _said(known(found, arm, "right attempts"), 0, 100),
            _said(known(found, arm, "fallback rate"), 1, 100), _said(known(found, arm, "rare tokens"), 2, 100),
        ]  # fmt: skip
        lines.append([name, *figures])
    return table(["", "in style, %", "harder, %", "entropy, nats", "right attempts, %", "fallback, %", "rare tokens, %"], lines)


def _sets(found: Found, arms: Sequence[str]) -> Markup:
    metrics = (
        ("right attempts", 0, 100),
        ("fallback rate", 1, 100),
        ("whole traces", 0, 1),
        ("beginnings", 0, 1),
        ("tokens of a row", 0, 1),
    )
    lines = [[arm, *(_said(known(found, arm, m), d, by) for m, d, by in metrics)] for arm in arms]
    return table(["set", "right attempts, %", "fallback, %", "whole traces", "beginnings", "tokens of a row"], lines)


def _said(e: Estimate | None, digits: int, by: float = 1) -> str:
    if e is None:
        return "–"
    mean, low, high = (f"{by * x:.{digits}f}" for x in (e.mean, e.low, e.high))
    return mean if low == high else f"{mean} ({low} to {high})"
