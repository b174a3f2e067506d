"""Advantages for pass@k: what an answer adds to the chance that k answers drawn from its group hold a right one.

Trains the *generator* of candidates for an aggregator (ParaGator trains the generator so, and the aggregator by plain GRPO): it stays
diverse, where GRPO sharpens it. Closed form of arXiv 2508.10751: with N answers of which N₋ are wrong, μ = 1 − C(N₋, k)/C(N, k) and
σ = √(μ(1−μ)),

    Â of a right answer = (1 − μ)/σ        Â of a wrong one = (1 − μ − C(N₋−1, k−1)/C(N−1, k−1))/σ

They sum to zero over a group; with k = 1 they are GRPO's, with the biased sd.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.tokens import Tokens


@dataclass(frozen=True)
class PassAtK:
    """Â of pass@k; a reward of 1 or more is right, any other wrong. A group with μ of 0 or 1 has advantage zero, and so has one that failed
    attempts have left smaller than k."""

    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"PassAtK: k is {self.k} but must be at least 1")

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N tokens]. Raises UserError where every group is smaller than k."""
        right, most = tokens.returns >= 1, int(tokens.by_prompt.count().max())
        if self.k > most:
            raise UserError(f"PassAtK: k is {self.k} but no group has more than {most} answers; sample more or lower k")
        A = torch.zeros_like(tokens.returns)
        for prompt in tokens.prompt.unique():
            own = tokens.prompt == prompt
            N, wrong = int(own.sum()), int((own & ~right).sum())
            if self.k > N:
                continue
            mu = 1 - comb(wrong, self.k) / comb(N, self.k)
            sd = (mu * (1 - mu)) ** 0.5
            if sd:
                A[own & right] = (1 - mu) / sd
                A[own & ~right] = (1 - mu - comb(wrong - 1, self.k - 1) / comb(N - 1, self.k - 1)) / sd
        return tokens.by_trajectory.spread(A)
