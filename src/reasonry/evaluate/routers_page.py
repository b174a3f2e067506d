"""The page of routers' training: what the search gave, how well it was learnt, accuracy against blocks, and the layer-use map.

Invariant: every number is in the run's log or was measured on problems that were not searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup

from reasonry.accel.drllm.learn import Quality
from reasonry.evaluate.layers_page import layers_sections
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.layer_use import LayerUse

CLASSES = ("skip", "run", "repeat")


@dataclass(frozen=True)
class Point:
    """The routed model at one place on the knob."""

    knob: float
    right: float
    depth: float
    """Blocks run, on average."""


def said(points: Sequence[Point], whole: Point, layers: int) -> str:
    """In a sentence."""
    own = next((p for p in points if p.knob == -0.5), points[0])
    return (
        f"Routed, {100 * own.right:.1f} % are right with {own.depth:.2f} of {layers} blocks; the whole network: {100 * whole.right:.1f} %."
    )


def routers_page(
    model: str, labels: Sequence[Mapping[str, Any]], quality: Quality | None, points: Sequence[Point], whole: Point, use: LayerUse,
    losses: Sequence[float], recipe: str, command: str,
) -> str:  # fmt: skip
    """The whole page as HTML."""
    kept = [r for r in labels if r["counts"] is not None]
    saved = fmean(use.layers - sum(r["counts"]) for r in kept)
    right = sum(r["base"] >= 1 for r in labels)
    found = [
        ["searched", str(len(labels))], ["right by the whole network", str(right)], ["with a right program", str(len(kept))],
        ["wrong put right", str(sum(r["base"] < 1 for r in kept))], ["blocks saved by their programs, mean", f"{saved:.2f}"],
        ["programs evaluated, mean", f"{fmean(r['evaluations'] for r in labels):.1f}"],
    ]  # fmt: skip
    knob = [[f"{p.knob:g}", f"{p.right:.3f}", f"{p.depth:.2f}"] for p in points]
    sections = [
        Section("Accuracy against blocks", _curve(points, whole, use.layers) + table(["p", "right", "blocks run"], knob, text_columns=0),
                "Problems that were not searched. The routers' own decision is at p = -0.5, the whole network at 0.5."),
        *layers_sections(use),
        Section("What the search gave", table(["problems", ""], found),
                "A program may put a wrong answer right by luck. Set routed beside a fixed set of blocks before believing in it."),
    ]  # fmt: skip
    if quality is not None:
        each = zip(CLASSES, quality.frequency, quality.recall, quality.precision, strict=True)
        cells = [[c, str(n), _share(r), _share(p)] for c, n, r, p in each]
        note = f"On searched problems kept out of training: macro-F1 {quality.f1:.2f}, {100 * quality.accuracy:.1f} % of all decisions."
        sections.append(Section("What routers have learnt", table(["decision", "labels", "recall", "precision"], cells), note))
    sections += [Section("While training", _losses(losses)), Section("Recipe", Markup("<pre>{}</pre>").format(recipe))]
    return page(f"Routers for {model}", said(points, whole, use.layers), sections, kicker="drllm", footer=command)


def _share(x: float | None) -> str:
    return "–" if x is None else f"{x:.2f}"


def _curve(points: Sequence[Point], whole: Point, layers: int) -> Markup:
    figure, ax = axes(height=320)
    at = sorted(points, key=lambda p: p.depth)
    ax.plot([p.depth for p in at], [p.right for p in at], "o-", color=series(0), linewidth=1.6, label="routed, by p")
    ax.plot([whole.depth], [whole.right], "s", color=series(1), markersize=8, label="whole network")
    ax.set_xlabel("blocks run", color=MUTED)
    ax.set_ylabel("right", color=MUTED)
    ax.set_ylim(0, 1.02)
    ax.set_xlim(0, max(layers, *(p.depth for p in at)) + 0.3)
    ax.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure_svg(figure, "Share right against blocks run")


def _losses(losses: Sequence[float]) -> Markup:
    figure, ax = axes(height=240)
    ax.plot(range(1, len(losses) + 1), losses, color=series(0), linewidth=1.2)
    ax.set_xlabel("steps", color=MUTED)
    ax.set_ylabel("focal loss", color=MUTED)
    ax.set_ylim(bottom=0)
    return figure_svg(figure, "Loss of the routers")
