"""What the health monitors found, for people: a text for the terminal and a page with a plot of every series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from reasonry.evaluate.page import MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.monitors import FEWEST, MONITORS, Finding, Health, Level, rolling_median, window
from reasonry.probe.training_log import MEANS, Log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOGARITHMIC = ("grad_norm",)
_CLASS = {Level.ALARM: "bad", Level.HINT: "quiet"}
_UNDRAWN = ("validation", "stages", "gradient", "numbers")
"""Monitors whose limit is no level of their series."""
_GRID = Markup('<div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:8px 36px">{}</div>')
_PLOT = Markup(
    '<figure style="margin:14px 0 0"><figcaption style="margin:0 0 4px"><b style="color:var(--ink)">{}</b> {}</figcaption>{}</figure>'
)


def health_text(log: Log, health: Health) -> str:
    """Findings in plain words, then what was looked at."""
    steps = _steps(log)
    lines = [f"{log.name}: {steps[2]} steps, {steps[0]:g} to {steps[1]:g}. {verdict(health)}"]
    for f in health.findings:
        lines += ["", f"{f.level.upper()} {f.monitor}, {_when(f)}: {f.says}"]
        lines += [f"  value {_value(f.value)}, limit {_value(f.threshold)}. {f.advice}"]
    if len(health.stages) > 1:
        lines += ["", "pass rate by stage: " + "; ".join(f"{r.stage:g}: {r.began:.2f} → {r.ended:.2f}" for r in health.stages)]
    lines += [""]
    lines += [f"quiet: {', '.join(health.quiet)}"] if health.quiet else []
    lines += [f"not judged: {name} ({why})" for name, why in health.skipped.items()]
    return "\n".join(lines)


def verdict(health: Health) -> str:
    """The findings in one sentence."""
    alarms = sum(f.level is Level.ALARM for f in health.findings)
    hints = len(health.findings) - alarms
    if not health.findings:
        return "Nothing found." if health.quiet else "Nothing could be judged."
    said = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((alarms, "alarm"), (hints, "hint")) if n]
    return " and ".join(said).capitalize() + "."


def health_json(log: Log, health: Health) -> dict[str, Any]:
    """Everything as JSON values; a value that is no number becomes null."""
    plain = {**asdict(health), "findings": [{k: _json(v) for k, v in asdict(f).items()} for f in health.findings]}
    return {"log": log.name, "columns": dict(log.columns), **plain}


def health_html(logs: Sequence[tuple[Log, Health]]) -> str:
    """One page for all logs."""
    sections: list[Section] = []
    for log, health in logs:
        steps = _steps(log)
        of = f": {log.name}" if len(logs) > 1 else ""
        note = f"{steps[2]} steps, {steps[0]:g} to {steps[1]:g}. {verdict(health)}"
        sections.append(Section(f"Findings{of}", _findings(health), note))
        shown = [name for name in log.series if name != "stage" and len(log.series[name]) > 1]
        plots = Markup().join(_PLOT.format(name.replace("_", " "), MEANS[name], _plot(name, log, health)) for name in shown)
        how = (
            "Dots are steps, the line is the rolling median that is judged, the dashed line the limit, the shade from where it was crossed."
        )
        sections.append(Section(f"Series{of}", _GRID.format(plots), how))
        if len(health.stages) > 1:
            rows = [[f"{r.stage:g}", f"{r.first:g} – {r.last:g}", f"{r.began:.3f}", f"{r.ended:.3f}"] for r in health.stages]
            sections.append(Section(f"Pass rate by stage{of}", table(["stage", "steps", "first third", "last third"], rows)))
        sections.append(Section(f"What was looked at{of}", _looked_at(log, health)))
    title = verdict(logs[0][1]) if len(logs) == 1 else f"{len(logs)} training runs"
    lead = f"Training log: {logs[0][0].name}" if len(logs) == 1 else ", ".join(f"{log.name}: {verdict(h)}" for log, h in logs)
    return page(title.rstrip("."), lead, sections, kicker="training health", footer="Made by reasonry probe health.")


def _findings(health: Health) -> Markup:
    if not health.findings:
        return Markup("<p>{}</p>").format(verdict(health))
    head = '<h3><span class="{}">{}</span> · {} <span class="quiet" style="font-weight:400">{}</span></h3>'
    item = Markup(head + '<p>{} {}</p><p class="note">Value {}, limit {}.</p>')
    return Markup().join(
        item.format(_CLASS[f.level], f.level, f.monitor, _when(f), f.says, f.advice, _value(f.value), _value(f.threshold))
        for f in health.findings
    )


def _looked_at(log: Log, health: Health) -> Markup:
    rows: list[list[str | Markup]] = []
    for name, monitor in MONITORS.items():
        found = next((f for f in health.findings if f.monitor == name), None)
        said = f"{found.level}, {_when(found)}" if found else "nothing" if name in health.quiet else health.skipped[name]
        rows.append([name, Markup('<span style="white-space:normal">{}</span>').format(monitor.watches), said])
    read = table(["series", "read from"], [[name, column] for name, column in log.columns.items()], text_columns=2)
    return table(["monitor", "looks for", "found"], rows, text_columns=3) + read


def _plot(name: str, log: Log, health: Health) -> Markup:
    figure, ax = axes(440, 210)
    points = log.series[name]
    finite = np.isfinite(points.values)
    steps, values = points.steps[finite], points.values[finite]
    sparse = len(values) < 3 * FEWEST
    ax.plot(steps, values, "o" if sparse else ".", color=MUTED, markersize=3.5, alpha=0.9 if sparse else 0.45)
    if not sparse:
        w = window(len(values))
        ax.plot(steps[w - 1 :], rolling_median(values, w), color=series(0), linewidth=2)
    for f in (f for f in health.findings if f.series == name and f.monitor not in _UNDRAWN):
        ax.axvspan(f.step, steps[-1], color=series(6), alpha=0.08, linewidth=0)
        ax.axhline(f.threshold, color=series(6), linewidth=1.2, linestyle=(0, (4, 4)))
    if name in _LOGARITHMIC and (values > 0).all() and values.max() > 10 * np.median(values):
        ax.set_yscale("log")
    else:
        _range(ax, values)
    ax.set_xlabel("step", color=MUTED)
    return figure_svg(figure, f"{name} over the steps of the run")


def _range(ax: Axes, values: NDArray[np.float64]) -> None:
    """From zero where everything is at or above it, so that a small change looks small."""
    if len(values) and values.min() >= 0:
        ax.set_ylim(bottom=0, top=max(1.08 * values.max(), ax.get_ylim()[1] if ax.lines[1:] else 0, 1e-9))


def _when(f: Finding) -> str:
    return f"from step {f.step:g} to the end" if f.ongoing else f"from step {f.step:g}, over by the end"


def _steps(log: Log) -> tuple[float, float, int]:
    every = np.unique(np.concatenate([s.steps for s in log.series.values()]))
    return float(every[0]), float(every[-1]), len(every)


def _value(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}" if math.isfinite(value) else str(value)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
