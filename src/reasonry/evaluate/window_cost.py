"""What a token costs by its place in the text: full attention against a window with sinks and a memory (AHN), on a model's shape.

The figures are `accel.ahn.ledger`'s closed forms: nothing is run and no weights are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from reasonry.accel.ahn import Window
from reasonry.accel.ahn.ledger import kept_bytes, next_token_flops, prompt_flops
from reasonry.core import UserError
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.evaluate.thinking_cost import LONGEST
from reasonry.lm.decoder import DecoderConfig

HEAD = ("tokens before", "next token, full", "with window", "of it", "prompt, full", "with window", "of it", "kept, full", "kept", "of it")


@dataclass(frozen=True, slots=True)
class Place:
    """One place in the text, both ways."""

    tokens: int
    next_full: float
    """FLOPs of the next token; so below."""
    next_window: float
    prompt_full: float
    """FLOPs of reading all tokens before."""
    prompt_window: float
    kept_full: int
    """Bytes."""
    kept_window: int


def places(c: DecoderConfig, window: Window, tokens: Sequence[int], itemsize: int) -> list[Place]:
    """Every length on the shape. Raises UserError for one out of range."""
    if (bad := next((n for n in tokens if not 1 <= n <= LONGEST), None)) is not None:
        raise UserError(f"--contexts: {bad} is not between 1 and {LONGEST:,} tokens; name another length")
    return [
        Place(
            n, next_token_flops(c, n, None), next_token_flops(c, n, window), prompt_flops(c, n, None), prompt_flops(c, n, window),
            kept_bytes(c, n, None, itemsize), kept_bytes(c, n, window, itemsize),
        )
        for n in tokens
    ]  # fmt: skip


def said(name: str, window: Window, last: Place) -> str:
    """The longest place in a sentence."""
    later, prompt, kept = (
        f"{a / b:.1%}"
        for a, b in (
            (last.next_window, last.next_full), (last.prompt_window, last.prompt_full), (last.kept_window, last.kept_full),
        )
    )  # fmt: skip
    return (
        f"After {last.tokens:,} tokens {name} with {window.size:,} tokens of window and {window.sinks:,} sinks needs {later} of full "
        f"attention's operations for the next token, {prompt} of those for the prompt, and keeps {kept} of the memory."
    )


def window_text(name: str, window: Window, found: Sequence[Place]) -> str:
    """The comparison as a table for the terminal."""
    cells = [HEAD, *(_cells(p) for p in found)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([said(name, window, found[-1]), "", lines[0], "─" * len(lines[0]), *lines[1:], "", _NOTE])


def window_json(name: str, window: Window, found: Sequence[Place]) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {"model": name, "window": window.size, "sinks": window.sinks, "places": [asdict(p) for p in found]}


def window_html(name: str, c: DecoderConfig, window: Window, found: Sequence[Place]) -> str:
    """The comparison as a page."""
    note = Markup("<p>{}</p>").format(_NOTE)
    sections = [
        Section("FLOPs of the next token", _plot(c, window, max(p.tokens for p in found))),
        Section("Figures", table(HEAD, [_cells(p) for p in found], text_columns=0)),
        Section("What is counted", note),
    ]
    footer = "Made by reasonry probe window-cost from closed forms; nothing was run."
    return page(f"What a window saves on {name}", said(name, window, found[-1]), sections, kicker="window cost", footer=footer)


_NOTE = (
    "Multiplies and adds of projections, MLPs, output layer, attention and the memory's cells; what is kept holds their gates and state. "
    "What the answers are worth is not in it: a window forgets, and the memory is small."
)


def _cells(p: Place) -> list[str]:
    pairs = ((p.next_full, p.next_window), (p.prompt_full, p.prompt_window), (p.kept_full, p.kept_window))
    shown = [[_scaled(a, i == 2), _scaled(b, i == 2), f"{b / a:.1%}"] for i, (a, b) in enumerate(pairs)]
    return [f"{p.tokens:,}", *(cell for three in shown for cell in three)]


def _scaled(value: float, is_bytes: bool) -> str:
    base, units = (1024, ("B", "KiB", "MiB", "GiB", "TiB")) if is_bytes else (1000, ("", "K", "M", "G", "T", "P", "E"))
    power = 0
    while value >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    return (f"{value:.3g}" if value < 100 else f"{value:.0f}") + f" {units[power]}".rstrip()


def _plot(c: DecoderConfig, window: Window, longest: int) -> Markup:
    figure, ax = axes(height=320)
    at = [max(1, round(longest * i / 200)) for i in range(201)]
    for i, (label, w) in enumerate((("full attention", None), ("window and memory", window))):
        ax.plot([n / 1e3 for n in at], [next_token_flops(c, n, w) / 1e9 for n in at], color=series(i), linewidth=2, label=label)
    ax.set_xlabel("thousands of tokens before", color=MUTED)
    ax.set_ylabel("billions of FLOPs", color=MUTED)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "FLOPs of the next token against the tokens before it")
