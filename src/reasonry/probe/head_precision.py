"""How far two sides disagree about a token's probability when their output layers add up in another order, in bfloat16 and in float32.

ScaleRL (arXiv 2510.13786, after MiniMax-M1, arXiv 2506.13585) computes logits in float32 in the trainer and in the generator, and reports
its largest single gain from it. The ratio ρ = π_trainer/π_generator of equal weights should be 1; with logits rounded to 8 bits it is not.

Two sides, same weights and same hidden states, so that what differs is the output layer's alone: the *trainer* multiplies at once, the
*generator* in `parts` slices of the width whose sums are added one after the other, as kernels that split the sum, or several devices, do.
Every partial sum is kept in the head's precision. D width, V vocabulary, N tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.core import Ids, UserError
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import causal

BF16, FP32, MIXED = "bf16 on both sides", "fp32 on both sides", "fp32 in the trainer only"
PAIRS = {BF16: (torch.bfloat16, torch.bfloat16), FP32: (torch.float32, torch.float32), MIXED: (torch.float32, torch.bfloat16)}
"""Name -> the precision of the trainer's head and of the generator's."""


@dataclass(frozen=True)
class Disagreement:
    """log ρ over tokens, in nats."""

    head: str
    """One of PAIRS."""
    tokens: int
    mean: float
    """Of |log ρ|."""
    median: float
    p99: float
    largest: float


@torch.no_grad()
def head_log_ratios(decoder: Decoder, texts: Iterable[Ids], parts: int = 4) -> dict[str, Tensor]:
    """log ρ [N] for each of PAIRS, at every token of `texts` but their first; nothing of the decoder is changed.

    The trunk runs as it is; its hidden states and the head's weights are rounded to bfloat16 first, as a model stored so has them. Raises
    UserError for a text of fewer than two tokens, or more parts than the width.
    """
    head = (decoder.embed_tokens if decoder.lm_head is None else decoder.lm_head).weight.bfloat16()
    if not 2 <= parts <= head.shape[1]:
        raise UserError(f"head_log_ratios: parts is {parts} but must be at least 2 and at most the width ({head.shape[1]})")
    found: dict[str, list[Tensor]] = {name: [] for name in PAIRS}
    for text in texts:
        if len(text) < 2:
            raise UserError(f"head_log_ratios: a text has {len(text)} tokens but needs 2: the first has no probability")
        ids = torch.tensor([text], device=head.device)
        hidden = decoder(ids, torch.arange(len(text), device=head.device)[None], causal()).last[0, :-1].bfloat16()
        for name, (trainer, generator) in PAIRS.items():
            ours = _logp(F.linear(hidden.to(trainer), head.to(trainer)), ids[0, 1:])
            theirs = _logp(_in_parts(hidden.to(generator), head.to(generator), parts), ids[0, 1:])
            found[name].append((ours - theirs).cpu())
    return {name: torch.cat(values) if values else torch.empty(0) for name, values in found.items()}


def disagreements(log_ratios: dict[str, Tensor]) -> tuple[Disagreement, ...]:
    """The distributions in five numbers each. Raises UserError where there is no token."""
    made: list[Disagreement] = []
    for name, x in log_ratios.items():
        if not len(x):
            raise UserError("disagreements: there is no token; give at least one text")
        size = x.abs().double()
        median, p99 = (float(torch.quantile(size, q)) for q in (0.5, 0.99))
        made.append(Disagreement(name, len(size), float(size.mean()), median, p99, float(size.max())))
    return tuple(made)


def _in_parts(hidden: Tensor, weight: Tensor, parts: int) -> Tensor:
    """[N, V]: the product as a running sum over slices of the width."""
    slices = zip(hidden.tensor_split(parts, -1), weight.tensor_split(parts, -1), strict=True)
    first, *rest = (F.linear(h, w) for h, w in slices)
    for more in rest:
        first = first + more
    return first


def _logp(logits: Tensor, ids: Tensor) -> Tensor:
    return logits.float().log_softmax(-1).gather(1, ids[:, None])[:, 0]
