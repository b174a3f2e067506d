"""The aggregation ladder for people: a sentence, a text for the terminal, JSON, and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, MUTED, Section, axes, download, figure_svg, page, series, table
from reasonry.probe.ladder import AGGREGATOR, MAJORITY, ORACLE, PASS1, Ladder, Rung
from reasonry.probe.stats import Estimate

HEAD = ("rung", "accuracy, %", "from", "to", "tokens", "over majority", "from", "to", "gap to pass@m", "minority-correct, %")


def finding(found: Ladder) -> str:
    """What the ladder says, in two or three sentences."""
    rungs = {r.name: r for r in found.rungs}
    vote, oracle = rungs[MAJORITY], rungs[ORACLE]
    said = [
        f"Majority of {found.m} is right in {_percent(vote.accuracy.mean)} for {vote.tokens:.0f} tokens, one candidate in "
        f"{_percent(rungs[PASS1].accuracy.mean)} for {rungs[PASS1].tokens:.0f}."
    ]
    if oracle.gap + vote.gap < 0.005:
        said.append("No way of choosing can do better: where a right candidate is there, the majority finds it.")
    else:
        said.append(
            f"A right candidate is there in {_percent(oracle.accuracy.mean)}: a gap of {100 * vote.gap:.1f} points that counting leaves."
        )
    others = [r for r in found.rungs if r.name not in (PASS1, MAJORITY, ORACLE)]
    if not others:
        said.append("Give the candidates a score or a check, or aggregated answers, and their rungs are measured too.")
        return " ".join(said)
    best = max(others, key=lambda r: r.accuracy.mean)
    assert best.gain is not None
    if best.gain.low > 0:
        said.append(f"Best is {_said(best)}: {_points(best.gain)} over the majority.")
    elif best.gain.high < 0:
        said.append(f"Nothing else reaches it; the best of the rest is {_said(best)}: {_points(best.gain)}.")
    else:
        said.append(f"Nothing else is clearly better; the best of the rest is {_said(best)}: {_points(best.gain)}, which may be chance.")
    aggregator = rungs.get(AGGREGATOR)
    if aggregator is not None and found.same_cost is not None:
        said.append(
            f"The aggregator takes {aggregator.tokens:.0f} tokens; a majority of that cost is right in {_percent(found.same_cost)}, "
            f"the aggregator in {_percent(aggregator.accuracy.mean)}."
        )
    return " ".join(said)


def _said(rung: Rung) -> str:
    name = "the aggregator" if rung.name == AGGREGATOR else rung.name
    return f"{name} with {_percent(rung.accuracy.mean)}"


def _points(e: Estimate) -> str:
    return f"{100 * e.mean:+.1f} points ({100 * e.low:+.1f} to {100 * e.high:+.1f})"


def _percent(x: float) -> str:
    return f"{100 * x:.1f} %"


def rows(found: Ladder) -> list[list[str]]:
    """A line for each rung."""
    return [_row(r, found.m) for r in found.rungs]


def _row(r: Rung, m: int) -> list[str]:
    gain = _three(r.gain, "+.1f") if r.gain else ("–",) * 3
    recovered = f"{100 * r.recovered.mean:.1f}" if r.recovered else "–"
    return [r.name.replace("@m", f"@{m}"), *_three(r.accuracy, ".1f"), f"{r.tokens:.0f}", *gain, f"{100 * r.gap:.1f}", recovered]


def _three(e: Estimate, form: str) -> tuple[str, str, str]:
    low, mean, high = (format(100 * x, form) for x in (e.low, e.mean, e.high))
    return mean, low, high


def ladder_text(found: Ladder) -> str:
    """For the terminal."""
    lines = [finding(found), "", *_aligned([HEAD, *rows(found)]), "", "By the size of the majority, %", *_aligned(_by_size(found)), ""]
    curve = ", ".join(f"{k}: {100 * a:.1f}" for k, _, a in found.curve)
    lines.append(f"Majority of k candidates, expected over draws and ties, %: {curve}")
    lines.append(
        f"{found.problems} problems, {found.sets} sets of {found.m}; {found.minority} sets minority-correct; {100 * found.silent:.1f} % of "
        "the candidates have no readable answer. Intervals: 95 %, over whole problems. pass@m is what only an oracle reaches."
    )
    return "\n".join(lines)


def _by_size(found: Ladder) -> list[list[str]]:
    labels = list(found.sizes)
    head = ["", *(f"majority of {label}" for label in labels)]
    lines = [
        [r.name.replace("@m", f"@{found.m}"), *(f"{100 * r.by_size[s]:.1f}" if s in r.by_size else "–" for s in labels)]
        for r in found.rungs
    ]
    return [head, *lines, ["sets", *(str(found.sizes[s]) for s in labels)]]


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells
    ]


def ladder_json(found: Ladder) -> dict[str, Any]:
    """Everything as JSON values, with the finding."""
    return {"finding": finding(found), **asdict(found)}


def ladder_html(found: Ladder, source: str) -> str:
    """The page."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows(found)])
    body = table(HEAD, rows(found)) + download(text.getvalue(), "ladder.csv", "These figures as CSV")
    sections = [
        Section(
            "Accuracy against cost",
            plot(found),
            "Sampled tokens for one answer. Bars: 95 %, over whole problems; those of one cost stand side by side. Lines: k candidates.",
        ),
        Section("Every rung", body, "Minority-correct: some candidate is right, and no answer with the most votes is."),
        Section(
            "By the size of the majority",
            table(*_headed(_by_size(found))),
            "How many of the set's candidates gave the most frequent answer.",
        ),
    ]
    lead = f"{finding(found)} From {source}: {found.problems} problems, {found.sets} sets of {found.m} candidates."
    vote, oracle = (_percent(r.accuracy.mean) for r in found.rungs if r.name in (MAJORITY, ORACLE))
    title = f"Majority of {found.m}: {vote} right. A right candidate is there: {oracle}"
    return page(title, lead, sections, kicker="aggregation ladder", footer="Made by reasonry probe ladder.")


def _headed(cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return cells[0], cells[1:]


def plot(found: Ladder) -> Markup:
    """Accuracy of every rung against its cost, with the curves of majority and pass@k."""
    figure, ax = axes(height=400)
    for name, curve, style in (("majority of k", found.curve, "-"), ("pass@k, an oracle", found.oracle, (0, (4, 4)))):
        colour = series(0) if style == "-" else MUTED
        ax.plot([t for _, t, _ in curve], [a for _, _, a in curve], color=colour, linewidth=2, linestyle=style, label=name)
    others = [r for r in found.rungs if r.name not in (PASS1, MAJORITY, ORACLE)]
    first = found.rungs[0].tokens
    for i, r in enumerate(others):
        at = r.tokens + first * 0.18 * (i - (len(others) - 1) / 2)
        bar = [[r.accuracy.mean - r.accuracy.low], [r.accuracy.high - r.accuracy.mean]]
        ax.errorbar([at], [r.accuracy.mean], bar, color=series(i + 1), marker="o", markersize=7, capsize=3, linestyle="", label=r.name)
    ax.set_xlabel("sampled tokens for one answer", color=MUTED)
    ax.set_ylabel("accuracy", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=13, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure_svg(figure, "Accuracy against sampled tokens, by rung; the table below holds the numbers")
