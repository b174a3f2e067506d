"""Delethink's experiment 3: what the engine's ledger counts, beside the closed form, for two shapes.

One shape is the model under test. The other has random weights and is nearly all attention, so that the crossover, which for small
dense models lies beyond their window, falls inside the measured range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from reasonry.core import Budget, Completion, Cost, Ids, Problem, Prompt, Sampling
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.solve.delethink import Delethink, tail
from reasonry.solve.delethink_cost import ThinkingCost, crossover, longcot_cost, thinking_cost
from reasonry.solve.single import Single


@dataclass(frozen=True)
class Priced:
    """One thinking length on one shape, as the engine's ledger measured it: FLOPs, and the most key-value tokens held at once."""

    shape: str
    S: int
    longcot_flops: float
    delethink_flops: float
    longcot_peak: float
    delethink_peak: float
    exact: bool
    """Whether tokens, FLOPs and peak of both arms equal the closed form."""
    crossover: int
    """By the closed form, in thinking tokens."""


@dataclass(frozen=True)
class Cold:
    """A local model that forgets every cached prefix before each call, so that its ledger counts all of the re-reading."""

    lm: LocalLM

    @property
    def name(self) -> str:
        """That of the model."""
        return self.lm.name

    async def encode(self, prompt: Prompt) -> Ids:
        """As the model."""
        return await self.lm.encode(prompt)

    async def decode(self, ids: Ids) -> str:
        """As the model."""
        return await self.lm.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """As the model, from cold."""
        self.lm.engine.flush()
        return await self.lm.complete(prompt, sampling)


def mostly_attention(vocab: int) -> DecoderConfig:
    """A shape whose attention outweighs its matrices after a few hundred tokens."""
    return DecoderConfig(
        vocab_size=vocab, hidden_size=16, num_layers=2, num_heads=8, num_kv_heads=1, head_dim=32, intermediate_size=16, max_position=4096
    )


async def price(lm: LocalLM, name: str, C: int, m: int, lengths: Sequence[int]) -> list[Priced]:
    """Measures every length on both shapes, that of `lm` under `name`; the end of turn is ignored, so that lengths are as asked."""
    narrow = Decoder(mostly_attention(lm.decoder.config.vocab_size))
    narrow.reset_parameters(torch.Generator().manual_seed(0))
    async with LocalLM(narrow.eval(), lm.tokenizer, "mostly attention", max_rows=8, kv_tokens=16_384) as other:
        return [await _point(*shape, C, m, S) for shape in ((lm, name), (other, other.name)) for S in lengths]


async def _point(lm: LocalLM, name: str, C: int, m: int, S: int) -> Priced:
    problem = Problem("cost", "a=3 b=7. loop 64: a+=4 b+=a. give a b")
    sampling, cold = Sampling(max_tokens=S, ignore_eos=True), Cold(lm)
    I = 1 + ceil(max(S - C, 0) / (C - m))
    long = (await Single(cold, sampling)(problem, Budget(), 0)).cost
    ours = (await Delethink(cold, C, m, I, tail, sampling)(problem, Budget(completion_tokens=S), 0)).cost
    config, q = lm.decoder.config, len(await lm.encode(problem.messages))
    exact = _equal(lm, long, longcot_cost(config, S, q)) and _equal(lm, ours, thinking_cost(config, S, C, m, q))
    kv = kv_bytes(lm)
    where = crossover(config, C, m, q)
    return Priced(name, S, long.flops, ours.flops, long.peak_kv_bytes / kv, ours.peak_kv_bytes / kv, exact, where)


def kv_bytes(lm: LocalLM) -> int:
    """Bytes of keys and values per token in the engine's cache."""
    c = lm.decoder.config
    return 2 * c.num_layers * c.num_kv_heads * c.head_dim * lm.decoder.embed_tokens.weight.element_size()


def _equal(lm: LocalLM, cost: Cost, closed: ThinkingCost) -> bool:
    peak = closed.peak_kv_tokens * kv_bytes(lm)
    return cost.tokens == closed.processed and cost.peak_kv_bytes == peak and abs(cost.flops - closed.flops) <= 1e-9 * closed.flops
