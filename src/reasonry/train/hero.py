"""HERO: a verifier's verdict and a reward model's score in one reward (arXiv 2510.07242 §3).

Symbols: v ∈ {0, 1} verdict, s score, r̂ reward, σ_u sd of the scores of a prompt's answers, σ̄ its running mean. Shapes: M, P.
Departures: 1. the weight w belongs on the advantage (`advantage.times_weight`), because a group-sd normaliser cancels one on the reward
exactly (the paper says only "GRPO"). 2. σ_u is the biased sd; the paper does not say which.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.ragged import Groups


def stratified(v: Tensor, s: Tensor, groups: Groups, alpha: float = 0.05, beta: float = 0.05, eps: float = 1e-6) -> Tensor:
    """r̂ [M]: scores of one prompt and one verdict mapped onto [−α, α] where v = 0 and [1−β, 1+β] where v = 1.

    A stratum of one, or of equal scores, gets its lower end. Raises UserError where α > 1 − β: a wrong answer could outrank a right one.
    """
    if alpha > 1 - beta:
        raise UserError(f"HERO: alpha is {alpha:g} but must not exceed 1 - beta = {1 - beta:g}, or a wrong answer can outrank a right one")
    strata = Groups(groups.of * 2 + v.to(torch.int64), groups.n * 2)
    low, high = strata.spread(strata.min(s)), strata.spread(strata.max(s))
    z = (s - low) / (high - low + eps)
    return torch.where(v > 0.5, 1 - beta + 2 * beta * z, -alpha + 2 * alpha * z)


def variance_weight(
    s: Tensor, groups: Groups, sigma_mean: float, w_min: float = 0.4, w_max: float = 3.0, k: float = 6.0
) -> tuple[Tensor, Tensor]:
    """w [M] = w_min + (w_max − w_min)·σ(k(σ_u − σ̄)), the same for all answers of a prompt, and σ_u [P] to update σ̄ with."""
    sigma = groups.std(s, correction=0)
    return groups.spread(w_min + (w_max - w_min) * torch.sigmoid(k * (sigma - sigma_mean))), sigma
