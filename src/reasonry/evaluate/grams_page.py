"""What the strategic-gram probes found in a log, for people: a text for the terminal, JSON, and a page with curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from reasonry.evaluate.page import INK, MUTED, Section, axes, download, figure_svg, page, series, table
from reasonry.probe.gram_metrics import Check, Planning, Trace, by_step, equal_count, equations, measure, relative_perplexity
from reasonry.probe.strategic_grams import StrategicGrams

SHOWN = 30
"""Clusters that are printed; the page and the file have all."""
COLUMNS = {
    "planning_token_ratio": "planning", "coverage": "coverage", "strategic_gram_entropy": "SG entropy", "execution_perplexity": "exec. ppl",
    "planning_perplexity": "plan. ppl", "execution_entropy": "exec. entropy", "planning_entropy": "plan. entropy", "pass_rate": "passed",
    "planning_errors": "plan. errors", "execution_errors": "exec. errors", "length": "length",
}  # fmt: skip
"""Figures, with the heads of their columns."""
HOW = (
    "planning: share of tokens (words, where the log has no tokens) inside a gram. coverage: attempts with one. SG entropy: of the grams' "
    "clusters, nats, Miller–Madow. ppl: perplexity. errors: failed attempts with every calculation right (planning), or one wrong "
    "(execution)."
)


@dataclass(frozen=True)
class Found:
    """Everything a page shows. Made by `look`."""

    source: str
    grams: StrategicGrams
    used: str
    """What the grams were extracted from, in words."""
    batches: Mapping[str, Planning]
    """Step, or method, or `all` -> its figures."""
    stepped: Mapping[float, Planning]
    """The same by step, where the log has steps."""


def look(source: str, traces: Sequence[Trace], grams: StrategicGrams, used: str, check: Check = equations) -> Found:
    """The probes over a log: by step where it names two, else by method, and over all."""
    stepped = by_step(traces, grams, check)
    arms = list(dict.fromkeys(t.arm for t in traces))
    batches = {f"step {s:g}": p for s, p in stepped.items()} if len(stepped) > 1 else {}
    if not batches and len(arms) > 1:
        batches = {arm or "–": measure([t for t in traces if t.arm == arm], grams, check) for arm in arms}
    return Found(source, grams, used, {**batches, "all": measure(traces, grams, check)}, stepped if len(stepped) > 1 else {})


def grams_text(found: Found) -> str:
    """Clusters with CDF, coverage and examples; then the probes."""
    g = found.grams
    lines = [f"{found.source}: {found.used}"]
    if g.documents:
        lines += [
            f"{len(g.clusters)} of {g.settings.get('clusters', len(g.clusters))} clusters kept, {len(g.index)} grams; "
            f"{g.coverage:.0%} of {g.documents} solutions have one"
        ]
    lines += ["", f"{'CDF':>6}  grams"]
    for c in g.clusters[:SHOWN]:
        more = f" (+{len(c.grams) - 3})" if len(c.grams) > 3 else ""
        lines += [f"{c.documents:>6}  {' · '.join(c.grams[:3])}{more}"] + ([f"        e.g. {c.example}"] if c.example else [])
    lines += [f"        … and {len(g.clusters) - SHOWN} more"] if len(g.clusters) > SHOWN else []
    lines += [f"        /{p}/" for p in g.patterns]
    names, rows = _columns(found)
    cells = [["", "attempts", *(COLUMNS[n] for n in names)], *([label, *row] for label, row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines += [
        "",
        *("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) for row in cells),
    ]
    return "\n".join([*lines, *_between(found)])


def grams_json(found: Found) -> dict[str, Any]:
    """Everything as JSON values."""
    return {
        "log": found.source, "grams": asdict(found.grams), "used": found.used,
        "batches": {label: {**asdict(p), "counts": {str(k): v for k, v in p.counts.items()}} for label, p in found.batches.items()},
        "relative_execution_perplexity": {f"{s:g}": x for s, x in relative_perplexity(found.stepped).items()},
    }  # fmt: skip


def grams_html(found: Found) -> str:
    """The page."""
    names, rows = _columns(found)
    probes = table(["", "attempts", *(COLUMNS[n] for n in names)], [[label, *row] for label, row in rows])
    clusters = table(
        ["grams", "e.g.", "CDF"],
        [[_cell(" · ".join(c.grams)), _cell(c.example), str(c.documents)] for c in found.grams.clusters], text_columns=2,
    )  # fmt: skip
    patterns = Markup().join(Markup("<p><code>/{}/</code></p>").format(p) for p in found.grams.patterns)
    sections = [Section("Probes", probes + Markup().join(Markup("<p>{}</p>").format(x) for x in _between(found) if x), HOW)]
    if found.stepped:
        plots = (
            _curve(found, ("execution_perplexity", "planning_perplexity"), "perplexity", relative=True),
            _curve(found, ("strategic_gram_entropy", "execution_entropy", "planning_entropy"), "nats"),
            _curve(found, ("pass_rate", "planning_errors", "execution_errors", "planning_token_ratio"), "share"),
        )
        sections.append(Section("Planning against execution", Markup().join(plots), "Perplexities are divided by those of the first step."))
    sections.append(Section("Clusters", clusters + patterns, "CDF: solutions with at least one of the cluster's grams."))
    g = found.grams
    lead = f"{found.used}. {len(g.clusters)} clusters, {len(g.index)} grams" + (
        f"; {g.coverage:.0%} of {g.documents} solutions have one." if g.documents else "."
    )
    as_csv = download(_csv(names, rows), "strategic-grams.csv", "These figures as CSV")
    sections[0] = Section(sections[0].title, sections[0].body + as_csv, HOW)
    return page("Strategic grams", lead, sections, kicker=f"probe · {found.source}", footer="Made by reasonry probe grams.")


def _columns(found: Found) -> tuple[list[str], list[tuple[str, list[str]]]]:
    names = [n for n in COLUMNS if any(getattr(p, n) is not None for p in found.batches.values())]
    return names, [(label, [str(p.attempts), *(_value(getattr(p, n)) for n in names)]) for label, p in found.batches.items()]


def _between(found: Found) -> list[str]:
    """First batch against last, at equal occurrences."""
    batches = [(label, p) for label, p in found.batches.items() if label != "all" and p.occurrences]
    if len(batches) < 2:
        return []
    (first, a), (last, b) = batches[0], batches[-1]
    x, y, m = equal_count(a.counts.values(), b.counts.values())
    return ["", f"SG entropy at equal numbers of grams ({m}): {x:.3f} nats in {first}, {y:.3f} in {last}."]


def _curve(found: Found, names: Sequence[str], label: str, relative: bool = False) -> Markup:
    figure, ax = axes(height=280)
    for i, name in enumerate(names):
        points = [(s, getattr(p, name)) for s, p in found.stepped.items() if getattr(p, name) is not None]
        base = points[0][1] if relative and points else 1.0
        if points:
            ax.plot(
                [s for s, _ in points],
                [y / base for _, y in points],
                color=series(i),
                marker="o",
                markersize=4,
                linewidth=2,
                label=COLUMNS[name],
            )
    if not ax.lines:
        return Markup()
    ax.set_xlabel("step", color=MUTED)
    ax.set_ylabel(label, color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, f"{', '.join(COLUMNS[n] for n in names)} by step")


def _cell(text: str) -> Markup:
    return Markup('<span style="white-space:normal">{}</span>').format(text)


def _value(x: float | None) -> str:
    return "" if x is None else f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def _csv(names: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    head = ",".join(["batch", "attempts", *names])
    return "\n".join([head, *(",".join([label.replace(",", " "), *row]) for label, row in rows)]) + "\n"
