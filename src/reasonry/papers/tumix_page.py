"""The page of TUMIX's experiment: rounds, stops and their cost, votes at equal tokens, what copies share, the explicit model."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.agglm_findings import mean_of
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.tumix_findings import ALL, ALONE, BEST, BEST_SIX, CLAIMS, GROUPS, SIX, STOPS, Fact, Plan, Row, kept, scores, values
from reasonry.papers.tumix_task import KINDS
from reasonry.probe.stats import Estimate


def report(plan: Plan, rows: Sequence[Row], facts: Sequence[Fact], evidence: Evidence) -> str:
    """The whole page as HTML."""
    n = f"{4 * plan.each} test questions for each of {len(evidence.seeds)} seeds"
    sections = [
        Section("Rounds", _rounds(rows), f"{n}; bars: 95 % over questions. Vote: the majority, ties shared evenly."),
        Section(
            "Kinds of questions",
            _kinds(rows, plan),
            "Vote by kind, per cent. None of the six has both search and code; nine of fifteen do.",
        ),
        Section(
            "At equal tokens",
            _equal(rows),
            "Self-consistency of the best agent, as many answers as cost what the group with its judge sampled.",
        ),
        Section("Stops", _stops(rows), "Tokens sampled, the judge's included. The oracle knows the right answers."),
        Section("Flips", _flips(rows), "Share of agents whose answer became right, or wrong, in a round."),
        Section("What is shared", _shared(facts), "Correlation of being right, over questions; groups of fifteen out of thirty."),
        Section(
            "The explicit model", _model(plan, facts), "Fifteen different strategies against fifteen copies of one, all equally skilled."
        ),
    ]
    rules = "The rules were written before a first run, whose outcome led to another teaching (see what differs); they are unchanged."
    return evidence_page("TUMIX: agents with different tools", CLAIMS, evidence, sections, rules)


def _rounds(rows: Sequence[Row]) -> Markup:
    pages = Markup()
    for metric, words in (("vote", "accuracy of the vote"), ("average", "average accuracy"), ("coverage", "coverage")):
        figure, ax = axes(height=300)
        for i, group in enumerate(GROUPS):
            rounds = sorted({r.round for r in rows if r.arm == group})
            found = [(n, e) for n in rounds if (e := mean_of(scores(rows, group, metric, n)))]
            if found:
                spread = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
                xs = [n + 0.04 * (i - 2) for n, _ in found]
                ax.errorbar(xs, [e.mean for _, e in found], spread, color=series(i), marker="o", linewidth=2, capsize=2, label=group)
        ax.set_xticks(sorted({r.round for r in rows if r.arm in GROUPS}))
        ax.set_ylim(0, 1.03)
        ax.set_xlabel("round", color=MUTED)
        ax.set_ylabel(words, color=MUTED)
        ax.legend(frameon=False, labelcolor=INK, ncols=len(GROUPS), loc="lower left", bbox_to_anchor=(0, 1))
        pages += figure_svg(figure, f"{words} of every group after every round")
    return pages


def _kinds(rows: Sequence[Row], plan: Plan) -> Markup:
    head = ["", *(f"{kind}" for kind in KINDS), "all"]
    lines: list[list[str]] = []
    for group in GROUPS:
        for n in (1, 2, plan.rounds):
            found = [mean_of(scores(rows, group, round=n, kinds=(kind,))) for kind in KINDS]
            lines.append([f"{group}, round {n}", *map(_said, found), _said(mean_of(scores(rows, group, round=n)))])
    for arm in (ALONE + BEST, ALONE + BEST_SIX):
        found = [mean_of(scores(rows, arm, kinds=(kind,))) for kind in KINDS]
        lines.append([arm, *map(_said, found), _said(mean_of(scores(rows, arm)))])
    return table(head, lines)


def _equal(rows: Sequence[Row]) -> Markup:
    head = ["", "vote, %", "tokens sampled", "tokens read", "model calls"]
    lines = []
    for arm in (f"{ALL}, judge", ALONE + BEST, f"{SIX}, judge", ALONE + BEST_SIX):
        own = [r for r in rows if r.arm == arm]
        spent = [f"{fmean(getattr(r, unit) for r in own):.0f}" if own else "–" for unit in ("tokens", "prompt_tokens", "calls")]
        lines.append([arm, _said(mean_of(scores(rows, arm))), *spent])
    return table(head, lines)


def _stops(rows: Sequence[Row]) -> Markup:
    head = ["", "vote, %", "rounds", "of the best round's vote, %", "of all rounds' tokens, %"]
    lines: list[list[str]] = []
    for group in (ALL, SIX):
        for n in sorted({r.round for r in rows if r.arm == group}):
            share = fmean(scores(rows, group, "tokens", n).values()) / fmean(scores(rows, group, "tokens").values())
            best = max(fmean(scores(rows, group, round=m).values()) for m in {r.round for r in rows if r.arm == group})
            vote = mean_of(scores(rows, group, round=n))
            lines.append(
                [
                    f"{group}, {n} rounds",
                    _said(vote),
                    f"{n}",
                    f"{100 * vote.mean / best:.0f}" if vote and best else "–",
                    f"{100 * share:.0f}",
                ]
            )
        for stop in STOPS:
            found = kept(rows, group, stop)
            if found:
                used = fmean(r.round for r in rows if r.arm == f"{group}, {stop}")
                lines.append(
                    [
                        f"{group}, {stop}",
                        _said(mean_of(scores(rows, f"{group}, {stop}"))),
                        f"{used:.2f}",
                        *(f"{100 * x:.0f}" for x in found),
                    ]
                )
    return table(head, lines)


def _flips(rows: Sequence[Row]) -> Markup:
    rounds = sorted({r.round for r in rows if r.arm == ALL})[1:]
    head = ["", *(f"round {n}: to right, to wrong, %" for n in rounds)]
    lines = []
    for group in GROUPS:
        shares = [[fmean(scores(rows, group, field, n).values()) for field in ("to_right", "to_wrong")] for n in rounds]
        lines.append([group, *(f"{100 * a:.1f}, {100 * b:.1f}" for a, b in shares)])
    return table(head, lines)


def _shared(facts: Sequence[Fact]) -> Markup:
    lines = []
    for arm in ("errors", "groups", "best agent"):
        for metric in dict.fromkeys(f.metric for f in facts if f.arm == arm):
            found = values(facts, arm, metric)
            lines.append([f"{arm}: {metric}", f"{fmean(found):.3g}", f"{min(found):.3g} to {max(found):.3g}"])
    return table(["", "mean over seeds", "least to most"], lines)


def _model(plan: Plan, facts: Sequence[Fact]) -> Markup:
    figure, ax = axes(height=320)
    for i, (label, metric) in enumerate(
        {"one round": "advantage at correlation", f"{plan.rounds} rounds": f"advantage after {plan.rounds} rounds at correlation"}.items()
    ):
        points = [(rho, values(facts, "model", f"{metric} {rho:g}")) for rho in plan.rhos]
        found = [(rho, 100 * fmean(v)) for rho, v in points if v]
        ax.plot([x for x, _ in found], [y for _, y in found], "o-", color=series(i), linewidth=2, label=label)
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set_xlabel("correlation between different strategies; copies have 1", color=MUTED)
    ax.set_ylabel("advantage of the vote, points", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    head = ["", "average, round 1", "coverage", "vote", "average, round 6", "coverage", "vote", "margin stop: vote", "rounds"]
    lines = []
    for name in ("15 different", "15 copies", "3 x 5"):
        of = [f"{name}, round {r}: {m}" for r in (1, 6) for m in ("average", "coverage", "vote")]
        cells = [values(facts, "model", metric) for metric in (*of, f"{name}, margin stop: vote", f"{name}, margin stop: rounds")]
        lines.append([name, *(f"{fmean(v):.2f}" if v else "–" for v in cells)])
    return figure_svg(figure, "Advantage of different strategies over copies, by how much they share") + table(head, lines)


def _said(e: Estimate | None) -> str:
    return "–" if e is None else f"{100 * e.mean:.1f} ({100 * e.low:.0f}–{100 * e.high:.0f})"
