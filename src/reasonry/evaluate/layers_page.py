"""A layer-use map for people: sentences, a text for the terminal, JSON, and a page with heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup
from matplotlib.patches import Rectangle

from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.probe.layer_use import GroupUse, LayerUse

HEAD = ("inputs", "n", "blocks run", "right, whole network", "right, these blocks")


def rows_of(use: LayerUse) -> list[list[str]]:
    """A line for all inputs, and one for each group where there are several."""
    return [[g.name, str(g.n), f"{g.depth:.2f}", _share(g.base), _share(g.right)] for g in shown(use)]


def shown(use: LayerUse) -> tuple[GroupUse, ...]:
    """All inputs, then the groups."""
    return (use.whole, *(use.groups if len(use.groups) > 1 else ()))


def _share(x: float | None) -> str:
    return "–" if x is None else f"{x:.3f}"


def layers_text(use: LayerUse) -> str:
    """For the terminal: sentences, the groups, then each block's shares."""
    lines = [*use.findings, ""]
    lines += aligned([list(HEAD), *rows_of(use)])
    blocks = [["block", "skipped", "repeated", "consensus"]]
    w = use.whole
    blocks += [[str(i), f"{w.skipped[i]:.2f}", f"{w.repeated[i]:.2f}", f"{w.consensus[i]:.2f}"] for i in range(use.layers)]
    return "\n".join([*lines, "", *aligned(blocks)])


def aligned(found: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns."""
    widths = [max(len(line[i]) for line in found) for i in range(len(found[0]))]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in found]


def layers_json(use: LayerUse) -> dict[str, Any]:
    """Everything."""
    return asdict(use)


def layers_sections(use: LayerUse) -> list[Section]:
    """The map's own sections, for this page and others'."""
    again = any(max(g.repeated) > 0 for g in shown(use))
    note = "The darker, the more of a row's inputs; the number is their share in per cent. Block 0 is the first."
    maps = [Section("Skipped", heat_map(use, [g.skipped for g in shown(use)], 0, "skipped"), note)]
    if again:
        maps.append(Section("Run twice", heat_map(use, [g.repeated for g in shown(use)], 1, "repeated"), note))
    agree = heat_map(use, [g.consensus for g in shown(use)], 2, "consensus")
    maps.append(Section("Consensus", agree, "Share of inputs that do with a block what most do: what a batch of inputs can share."))
    return [*maps, Section("Inputs", table(HEAD, rows_of(use)))]


def layers_html(use: LayerUse, source: str) -> str:
    """The whole page."""
    return page("Which layers inputs use", " ".join(use.findings), layers_sections(use), kicker="layers", footer=source)


def heat_map(use: LayerUse, shares: Sequence[Sequence[float]], color: int, label: str) -> Markup:
    """Groups down, blocks across."""
    names = [g.name for g in shown(use)]
    figure, ax = axes(height=90 + 40 * len(names))
    for row, values in enumerate(shares):
        for block, share in enumerate(values):
            ax.add_patch(Rectangle((block, row), 0.96, 0.92, facecolor=series(color), alpha=0.06 + 0.6 * share, linewidth=0))
            if use.layers <= 40:
                ax.text(block + 0.48, row + 0.46, f"{100 * share:.0f}", ha="center", va="center", color=INK, fontsize=8)
    ax.set_xlim(0, use.layers)
    ax.set_ylim(len(names), 0)
    ax.set_xticks([b + 0.48 for b in range(use.layers)], [str(b) for b in range(use.layers)], fontsize=8)
    ax.set_yticks([r + 0.46 for r in range(len(names))], names, fontsize=9)
    ax.grid(False)
    ax.set_xlabel("block", color=MUTED)
    return figure_svg(figure, f"Share of inputs: {label}")
