"""The page of Delethink's experiment: accuracy against length, the ledger, cost against length, and every figure as a table."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.delethink_cost import Priced
from reasonry.papers.delethink_findings import CLAIMS, Plan, Row, mean, scores
from reasonry.papers.evidence_page import evidence_page
from reasonry.solve.delethink_cost import R1_DISTILL_1_5B, causal, chunks, crossover, full, longcot_cost, thinking_cost

ARMS = ("Delethink", "LongCoT")
STYLES = {"restate": "restate the state", "delta": "write changes only"}


def report(plan: Plan, rows: Sequence[Row], priced: Sequence[Priced], evidence: Evidence) -> str:
    """The whole page as HTML."""
    length = f"Trained with whole workings of at most {plan.trained} loops (dashed). Bars: 95 % over problems. C = {plan.C}, m = {plan.m}."
    fits = f"Every register is live. m holds the latest values of {plan.ledger_fits} registers (dashed); more cannot cross."
    tracing = [(style, _accuracy(rows, "tracing", style, "loops", plan.trained)) for style in ("restate", "delta")]
    ledger = _accuracy(rows, "ledger", "restate", "registers", plan.ledger_fits)
    small = _accuracy(rows, "state", "restate", "tokens carried (m)", 9)
    needs = f"Two registers, {plan.trained} loops: a loop's number and two values take 9 tokens (dashed), a whole restated loop 18."
    sections = [
        *(Section(f"Accuracy against length: workings that {STYLES[style]}", plot, length) for style, plot in tracing),
        Section("Where it fails: more registers than fit", ledger, fits),
        Section("Where it fails: less carried than the state needs", small, needs),
        Section("Cost against thinking length, measured", _measured(priced), "The engine's ledger without a prefix cache."),
        Section(
            "Cost at the paper's shape, computed", _papers_shape(), "R1-Distill-1.5B, C = 8192, m = 4096: LongCoT's FLOPs over Delethink's."
        ),
    ]
    return evidence_page(
        "The Markovian Thinker (Delethink)",
        CLAIMS,
        evidence,
        sections,
        "Each rule was written before the results were seen, unless it says otherwise.",
    )


def _accuracy(rows: Sequence[Row], stage: str, style: str, unit: str, line: float) -> Markup:
    figure, ax = axes(height=340)
    ax.axvline(line, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    xs = sorted({r.x for r in rows if (r.stage, r.style) == (stage, style)})
    for i, arm in enumerate(ARMS):
        points = [(x, e) for x in xs if (e := mean(scores(rows, stage, style, arm, (x,)))) is not None]
        if not points:
            continue
        at, means = [x for x, _ in points], [e.mean for _, e in points]
        spread = [[e.mean - e.low for _, e in points], [e.high - e.mean for _, e in points]]
        ax.errorbar(at, means, spread, color=series(i), marker="o", linewidth=2, capsize=3, label=arm)
    ax.set_ylim(-0.02, 1.02)
    if max(xs, default=0) > 16:
        ax.set_xscale("log", base=2)
    ax.set_xticks(xs, [str(x) for x in xs])
    ax.set_xlabel(unit, color=MUTED)
    ax.set_ylabel("accuracy", color=MUTED)
    if xs:
        ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, f"Accuracy against {unit} for {' and '.join(ARMS)}, {style}")


def _measured(priced: Sequence[Priced]) -> Markup:
    parts = Markup()
    for shape in dict.fromkeys(p.shape for p in priced):
        points = [p for p in priced if p.shape == shape]
        figure, ax = axes(height=320)
        at = [p.S for p in points]
        for i, flops in enumerate(([p.delethink_flops for p in points], [p.longcot_flops for p in points])):
            ax.plot(at, flops, color=series(i), marker="o", linewidth=2, label=ARMS[i])
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(at, [str(S) for S in at])
        ax.set_xlabel(f"thinking tokens; shape: {shape}, crossover by the closed form at {points[0].crossover}", color=MUTED)
        ax.set_ylabel("FLOPs", color=MUTED)
        ax.legend(frameon=False, labelcolor=INK)
        parts += figure_svg(figure, f"FLOPs against thinking tokens, {shape}")
    head = ["shape", "thinking tokens", "peak key-value tokens, LongCoT", "the same, Delethink", "FLOPs, LongCoT / Delethink"]
    lines = [
        [p.shape, str(p.S), f"{p.longcot_peak:.0f}", f"{p.delethink_peak:.0f}", f"{p.longcot_flops / p.delethink_flops:.3f}"]
        for p in priced
    ]
    return parts + table(head, lines)


def _papers_shape() -> Markup:
    C, m = 8192, 4096
    figure, ax = axes(height=320)
    at = [C + k * (C - m) for k in (2, 4, 8, 14, 30, 62, 126, 254)]
    for i, (name, pairs) in enumerate((("causal", causal), ("full squares", full))):
        ratio = [
            longcot_cost(R1_DISTILL_1_5B, S, pairs=pairs).flops / thinking_cost(R1_DISTILL_1_5B, S, C, m, pairs=pairs).flops for S in at
        ]
        where = crossover(R1_DISTILL_1_5B, C, m, pairs=pairs)
        ax.plot(at, ratio, color=series(i), marker="o", linewidth=2, label=f"attention counted {name}: pays from {where:,} tokens")
    ax.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(at, [f"{S // 1024}K" for S in at])
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.set_xlabel(f"thinking tokens (up to {len(chunks(at[-1], C, m))} chunks)", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "LongCoT's FLOPs over Delethink's at the paper's shape")
