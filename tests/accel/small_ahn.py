"""A decoder of a few thousand weights, cells that are not zero, and passes through a memory in any pieces."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from reasonry.accel.ahn import Adapter, Window, adapt
from reasonry.accel.ahn.engine import take_up
from reasonry.accel.ahn.memory import Memory
from reasonry.lm.decoder import Decoder, DecoderConfig

SHAPE = DecoderConfig(
    vocab_size=300, hidden_size=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=32, max_position=512,
    qk_norm=True,
)  # fmt: skip


def model(seed: int = 0, shape: DecoderConfig = SHAPE) -> Decoder:
    decoder = Decoder(shape)
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    return decoder


def trained(decoder: Decoder, cell: str, full: tuple[int, ...] = (), routed: bool = False) -> Adapter:
    """Cells with an output that is not zero, as if they had learned."""
    adapter = adapt(decoder, cell, full=full, routed=routed)
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in range(decoder.config.num_layers):
            if (found := adapter.cell(layer)) is not None:
                found.o_proj.normal_(0, 0.5, generator=g)
    return adapter


def tokens(n: int, rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(0, 300, (rows, n), generator=torch.Generator().manual_seed(seed))


def logits(decoder: Decoder, ids: Tensor, memory: Memory, cuts: list[int]) -> Tensor:
    """[B, T, V] with the tokens handed over in pieces of these sizes."""
    with torch.no_grad():
        return decoder.logits(torch.cat([take_up(decoder, piece, memory) for piece in ids.split(cuts, dim=1)], dim=1))


def whole(decoder: Decoder, adapter: Adapter, ids: Tensor, window: Window, write: bool = True) -> Tensor:
    """[B, T, V] in one pass, as in training."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    with torch.no_grad():
        return decoder.logits(decoder(ids, positions, Memory(adapter, window, len(ids), write, keeps=False)).last)


def cuts_of(n: int, size: int, rng: random.Random) -> list[int]:
    cuts: list[int] = []
    while n:
        cuts.append(min(n, rng.randint(1, size)))
        n -= cuts[-1]
    return cuts
