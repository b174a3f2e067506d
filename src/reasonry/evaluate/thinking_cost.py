"""What long thinking costs on a model's shape: one long context against chunks (Delethink, arXiv 2510.06557), and from where chunks pay.

The figures are `solve.delethink_cost`'s closed forms, nothing is run and no weights are read. Two conventions of counting attention stand
side by side, because published figures use either: *causal* counts the pairs a causal kernel computes, *full* counts n² pairs.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reasonry.core import UserError
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, page, series, table
from reasonry.evaluate.words import number
from reasonry.lm.checkpoint import read_raw
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.families import read_config
from reasonry.lm.load import model_folder
from reasonry.solve.delethink_cost import (
    R1_DISTILL_1_5B,
    Call,
    Pairs,
    ThinkingCost,
    causal,
    chunks,
    cost_of_calls,
    full,
    longcot_cost,
    thinking_cost,
)  # fmt: skip

CONVENTIONS: Mapping[str, Pairs] = {"causal": causal, "full": full}
THINKING = "8k,24k,96k,1M"
LONGEST = 10**9
"""Thinking tokens beyond which a request is taken for a slip."""
HEAD = (
    "thinking", "chunks", "FLOPs, one context", "FLOPs, chunks", "ratio, causal", "ratio, n²", "tokens processed", "in chunks", "KV cache",
    "in chunks",
)  # fmt: skip
_UNITS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is priced."""

    name: str
    config: DecoderConfig
    chunk: int = 8192
    """C."""
    carry: int = 4096
    """m."""
    query: int = 200
    """|q|, tokens."""
    kv_bytes: int = 2
    """Bytes of one number in the cache: 2 for bfloat16, 1 for FP8."""

    def __post_init__(self) -> None:
        chunks(self.chunk, self.chunk, self.carry)

    @property
    def kv_per_token(self) -> int:
        """Bytes of keys and values a token takes: 2 · L · Hkv · K numbers."""
        c = self.config
        return 2 * c.num_layers * c.num_kv_heads * c.head_dim * self.kv_bytes


@dataclass(frozen=True, slots=True)
class Priced:
    """One thinking length, both ways. FLOPs by the causal convention."""

    thinking: int
    chunks: int
    flops_long: float
    flops_chunked: float
    ratio_causal: float
    """FLOPs of the long context over those of the chunks: above 1 chunks are cheaper."""
    ratio_full: float
    processed_long: int
    processed_chunked: int
    """Tokens read and sampled; carried ones count again in each chunk."""
    kv_bytes_long: int
    kv_bytes_chunked: int


def price(setting: Setting, thinking: Sequence[int]) -> list[Priced]:
    """Every thinking length on the setting's shape. Raises UserError for a length out of range."""
    return [_price(setting, S) for S in thinking]


def _price(s: Setting, S: int) -> Priced:
    if not 1 <= S <= LONGEST:
        raise UserError(f"--thinking: {S} is not between 1 and {LONGEST:,} tokens; name another length")
    long, chunked = ({name: cost(name) for name in CONVENTIONS} for cost in _costs(s, S))
    a, b = long["causal"], chunked["causal"]
    return Priced(
        S, len(chunks(S, s.chunk, s.carry)), a.flops, b.flops, a.flops / b.flops, long["full"].flops / chunked["full"].flops, a.processed,
        b.processed, a.peak_kv_tokens * s.kv_per_token, b.peak_kv_tokens * s.kv_per_token,
    )  # fmt: skip


def _costs(s: Setting, S: int) -> tuple[Any, Any]:
    def long(name: str) -> ThinkingCost:
        return longcot_cost(s.config, S, s.query, CONVENTIONS[name])

    def chunked(name: str) -> ThinkingCost:
        return thinking_cost(s.config, S, s.chunk, s.carry, s.query, CONVENTIONS[name])

    return long, chunked


def pays_from(setting: Setting, pairs: Pairs) -> int:
    """The first thinking length at which chunks take no more FLOPs: `delethink_cost.crossover`, in time that does not grow with it.

    At the ends of chunks the long context's cost is quadratic in their number and the chunks' linear, equal at the first; so where chunks
    pay once they go on paying, and bisection finds the first such end, then the first token within that chunk.
    """
    s = setting
    first, step = longcot_cost(s.config, s.chunk, s.query, pairs).flops, s.chunk - s.carry

    def later(sampled: int) -> float:
        return cost_of_calls(s.config, [Call(s.query + s.carry, sampled)], pairs).flops

    def pays(S: int) -> bool:
        whole, rest = divmod(S - s.chunk, step)
        return first + whole * later(step) + (later(rest) if rest else 0) <= longcot_cost(s.config, S, s.query, pairs).flops

    most = 1
    while not pays(s.chunk + most * step):
        most *= 2
    ends = bisect_left(range(1, most + 1), True, key=lambda k: pays(s.chunk + k * step)) + 1
    start = s.chunk + (ends - 1) * step
    return start + 1 + bisect_left(range(start + 1, start + step), True, key=pays)


def shape_of(model: str) -> tuple[str, DecoderConfig]:
    """The shape in a checkpoint folder, a `config.json`, or a shipped model's name. No weights are needed."""
    path = Path(model).expanduser()
    folder = path.parent if path.name == "config.json" and path.is_file() else model_folder(model)
    return folder.name or str(folder), read_config(read_raw(folder), f"{folder}/config.json")


def shape(layers: int, width: int, heads: int, kv_heads: int, ff: int, vocab: int, head_dim: int | None = None) -> DecoderConfig:
    """A shape from its numbers; `head_dim` is width / heads where it is not given. Raises UserError where they do not fit."""
    if head_dim is None and width % heads:
        raise UserError(f"--heads: {heads} does not divide the width {width}; change it, or give --head-dim")
    if heads % kv_heads:
        raise UserError(f"--kv-heads: {kv_heads} does not divide the {heads} heads; change it")
    return DecoderConfig(
        vocab_size=vocab, hidden_size=width, num_layers=layers, num_heads=heads, num_kv_heads=kv_heads, head_dim=head_dim or width // heads,
        intermediate_size=ff, max_position=LONGEST,
    )  # fmt: skip


def lengths(text: str) -> list[int]:
    """`8k,24k,1M` as tokens, k = 1024 and M = 1024². Raises UserError for anything else."""
    return [length(part) for part in text.split(",")]


def length(text: str, flag: str = "--thinking") -> int:
    """One length: `8k` is 8192."""
    if not (read := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmM]?)\s*", text)):
        raise UserError(f"{flag}: {text!r} is not a length; write tokens as 8192, 8k or 1M")
    return round(float(read[1]) * _UNITS[read[2].lower()])


def cost_text(setting: Setting, rows: Sequence[Priced]) -> str:
    """The comparison as a table for the terminal."""
    c, s = setting.config, setting
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells]
    heads = f"{c.num_heads}/{c.num_kv_heads} heads of {c.head_dim}"
    shape = f"{c.num_layers} layers, width {c.hidden_size}, {heads}, ff {c.intermediate_size}, vocabulary {c.vocab_size}"
    return "\n".join(
        [
            f"{s.name}: {shape}",
            f"chunk C = {s.chunk}, carry m = {s.carry}, query {s.query} tokens, {s.kv_bytes} bytes a number in the cache",
            "",
            lines[0],
            "─" * len(lines[0]),
            *lines[1:],
            "",
            said(setting),
            "A ratio above 1 means that chunks are cheaper. FLOPs count attention causally; n² counts every pair of a block.",
        ]
    )


def said(setting: Setting) -> str:
    """From where chunks pay, in one sentence."""
    where = {name: pays_from(setting, pairs) for name, pairs in CONVENTIONS.items()}
    return (
        f"Chunks take fewer FLOPs from {where['causal']:,} thinking tokens on ({where['full']:,} when attention is counted as n²); "
        f"their cache never holds more than {setting.query + setting.chunk:,} tokens."
    )


def cost_json(setting: Setting, rows: Sequence[Priced]) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "setting": asdict(setting),
        "rows": [asdict(row) for row in rows],
        "pays_from": {name: pays_from(setting, pairs) for name, pairs in CONVENTIONS.items()},
    }


def cost_html(setting: Setting, rows: Sequence[Priced]) -> str:
    """The comparison as a page."""
    c, s = setting.config, setting
    longest = max(row.thinking for row in rows)
    sections = [
        Section("FLOPs against thinking length", _plot(s, longest), "Attention counted causally. Dashed: from where chunks are cheaper."),
        Section("Figures", table(HEAD, [_cells(row) for row in rows], text_columns=0), "A ratio above 1 means that chunks are cheaper."),
        Section(
            "What is counted",
            Markup(
                "<p>Multiplies and adds of projections, MLPs, output layer and attention; a carried token is read again in each chunk. "
                "Causal counts the pairs a causal kernel computes, n² counts every pair of a block. "
                "Not counted: what the answers are worth. Chunks answer as well only where the state fits into {} tokens.</p>"
            ).format(s.carry),
        ),
    ]
    shape = f"{c.num_layers} layers, width {c.hidden_size}, {c.num_heads} heads, {c.num_kv_heads} for keys and values"
    where = f"C = {s.chunk}, m = {s.carry}, query {s.query} tokens"
    return page(f"What thinking costs on {s.name}", said(s), sections, kicker=f"thinking cost · {shape} · {where}", footer=_FOOTER)


_FOOTER = "Made by reasonry probe thinking-cost from closed forms; nothing was run."


def _cells(row: Priced) -> list[str]:
    flops = [number(row.flops_long), number(row.flops_chunked), f"{row.ratio_causal:.2f}", f"{row.ratio_full:.2f}"]
    tokens = [_tokens(row.processed_long), _tokens(row.processed_chunked)]
    return [_tokens(row.thinking), f"{row.chunks:,}", *flops, *tokens, _bytes(row.kv_bytes_long), _bytes(row.kv_bytes_chunked)]


def _tokens(n: int) -> str:
    """8192 as `8K`, 205,000 as `200K`; below 1024 as it is."""
    for unit, size in (("M", 1024**2), ("K", 1024)):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 1000 * size else f"{n / size:,.0f}{unit}"
    return str(n)


def _bytes(n: int) -> str:
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1024:.3g} KiB"


def _plot(s: Setting, longest: int) -> Markup:
    figure, ax = axes(height=360)
    where = pays_from(s, causal)
    longest = max(longest, 4 * s.chunk)
    points = [round(s.chunk / 4 * (longest / (s.chunk / 4)) ** (i / 200)) for i in range(201)]
    for i, (name, which) in enumerate((("one long context", 0), (f"chunks of {_tokens(s.chunk)}", 1))):
        ax.plot(points, [_costs(s, S)[which]("causal").flops for S in points], color=series(i), linewidth=2.2, label=name)
    if where <= longest:
        ax.axvline(where, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.minorticks_off()
    ticks = [n for n in (2**k for k in range(4, 31)) if points[0] <= n <= longest]
    ax.set_xticks(ticks, [_tokens(n) for n in ticks])
    ax.set_xlabel("thinking tokens", color=MUTED)
    ax.set_ylabel("FLOPs", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, fontsize=13)
    return figure_svg(figure, "FLOPs against thinking tokens for one long context and for chunks")


DEFAULT = ("R1-Distill-Qwen-1.5B's shape", R1_DISTILL_1_5B)
"""What is priced where no shape is given: the paper's."""
