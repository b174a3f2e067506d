"""A routed model as an `LM`: the ordinary engine; a row's first tokens decide on the way which blocks it runs, and that holds to its end.

A prompt goes through the network once: before each block its router reads the states that would enter, and the block runs as often as it
says, its keys and values kept by (block, pass). Later tokens run the decided program, each row its own. A prompt is computed in one step,
whatever its length, for a router needs all of it; prompts of one step, and rows with different programs, go through the blocks together.
What is scored after a context is routed by that context.

Invariants: every cached key of a row was computed by the row's one program, so decoding with the cache is computing anew; with the knob
from 0.5 to 0.75 the model is the unrouted one, bit for bit. Prefixes are reused by rows whose program is known, of that program alone.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from reasonry.accel.drllm.routers import ASIS, Routers, Windows, decided, mixed
from reasonry.core import Cost
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.forward import Plain
from reasonry.lm.engine.programs import together
from reasonry.lm.engine.row import Job
from reasonry.lm.local import LocalLM
from reasonry.lm.program import program_of


def route(lm: LocalLM, routers: Routers, knob: float = ASIS) -> LocalLM:
    """`lm`'s model under its routers, as a model of its own; `lm` stays as it is, and shares its weights.

    `knob` in [−1, 1]: lower skips more, −0.5 is the routers' own decision, 0.5 the whole network. Raises UserError beyond.
    """
    mixed(torch.zeros(3), knob)
    name = f"{lm.name}+routed" + (f"@{knob:g}" if knob != ASIS else "")
    engine = RoutedEngine(lm.decoder, routers, knob, lm.engine.scheduler.max_rows, lm.engine.pool.size)
    return LocalLM(lm.decoder, lm.tokenizer, name, engine=engine)


class RoutedEngine(Engine):
    """`Engine`, with the programs of rows that bring none decided by routers."""

    def __init__(self, decoder: Decoder, routers: Routers, knob: float, max_rows: int, kv_tokens: int) -> None:
        super().__init__(decoder, max_rows, kv_tokens)
        self.routers, self.knob = routers, knob
        self.constant = program_of(decided(torch.zeros(self.config.num_layers, 3), knob).tolist()) if knob >= 0.5 else None
        """The program of every row where the routers have no say."""
        self._routed: WeakKeyDictionary[Job, int] = WeakKeyDictionary()
        """Prompt tokens a job had routed."""

    def submit(self, job: Job) -> None:
        """As in `Engine`."""
        row = job.row
        if row.program is None and not row.computed:
            row.program, row.whole = self.constant, self.constant is None
        super().submit(job)

    def cost(self, job: Job) -> Cost:
        """What a job has spent, its routers' operations included: averages of the prompt's states, and two products a window and block."""
        spent, tokens = super().cost(job), self._routed.get(job, 0)
        if not tokens:
            return spent
        D, h, W = self.config.hidden_size, self.routers.hidden, min(self.routers.windows, tokens)
        return replace(spent, flops=spent.flops + self.config.num_layers * (tokens * D + 2.0 * W * h * (D + 3)))

    def _forward(self, steps: list[tuple[Job, int]]) -> Tensor:
        deciding = [i for i, (job, n) in enumerate(steps) if n and job.row.whole]
        if not deciding:
            return super()._forward(steps)
        out = torch.empty(len(steps), self.config.hidden_size, dtype=self.dtype, device=self.device)
        others = [i for i in range(len(steps)) if i not in deciding]
        if others:
            out[others] = super()._forward([steps[i] for i in others])
        out[deciding] = self._decide([steps[i] for i in deciding])
        return out

    def _decide(self, steps: list[tuple[Job, int]]) -> Tensor:
        """Computes rows' first tokens while deciding their programs: the last ones' hidden states [len(steps), D]."""
        rows = [(job.row, n) for job, n in steps]
        prompts = [n if job.score_from is None else job.score_from for job, n in steps]
        starts = [sum(n for _, n in rows[:i]) for i in range(len(rows))]
        overs = [Windows.of(torch.tensor([n], device=self.device), n, self.routers.windows) for n in prompts]
        said: list[list[int]] = []

        def choose(layer: int, x: Tensor) -> list[int]:
            # row by row: averaged beside longer ones, a prompt's states could round otherwise and tip a decision
            means = [over.means(x[None, start : start + n]) for over, start, n in zip(overs, starts, prompts, strict=True)]
            each = [self.routers.logits(layer, m, over.share) for m, over in zip(means, overs, strict=True)]
            said.append(decided(torch.cat(each), self.knob).tolist())
            return said[-1]

        blocks = self._fused or Plain(self.decoder)
        hidden, ends = together(self.decoder, blocks, rows, choose, self.pool, self.device, self.config.num_thoughts > 0)
        self._score(steps, ends, hidden)
        for (job, _), prompt, counts in zip(steps, prompts, zip(*said, strict=True), strict=True):
            job.row.program, job.row.whole = program_of(counts), False
            self._routed[job] = prompt
        return hidden[ends]
