"""Rows of a step with different layer programs, computed together: block by block, those rows that run it.

One program after another would cost a whole pass for each. Programs that keep the blocks' order need not: a pass goes through the sites
(block, pass) in order, and takes at each the rows that have it. Invariant: a row's numbers are those it has alone, bit for bit where
`batch` promises it, for the same products are made by its rules.

Letters: N tokens of the step, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Sequence as Seq

import torch
from torch import Tensor

from reasonry.lm.decoder import Decoder, Program
from reasonry.lm.engine.batch import Batch, build
from reasonry.lm.engine.forward import Blocks, Turn
from reasonry.lm.engine.pool import Pool
from reasonry.lm.engine.row import Row
from reasonry.nn.attention import Site

Choose = Callable[[int, Tensor], Seq[int]]
"""(block, x [N, D] entering it, row after row) -> how often it runs for each row."""
Part = tuple[Batch, Turn, Tensor, Tensor]
"""Some rows' step, its rotation, and where its real tokens are: in it, and in the whole step."""


def ordered(programs: Seq[Program | None]) -> bool:
    """Whether all keep the blocks' order, so that rows may go through them together."""
    return all(p is None or all(a <= b for a, b in itertools.pairwise(p)) for p in programs)


@torch.no_grad()
def together(
    decoder: Decoder, blocks: Blocks, rows: Seq[tuple[Row, int]], choose: Choose, pool: Pool, device: torch.device, thinks: bool
) -> tuple[Tensor, list[int]]:
    """Hidden states [N, D] after the final norm of the next n tokens of each (row, n), row after row; and where each row's end."""
    ends, total = [], 0
    for _, n in rows:
        total += n
        ends.append(total - 1)
    parts: dict[tuple[int, ...], Part] = {}
    every = tuple(range(len(rows)))
    x = torch.empty(total, decoder.config.hidden_size, dtype=decoder.embed_tokens.weight.dtype, device=device)
    batch, _, inside, where = parts[every] = _part(blocks, rows, every, ends, pool, device, thinks)
    x[where] = blocks.begin(batch)[0][inside]
    for layer in range(decoder.config.num_layers):
        counts = choose(layer, x)
        for done in range(max(counts)):
            some = tuple(i for i in every if counts[i] > done)
            if some not in parts:
                parts[some] = _part(blocks, rows, some, ends, pool, device, thinks)
            batch, turn, inside, where = parts[some]
            entering = x.new_zeros(batch.ids.shape[1], x.shape[1])
            entering[inside] = x[where]
            x[where] = blocks.block(Site(layer, done), entering, turn, batch)[inside]
    return decoder.norm(x), ends


def known(programs: Seq[Program | None]) -> Choose:
    """Of rows whose programs are known."""
    return lambda layer, x: [1 if p is None else p.count(layer) for p in programs]


def _part(
    blocks: Blocks, rows: Seq[tuple[Row, int]], some: tuple[int, ...], ends: Seq[int], pool: Pool, device: torch.device, thinks: bool
) -> Part:
    batch, last = build([rows[i] for i in some], pool, None, device, thinks)
    inside = [last[k] - rows[i][1] + 1 + t for k, i in enumerate(some) for t in range(rows[i][1])]
    where = [ends[i] - rows[i][1] + 1 + t for i in some for t in range(rows[i][1])]
    return batch, blocks.begin(batch)[1], torch.tensor(inside, device=device), torch.tensor(where, device=device)
