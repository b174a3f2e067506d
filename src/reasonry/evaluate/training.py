"""The page of a training run: what came of it, its curves over steps, what its monitors say, and how to make it again.

Invariant: every number on the page is in the run's log or in its evaluation; a curve that was not logged is not drawn.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from reasonry.core import Run
from reasonry.evaluate.page import LINE, MUTED, Section, axes, download, figure_svg, page, series, table
from reasonry.evaluate.report import Report
from reasonry.evaluate.words import Judgement, judgement, number, p_value, percent, signed
from reasonry.probe.monitors import Finding, Level, examine
from reasonry.probe.training_log import log_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small plot."""

    title: str
    key: str
    note: str
    scale: float = 1.0
    by_stage: bool = False


PANELS = (
    Panel("Loss, nats a token", "loss", "On the step's examples, before the update."),
    Panel("Validation loss, nats a token", "validation_loss", "On the examples held out."),
    Panel("Reward", "reward", "Mean over all attempts of the step."),
    Panel("Passed, %, by stage", "pass_rate", "Share of attempts that the judge passed.", 100, True),
    Panel("Validation", "validation", "Mean reward on problems that are not trained on; the best one's weights are kept."),
    Panel("Entropy, nats a token", "entropy", "How undecided the policy is where it samples."),
    Panel("Strategic-gram entropy, nats", "strategic_gram_entropy", "How varied the strategies are that answers announce."),
    Panel("Execution perplexity", "execution_perplexity", "Of the tokens outside strategic grams."),
    Panel("Planning perplexity", "planning_perplexity", "Of the tokens inside strategic grams."),
    Panel("Planning tokens, %", "planning_token_ratio", "Share of tokens in strategic grams.", 100),
    Panel("KL to the start, nats a token", "kl_ref", "How far the policy has gone from the weights it began with."),
    Panel("Groups with one reward, %", "zero_variance", "All right or all wrong: nothing to learn from.", 100),
    Panel("Cut off by a limit, %", "truncated", "Attempts that did not end by themselves.", 100),
    Panel("Tokens clipped, %", "clip_share", "Tokens whose gradient the objective stopped or capped.", 100),
    Panel("Sampler against trainer, nats", "mismatch", "Mean difference of log-probabilities on the same tokens; rounding unless ahead."),
    Panel("Length, tokens", "length", "Sampled by an attempt."),
    Panel("Gradient norm", "grad_norm", "Before clipping."),
    Panel("Tokens a second", "tokens_per_second", "Through the whole step."),
    Panel("Staleness, updates", "staleness", "How far behind the weights were that sampled what is learned from; mean over tokens."),
    Panel("Staleness, largest", "staleness_max", "Of any token; never above what the recipe calls ahead."),
    Panel("Effective tokens, %", "ess", "Of those learned from, under the ratio of trainer to sampler; 100 when they agree.", 100),
    Panel("Trainer idle, %", "trainer_idle", "Share of the step in which it waited for attempts.", 100),
    Panel("Samplers idle, %", "sampler_idle", "Share of the step in which a worker had nothing to attempt, on average.", 100),
    Panel("Answers a second", "samples_per_second", "Learned from or looked at, through the whole step."),
    Panel("Length learned from, tokens", "trained_length", "Of the attempts in the update; beside Length, of all that were sampled."),
)  # fmt: skip
"""In the order of the page; those whose key is in the log are drawn."""


def training_page(run: Run, records: Sequence[Record], recipe: str, command: str, evaluation: Report | None = None) -> str:
    """The page, from the run's step records, its recipe as TOML, and the comparison of before with after where there is one."""
    sections = [Section("Before and after", _before_after(evaluation), _evaluated(evaluation))] if evaluation else []
    sections.append(Section("Over the steps", _grid(records), "Thin: each step. Thick: a running mean. Dotted: a new stage begins."))
    sections.append(
        Section("What the monitors say", _monitors(records), "Rules over the log; each names its limit. None of them is proof.")
    )
    sections.append(
        Section("Beginning and end", _ends(records), f"Means over the first and the last fifth of the steps ({_edge(records)}).")
    )
    sections.append(Section("Make it again", _again(run, recipe, command)))
    return page(title(records, evaluation), _lead(records, evaluation), sections, f"training · {run.path.name}")


def title(records: Sequence[Record], evaluation: Report | None) -> str:
    """The finding in a line: what the test problems say, else what validation says, else how far training came."""
    if evaluation is not None and (said := before_after(evaluation)):
        return said
    for key, name, factor in (
        ("validation", "Validation", 1),
        ("pass_rate", "Passed in training", 100),
        ("validation_loss", "Validation loss", 1),
        ("loss", "Loss", 1),
    ):
        values = [r[key] for r in records if r.get(key) is not None]
        if len(values) > 1:
            first, last = (factor * v for v in (values[0], max(values) if key == "validation" else values[-1]))
            unit = " %" if factor == 100 else ""
            return f"{name}: {first:.3g}{unit} at first, {last:.3g}{unit} {'at best' if key == 'validation' else 'at last'}"
    return f"{len(records)} steps"


def before_after(report: Report) -> str:
    """`32.0 % before, 41.5 % after` with what the paired test allows to say; empty where nothing could be scored."""
    old, new = (report.arm(name, report.budgets[0]).accuracy for name in ("before", "after"))
    pair = report.pair("after", report.budgets[0])
    if old is None or new is None or pair is None:
        return ""
    said = {
        Judgement.BETTER: f"{signed(pair.difference.mean)} points",
        Judgement.WORSE: f"{signed(pair.difference.mean)} points: worse",
        Judgement.HINT: f"{signed(pair.difference.mean)} points, a hint only",
        Judgement.NONE: "no difference seen",
    }[judgement(pair)]
    return f"Right on {percent(old.mean)} % of test problems before training, {percent(new.mean)} % after: {said}"


def paired_words(report: Report) -> str:
    """The difference with its interval and p-value."""
    pair = report.pair("after", report.budgets[0])
    if pair is None:
        return ""
    d = pair.difference
    return (
        f"Difference on the same {d.n} problems: {signed(d.mean)} points (95 % interval {signed(d.low)} to {signed(d.high)}; "
        f"{pair.test}, p {p_value(pair.p) if pair.p < 0.001 else '= ' + p_value(pair.p)})."
    )


def _lead(records: Sequence[Record], evaluation: Report | None) -> str:
    if not records:
        return "No step was logged."
    last = records[-1]
    seconds = sum(r.get("seconds_sampling", 0.0) + r.get("seconds_learning", r.get("seconds", 0.0)) for r in records)
    did = "sampled" if "pass_rate" in last else "read"
    said = f"{len(records)} steps, {number(last.get('tokens', 0))} tokens {did}, {seconds / 60:.1f} minutes of stepping."
    return f"{paired_words(evaluation)} {said}" if evaluation else said


def _evaluated(report: Report | None) -> str:
    return (
        f"{report.problems} test problems, {report.attempts} attempt{'s' * (report.attempts != 1)} each, with the same seeds."
        if report
        else ""
    )


def _before_after(report: Report) -> Markup:
    rows: list[list[str | Markup]] = []
    for name in ("before", "after"):
        arm = report.arm(name, report.budgets[0])
        share = f"{percent(arm.accuracy.mean)} %" if arm.accuracy else "not scored"
        interval = f"{percent(arm.accuracy.low)} – {percent(arm.accuracy.high)}" if arm.accuracy else ""
        rows.append([name, share, interval, f"{arm.mean_cost['completion_tokens']:,.1f}", percent(arm.truncated), str(arm.unscored)])
        for part in report.parts:
            if part.solver == name:
                share = Markup('<span class="quiet">{}: {} %</span>').format(part.name, percent(part.accuracy.mean))
                rows.append(["", share, f"{percent(part.accuracy.low)} – {percent(part.accuracy.high)}", "", "", ""])
    found = table(["Training", "Right", "95 % interval", "Sampled tokens", "Ended by a limit, %", "Not scored"], rows)
    link = Markup('<p class="note"><a href="evaluation/report.html">Every attempt, with its text</a></p>')
    return found + link


def _grid(records: Sequence[Record]) -> Markup:
    drawn = [p for p in PANELS if sum(r.get(p.key) is not None for r in records) > 1]
    if not drawn:
        return Markup("<p>Fewer than two steps were logged.</p>")
    cells = Markup().join(
        Markup('<figure style="margin:0">{}<figcaption style="margin-top:2px">{}</figcaption></figure>').format(
            figure_svg(_draw(p, records), f"{p.title} over steps. {p.note}"), p.note
        )
        for p in drawn
    )
    grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:34px 40px;margin-top:22px"
    return Markup('<div style="{}">{}</div>').format(grid, cells)


def _draw(panel: Panel, records: Sequence[Record]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, ax = axes(440, 220)
    points = [(r["step"] + 1, panel.scale * r[panel.key], r.get("stage", 0)) for r in records if r.get(panel.key) is not None]
    stages = sorted({stage for _, _, stage in points})
    for stage in stages if panel.by_stage else [None]:
        mine = [(x, y) for x, y, at in points if stage in (None, at)]
        xs, ys = [x for x, _ in mine], [y for _, y in mine]
        colour = series(0 if stage is None else stages.index(stage))
        sparse = len(points) < len(records) / 2
        ax.plot(
            xs,
            ys,
            color=colour,
            linewidth=1.6 if sparse else 1.0,
            alpha=1.0 if sparse else 0.4,
            marker="o" if sparse else None,
            markersize=4.5,
        )
        if not sparse:
            ax.plot(xs, running_mean(ys, max(len(points) // 12, 3)), color=colour, linewidth=2.2)
        if stage is not None and len(stages) > 1:
            ax.annotate(
                f"{stage + 1}", (xs[0], ys[0]), xytext=(2, 8), textcoords="offset points", color=colour, fontsize=12, fontweight="bold"
            )
    for a, b in pairwise(records):
        if b.get("stage", 0) != a.get("stage", 0):
            ax.axvline(b["step"] + 0.5, color=LINE, linestyle=":", linewidth=1.2)
    ax.margins(x=0.02, y=0.12)
    values = [y for _, y, _ in points]
    if min(values) >= 0 and panel.key not in ("loss", "validation_loss"):
        ax.set_ylim(bottom=0, top=None if max(values) > 0 else 1)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    figure.suptitle(panel.title, x=0, ha="left", color=MUTED, fontsize=13)
    return figure


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of each value and up to `window` − 1 before it."""
    return [statistics.fmean(values[max(i + 1 - window, 0) : i + 1]) for i in range(len(values))]


def _monitors(records: Sequence[Record]) -> Markup:
    health = examine(log_of(records)) if records else None
    if health is None:
        return Markup("<p>Nothing was logged.</p>")
    said = Markup().join(_finding(f) for f in health.findings) or Markup("<p>Nothing to warn of.</p>")
    quiet = f"Looked and found nothing: {', '.join(health.quiet)}." if health.quiet else ""
    few = [name for name, why in health.skipped.items() if "fewer than" in why]
    lacking = [name for name in health.skipped if name not in few]
    skipped = (f"Too few steps to look: {', '.join(few)}. " if few else "") + (f"Not in the log: {', '.join(lacking)}." if lacking else "")
    return said + Markup('<p class="note">{} {}</p>').format(quiet, skipped)


def _finding(f: Finding) -> Markup:
    mark = Markup('<span class="{}">{}</span>').format("bad" if f.level is Level.ALARM else "quiet", f.level)
    return Markup("<p>{} · from step {:g}{}. {} <span class='quiet'>{}</span></p>").format(
        mark, f.step + 1, "" if f.ongoing else ", over by the end", f.says, f.advice
    )


def _edge(records: Sequence[Record]) -> int:
    return max(len(records) // 5, 1)


def _ends(records: Sequence[Record]) -> Markup:
    edge = _edge(records)

    def mean(part: Sequence[Record], p: Panel) -> str:
        values = [p.scale * r[p.key] for r in part if r.get(p.key) is not None]
        return number(float(f"{statistics.fmean(values):.4g}")) if values else "–"

    rows = [[p.title, mean(records[:edge], p), mean(records[-edge:], p)] for p in PANELS if any(r.get(p.key) is not None for r in records)]
    return table(["", "first", "last"], rows)


def _again(run: Run, recipe: str, command: str) -> Markup:
    environment = run.path / "environment.json"
    facts = json.loads(environment.read_text()) if environment.exists() else {}
    rows = Markup().join(Markup("<dt>{}</dt><dd>{}</dd>").format(k, v) for k, v in facts.items())
    log = download("".join(line.decode() + "\n" for line in run.lines("steps")), "steps.jsonl", "The log of all steps", "application/json")
    return Markup("<pre>{}</pre><p class='note'>Its recipe, every key that is not a default:</p><pre>{}</pre><dl>{}</dl><p>{}</p>").format(
        command, recipe, rows, log
    )
