"""The page of VGB's experiment: what errors do to each law, what each decoder finds for the same cost, and texts without a letter."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.vgb_findings import (
    ACTION,
    BEAM,
    BEST,
    BLIND,
    CLAIMS,
    CLIPPED,
    FIRST,
    FITTED,
    GREEDY,
    LATE,
    OUTCOME,
    PLAIN,
    REJECTION,
    STATIONARY,
    TEXT,
    TRUE,
    Plan,
    Row,
    brackets,
    learned,
    spread,
    values,
    wrong,
)  # fmt: skip
from reasonry.probe.stats import Estimate

DECODERS = (FIRST, STATIONARY, ACTION, OUTCOME, BEST, REJECTION, BEAM, GREEDY)


def report(plan: Plan, rows: Sequence[Row], evidence: Evidence) -> str:
    """The whole page as HTML."""
    noisy = wrong(max(plan.shares))
    sections = [
        Section(
            "A learned verifier, longer words", _learned(plan, rows),
            "ABC: letters without c. KL of a decoder's law from the target, nats, exact given the verifier; bars: 95 % over seeds.",
        ),
        Section(
            "Every verifier, words of brackets", _verifiers(plan, rows),
            f"{max(plan.sizes)} brackets. Total variation from π*, exact; the stationary mode's is 0 wherever nothing is cut off by zeros. "
            "Given up: attempts of stepwise sampling that end where every way is closed.",
        ),
        Section(
            f"What the same cost finds: {noisy}", _cost(plan, rows, noisy),
            f"{plan.limit} verifier calls and {plan.limit} tokens each, whichever is spent first. π* has all its mass on balanced words.",
        ),
        Section(
            "The case where it only costs: true values", _cost(plan, rows, TRUE),
            "The same with a perfect verifier: nothing is to be mended.",
        ),
        Section(
            "Texts without the letter e", _texts(plan, rows),
            f"{plan.length} characters; the walk's verifier is {plan.alpha:g} to the blocks still to come while no e is there, masking "
            "(ActionLevelRS) is the same verifier without going back. Log-probability by a second model.",
        ),
    ]  # fmt: skip
    return evidence_page("A walk that goes back", CLAIMS, evidence, sections, "The rules were written before the evidence was collected.")


def _learned(plan: Plan, rows: Sequence[Row]) -> Markup:
    figure, ax = axes(height=340)
    at = 0
    for arm in (ACTION, FIRST):
        for N in plan.rollouts:
            found = [(H, e) for H in plan.horizons if (e := spread(values(rows, arm, learned(H, N), "KL")))]
            bars = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
            ax.errorbar(
                [H + 0.06 * (at - 1.5) for H, _ in found], [e.mean for _, e in found], bars, marker="o",
                color=series(DECODERS.index(arm)), linewidth=2, capsize=2,
                linestyle="-" if min(plan.rollouts) == N else "--", label=f"{arm}, {N} rollouts",
            )  # fmt: skip
            at += 1
    ax.set_xticks(plan.horizons)
    ax.set_xlabel("letters H", color=MUTED)
    ax.set_ylabel("KL from the target, nats", color=MUTED)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, labelcolor=INK, ncols=2, fontsize=11)
    return figure_svg(figure, "KL from the target against length")


def _verifiers(plan: Plan, rows: Sequence[Row]) -> Markup:
    H = max(plan.sizes)
    head = ["verifier", f"TV, {FIRST}", f"TV, {ACTION}", "given up, %", "steps to the first leaf", "leaf mass"]
    lines = []
    for name in (TRUE, *(wrong(s) for s in plan.shares), LATE, FITTED, BLIND, CLIPPED):
        where = brackets(name, H)
        kept = spread(values(rows, ACTION, where, "kept"))
        lines.append(
            [
                name, _said(spread(values(rows, FIRST, where, "TV"))), _said(spread(values(rows, ACTION, where, "TV"))),
                "–" if kept is None else f"{100 * (1 - kept.mean):.1f}", _said(spread(values(rows, FIRST, where, "steps")), 0),
                _said(spread(values(rows, STATIONARY, where, "leaf mass"))),
            ]
        )  # fmt: skip
    return table(head, lines)


def _cost(plan: Plan, rows: Sequence[Row], verifier: str) -> Markup:
    where = f"brackets, {verifier}"
    figure, ax = axes(height=320)
    for i, arm in enumerate(DECODERS):
        x, y = spread(values(rows, arm, where, "share right")), spread(values(rows, arm, where, "different"))
        if x is not None and y is not None:
            ax.plot([x.mean], [y.mean], "o", color=series(i), markersize=10, label=arm)
    ax.set_xlim(-0.03, 1.05)
    ax.set_ylim(bottom=-5)
    ax.set_xlabel("share of attempts that give a right answer", color=MUTED)
    ax.set_ylabel("different right answers", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=11, bbox_to_anchor=(1, 1), loc="upper left")
    head = ["decoder", "right", "different", "mass of π* found", "share right", "calls an answer", "tokens"]
    metrics = ("right", "different", "mass of π* found", "share right", "calls an answer", "tokens an answer")
    digits = (0, 0, 2, 2, 0, 0)
    lines = [[arm, *(_said(spread(values(rows, arm, where, m)), d) for m, d in zip(metrics, digits, strict=True))] for arm in DECODERS]
    return figure_svg(figure, "Share right against different right answers") + table(head, lines)


def _texts(plan: Plan, rows: Sequence[Row]) -> Markup:
    head = ["", "log-probability, nats a token", "without e", "words known", "tokens sampled", "verifier calls"]
    metrics = ("log-probability", "without e", "known words", "tokens sampled", "verifier calls")
    lines = [
        [arm, *(_said(spread(values(rows, arm, TEXT, m)), 0 if m in metrics[3:] else 3) for m in metrics)]
        for arm in (PLAIN, OUTCOME, ACTION, FIRST)
    ]
    return table(head, lines)


def _said(e: Estimate | None, digits: int = 3) -> str:
    if e is None:
        return "–"
    mean, low, high = (f"{x:.{digits}f}" for x in (e.mean, e.low, e.high))
    return mean if low == high else f"{mean} ({low}–{high})" if e.low >= 0 else f"{mean} ({low} to {high})"
