"""The page of AggLM's experiment: accuracy against tokens, by size of the majority, the mixtures of both policies, the controls."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.agglm_findings import (
    ALONE,
    AT9,
    AT16,
    CLAIMS,
    FAMILIAR,
    FEATURES,
    JUDGES,
    LARGE,
    MAIN,
    OTHERS,
    SMALL,
    SOLVER,
    START,
    TRAINED,
    Fact,
    Pick,
    Plan,
    Row,
    best_by,
    everything,
    mean_of,
    means,
    of_size,
    vote_by,
)  # fmt: skip
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.ladder import BEST, BEST_CHECK, CHECKED, MAJORITY, ORACLE, PASS1, WEIGHTED
from reasonry.probe.stats import Estimate

SIZES: dict[str, Pick] = {"1–3": of_size(*SMALL), "4–5": of_size(4, 5), "6–8": of_size(*LARGE)}


def report(plan: Plan, rows: Sequence[Row], facts: Sequence[Fact], evidence: Evidence) -> str:
    """The whole page as HTML."""
    n = f"{plan.test_problems} test problems for each of {len(evidence.seeds)} seeds"
    sections = [
        Section(
            "Accuracy against tokens",
            _cost(rows),
            f"{n}; bars: 95 % over problems. Tokens sampled for one answer, candidates included; checks and reward models sample none.",
        ),
        Section("By the size of the majority", _sizes(rows), "How many of a set's eight candidates gave its most frequent answer."),
        Section(
            "Mixtures",
            _mixtures(rows, facts),
            "Equal updates. Zero advantage: groups whose eight answers all earned the same teach nothing.",
        ),
        Section(
            "Held-out arithmetic and practised",
            _facts(rows),
            "Test problems are of operations on values that reward never saw; for comparison others, new as problems, of those it did. The "
            "reward model told every fact has seen both.",
        ),
        Section("Does it read its candidates?", _controls(plan, rows, facts), f"The arm {MAIN}; the same problems, the same weights."),
    ]
    return evidence_page(
        "AggLM: the majority is not always right",
        CLAIMS,
        evidence,
        sections,
        "The rules were written before a first run, whose outcome led to the held-out test (see what differs); they are unchanged. The one "
        "about reward models was added later, before those arms were run.",
    )


def _cost(rows: Sequence[Row]) -> Markup:
    figure, ax = axes(height=420)
    judge = [arm(judge, 9) for judge in JUDGES for arm in (vote_by, best_by)]
    shown = [PASS1, MAJORITY, AT9, AT16, WEIGHTED, CHECKED, BEST, BEST_CHECK, *judge, START, MAIN, SOLVER, ORACLE]
    found = [(arm, e, fmean(r.tokens for r in rows if r.arm == arm)) for arm in shown if (e := mean_of(means(rows, arm)))]
    for at, (arm, e, _) in enumerate(found):
        colour = series(2) if arm == MAIN else series(0) if arm in (MAJORITY, AT9, AT16) else MUTED if arm in (PASS1, ORACLE) else series(5)
        ax.plot([e.low, e.high], [at, at], color=colour, linewidth=4, alpha=0.35, solid_capstyle="round")
        ax.plot([e.mean], [at], "o", color=colour, markersize=8)
    ax.grid(visible=False)
    ax.set_yticks(range(len(found)), [f"{arm}, {tokens:.0f} tokens" for arm, _, tokens in found])
    ax.tick_params(axis="y", colors=INK)
    ax.set_ylim(len(found) - 0.5, -0.6)
    ax.set_xlabel("accuracy", color=MUTED)
    return figure_svg(figure, "Accuracy of every way of making one answer, with its tokens")


def _sizes(rows: Sequence[Row]) -> Markup:
    figure, ax = axes(height=320)
    shown = [MAJORITY, CHECKED, START, MAIN]
    for i, arm in enumerate(shown):
        points = [(at, e) for at, pick in enumerate(SIZES.values()) if (e := mean_of(means(rows, arm, pick)))]
        spread = [[e.mean - e.low for _, e in points], [e.high - e.mean for _, e in points]]
        xs = [at + 0.07 * (i - (len(shown) - 1) / 2) for at, _ in points]
        ax.errorbar(xs, [e.mean for _, e in points], spread, color=series(i), marker="o", linewidth=2, capsize=2, label=arm)
    ax.set_xticks(range(len(SIZES)), [f"majority of {label}" for label in SIZES])
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("accuracy", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1))
    head = ["", *(f"majority of {label}" for label in SIZES), "minority-correct"]
    lines = [
        [arm, *(_said(mean_of(means(rows, arm, pick))) for pick in SIZES.values()), _said(mean_of(means(rows, arm, lambda r: r.minority)))]
        for arm in (PASS1, *shown, *(a for a in TRAINED if a != MAIN), *(vote_by(judge, 8) for judge in JUDGES), ORACLE)
    ]
    return figure_svg(figure, "Accuracy by the size of the majority") + table(head, lines)


def _mixtures(rows: Sequence[Row], facts: Sequence[Fact]) -> Markup:
    head = [
        "training sets",
        "language model, %",
        "minority-correct, %",
        "zero advantage, %",
        "features, %",
        "minority-correct, %",
        "zero advantage, %",
    ]
    lines = []
    for arm in (START, *TRAINED):
        line = [arm]
        for name in (arm, FEATURES + arm):
            same = [f.value for f in facts if f.arm == name and f.metric == "zero-advantage share"]
            line += [_said(mean_of(means(rows, name, pick))) for pick in (everything, lambda r: r.minority)]
            line.append(f"{100 * fmean(same):.0f}" if same else "–")
        lines.append(line)
    return table(head, lines)


def _facts(rows: Sequence[Row]) -> Markup:
    head = ["", "held out, %", "practised, %"]
    lines = [
        [arm, *(_said(mean_of(means(rows, kind + arm))) for kind in ("", FAMILIAR))]
        for arm in (PASS1, AT9, *(arm(judge, 9) for judge in JUDGES for arm in (vote_by, best_by)), START, MAIN, ALONE, SOLVER, ORACLE)
    ]
    return table(head, lines)


def _controls(plan: Plan, rows: Sequence[Row], facts: Sequence[Fact]) -> Markup:
    head = ["shown", "accuracy, %"]
    others = [f"{MAIN}, {m} candidates" for m in plan.sizes]
    lines = [[arm, _said(mean_of(means(rows, arm)))] for arm in (MAIN, ALONE, OTHERS, *others)]
    tv = ["order", START, MAIN]
    moved = []
    for metric in ("total variation, shuffled", "total variation, same order"):
        per = [[f.value for f in facts if f.arm == arm and f.metric == metric] for arm in (START, MAIN)]
        moved.append([metric, *(f"{fmean(v):.3f}" if v else "–" for v in per)])
    note = Markup(
        "<p>Total variation between the answers to one set in two orders, and between two samples in one order, which is chance alone.</p>"
    )
    return table(head, lines) + note + table(tv, moved)


def _said(e: Estimate | None) -> str:
    return "–" if e is None else f"{100 * e.mean:.1f} ({100 * e.low:.1f}–{100 * e.high:.1f})"
