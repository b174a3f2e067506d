"""A routed model as an `LM`: the ordinary engine; a row's first tokens decide on the way which blocks it runs, and that holds to its end.

The prompt goes through the network once: before each block its router reads the states that would enter, and the block runs as often as it
says, its keys and values kept by (block, pass). Later tokens run the decided program, each row its own. A prompt is computed in one step,
whatever its length, for a router needs all of it. What is scored after a context is routed by that context.

Invariants: every cached key of a row was computed by the row's one program, so decoding with the cache is computing anew; with the knob
from 0.5 to 0.75 the model is the unrouted one, bit for bit. Prefixes are reused by rows whose program is known, of that program alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from reasonry.accel.drllm.routers import ASIS, Routers, Windows, decided, mixed
from reasonry.core import Cost
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.batch import build
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.forward import plain
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
        for i in deciding:
            out[i] = self._decide(*steps[i])
        return out

    def _decide(self, job: Job, n: int) -> Tensor:
        """Computes a row's first `n` tokens while deciding its program: the last one's hidden state [D]."""
        row, counts = job.row, list[int]()
        prompt = n if job.score_from is None else job.score_from
        over = Windows.of(torch.tensor([prompt], device=self.device), prompt, self.routers.windows)

        def steer(now: Callable[[], Tensor]) -> Iterator[int]:
            for layer in range(self.config.num_layers):
                x = now().view(1, -1, self.config.hidden_size)[:, :prompt]
                counts.append(int(decided(self.routers.logits(layer, over.means(x), over.share), self.knob)))
                yield from (layer,) * counts[-1]

        batch, ends = build([(row, n)], self.pool, None, self.device, self.config.num_thoughts > 0)
        hidden = plain(self.decoder, batch, steer) if self._fused is None else self._fused(batch, steer)
        self._score([(job, n)], ends, hidden)
        row.program, row.whole = program_of(counts), False
        self._routed[job] = prompt
        return hidden[ends[0]]
