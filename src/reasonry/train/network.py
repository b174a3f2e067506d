"""Networks beside the policy: how a critic, a process-reward model or a frozen reference reads a batch, and how it takes a step.

Invariant: what is read stands in the order of `Tokens`, whatever parts the batch is cut into for memory.
Letters: N trained tokens, D width, V vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.train.curriculum import Lesson
from reasonry.train.reward import Rewarded
from reasonry.train.rows import Layout, lay_out, read
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch, cut


def layouts(batch: Batch, limit: int, device: torch.device) -> list[Layout]:
    """The batch in parts of at most `limit` distinct tokens; none for a batch without tokens."""
    if not batch.tokens.segment.numel():
        return []
    masks = [mask[batch.tokens.trajectory].tolist() for mask in cut(batch, limit)]
    return [lay_out([row for row, on in zip(batch.rows, mask, strict=True) if on], device) for mask in masks]


def states(trunk: Decoder, layout: Layout) -> Tensor:
    """The hidden state before each trained token, [N, D], differentiable."""
    return layout.hidden(trunk)[layout.before[layout.spread]]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """What the parts say of their tokens, [N] on the CPU."""
    return torch.cat([part.cpu() for part in parts]) if parts else torch.zeros(0)


@torch.no_grad()
def log_probabilities(decoder: Decoder, parts: Sequence[Layout], temperature: float) -> Tensor:
    """log π of the batch's tokens under another network, [N]."""
    return joined([read(decoder, layout, temperature)[0] for layout in parts])


def take_step(
    modules: Iterable[torch.nn.Module], optimizers: Sequence[torch.optim.Optimizer], losses: Iterable[Tensor], clip_norm: float
) -> tuple[float, float]:
    """One optimiser step down the sum of `losses`, made one at a time; returns that sum and the gradient's norm before clipping.

    Raises UserError for a gradient that is no number.
    """
    parameters = [p for module in modules for p in module.parameters()]
    for p in parameters:
        p.grad = None
    total = 0.0
    for loss in losses:
        loss.backward()
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip_norm))
    if norm != norm or norm == float("inf"):
        raise UserError(f"train: the gradient's norm beside the policy is {norm}; lower its lr, or look at the rewards")
    for optimizer in optimizers:
        optimizer.step()
    for p in parameters:
        p.grad = None
    return total, norm


class Reference:
    """A `Beside` that brings the frozen policy's log-probabilities, for those after it that need them in their own targets."""

    def __init__(self, decoder: Decoder, temperature: float = 1.0, part_tokens: int = 16384) -> None:
        """`decoder` is a `frozen_copy`."""
        self.decoder, self.temperature, self.part_tokens = decoder, temperature, part_tokens

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `logp_ref`."""
        parts = layouts(batch, self.part_tokens, self.decoder.embed_tokens.weight.device)
        return replace(batch.tokens, logp_ref=await asyncio.to_thread(log_probabilities, self.decoder, parts, self.temperature))

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Nothing: it is frozen."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it is made from the weights the run began with."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


Optimizer = Callable[[Decoder, float, float], list[torch.optim.Optimizer]]
"""(decoder, lr, weight decay) -> optimisers, as in a `Recipe`."""
