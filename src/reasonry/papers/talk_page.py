"""The page of the debate experiment: ten groups before and after, rounds, flips by peers, treatments at equal calls, explicit dynamics."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.talk_cells import CLAIMS, CLOSE, GROUPS, HIGH, KINDS, LOW, MIXED, WEAK_MAJORITY, Found, Plan
from reasonry.papers.talk_findings import by_problem, every_round, mean_at, pick, pooled, stopped, vote_at
from reasonry.probe.flips import flips
from reasonry.probe.seeds import gap, level
from reasonry.probe.stats import Estimate
from reasonry.solve.exchange.dynamics import talk_pays


def report(plan: Plan, found: Found, evidence: Evidence) -> str:
    """The whole page as HTML."""
    n = f"{plan.questions} questions of each kind for each of {len(evidence.seeds)} seeds"
    sections = [
        Section("The vote, before and after", _groups(found), f"{n}. Taught with peers right in 95 % of the texts; some in 50 %, too."),
        Section("Round by round", _rounds(found, plan), "Individuals (thin) and their vote (thick), taught with 95 %."),
        Section(
            "Who gives up a right answer",
            _by_peers(found),
            "Mixed groups taught with 95 %, by how many peers had given the same answer. Bars: 95 % over questions.",
        ),
        Section("Treatments and controls at equal calls", _treatments(found), f"Four mixed groups taught with 95 %: {', '.join(CLOSE)}."),
        Section(
            "When is talk cheap?",
            _pays(plan),
            "Not models: three simulated agents, right alone in .8, that copy a random peer (the voter model), two rounds. Colour: change "
            "of the vote, in points; the line is where it is zero.",
        ),
    ]
    return evidence_page(
        "Talk isn't always cheap: debate, and its failures",
        CLAIMS,
        evidence,
        sections,
        "The rules were written before the evidence run. The paper's payoff prompt is not among them: these models cannot read it.",
    )


def _groups(found: Found) -> Markup:
    figure, ax = axes(height=560)
    at, labels = 0.0, []
    for kind in KINDS:
        for group in GROUPS:
            for i, cell in enumerate(c for prior in (HIGH, LOW) for c in pick(found, [group], [kind], prior)):
                before, after = (level(by_problem(found, [cell], vote_at(r))) for r in (0, -1))
                assert before is not None
                assert after is not None
                y, colour = at + 0.3 * i, series(i)
                ax.plot([before.mean, after.mean], [y, y], color=colour, linewidth=2)
                ax.plot([before.mean], [y], "o", markerfacecolor="none", markeredgecolor=colour, markersize=7)
                label = f"taught with {100 * cell.prior:.0f} %" if (kind, group) == (KINDS[0], WEAK_MAJORITY) else None
                ax.plot([after.mean], [y], "o", color=colour, markersize=7, label=label)
            labels.append((at + 0.15, f"{group}, {kind}"))
            at += 1
        at += 0.6
    ax.set_yticks([y for y, _ in labels], [text for _, text in labels])
    ax.tick_params(axis="y", colors=INK, labelsize=11)
    ax.set_ylim(at, -0.7)
    ax.set_xlabel("accuracy of the vote: hollow before, full after debate", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    head = ["group", "kind", "before, %", "after, %", "points", "CI", "IC", "harm, %", "unreadable", "ties after, %"]
    lines = []
    for kind in KINDS:
        for cell in pick(found, list(GROUPS), [kind]):
            f = flips(pooled(found, [cell]), draws=400)
            before, after = (by_problem(found, [cell], vote_at(r)) for r in (0, -1))
            change = [_percent(level(before)), _percent(level(after)), _points(gap(after, before))]
            counts = [str(f.total.ci), str(f.total.ic), _percent(f.harm), str(f.total.lost), f"{100 * f.rounds[-1].ties:.0f}"]
            lines.append([cell.group, kind, *change, *counts])
    return figure_svg(figure, "The vote of every group before and after debate") + table(head, lines, text_columns=2)


def _rounds(found: Found, plan: Plan) -> Markup:
    figure, ax = axes(height=360)
    for i, group in enumerate(CLOSE):
        for kind, dash in zip(KINDS, ("-", (0, (4, 3))), strict=True):
            cells = pick(found, [group], [kind])
            rounds = range(plan.rounds + 1 if cells else 0)
            for value, width in ((mean_at, 1.2), (vote_at, 3.0)):
                points = [level(by_problem(found, cells, value(r))) for r in rounds]
                label = f"{group}, {kind}" if width > 2 else None
                ax.plot(list(rounds), [e.mean for e in points if e], color=series(i), linewidth=width, linestyle=dash, label=label)
    ax.set_xticks(range(plan.rounds + 1), ["alone", *(f"round {t + 1}" for t in range(plan.rounds))])
    ax.set_ylabel("accuracy", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=12, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure_svg(figure, "Accuracy of individuals and of the vote by round")


def _by_peers(found: Found) -> Markup:
    figure, ax = axes(height=320)
    lines = []
    for i, kind in enumerate(KINDS):
        f = flips(pooled(found, pick(found, MIXED, [kind])))
        for b in f.by_peers:
            if b.harm is not None:
                x = b.k + 0.12 * (i - 0.5)
                spread = [[max(b.harm.mean - b.harm.low, 0)], [max(b.harm.high - b.harm.mean, 0)]]
                ax.errorbar(
                    [x], [b.harm.mean], spread, color=series(i), marker="o", markersize=8, capsize=3, label=kind if b.k == 0 else None
                )
            lines.append([kind, str(b.k), str(b.turns), _percent(b.flips), _percent(b.harm), _percent(b.gain)])
        adopted = f.adoption
        lines.append([kind, "all", str(sum(b.turns for b in f.by_peers)), "", _percent(f.harm), _percent(f.gain)])
        if adopted is not None:
            lines.append(["", f"of changed answers {_percent(adopted)} are a peer's", "", "", "", ""])
    ax.set_xticks([0, 1, 2])
    ax.set_xlabel("peers of the same answer", color=MUTED)
    ax.set_ylabel("right answers given up", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    head = ["kind", "peers of the same answer", "turns", "changed, %", "right → wrong, %", "wrong → right, %"]
    return figure_svg(figure, "Right answers given up, by agreeing peers") + table(head, lines, text_columns=2)


def _treatments(found: Found) -> Markup:
    head = ["", *(f"{kind}: {what}" for kind in KINDS for what in ("vote, %", "right → wrong, %"))]
    arms: list[tuple[str, str, float, int | str]] = [
        ("before debate", "debate", HIGH, 0), ("debate", "debate", HIGH, -1),
        ("debate, taught with 50 %", "debate", LOW, -1), ("debate, vote over all rounds", "debate", HIGH, "every"),
        ("debate, ended where unanimous", "debate", HIGH, "stopped"), ("gate: own check first", "gate", HIGH, -1),
        ("isolated: nobody is seen", "isolated", HIGH, -1), ("noise: unrelated answers", "noise", HIGH, -1),
        ("nine answers given alone", "alone", HIGH, 0),
    ]  # fmt: skip
    lines = []
    for name, mode, prior, at in arms:
        line = [name]
        for kind in KINDS:
            cells = pick(found, CLOSE, [kind], prior, mode)
            if not cells:
                line += ["–", "–"]
                continue
            value = every_round if at == "every" else stopped if at == "stopped" else vote_at(int(at))
            line.append(_percent(level(by_problem(found, cells, value))))
            given = mode != "alone" and at not in (0, "stopped")
            line.append(_percent(flips(pooled(found, cells)).harm) if given else "–")
        lines.append(line)
    return table(head, lines)


def _pays(plan: Plan) -> Markup:
    conformity, tilts = np.linspace(0, 1, 11), np.linspace(-0.5, 0.5, 11)
    delta = 100 * talk_pays((0.8,) * 3, list(conformity), list(tilts), plan.rounds, plan.simulated // 10)
    figure, ax = axes(height=420)
    most = float(np.abs(delta).max())
    shown = ax.pcolormesh(tilts, conformity, delta, cmap="RdBu", vmin=-most, vmax=most, shading="nearest", rasterized=False)
    ax.contour(tilts, conformity, delta, levels=[0], colors=[INK], linewidths=2)
    bar = figure.colorbar(shown, ax=ax)
    bar.ax.tick_params(colors=MUTED)
    bar.outline.set_visible(False)  # type: ignore[operator]
    ax.grid(visible=False)
    ax.set_xlabel("how much more the truth persuades than error does (tilt)", color=MUTED)
    ax.set_ylabel("chance to copy a peer", color=MUTED)
    return figure_svg(figure, "Change of the vote over conformity and persuasion")


def _percent(e: Estimate | None) -> str:
    return "–" if e is None else f"{100 * e.mean:.1f} ({100 * e.low:.1f}–{100 * e.high:.1f})"


def _points(e: Estimate | None) -> str:
    return "–" if e is None else f"{100 * e.mean:+.1f} ({100 * e.low:+.1f} to {100 * e.high:+.1f})"
