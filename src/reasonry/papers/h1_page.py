"""The page of h1's experiment: accuracy against length, step profiles, signal, validation, pass@k, the simulated agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.h1_findings import CLAIMS, CONTROL, START, Arm, Facts, Plan, pass_curve, profile_of, rows_of, scores, share
from reasonry.papers.h1_measures import KS, log, names, stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def report(plan: Plan, arms: Sequence[Arm], facts: Facts, evidence: Evidence) -> str:
    """The whole page as HTML."""
    trained = f"Trained up to {plan.H} (dashed); the start has seen chains of at most 2. Bars: 95 %, Wilson. Dotted: the commonest answer."
    sections = [
        Section("Accuracy against length", _accuracy(plan, arms, facts, lambda r: r.passed, "answer right"), trained),
        Section("The same, with every step right", _accuracy(plan, arms, None, lambda r: r.whole, "every step right"), "Nothing guessed."),
        Section("Where chains break", _profile(plan, arms), f"q of step j: right, given that those before were. Chains of {plan.longest}."),
        Section("Does a batch teach anything", _signal(plan, arms), "Groups of answers with one reward have no advantage to learn from."),
        Section("While training", _validation(plan, arms), "Mean accuracy over the trained lengths on validation chains; one line a seed."),
        Section(
            f"pass@k at length {plan.drawn_length}", _passes(plan, arms),
            f"Unbiased, {plan.draws} attempts at each of {plan.drawn_problems} chains a seed, every step right; 95 % over chains.",
        ),
        Section(
            "The theory, on a simulated agent", _agent(plan, facts),
            "Simulated: steps succeed with chance p·σ_j, only σ_j is learnt. No language model.",
        ),
    ]  # fmt: skip
    return evidence_page(
        "h1: bootstrapping to longer horizons", CLAIMS, evidence, sections, "Each rule was written before any test problem was looked at."
    )


def _drawn(ax: Axes, xs: Sequence[float], xlabel: str, ylabel: str, ticks: Sequence[str] | None = None) -> None:
    ax.set_xticks(xs, ticks or [str(x) for x in xs])
    ax.set_xlabel(xlabel, color=MUTED)
    ax.set_ylabel(ylabel, color=MUTED)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, labelcolor=INK)


def _accuracy(plan: Plan, arms: Sequence[Arm], facts: Facts | None, what: Callable[..., bool], label: str) -> Markup:
    figure, ax = axes(height=400)
    rows, hs = rows_of(arms), range(1, plan.longest + 1)
    ax.axvline(plan.H + 0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    shown = [name for name in names(arms) if name != CONTROL or facts]
    for i, name in enumerate(shown):
        points = [(h, e) for h in hs if (e := share(scores(rows, name, (h,), what)))]
        spread = [[e.mean - e.low for _, e in points], [e.high - e.mean for _, e in points]]
        at = [h + 0.06 * (i - (len(shown) - 1) / 2) for h, _ in points]
        colour = MUTED if name == START else series(i - 1)
        ax.errorbar(at, [e.mean for _, e in points], spread, color=colour, marker="o", linewidth=2, capsize=2, label=name)
    if facts:
        ax.plot(list(facts.chance), list(facts.chance.values()), color=MUTED, linewidth=1, linestyle=(0, (1, 3)))
    ax.set_ylim(-0.02, 1.02)
    _drawn(ax, list(hs), "problems in the chain", label)
    return figure_svg(figure, f"{label} against length of the chain, by arm")


def _profile(plan: Plan, arms: Sequence[Arm]) -> Markup:
    figure, ax = axes(height=340)
    rows = rows_of(arms)
    for i, name in enumerate(n for n in names(arms) if n != CONTROL):
        found = profile_of(rows, name, plan.longest)
        points = [(j, q) for j, q in enumerate(found.q, 1) if q is not None] if found else []
        colour = MUTED if name == START else series(i - 1)
        ax.plot([j for j, _ in points], [q for _, q in points], color=colour, marker="o", linewidth=2, label=name)
    ax.set_ylim(-0.02, 1.02)
    _drawn(ax, list(range(1, plan.longest + 1)), "step", "q")
    return figure_svg(figure, "Chance that a step is right given that those before were, by arm")


def _signal(plan: Plan, arms: Sequence[Arm]) -> Markup:
    head = ["arm", "stage", "steps", "right", "groups without a signal", "cut short", "tokens an answer"]
    lines = []
    for name in names(arms):
        for stage in stages(arms, name):
            steps = log(arms, name, stage)
            n = len(steps)
            lines.append(
                [
                    name if stage == 0 else "", str(stage + 1), str(n), f"{sum(s.pass_rate for s in steps) / n:.1%}",
                    f"{sum(s.zero_variance for s in steps) / n:.1%}", f"{sum(s.truncated for s in steps) / n:.1%}",
                    f"{sum(s.length for s in steps) / n:.0f}",
                ]
            )  # fmt: skip
    return table(head, lines)


def _validation(plan: Plan, arms: Sequence[Arm]) -> Markup:
    figure, ax = axes(height=340)
    trained = [name for name in names(arms) if name != START]
    for i, name in enumerate(trained):
        for j, arm in enumerate(a for a in arms if a.name == name):
            points = [(s.tokens / 1000, s.validation) for s in arm.log if s.validation is not None]
            label = name if j == 0 else None
            ax.plot([x for x, _ in points], [y for _, y in points], color=series(i), linewidth=1.6, label=label)
    _drawn(
        ax,
        [plan.tokens * k / 4000 for k in range(5)],
        "thousand sampled tokens",
        "validation",
        [f"{plan.tokens * k // 4000}" for k in range(5)],
    )
    return figure_svg(figure, "Validation accuracy against sampled tokens, by arm and seed")


def _passes(plan: Plan, arms: Sequence[Arm]) -> Markup:
    figure, ax = axes(height=340)
    shown = [k for k in KS if k <= plan.draws]
    order = [name for name in names(arms) if name in plan.drawn_arms]
    for i, name in enumerate(order):
        points = [(k, e) for k in shown if (e := pass_curve(arms, name, k))]
        spread = [[e.mean - e.low for _, e in points], [e.high - e.mean for _, e in points]]
        at = [k * 1.03 ** (i - (len(order) - 1) / 2) for k, _ in points]
        colour = MUTED if name == START else series(names(arms).index(name) - 1)
        ax.errorbar(at, [e.mean for _, e in points], spread, color=colour, marker="o", linewidth=2, capsize=2, label=name)
    ax.set_xscale("log", base=2)
    ax.set_ylim(-0.02, 1.02)
    _drawn(ax, shown, "k", "pass@k")
    return figure_svg(figure, f"pass@k at length {plan.drawn_length}, by arm")


def _agent(plan: Plan, facts: Facts) -> Markup:
    figure, ax = axes(height=340)
    for i, (order, atoms) in enumerate(facts.atoms.items()):
        ax.plot(plan.agent_lengths, atoms, color=series(i), marker="o", linewidth=2, label=order)
    ax.set_yscale("log")
    _drawn(ax, list(plan.agent_lengths), "H", "atoms executed")
    head = ["order of practice", *(f"H = {H}" for H in plan.agent_lengths), "× a step", "power of H", "the better fit"]
    lines = [
        [
            order, *(f"{x:,.0f}" for x in atoms), f"{facts.grown[order].factor:.2f}", f"{facts.grown[order].power:.2f}",
            "exponential" if facts.grown[order].exponential else "polynomial",
        ]
        for order, atoms in facts.atoms.items()
    ]  # fmt: skip
    return figure_svg(figure, "Atoms executed until chains of H are learnt, by order of practice") + table(head, lines)
