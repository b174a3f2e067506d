"""HERO: a verifier's verdict and a reward model's score in one reward (arXiv 2510.07242 §3).

    r̂ = −α + 2αz where v = 0,  1 − β + 2βz where v = 1        z: the score's place between the least and greatest of (prompt, verdict)
    w = w_min + (w_max − w_min)·σ(k(σ_u − σ̄))                σ_u: sd of the prompt's scores, σ̄: its running mean
    Â ← w·Â

Symbols: v ∈ {0, 1} verdict, s score, r̂ reward. Shapes: M, P. `hero_reward` pays r̂, `VarianceWeight` brings w and keeps σ̄.

Departures: 1. the weight is on the advantage by default, because a group-sd normaliser cancels one on the reward exactly; the paper says
only "GRPO". 2. σ_u is the biased sd, and σ̄ moves a tenth of the way to a batch's mean before that batch is weighed; the paper says neither.
3. a truncated answer, or one without a readable answer, is in stratum 0 with the least score of its group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from reasonry.core import Problem, Trajectory, UserError
from reasonry.lm.scorer import Scorer
from reasonry.train.advantage import times_weight
from reasonry.train.curriculum import Lesson
from reasonry.train.objective import Objective
from reasonry.train.ragged import Groups
from reasonry.train.reward import Reward, Rewarded, Signal, Signals, Weighted, verdict
from reasonry.train.rollout import CUT
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

SCORE, SCORED, BROKEN = "reward_model", "scored", "broken"
"""Signals: the score; the share of the group's answers that have one; 1 for a truncated or unreadable answer."""
BINS = 4
"""Of the weights' histogram."""


@dataclass(frozen=True)
class Hero:
    """How a verdict and a score become a reward (a `train.reward.Combine`), and a group's scores a weight."""

    alpha: float = 0.05
    """Half the width of the rewards of wrong answers; the paper's for verifiable data, .1 for mixed and ambiguous data. So `beta`."""
    beta: float = 0.05
    """Half the width of the rewards of right answers."""
    w_min: float = 0.4
    w_max: float = 3.0
    k: float = 6.0
    """Steepness, per unit of the scores; another reading of the paper has .5, 2 and 5."""
    decay: float = 0.9
    """Share of σ̄ that a batch leaves."""
    scale: Literal["raw", "relative"] = "raw"
    """`relative`: k(σ_u/σ̄ − 1), for scores in any unit."""
    weight_on: Literal["advantage", "reward"] = "advantage"
    lone: float = 0.0
    """z of a stratum of one, or of equal scores; 0 is the paper's formula."""
    gate: str = "score"
    """The verifier's signal: right from one half on."""
    signal: str = SCORE
    """The reward model's."""
    also: Mapping[str, float] = field(default_factory=dict)
    """Further signals that are added to r̂, with their weights: a penalty on length."""

    def __post_init__(self) -> None:
        for wrong, name, mend in (
            (self.alpha < 0, "alpha", "use 0 or more"),
            (not 0 <= self.beta <= 1, "beta", "use 0 to 1"),
            (not 0 < self.w_min <= self.w_max, "w_min", f"use more than 0 and at most w_max, {self.w_max:g}"),
            (self.k < 0, "k", "use 0 or more"),
            (not 0 <= self.decay < 1, "decay", "use 0 to below 1"),
            (not 0 <= self.lone <= 1, "lone", "use 0, the lower end, to 1, the upper"),
            (self.scale not in ("raw", "relative"), "scale", "use raw or relative"),
            (self.weight_on not in ("advantage", "reward"), "weight_on", "use advantage or reward"),
        ):
            if wrong:
                raise UserError(f"HERO: {name} is {getattr(self, name)}; {mend}")
        _check_order(self.alpha, self.beta)

    def __call__(self, group: Sequence[Signals]) -> list[float]:
        """r̂ of each attempt of a prompt, and what `also` adds. Raises UserError where a signal that it reads is absent."""
        if not group:
            return []
        v, s = self.read(group)
        one = Groups(torch.zeros(len(group), dtype=torch.int64), 1)
        r = stratified(v, s, one, self.alpha, self.beta, lone=self.lone).tolist()
        return [a + b for a, b in zip(r, Weighted(self.also)(group), strict=True)]

    def read(self, group: Sequence[Signals]) -> tuple[Tensor, Tensor]:
        """v and s [M] of a prompt's attempts; a broken one is wrong and has the least score."""
        for name in (self.gate, self.signal):
            if any(name not in signals for signals in group):
                raise UserError(f"HERO: {name!r} is not among the signals {sorted(group[0])}; bring it, or name another as gate or signal")
        s = torch.tensor([x[self.signal] for x in group], dtype=torch.float64)
        broken = torch.tensor([x.get(BROKEN, 0.0) > 0 for x in group])
        v = torch.tensor([x[self.gate] >= 0.5 for x in group]) & ~broken
        return v.double(), torch.where(broken, s[~broken].min() if (~broken).any() else s.min(), s)

    def weight(self, sigma: Tensor, mean: float) -> Tensor:
        """w [P] of groups with these σ_u; the middle where `relative` has nothing to go by."""
        over = sigma - mean if self.scale == "raw" else sigma / mean - 1 if mean > 0 else sigma * 0
        return self.w_min + (self.w_max - self.w_min) * torch.sigmoid(self.k * over)

    def objective(self, objective: Objective) -> Objective:
        """The objective with the weight where it belongs."""
        rest = tuple(step for step in objective.reshape if step is not times_weight)
        return replace(objective, reshape=(*rest, times_weight) if self.weight_on == "advantage" else rest)


def _check_order(alpha: float, beta: float) -> None:
    if alpha > 1 - beta:
        raise UserError(f"HERO: alpha is {alpha:g} but must not exceed 1 - beta = {1 - beta:g}, or a wrong answer can outrank a right one")


def stratified(
    v: Tensor, s: Tensor, groups: Groups, alpha: float = 0.05, beta: float = 0.05, eps: float = 1e-6, lone: float = 0.0
) -> Tensor:
    """r̂ [M]: scores of one prompt and one verdict mapped onto [−α, α] where v = 0 and [1−β, 1+β] where v = 1.

    A stratum of one, or of equal scores, gets its lower end, or `lone` of the way up. Raises UserError where α > 1 − β: a wrong answer
    could outrank a right one.
    """
    _check_order(alpha, beta)
    strata = Groups(groups.of * 2 + v.to(torch.int64), groups.n * 2)
    low, high = strata.spread(strata.min(s)), strata.spread(strata.max(s))
    z = torch.where(high > low, (s - low) / (high - low + eps), lone)
    return torch.where(v > 0.5, 1 - beta + 2 * beta * z, -alpha + 2 * alpha * z)


def variance_weight(
    s: Tensor, groups: Groups, sigma_mean: float, w_min: float = 0.4, w_max: float = 3.0, k: float = 6.0
) -> tuple[Tensor, Tensor]:
    """w [M], the same for all answers of a prompt, and σ_u [P] to update σ̄ with."""
    sigma = groups.std(s, correction=0)
    return groups.spread(Hero(w_min=w_min, w_max=w_max, k=k).weight(sigma, sigma_mean)), sigma


# Signals --------------------------------------------------------------------------------------------------------------------------------


def scored_by(scorer: Scorer) -> Signal:
    """`reward_model` of each attempt, all of a group in one call, and `scored`, the share of them that have one. An attempt whose scoring
    failed is not scored: it leaves its group."""

    def signal(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
        values = scorer.scores(problem.messages, [t.answer for t in group]).values
        share = sum(v is not None for v in values) / max(len(values), 1)
        return [None if v is None else {SCORE: v, SCORED: share} for v in values]

    return signal


def broken(problem: Problem, group: Sequence[Trajectory]) -> list[Signals]:
    """`broken`: 1 for an attempt that was truncated, or in which the judge could read no answer."""
    return [{BROKEN: float(t.stop in CUT or (t.verdict is not None and t.verdict.answer is None and not t.verdict.passed))} for t in group]


def hero_reward(scorer: Scorer, hero: Hero = Hero(), verifier: Signal = verdict) -> Reward:
    """r̂ of any verifier (a signal `score` unless `hero.gate` names another) and any scorer."""
    return Reward((verifier, broken, scored_by(scorer)), hero)


# The weight -----------------------------------------------------------------------------------------------------------------------------


class VarianceWeight:
    """Brings `Tokens.weight`, or weighs the rewards, and keeps σ̄ (a `train.beside.Beside`). One per run."""

    def __init__(self, hero: Hero) -> None:
        """`hero` is what the recipe's reward combines with."""
        self.hero = hero
        self.mean: float | None = None
        """σ̄; `None` before the first batch, whose mean it becomes."""
        self._told: dict[str, float] = {}

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with w. A group in which scoring failed for some answer is weighed, but does not move σ̄."""
        tokens = batch.tokens
        read = [self.hero.read([r.signals for r in group]) for group in rewarded]
        sigma = torch.stack([s.std(correction=0) for _, s in read])
        whole = torch.tensor([all(r.signals.get(SCORED, 1.0) == 1.0 for r in group) for group in rewarded])
        if whole.any():
            now = float(sigma[whole].mean())
            self.mean = now if self.mean is None else self.hero.decay * self.mean + (1 - self.hero.decay) * now
        w = self.hero.weight(sigma, float(sigma.mean()) if self.mean is None else self.mean)
        each = torch.repeat_interleave(w, torch.tensor([len(group) for group in rewarded])).to(tokens.reward.dtype)
        self._told = {
            **_of_strata(read),
            "hero_sigma": float(sigma.mean()),
            **({} if self.mean is None else {"hero_sigma_mean": self.mean}),
        }
        counts = torch.histc(w, BINS, self.hero.w_min, self.hero.w_max) / len(w)
        self._told |= {f"hero_weight_{i + 1}": float(c) for i, c in enumerate(counts)}
        return replace(tokens, weight=each) if self.hero.weight_on == "advantage" else replace(tokens, reward=tokens.reward * each)

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Tells of the batch: `hero_all_wrong`, `hero_all_right` (shares of its groups), `hero_auc` (how often a verified answer is scored
        above an unverified one to the same problem), `hero_verified`, `hero_unverified` (mean scores), `hero_sigma`, `hero_sigma_mean` (σ̄),
        and `hero_weight_1` to `_4`, shares of weights in quarters of w_min … w_max."""
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """σ̄."""
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores σ̄."""
        self.mean = state["mean"]


def _of_strata(read: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    v, s = torch.cat([v for v, _ in read]) > 0.5, torch.cat([s for _, s in read])
    told = {
        "hero_all_wrong": sum(not v.any() for v, _ in read) / len(read),
        "hero_all_right": sum(bool(v.all()) for v, _ in read) / len(read),
    }
    wins = torch.cat([_wins(s[v > 0.5], s[v < 0.5]) for v, s in read])
    if wins.numel():
        told["hero_auc"] = float(wins.mean())
    return told | {name: float(s[at].mean()) for name, at in (("hero_verified", v), ("hero_unverified", ~v)) if at.any()}


def _wins(right: Tensor, wrong: Tensor) -> Tensor:
    """1, ½ or 0 for every pair of a right and a wrong answer."""
    over = right[:, None] - wrong[None]
    return ((over > 0).double() + 0.5 * (over == 0)).flatten()
