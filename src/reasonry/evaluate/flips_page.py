"""What talking did, for people: a sentence, a text for the terminal, JSON, and a page; and the debates that a run directory holds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

from reasonry.core import UserError
from reasonry.evaluate.page import INK, MUTED, Section, axes, download, figure_svg, page, series, table
from reasonry.probe.exchange_log import Debate, debate_of, groups_of, read_debates
from reasonry.probe.flips import AtRound, Flips, flips
from reasonry.probe.stats import Estimate
from reasonry.synth.spec import load

ROUNDS = ("group", "round", "agents right, %", "vote right, %", "tied votes, %", "pairs that agree, %", "unreadable, %", "any right, %")
TURNS = ("group", "from round", "CC", "CI", "of these unreadable", "IC", "II", "changed", "to a peer's answer")
PEERS = ("group", "peers of the same answer", "turns", "changed, %", "right → wrong, %", "wrong → right, %")


class _Line(msgspec.Struct):
    solver: str
    budget: str
    problem: str
    trajectory: dict[str, Any]


def debates_of(path: Path) -> list[Debate]:
    """The debates of a log file; or of a run directory of compare, where every solver that exchanges is a group.

    Raises UserError for a directory that holds none. A turn of a run is judged by the run's own task.
    """
    if not path.is_dir():
        return read_debates(path)
    log, config = path / "attempts.jsonl", path / "config.json"
    if not log.is_file() or not config.is_file():
        raise UserError(f"{path}: holds no attempts.jsonl beside a config.json; name a run directory of reasonry compare, or a JSONL file")
    c = json.loads(config.read_text())
    task = load(c["task"])
    problems = {p.id: p for p in task.problems(c["split"], c["problems"], c["seed"])}
    found: list[Debate] = []
    for raw in log.read_bytes().splitlines():
        line = msgspec.json.decode(raw, type=_Line)
        kept = line.trajectory.get("meta", {}).get("exchange")
        if kept and kept["rounds"] and line.problem in problems:
            asked = problems[line.problem]
            rounds = [[{**s, "correct": task.judge(asked, s["text"]).passed is True} for s in said] for said in kept["rounds"]]
            spoke = {s["agent"] for s in rounds[0]}
            whole = [said for said in rounds if {s["agent"] for s in said} == spoke]
            found.append(debate_of(line.problem, f"{line.solver}, {line.budget}".removesuffix(", no limit"), whole, None, str(log)))
    if not found:
        raise UserError(f"{path}: holds no attempt of agents that exchange; compare debate or tumix, or name a JSONL file")
    return found


def examine(debates: Sequence[Debate], seed: int = 0) -> list[Flips]:
    """Every group's flips."""
    return [flips(of, group, seed=seed) for group, of in groups_of(debates).items()]


def finding(f: Flips) -> str:
    """What is to be said of a group, in a few sentences."""
    first, last = f.rounds[0], f.rounds[-1]
    name = f"{f.group}: " if f.group else ""
    if len(f.rounds) == 1:
        return f"{name}Nobody talked: {_percent(first.vote)} of the votes are right, {_percent(first.accuracy)} of the answers."
    change = f.vote_change
    verdict = "Talking made the vote better" if change.low > 0 else "Talking made the vote worse" if change.high < 0 else "No clear change"
    said = [
        f"{name}{verdict}: {_percent(first.vote)} before, {_percent(last.vote)} after, {_points(change)}; McNemar p = {f.test.p:.2g} "
        f"({f.test.only_a} questions only before, {f.test.only_b} only after)."
    ]
    kept = f"Of right answers {_percent(f.harm)} were given up, of wrong ones {_percent(f.gain)} mended"
    said.append(f"{kept}: {f.total.ci} against {f.total.ic} in {f.debates} debates.")
    if f.adoption is not None:
        said.append(f"{_percent(f.adoption)} of changed answers are what a peer had said.")
    if last.accuracy.mean > first.accuracy.mean and change.mean <= 0:
        said.append("Single agents are right more often and their vote is not: they agree more, and know no more.")
    if f.total.lost:
        said.append(f"{f.total.lost} of the {f.total.ci} lost right answers became unreadable: a lost format, not a changed mind.")
    if last.ties > 0.05:
        said.append(f"{100 * last.ties:.0f} % of the last votes are ties, broken evenly here: another tie rule would move the result.")
    return " ".join(said)


def flips_text(found: Sequence[Flips]) -> str:
    """For the terminal."""
    parts = ["\n\n".join(finding(f) for f in found)]
    for head, rows in ((ROUNDS, _rounds(found)), (TURNS, _turns(found)), (PEERS, _peers(found))):
        parts.append("\n".join(_aligned([head, *rows])))
    questions = sum(f.questions for f in found)
    parts.append(
        f"{questions} questions over {len(found)} groups. Intervals: 95 %, over whole questions. Ties are broken evenly, in expectation. "
        "Unreadable answers are wrong, and cast no vote."
    )
    return "\n\n".join(parts)


def flips_json(found: Sequence[Flips]) -> list[dict[str, Any]]:
    """Everything as JSON values, with the finding."""
    return [{"finding": finding(f), **asdict(f)} for f in found]


def flips_html(found: Sequence[Flips], source: str) -> str:
    """The page."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([ROUNDS, *_rounds(found)])
    figures = table(ROUNDS, _rounds(found)) + download(text.getvalue(), "rounds.csv", "These figures as CSV")
    sections = [
        Section("Round by round", _round_plot(found) + figures, "Individuals (thin) and their vote (thick). Round 0: alone."),
        Section("Who changed", table(TURNS, _turns(found)), "C right, I wrong: CI is harm, IC gain."),
        Section(
            "By how many peers agreed", _peer_plot(found) + table(PEERS, _peers(found)), "Peers that gave the agent's own answer before."
        ),
    ]
    lead = " ".join(finding(f) for f in found[:3]) + (f" And {len(found) - 3} more groups below." if len(found) > 3 else "")
    worst = min(found, key=lambda f: f.vote_change.mean)
    title = f"Talking moved the vote by {100 * worst.vote_change.mean:+.1f} points" + (" at worst" if len(found) > 1 else "")
    return page(title, f"{lead} From {source}.", sections, kicker="flips", footer="Made by reasonry probe flips.")


def _rounds(found: Sequence[Flips]) -> list[list[str]]:
    return [[f.group or "all", str(i), *_of_round(r)] for f in found for i, r in enumerate(f.rounds)]


def _of_round(r: AtRound) -> list[str]:
    shares = (r.ties, r.agreement, r.unreadable, r.any_right)
    return [_spread(r.accuracy), _spread(r.vote), *(f"{100 * s:.1f}" for s in shares)]


def _turns(found: Sequence[Flips]) -> list[list[str]]:
    rows = []
    for f in found:
        for i, c in enumerate((*f.steps, f.total)):
            at = f"{i} to {i + 1}" if i < len(f.steps) else "all"
            rows.append([f.group or "all", at, *(str(n) for n in (c.cc, c.ci, c.lost, c.ic, c.ii, c.changed, c.adopted))])
    return rows


def _peers(found: Sequence[Flips]) -> list[list[str]]:
    return [[f.group or "all", str(b.k), str(b.turns), *map(_spread, (b.flips, b.harm, b.gain))] for f in found for b in f.by_peers]


def _round_plot(found: Sequence[Flips]) -> Markup:
    figure, ax = axes(height=360)
    for i, f in enumerate(found[:8]):
        at = range(len(f.rounds))
        ax.plot(at, [r.accuracy.mean for r in f.rounds], color=series(i), linewidth=1.2, marker="o", markersize=4)
        bars = [[r.vote.mean - r.vote.low for r in f.rounds], [r.vote.high - r.vote.mean for r in f.rounds]]
        ax.errorbar(at, [r.vote.mean for r in f.rounds], bars, color=series(i), linewidth=3, capsize=3, label=f.group or "vote")
    ax.set_xticks(range(max(len(f.rounds) for f in found)))
    ax.set_xlabel("round", color=MUTED)
    ax.set_ylabel("accuracy", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=12, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure_svg(figure, "Accuracy of individuals and of their vote by round")


def _peer_plot(found: Sequence[Flips]) -> Markup:
    figure, ax = axes(height=300)
    for i, f in enumerate(found[:8]):
        held = [b for b in f.by_peers if b.harm is not None]
        means = [b.harm.mean for b in held if b.harm]
        bars = [[b.harm.mean - b.harm.low for b in held if b.harm], [b.harm.high - b.harm.mean for b in held if b.harm]]
        ax.errorbar([b.k for b in held], means, bars, color=series(i), marker="o", linewidth=2, capsize=3, label=f.group or "all")
    ax.set_xticks(sorted({b.k for f in found for b in f.by_peers}) or [0])
    ax.set_xlabel("peers of the same answer before", color=MUTED)
    ax.set_ylabel("right answers given up", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=12, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure_svg(figure, "Right answers given up, by agreeing peers")


def _percent(e: Estimate | None) -> str:
    return "none" if e is None else f"{100 * e.mean:.1f} %"


def _points(e: Estimate) -> str:
    return f"{100 * e.mean:+.1f} points ({100 * e.low:+.1f} to {100 * e.high:+.1f})"


def _spread(e: Estimate | None) -> str:
    return "–" if e is None else f"{100 * e.mean:.1f} ({100 * e.low:.1f}–{100 * e.high:.1f})"


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells
    ]
