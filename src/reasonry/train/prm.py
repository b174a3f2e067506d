"""An implicit process-reward model, trained online on outcomes alone (PRIME, arXiv 2502.01456).

    r^φ_t = β log π_φ(y_t | s_t)/π_ref(y_t | s_t),   loss = −[o log σ(Σ_t r^φ_t) + (1 − o) log(1 − σ(Σ_t r^φ_t))]

φ and ref begin as the policy; o is the judge's verdict. Process rewards are read before φ learns from the batch (the paper's single forward
pass), then φ takes its step. Departures: 1. the answer filter of the paper is the curriculum's `group_filter`. 2. an attempt whose
verdict is only a score counts as right from one half on. Letters: N trained tokens, M trajectories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.lm.decoder import Decoder
from reasonry.train.curriculum import Lesson
from reasonry.train.network import Optimizer, layouts, log_probabilities, take_step
from reasonry.train.reward import Rewarded
from reasonry.train.rows import Layout, lay_out, read
from reasonry.train.sft import adamw
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch, cut


class ImplicitPRM:
    """Brings `Tokens.process` and learns it (a `train.beside.Beside`). One per run."""

    def __init__(
        self,
        decoder: Decoder,
        lr: float,
        *,
        beta: float = 0.05,
        temperature: float = 1.0,
        optimizer: Optimizer = adamw,
        clip_norm: float = 10.0,
        part_tokens: int = 16384,
    ) -> None:
        """`decoder` is copied twice: φ, and the frozen ref. β = .05 and the gradient's bound 10 are the authors'."""
        self.model = deepcopy(decoder).requires_grad_(True)
        self.reference = deepcopy(decoder).requires_grad_(False)
        self.beta, self.temperature, self.clip_norm, self.part_tokens = beta, temperature, clip_norm, part_tokens
        self.optimizers = optimizer(self.model, lr, 0.0)
        self._seen = torch.zeros(0), torch.zeros(0)
        """Of the batch between `prepare` and `learn`: log π_ref [N] and the outcomes o [M]."""

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `process`, r^φ."""
        return await asyncio.to_thread(self._prepare, batch, [right(r) for group in rewarded for r in group])

    def _prepare(self, batch: Batch, outcomes: list[float]) -> Tokens:
        parts = self._layouts(batch)
        now, ref = (log_probabilities(network, parts, self.temperature) for network in (self.model, self.reference))
        self._seen = ref, torch.tensor(outcomes)
        return replace(batch.tokens, process=self.beta * (now - ref))

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """One step of φ. Tells `prm_loss`, `prm_grad_norm` and `prm_accuracy`, the share of outcomes that Σ r^φ had the sign of, all of
        the model as the batch's process rewards were read."""
        (ref, outcome), tokens = self._seen, batch.tokens
        if not ref.numel():
            return {}
        device, of, hits = self.model.embed_tokens.weight.device, tokens.by_trajectory, 0

        def losses() -> Iterator[Tensor]:
            nonlocal hits
            for mask in cut(batch, self.part_tokens):
                kept = mask[tokens.trajectory].tolist()
                layout: Layout = lay_out([row for row, on in zip(batch.rows, kept, strict=True) if on], device)
                logp = read(self.model, layout, self.temperature)[0].cpu()
                on = mask[of.of]
                total = torch.zeros(of.n).index_add(0, of.of[on], self.beta * (logp - ref[on]))
                hits += int(((total > 0) == (outcome > 0.5))[mask].sum())
                yield F.binary_cross_entropy_with_logits(total[mask], outcome[mask], reduction="sum") / of.n

        loss, norm = take_step((self.model,), self.optimizers, losses(), self.clip_norm)
        return {"prm_loss": loss, "prm_grad_norm": norm, "prm_accuracy": hits / of.n}

    def state_dict(self) -> dict[str, Any]:
        """φ and its optimisers; ref is made from the weights the run began with."""
        return {"model": self.model.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def _layouts(self, batch: Batch) -> list[Layout]:
        return layouts(batch, self.part_tokens, self.model.embed_tokens.weight.device)


def right(r: Rewarded) -> float:
    """The outcome o of an attempt, 0 or 1."""
    v = r.trajectory.verdict
    passed = None if v is None else v.passed if v.passed is not None else None if v.score is None else v.score >= 0.5
    return float(r.reward >= 0.5 if passed is None else passed)
