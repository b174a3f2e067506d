"""A critic: the value of the state before every token, by a network of its own, learned beside the policy.

    V(s_t) = w·h(s_t) + b,   loss = ½ max((V − R)², (clip(V, V_old ± reach) − R)²),   R = Â^λ + V_old

The trunk begins as a copy of the policy, the head at zero. Values are read before the policy's update, the critic learns after it, from the
same batch. λ of the targets is a choice apart from the policy's: 1, plain returns, in VC-PPO (arXiv 2503.01491), VAPO, Open-Reasoner-Zero.
Value pre-training is a critic that learns while the policy's learning rate is 0 (`After`): on returns of a frozen policy, as VC-PPO and
VAPO do it, on the loop's own batches, so nothing else needs to be saved.

A penalty on the policy inside its reward (`InReward`) is part of the returns: give the critic the same one and a `Reference` before it.
Letters: N trained tokens, D width.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from reasonry.core import UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.train.credit import Decay, Fixed, value_loss, value_targets
from reasonry.train.curriculum import Lesson
from reasonry.train.kl import InReward
from reasonry.train.network import Optimizer, joined, layouts, states, take_step
from reasonry.train.reward import Rewarded
from reasonry.train.rows import Layout
from reasonry.train.sft import adamw
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

RETURNS = Fixed(1.0)
"""λ of plain returns."""


class Head(Protocol):
    """What turns hidden states into values; an `nn.Module` too. `ValueHead` is the plain one, `vrpo.HardenedHead` the other."""

    def __call__(self, h: Tensor, /) -> Tensor:
        """h [N, D] -> V [N]."""
        ...

    def guides(self, batch: Batch, parts: Sequence[Layout]) -> Tensor:
        """What the auxiliary losses aim at, [N, anything]; once per batch."""
        ...

    def fit(self, h: Tensor, guides: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """h [N, D] and their guides -> V [N] as it is while learning, and a penalty [N]."""
        ...


class ValueHead(nn.Module):
    """One linear layer, zero at first, so that every state begins at value 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor) -> Tensor:
        """h [N, D] -> V [N] in fp32."""
        return self.out(h).float()[:, 0]

    def guides(self, batch: Batch, parts: Sequence[Layout]) -> Tensor:
        """None: [N, 0]."""
        return torch.zeros(batch.tokens.segment.numel(), 0)

    def fit(self, h: Tensor, guides: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """V, and no penalty."""
        V = self(h)
        return V, torch.zeros_like(V)


class Critic:
    """Brings `Tokens.value` and learns it (a `train.beside.Beside`). One per run."""

    def __init__(
        self,
        decoder: Decoder,
        lr: float,
        *,
        gamma: float = 1.0,
        lam: Decay = RETURNS,
        reach: float = 0.2,
        updates: int = 1,
        kl: InReward | None = None,
        head: nn.Module | None = None,
        optimizer: Optimizer = adamw,
        clip_norm: float = 1.0,
        part_tokens: int = 16384,
        seed: int = 0,
    ) -> None:
        """`decoder` is copied. `reach`: how far one batch may move a value before its gradient stops. `updates`: optimiser steps a batch.
        `kl`: the objective's penalty in the reward. `head`: `ValueHead` where left out."""
        weight = decoder.embed_tokens.weight
        self.trunk = deepcopy(decoder).requires_grad_(True)
        self.trunk.lm_head = None
        self.head = (ValueHead(decoder.config.hidden_size) if head is None else head).to(weight.device, weight.dtype)
        self.gamma, self.lam, self.reach, self.updates, self.kl = gamma, lam, reach, updates, kl
        self.clip_norm, self.part_tokens, self.seed = clip_norm, part_tokens, seed
        self.optimizers = [
            *optimizer(self.trunk, lr, 0.0),
            torch.optim.AdamW(self.head.parameters(), lr, betas=(0.9, 0.95), weight_decay=0),
        ]

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `value`."""
        return replace(batch.tokens, value=await asyncio.to_thread(self.values, batch))

    @torch.no_grad()
    def values(self, batch: Batch) -> Tensor:
        """V of the state before each trained token, [N]."""
        return joined([self.head(states(self.trunk, layout)) for layout in self._layouts(batch)])

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Makes the critic's updates. Tells `value_loss` and `value_grad_norm` of the last one, and of the values as they were read, from
        a critic that had not seen the batch: `value_mean` and `explained_variance`, 1 − Var(R − V)/Var(R), absent where R is constant."""
        tokens = batch.tokens if self.kl is None else self.kl.charge(batch.tokens)
        old = tokens.need("value", "the critic's own `prepare`")
        if not old.numel():
            return {}
        target, parts, head = value_targets(tokens, self.gamma, self.lam), self._layouts(batch), cast(Head, self.head)
        guides = head.guides(batch, parts)
        loss = norm = 0.0
        for update in range(self.updates):
            generator = torch.Generator().manual_seed(inner_seed(self.seed, step, update))

            def losses(generator: torch.Generator = generator) -> Iterator[Tensor]:
                start = 0
                for layout in parts:
                    at = slice(start, start := start + layout.spread.numel())
                    V, penalty = head.fit(states(self.trunk, layout), guides[at], generator)
                    yield (value_loss(V.cpu(), old[at], target[at], self.reach) + penalty.cpu()).sum() / old.numel()

            loss, norm = take_step((self.trunk, self.head), self.optimizers, losses(), self.clip_norm)
        told = {"value_loss": loss, "value_grad_norm": norm, "value_mean": float(old.mean())}
        spread = float(target.var(correction=0))
        return {**told, "explained_variance": 1 - float((target - old).var(correction=0)) / spread} if spread > 0 else told

    def state_dict(self) -> dict[str, Any]:
        """Trunk, head and optimisers."""
        return {
            "trunk": self.trunk.state_dict(), "head": self.head.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.trunk.load_state_dict(state["trunk"])
        self.head.load_state_dict(state["head"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def _layouts(self, batch: Batch) -> list[Layout]:
        return layouts(batch, self.part_tokens, self.trunk.embed_tokens.weight.device)


@dataclass(frozen=True)
class After:
    """A schedule that holds the policy still for `steps` steps and then begins: value pre-training (VC-PPO, VAPO)."""

    steps: int
    schedule: Callable[[int], float]

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"After: steps is {self.steps} but must be at least 1; leave value pre-training out for none")

    def __call__(self, step: int) -> float:
        """The factor on the policy's learning rate: 0, then the schedule's from its own beginning."""
        return 0.0 if step < self.steps else self.schedule(step - self.steps)
