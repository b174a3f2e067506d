"""A patched model as an `LM`: the ordinary engine, but every row remembers through its window and state, not through the pool of keys.

The pool is kept for its book-keeping alone (who may run, who has to wait); no key is ever stored in it, so a row takes the same memory
however long it grows. A row's memory cannot be shared or cut back, so prefixes are not reused and there are no steered sequences.

Unlike the ordinary engine's, its numbers are the same in any company only up to rounding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reasonry.accel.ahn.adapter import Adapter
from reasonry.accel.ahn.ledger import cache_bytes, cell_flops, pairs
from reasonry.accel.ahn.memory import Memory, Window
from reasonry.core import Cost, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.flops import key_flops
from reasonry.lm.engine.row import Job, Row
from reasonry.lm.local import LocalLM

PIECE = 1024
"""Most tokens that are taken up at once; bounds the memory of their mask."""


def remember(lm: LocalLM, adapter: Adapter, window: Window, write: bool = True) -> LocalLM:
    """`lm`'s model with a window and a memory, as a model of its own; `lm` stays as it is, and shares its weights.

    `write` false: nothing is written into the memory, so it is the plain sliding window with sinks.
    """
    name = f"{lm.name}+{adapter.name if write else 'window'}-{window.sinks}-{window.size}"
    tokens = max(lm.engine.pool.size, lm.decoder.config.max_position)
    engine = WindowEngine(lm.decoder, adapter, window, lm.engine.scheduler.max_rows, tokens, write)
    return LocalLM(lm.decoder, lm.tokenizer, name, engine=engine)


class WindowEngine(Engine):
    """`Engine` with a `Memory` for its rows in place of keys in the pool."""

    def __init__(self, decoder: Decoder, adapter: Adapter, window: Window, max_rows: int, kv_tokens: int, write: bool) -> None:
        super().__init__(decoder, max_rows, kv_tokens)
        self.adapter, self.window, self.write = adapter, window, write
        self._lanes = self._fused = None
        self._alone: dict[Row, Memory] = {}
        """Rows still taking up their prompt."""
        self._together: tuple[list[Row], Memory] | None = None
        """Rows that were decoded in the last step, and their memories as one."""

    def submit(self, job: Job) -> None:
        """As in `Engine`; raises UserError for a steered sequence too."""
        if job.steered or job.row.program is not None:
            raise UserError(f"a {self.adapter.name} memory cannot be forked, cut back or run block by block; use the unpatched model")
        job.row.moved = True  # its prefix is of no use to other rows
        super().submit(job)

    def flush(self, decoder: Decoder | None = None, version: int | None = None) -> None:
        """As in `Engine`."""
        super().flush(decoder, version)
        self._fused = None

    def cost(self, job: Job) -> Cost:
        """What a job has spent: pairs in the window alone, the cells' operations, and a memory that does not grow."""
        c, spent = self.config, super().cost(job)
        computed, patched = job.prefilled + job.decoded, c.num_layers - len(self.adapter.full)
        attended, evicted = pairs(computed, self.window), max(computed - self.window.rows, 0)
        less = patched * (key_flops(c) * (job.pairs - attended) - cell_flops(c, evicted * self.write))
        held = patched * cache_bytes(c, min(job.peak, self.window.rows), self.dtype.itemsize, self.write and evicted > 0)
        whole = len(self.adapter.full) * job.peak * self.pool.site_bytes()
        return replace(spent, flops=spent.flops - less, peak_kv_bytes=held + whole)

    def _forward(self, steps: list[tuple[Job, int]]) -> Tensor:
        out = torch.empty(len(steps), self.config.hidden_size, dtype=self.dtype, device=self.device)
        one = [i for i, (job, n) in enumerate(steps) if n == 1 and job.row.computed]
        for i, (job, n) in enumerate(steps):
            if n and i not in one:
                hidden = self._read(job.row, n)
                self._score([(job, n)], [n - 1], hidden)
                out[i] = hidden[-1]
        if one:
            rows = [steps[i][0].row for i in one]
            memory = self._gather(rows)
            ids = torch.tensor([[row.ids[row.computed]] for row in rows], device=self.device)
            hidden = self.decoder(ids, memory.seen[:, None], memory).last[:, 0]
            memory.advance(1)
            self._score([steps[i] for i in one], list(range(len(one))), hidden)
            out[one] = hidden
            self._together = rows, memory
        return out

    def _read(self, row: Row, n: int) -> Tensor:
        """Takes up the next `n` tokens of a row, piece by piece: [n, D]."""
        memory = self._memory(row) if row.computed else Memory(self.adapter, self.window, 1, self.write)
        ids = torch.tensor([row.ids[row.computed : row.computed + n]], device=self.device)
        hidden = [take_up(self.decoder, piece, memory) for piece in ids.split(min(self.window.size, PIECE), dim=1)]
        self._alone = {r: m for r, m in self._alone.items() if r.job is not None} | {row: memory}
        return torch.cat(hidden, dim=1)[0]

    def _memory(self, row: Row) -> Memory:
        if row in self._alone:
            return self._alone[row]
        assert self._together is not None
        rows, memory = self._together
        return memory.take(torch.tensor([rows.index(row)], device=self.device))

    def _gather(self, rows: list[Row]) -> Memory:
        """The memories of these rows as one; the same as in the step before costs nothing."""
        had, memory = self._together or ([], None)
        if had == rows and memory is not None and not any(row in self._alone for row in rows):
            return memory
        kept = [row for row in rows if row in had and row not in self._alone]
        parts = [memory.take(torch.tensor([had.index(row) for row in kept], device=self.device))] if kept and memory is not None else []
        fresh = [row for row in rows if row not in kept]
        parts += [self._alone.pop(row) for row in fresh]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.beside(part)
        at = {row: i for i, row in enumerate([*kept, *fresh])}
        order = [at[row] for row in rows]
        return whole if order == list(range(len(rows))) else whole.take(torch.tensor(order, device=self.device))


def take_up(decoder: Decoder, ids: Tensor, memory: Memory) -> Tensor:
    """Hidden states [B, T, D] of ids [B, T] after what `memory` has seen, which it has seen too then; T at most the window's size."""
    positions = memory.seen[:, None] + torch.arange(ids.shape[1], device=ids.device)
    hidden = decoder(ids, positions, memory).last
    memory.advance(ids.shape[1])
    return hidden
