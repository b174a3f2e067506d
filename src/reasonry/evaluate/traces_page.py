"""A trace check for people: sentences, a text for the terminal, JSON, and a page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, LINE, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.traces import MANY, Spot, TraceCheck

ROWS = 50
"""Rows that the page lists, the worst first."""


def finding(c: TraceCheck) -> str:
    """What was found, in two sentences."""
    low, high = 100 * c.by_row.low, 100 * c.by_row.high
    return (
        f"{c.student} gives {100 * c.rare:.2f} % of the {c.learnt} tokens it is to learn less than {100 * c.level:g} % "
        f"({100 * c.by_row.mean:.2f} % of a row's, {low:.2f} to {high:.2f}); a token surprises it by {c.nats:.2f} nats. "
        f"{100 * c.clean:.0f} % of {len(c.traces)} rows have none that rare."
    )


def check_text(c: TraceCheck) -> str:
    """For the terminal."""
    lines = [finding(c), "", *(f"- {a}" for a in c.advice)]
    if c.worst:
        lines += ["", "Worst tokens, in brackets, and what the student would rather have written:"]
        lines += [f"  row {s.row}, token {s.at}: {_one_line(s)}" for s in c.worst[:8]]
    if c.common:
        often = ", ".join(f"{_seen(text)} ({rare} of {n})" for text, rare, n in c.common[:10])
        lines += ["", f"Rare most often: {often}"]
    fewest, middle, most = c.lengths
    return "\n".join([*lines, "", f"Learnt tokens of a row: {fewest} to {most}, median {middle:g}."])


def _one_line(s: Spot) -> str:
    return f"…{_plain(s.before[-30:])}[{_plain(s.token)}]{_plain(s.after[:12])}  p = {s.p:.1e}, rather {_seen(s.rather)} ({s.rather_p:.2f})"


def _plain(text: str) -> str:
    return text.replace("\n", "⏎")


def _seen(text: str) -> str:
    return f"“{_plain(text)}”"


def check_json(c: TraceCheck) -> dict[str, Any]:
    """Everything."""
    return {**asdict(c), "finding": finding(c)}


def check_html(c: TraceCheck, source: str) -> str:
    """A page."""
    notes = Markup().join(Markup("<p>{}</p>").format(a) for a in c.advice)
    spots = [
        [str(s.row), str(s.at), Markup("{}<strong>{}</strong>{}").format(_plain(s.before), _plain(s.token), _plain(s.after)),
         f"{s.p:.1e}", Markup("{} <small>{:.2f}</small>").format(_seen(s.rather), s.rather_p)]
        for s in c.worst
    ]  # fmt: skip
    worst = sorted(c.traces, key=lambda t: (-t.rare, t.row))[:ROWS]
    rows = [[str(t.row), f"{100 * t.rare:.1f}", f"{t.nats:.2f}", f"{t.worst:.1e}", str(t.learnt), str(t.tokens)] for t in worst]
    often = [[_seen(text), str(rare), str(n), f"{100 * rare / n:.0f}"] for text, rare, n in c.common]
    sections = [
        Section("What to do", notes),
        Section("Rows", _histogram(c), f"How many rows have which share of tokens below {100 * c.level:g} %."),
        Section("Where in a row", _along(c), "Tenths of what a row teaches, from its first token to its last."),
        Section(
            "The worst tokens", table(("row", "token", "in context", "p", "rather"), spots, text_columns=3),
            "The token in bold, its probability, and what the student finds likeliest there.",
        ),
        Section("Tokens that are rare most often", table(("token", "rare", "there", "%"), often)),
        Section(
            f"The {len(rows)} worst of {len(c.traces)} rows",
            table(("row", "rare, %", "nats a token", "least p", "learnt", "tokens"), rows, text_columns=0),
        ),
    ]  # fmt: skip
    return page("Does this data suit this student?", finding(c), sections, kicker="Trace check", footer=source)


def _histogram(c: TraceCheck) -> Markup:
    figure, ax = axes(height=300)
    shares = [100 * t.rare for t in c.traces]
    ax.hist(shares, bins=[max(*shares, 1.0) * i / 25 for i in range(26)], color=series(0))
    ax.axvline(100 * MANY, color=LINE, linewidth=2)
    ax.set_xlabel(f"tokens below {100 * c.level:g} %, % of a row's", color=MUTED)
    ax.set_ylabel("rows", color=MUTED)
    return figure_svg(figure, "Rows by their share of rare tokens")


def _along(c: TraceCheck) -> Markup:
    figure, ax = axes(height=280)
    found = [(k + 1, 100 * x) for k, x in enumerate(c.along) if x is not None]
    ax.bar([k for k, _ in found], [x for _, x in found], color=series(0), width=0.7, label="share of tokens")
    ax.axhline(100 * c.rare, color=INK, linewidth=1, linestyle="--", label="over all")
    ax.set_xlabel("tenth of the row", color=MUTED)
    ax.set_ylabel("% rare", color=MUTED)
    ax.set_xticks(range(1, 11))
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Share of rare tokens along a row")
