"""A process verifier's check for people: sentences, a text for the terminal, JSON, and a page."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, LINE, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.stats import Estimate
from reasonry.probe.verifier import Check

HEAD = ("depth", "prefixes", "mean score", "ended well", "overrates", "underrates", "AUC", "scale")


def finding(c: Check) -> str:
    """What was found, in two sentences."""
    error = "without limit" if math.isinf(c.error.mean) else f"{c.error.mean:.2f} ({c.error.low:.2f} to {c.error.high:.2f})"
    return (
        f"The verifier's error ε is {error}, and {c.scaled:.2f} once each depth is scaled. A walk under it is at answers "
        f"{100 * c.leaf_mass.mean:.1f} % of its time; under a perfect one {100 / (2 * c.horizon):.1f} %. Use {c.advice}."
    )


def rows(c: Check) -> list[list[str]]:
    """A line for each depth."""
    return [
        [
            str(d.depth), str(d.n), f"{d.score:.3f}", f"{d.value:.3f}", _three(d.over), ("" if d.paired else "≥ ") + _three(d.under),
            "–" if d.auc is None else f"{d.auc:.2f}", f"{d.scale:.2f}",
        ]
        for d in c.depths
    ]  # fmt: skip


def _three(e: Estimate) -> str:
    return "∞" if math.isinf(e.mean) else f"{e.mean:.2f} ({e.low:.2f} to {e.high:.2f})"


def summary(c: Check) -> list[list[str]]:
    """The figures that belong to no depth."""
    steps = "∞" if math.isinf(c.steps) else f"{c.steps:.0f}"
    return [
        ["problems, answers", f"{c.problems}, {c.answers or '–'}", "intervals resample problems"],
        ["right", f"{100 * c.Z:.1f} %", "of the model's own answers; rejection on outcomes draws one over this"],
        ["error ε", _three(c.error), "the larger of the two means over all depths, less 1; 0 for a perfect verifier"],
        ["ε, scaled", f"{c.scaled:.2f}", "after multiplying each depth's scores by its own number (scale)"],
        ["leaf mass", f"{100 * c.leaf_mass.mean:.2f} %", f"{100 / (2 * c.horizon):.2f} % = 1/(2H) for a perfect verifier"],
        ["steps to an answer", steps, f"about, of the walk; {c.horizon**2} = H² for a perfect verifier"],
        ["behind a zero", f"{100 * c.closed:.1f} %", "of what ended well had a score of 0 before"],
    ]


def check_text(c: Check) -> str:
    """For the terminal."""
    lines = [finding(c), "", *(f"- {f}" for f in c.findings), *([""] if c.findings else [])]
    return "\n".join([*lines, *_aligned(summary(c)), "", *_aligned([list(HEAD), *rows(c)])])


def _aligned(found: list[list[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in found) for i in range(len(found[0]))]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in found]


def check_json(c: Check) -> dict[str, Any]:
    """Everything; a number without limit is null."""
    return _finite({**asdict(c), "finding": finding(c)})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_html(c: Check, source: str) -> str:
    """A page."""
    notes = Markup().join(Markup("<p>{}</p>").format(f) for f in c.findings) or Markup("<p>Nothing else is amiss.</p>")
    sections = [
        Section("Findings", notes),
        Section(
            "Error by depth", _errors(c),
            "Means over right answers of the score over the true chance, and of its inverse; both are 1 for a perfect verifier.",
        ),
        Section("Score against what happened", _reliability(c), "Prefixes of like score; on the line a score is the chance it claims."),
        Section("Every depth", table(HEAD, rows(c), text_columns=0)),
        Section("In figures", table(("", "", "what it is"), summary(c), text_columns=3)),
    ]  # fmt: skip
    return page("How wrong is this verifier?", finding(c), sections, kicker="Verifier check", footer=source)


def _errors(c: Check) -> Markup:
    figure, ax = axes(height=320)
    for i, (name, pick) in enumerate((("overrates, E[V̂/V*]", lambda d: d.over), ("underrates, E[V*/V̂]", lambda d: d.under))):
        found = [(d.depth, pick(d)) for d in c.depths if math.isfinite(pick(d).mean)]
        spread = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
        places = [h + 0.06 * (2 * i - 1) for h, _ in found]
        ax.errorbar(places, [e.mean for _, e in found], spread, color=series(i), marker="o", linewidth=2, capsize=2, label=name)
    ax.axhline(1, color=LINE, linewidth=1)
    ax.set_xticks([d.depth for d in c.depths])
    ax.set_xlabel("blocks written", color=MUTED)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Error by depth")


def _reliability(c: Check) -> Markup:
    figure, ax = axes(height=340)
    top = max([1.0, *(x for d in c.depths for x, _, _ in d.reliability)])
    ax.plot([0, top], [0, top], color=LINE, linewidth=1)
    shown = c.depths if len(c.depths) <= 4 else [c.depths[round(i * (len(c.depths) - 1) / 3)] for i in range(4)]
    for i, d in enumerate(shown):
        ax.plot([x for x, _, _ in d.reliability], [y for _, y, _ in d.reliability], "o-", color=series(i), label=f"depth {d.depth}")
    ax.set_xlabel("mean score", color=MUTED)
    ax.set_ylabel("ended well", color=MUTED)
    ax.set_ylim(-0.03, 1.03)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Score against the share that ended well")
