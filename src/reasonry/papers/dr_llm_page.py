"""The page of Dr.LLM's experiment: accuracy against blocks, the routers' map by difficulty, labels, and what re-asking shows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.layers_page import layers_sections
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.dr_llm_findings import (
    BASE,
    CHAIN,
    CHAINS,
    CLAIMS,
    COMMON,
    DEEP,
    EDITED,
    MOVED,
    ORACLE,
    OTHER,
    ROUTED,
    SHUFFLED,
    TREE,
    Figure,
    Plan,
    Row,
    Used,
    figure,
    figures_of,
    of,
    spread,
)
from reasonry.papers.evidence_page import evidence_page
from reasonry.probe.layer_use import Use, layer_use
from reasonry.probe.seeds import level, say

MARKERS = "sDv^<>Xo"
SHOWN = (BASE, ROUTED, DEEP, COMMON, SHUFFLED, OTHER, MOVED, ORACLE)


def report(plan: Plan, rows: Sequence[Row], figures: Sequence[Figure], used: Sequence[Used], evidence: Evidence) -> str:
    """The whole page as HTML."""
    use = layer_use([Use(f"{u.seed}/{u.item}", f"level {u.level}", u.counts) for u in sorted(used, key=lambda u: u.level)])
    maps = [s for s in layers_sections(use) if s.title != "Inputs"]
    sections = [
        Section("Right answers against blocks run", _curve(plan, rows, figures),
                "Test items, means over seeds. Routed: the knob from fewer blocks to the whole network. Static: the best set of each size, "
                "found on the items that were searched. The search with the answer is what could be had."),
        Section("By difficulty", _levels(figures), "A level is the number of operations."),
        *(Section(f"{s.title}: the routers' decisions on test items, all seeds", s.body, s.note) for s in maps),
        Section("What searches find", _searches(figures),
                f"At most {plan.simulations} programs an item, the same validation items for all three; a failed search saves nothing. The "
                "tree and the chain stop when two blocks are saved, all edits when the shortest right program is met."),
        Section("In other words", _again(figures),
                "The program found for an item, tried on the same question in other words. 'Put right' are items the whole network gets "
                "wrong."),
        Section("Doing without a block", _drop(figures), "The built-in case where the method fails: a model not taught to bear it."),
    ]  # fmt: skip
    rules = "Each rule was written before the evidence was collected."
    return evidence_page("Skip, run or repeat a layer", CLAIMS, evidence, sections, rules)


def _curve(plan: Plan, rows: Sequence[Row], figures: Sequence[Figure]) -> Markup:
    drawing, ax = axes(height=440)

    def mean(arm: str, metric: str) -> float:
        e = spread(figures_of(figures, arm, metric))
        return float("nan") if e is None else e.mean

    knobs = [f"knob {k:g}" for k in plan.knobs]
    ax.plot([mean(k, "blocks run") for k in knobs], [mean(k, "right") for k in knobs], "o-", color=series(0), label="routed, by knob")
    depths = sorted({int(f.arm.split()[1]) for f in figures if f.arm.startswith("static, ")})
    ax.plot(depths, [mean(f"static, {d} blocks", "right") for d in depths], "s--", color=series(1), label="best static set, by size")
    for i, arm in enumerate(SHOWN):
        right, depth = level(of(rows, arm)), level_of_depth(rows, arm)
        if right and depth is not None:
            ax.errorbar([depth], [right.mean], [[right.mean - right.low], [right.high - right.mean]], fmt=MARKERS[i], color=series(i + 2),
                        capsize=3, markersize=6, label=arm)  # fmt: skip
    ax.set_xlabel("blocks run", color=MUTED)
    ax.set_ylabel("right", color=MUTED)
    ax.set_ylim(0, 1.02)
    ax.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure_svg(drawing, "Share right against blocks run")


def level_of_depth(rows: Sequence[Row], arm: str) -> float | None:
    """Mean blocks run over all items and seeds."""
    depths = [d for items in of(rows, arm, CHAINS, "layers").values() for d in items.values()]
    return sum(depths) / len(depths) if depths else None


def _cells(figures: Sequence[Figure], arm: str, metrics: Sequence[str]) -> list[str]:
    return [say(figure(figures, arm, m)) for m in metrics]


def _levels(figures: Sequence[Figure]) -> Markup:
    levels = sorted({int(f.metric.rsplit(" ", 1)[1]) for f in figures if f.metric.startswith("right at level")})
    found = [
        [
            str(k), *_cells(figures, BASE, [f"right at level {k}"]),
            *_cells(figures, ROUTED, [f"right at level {k}", f"blocks run at level {k}"]),
        ]
        for k in levels
    ]  # fmt: skip
    return table(["level", "right, whole network", "right, routed", "blocks run, routed"], found)


def _searches(figures: Sequence[Figure]) -> Markup:
    metrics = ["right", "blocks saved", "evaluations"]
    return table(["", "items with a right program", "blocks saved", "programs evaluated"],
                 [[arm, *_cells(figures, arm, metrics)] for arm in (TREE, CHAIN, EDITED)])  # fmt: skip


def _again(figures: Sequence[Figure]) -> Markup:
    metrics = ["items", "right when re-asked", "another's program when re-asked", "base right when re-asked"]
    found = [[name, *_cells(figures, arm, metrics)] for name, arm in (("put right", "flips"), ("made shorter", "shorter"))]
    return table(["programs", "items a seed", "right when re-asked", "another item's program", "whole network"], found)


def _drop(figures: Sequence[Figure]) -> Markup:
    metrics = ["right on validation items", "lost by a skip"]
    found = [[name, *_cells(figures, arm, metrics)] for name, arm in (("blocks left out at random", BASE), ("never", "no drop"))]
    return table(["taught with", "right", "of them lost by one skip, mean over blocks"], found)
