"""A value of every prompt that outlives its step: a baseline without a group (single-stream SPO, arXiv 2509.13232).

    b = α/(α + β);   D = KL of the policy that last answered the prompt to the present one;   ρ = clip(2^(−D/D_half), ρ_min, ρ_max)
    α ← ρα + R,   β ← ρβ + 1 − R

The further the policy has moved since, the less the past counts. The baseline is the value *before* the answer at hand. D is estimated
on the prompt's stored answer: k3 of its log-probability now and then, mean over its tokens. R must be in [0, 1].

Departures: 1. the paper draws eight answers of every prompt beforehand; here a new prompt begins at the mean reward of all answers so far
(one half before any), counted as `weight` answers. 2. D, its k3 on a stored answer, and the constants are recalled or ours. 3. the paper's
prioritised choice of prompts is a matter of the curriculum. Shapes: N trained tokens, M trajectories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.train.curriculum import Lesson
from reasonry.train.kl import k3
from reasonry.train.network import log_probabilities
from reasonry.train.reward import Rewarded
from reasonry.train.rows import Row, lay_out
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch


@dataclass
class Known:
    """What is known of one prompt."""

    alpha: float
    beta: float
    rows: tuple[Row, ...] = ()
    """The model calls of its last answer."""
    logp: tuple[float, ...] = ()
    """Their log-probabilities when they were sampled."""

    @property
    def value(self) -> float:
        """The expected reward."""
        return self.alpha / (self.alpha + self.beta)


class ValueTracker:
    """Brings `Tokens.baseline` (a `train.beside.Beside`). One per run."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        half: float = 0.06,
        least: float = 0.875,
        most: float = 0.96,
        weight: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        """`decoder` is the policy itself. `half`: D_half in nats a token; `least`, `most`: ρ_min, ρ_max."""
        self.decoder, self.half, self.least, self.most, self.weight, self.temperature = decoder, half, least, most, weight, temperature
        self.known: dict[str, Known] = {}
        """By problem id."""
        self.paid, self.answers = 0.0, 0
        self._told: dict[str, float] = {}

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `baseline`, as it was before this batch, which is then noted. Raises UserError for a reward outside [0, 1]."""
        attempts = [r for group in rewarded for r in group]
        if bad := next((r for r in attempts if not 0 <= r.reward <= 1), None):
            raise UserError(f"SPO: a reward is {bad.reward:g} but a tracked value needs rewards from 0 to 1; rescale the reward")
        ids = [r.trajectory.problem_id for r in attempts]
        prior = self.paid / self.answers if self.answers else 0.5
        drifts: list[float] = []
        for problem in dict.fromkeys(ids):
            if problem not in self.known:
                self.known[problem] = Known(self.weight * prior, self.weight * (1 - prior))
                continue
            known = self.known[problem]
            drifts.append(await asyncio.to_thread(self.drift, known))
            rho = min(max(2 ** (-drifts[-1] / self.half), self.least), self.most)
            known.alpha, known.beta = rho * known.alpha, rho * known.beta  # the value stays; its weight falls
        baseline = torch.tensor([self.known[p].value for p in ids])
        self._note(batch, attempts)
        self._told = {
            "tracked": float(len(self.known)), "tracker_error": float((batch.tokens.reward - baseline).abs().mean()),
            **({"tracker_drift": sum(drifts) / len(drifts)} if drifts else {}),
        }  # fmt: skip
        return replace(batch.tokens, baseline=baseline)

    def drift(self, known: Known) -> float:
        """D in nats a token, by the answer stored."""
        if not known.logp:
            return 0.0
        layout = lay_out(known.rows, self.decoder.embed_tokens.weight.device)
        return float(k3(torch.tensor(known.logp), log_probabilities(self.decoder, [layout], self.temperature)).mean())

    def _note(self, batch: Batch, attempts: Sequence[Rewarded]) -> None:
        tokens = batch.tokens
        sampled, owner = tokens.need("logp_sampler", "the sampler"), tokens.by_trajectory.of
        for i, r in enumerate(attempts):
            known = self.known[r.trajectory.problem_id]
            known.alpha, known.beta = known.alpha + r.reward, known.beta + 1 - r.reward
            known.rows = tuple(row for row, t in zip(batch.rows, tokens.trajectory.tolist(), strict=True) if t == i)
            known.logp = tuple(sampled[owner == i].tolist())
            self.paid, self.answers = self.paid + r.reward, self.answers + 1

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Tells `tracked` prompts, `tracker_error`, the mean |R − b|, and `tracker_drift`, the mean D."""
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """Everything it knows, as plain values."""
        known = {
            p: (k.alpha, k.beta, [(r.ids, r.positions, r.trained, r.groups) for r in k.rows], list(k.logp)) for p, k in self.known.items()
        }
        return {"known": known, "paid": self.paid, "answers": self.answers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.paid, self.answers = state["paid"], state["answers"]
        self.known = {
            p: Known(
                alpha, beta, tuple(Row(tuple(i), tuple(at), tuple(on), groups and tuple(groups)) for i, at, on, groups in rows), tuple(logp)
            )
            for p, (alpha, beta, rows, logp) in state["known"].items()
        }
