"""The page of GRPO-TCR's experiment: starts, RL curves, the sweep of the upper clip bound, modes, and every figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.grpo_tcr_findings import (
    BASE,
    CLAIMS,
    CURATED,
    EPSILONS,
    PROSE,
    REAL,
    SCR,
    TCR,
    TEST,
    VERDICT,
    Arm,
    Asked,
    Plan,
    Step,
    T,
    at,
    avg,
    calls,
    level,
    say,
    scores,
    success,
    swept,
)
from reasonry.papers.grpo_tcr_measures import STARTS, logs, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAIN = (T, TCR, SCR, CURATED, PROSE)
"""Arms whose training is drawn."""
SWEPT = tuple(swept(e) for e in EPSILONS)


def report(plan: Plan, arms: Sequence[Arm], evidence: Evidence) -> str:
    """The whole page as HTML."""
    seeds = len(evidence.seeds)
    drawn = f"Mean of {seeds} seeds against sampled tokens; bands span them."
    sections = [
        Section("Before RL", _starts(plan, arms), f"Test problems; {plan.sft_attempts} attempts at each ({plan.attempts} by the base)."),
        Section("After RL", _after(plan, arms), f"{plan.tokens:,} sampled tokens each, from real traces but for the last two."),
        Section("Right while training", _curve(arms, MAIN, lambda s: s.pass_rate, "attempts right"), drawn),
        Section("Entropy, by the upper clip bound", _curve(arms, SWEPT, lambda s: s.entropy, "nats a token"), drawn),
        Section("Accuracy, by the upper clip bound", _sweep(arms), "avg over test problems; bars 95 % over problems. Dots: seeds."),
        Section("Calls while training", _curve(arms, (T, TCR, PROSE, VERDICT), lambda s: s.tool_calls, "calls an attempt"), drawn),
        Section("Groups without a signal", _curve(arms, (TCR, CURATED), lambda s: s.zero_variance, "share of groups"), drawn),
        Section(
            "Step by step or planned", _modes(arms),
            "One model, the same problems; only the prompt's last character differs. Share right within a number of sampled tokens.",
        ),
    ]  # fmt: skip
    rules = "Each rule was written before any test problem was looked at."
    return evidence_page("GRPO-TCR: RL of an agent that calls tools", CLAIMS, evidence, sections, rules)


def _starts(plan: Plan, arms: Sequence[Arm]) -> Markup:
    lines = []
    for name in (n for n in names(arms) if n in STARTS):
        k = plan.attempts if name == BASE else plan.sft_attempts
        lines.append([name, str(k), *(say(level(scores(arms, name, TEST, f))) for f in (avg, at(k), calls, success))])
    return table(["taught", "k", "avg@k", "pass@k", "calls an attempt", "success a call"], lines)


def _after(plan: Plan, arms: Sequence[Arm]) -> Markup:
    def cells(name: str) -> list[str]:
        found = [say(level(scores(arms, name, TEST, f))) for f in (avg, at(plan.attempts), calls, success)]
        return [name, *found]

    shown = [REAL, *(n for n in names(arms) if n not in STARTS)]
    head = ["arm", f"avg@{plan.attempts}", f"pass@{plan.attempts}", "calls an attempt", "success a call"]
    return table(head, [cells(name) for name in shown])


def _labelled(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, color=MUTED)
    ax.set_ylabel(y, color=MUTED)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _curve(arms: Sequence[Arm], shown: Sequence[str], what: Callable[[Step], float | None], label: str) -> Markup:
    """One line an arm: step by step over the seeds, at the mean of the tokens they had sampled."""
    figure, ax = axes(height=340)
    for i, name in enumerate(shown):
        own = logs(arms, name)
        xs, ys, low, high = list[float](), list[float](), list[float](), list[float]()
        for j in range(min((len(a.log) for a in own), default=0)):
            values = [v for a in own if (v := what(a.log[j])) is not None]
            if values:
                xs.append(fmean(a.log[j].tokens for a in own) / 1000)
                ys.append(fmean(values))
                low.append(min(values))
                high.append(max(values))
        ax.plot(xs, ys, color=series(i), linewidth=2, label=name)
        ax.fill_between(xs, low, high, color=series(i), alpha=0.12, linewidth=0)
    _labelled(ax, "thousand sampled tokens", label)
    return figure_svg(figure, f"{label} against sampled tokens: {', '.join(shown)}")


def _sweep(arms: Sequence[Arm]) -> Markup:
    figure, ax = axes(height=320)
    found = {e: level(scores(arms, swept(e))) for e in EPSILONS}
    points = [(e, x) for e, x in found.items() if x is not None]
    spread = [[x.mean - x.low for _, x in points], [x.high - x.mean for _, x in points]]
    ax.errorbar([e for e, _ in points], [x.mean for _, x in points], spread, color=series(0), marker="o", linewidth=2, capsize=2)
    for e in EPSILONS:
        for arm in (a for a in arms if a.name == swept(e)):
            ax.plot([e], [level(scores([arm], arm.name)).mean], color=MUTED, marker=".", linestyle="")  # pyright: ignore[reportOptionalMemberAccess]
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(EPSILONS), [f"{e:g}" for e in EPSILONS])
    _labelled(ax, "ε_high", "avg@k")
    return figure_svg(figure, "Accuracy after RL by upper clip bound")


def _modes(arms: Sequence[Arm]) -> Markup:
    figure, ax = axes(height=320)
    lines = []
    for i, (mode, name) in enumerate((("react", "step by step"), ("deliberate", "planned"))):
        asked = [a for arm in arms if arm.name == REAL for a in arm.asked if a.where == mode]
        limits = range(8, 45, 2)
        ax.plot(list(limits), [_within(asked, limit) for limit in limits], color=series(i), linewidth=2, label=name)
        lines.append([name, *(say(level(scores(arms, REAL, mode, f))) for f in (avg, calls, success, _tokens))])
    _labelled(ax, "sampled tokens", "right within them")
    head = ["asked for", "right", "calls an attempt", "success a call", "sampled tokens"]
    return figure_svg(figure, "Share of attempts right within a number of sampled tokens, by mode") + table(head, lines)


def _tokens(a: Asked) -> float:
    return fmean(a.tokens)


def _within(asked: Sequence[Asked], limit: int) -> float:
    """Share of attempts that were right with at most so many sampled tokens."""
    done = [r and t <= limit for a in asked for r, t in zip(a.right, a.tokens, strict=True)]
    return fmean(done) if done else 0.0
