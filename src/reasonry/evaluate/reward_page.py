"""What the reward lint saw, for people: a text for the terminal and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.reward_lint import AUC, LENGTH, Earned, Level, Lint
from reasonry.probe.scenarios import Worth
from reasonry.probe.stats import Estimate

HEAD = ("scenario", "is", "earns", "from", "to", "as much as right, %")
_COLOUR = {Worth.RIGHT: 2, Worth.FAIR: 0, Worth.BAD: 6}


def lint_text(name: str, lint: Lint) -> str:
    """Findings in plain words, the figures, and the table of scenarios."""
    lines = [f"{name}: {lint.answers} answers in {lint.groups} groups. {verdict(lint)}"]
    for f in lint.findings:
        lines += ["", f"{f.level.upper()} {f.check}: {f.says}", f"  {f.advice}"]
    lines += ["", *_aligned(figures(lint), 2)]
    if lint.scenarios:
        lines += ["", "What each scenario earns", *_aligned([HEAD, *map(_row, lint.scenarios)], 2)]
    else:
        lines += ["", f"No table of scenarios: {lint.skipped}."]
    return "\n".join(lines)


def verdict(lint: Lint) -> str:
    """The findings in one sentence."""
    alarms = sum(f.level is Level.ALARM for f in lint.findings)
    hints = len(lint.findings) - alarms
    said = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((alarms, "alarm"), (hints, "hint")) if n]
    return (" and ".join(said) or "Nothing found").capitalize() + "."


def figures(lint: Lint) -> list[tuple[str, str, str]]:
    """(what, figure, how to read it), for everything the data allowed."""
    rows = [
        ("range", "–" if lint.low is None else f"{lint.low:.4g} to {lint.high:.4g}", f"{lint.unscored} answers not scored"),
        ("spread within a group", _figure(lint.spread), "mean standard deviation; what advantages are made of"),
        ("groups with one reward", _share(lint.zero_variance), "they teach nothing"),
        ("of unequal quality, paid alike", _share(lint.blind), "groups in which the reward misses what differs"),
        ("better answer earns more", _estimate(lint.auc), f"of pairs in a group (AUC); 0.5 is chance, below {AUC:g} is an alarm"),
        ("rank correlation with quality", _estimate(lint.rank), "within groups"),
        ("rank correlation with length", _estimate(lint.length), "within groups"),
        ("the same at equal quality", _estimate(lint.length_partial), f"beyond ±{LENGTH:g} it pays for length, or for brevity"),
    ]
    return [(what, figure, how) for what, figure, how in rows if figure != "–"]


def lint_json(name: str, lint: Lint) -> dict[str, Any]:
    """Everything as JSON values; a value that is no number becomes null."""
    return {"reward": name, **_plain(asdict(lint))}


def lint_html(name: str, data: str, lint: Lint) -> str:
    """The page."""
    item, classes = Markup('<h3><span class="{}">{}</span> · {}</h3><p>{} {}</p>'), {Level.ALARM: "bad", Level.HINT: "quiet"}
    said = Markup().join(item.format(classes[f.level], f.level, f.check, f.says, f.advice) for f in lint.findings)
    sections = [
        Section("Findings", said or Markup("<p>Nothing found.</p>")),
        Section("Within groups", table(["", "figure", "how to read it"], figures(lint), text_columns=3), "95 % intervals resample groups."),
    ]
    if lint.scenarios:
        how = "Means over problems, the bar from the least to the most earned. Bad ones should lie left of the right answer."
        sections.append(Section("What each scenario earns", _plot(lint.scenarios), how))
        sections.append(Section("The same as figures", table(HEAD, [_row(e) for e in lint.scenarios], text_columns=2)))
    else:
        sections.append(Section("What each scenario earns", Markup("<p>No table: {}.</p>").format(lint.skipped)))
    lead = f"{lint.answers} answers in {lint.groups} groups, from {data}."
    return page(
        f"{name}: {verdict(lint).rstrip('.').lower()}", lead, sections, kicker="reward lint", footer="Made by reasonry probe reward."
    )


def _plot(earned: Sequence[Earned]) -> Markup:
    shown = [(e, e.mean, e.low, e.high) for e in earned if e.mean is not None and e.low is not None and e.high is not None]
    figure, ax = axes(height=44 + 28 * len(shown))
    ax.grid(visible=False)
    right = next((mean for e, mean, _, _ in shown if e.worth is Worth.RIGHT), None)
    if right is not None:
        ax.axvline(right, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    for at, (e, mean, low, high) in enumerate(shown):
        colour = series(_COLOUR[e.worth])
        ax.plot([low, high], [at, at], color=colour, linewidth=4, alpha=0.25, solid_capstyle="round")
        ax.plot([mean], [at], "o", color=colour, markersize=8)
    ax.set_yticks(range(len(shown)), [e.scenario for e, *_ in shown])
    ax.tick_params(axis="y", colors=INK)
    ax.set_ylim(len(shown) - 0.5, -0.6)
    ax.margins(x=0.06)
    ax.set_xlabel("reward; green right, blue right in a worse form, red bad", color=MUTED)
    return figure_svg(figure, "What each scenario earns; the table below holds the numbers")


def _row(e: Earned) -> list[str]:
    as_much = "" if e.worth is Worth.RIGHT else f"{100 * e.as_much:.0f}"
    return [e.scenario, e.worth, *("–" if x is None else f"{x:.3g}" for x in (e.mean, e.low, e.high)), as_much]


def _aligned(rows: Sequence[Sequence[str]], words: int) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    text = rows and len(rows[0]) == 3
    aligned = ([c.ljust(w) if i < words or text else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))] for r in rows)
    return ["  " + "  ".join(row).rstrip() for row in aligned]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _estimate(e: Estimate | None) -> str:
    return "–" if e is None else f"{e.mean:.2f} ({e.low:.2f} to {e.high:.2f}; {e.n} groups)"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
