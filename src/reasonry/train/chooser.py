"""The smallest aggregator that can be trained: a policy that picks one of m candidates by a few numbers about each.

GRPO on it isolates what the training mixture does from what a language model can read: π(i | set) = softmax_i f_θ(x_i), with f_θ a network
of one hidden layer and x_i the features of candidate i (its vote share, a check's score). It can only pick, so it never passes pass@m.

Letters: n sets, m candidates, F features, G picks of a set in an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reasonry.core import UserError


@dataclass(frozen=True)
class Picked:
    """What an update saw."""

    reward: float
    zero_advantage: float
    """Share of sets all of whose picks earned the same, and taught nothing."""


def chooser(features: int, hidden: int = 16, seed: int = 0) -> nn.Sequential:
    """f_θ, with weights drawn from `seed`; its last layer is zero, so that it begins by picking blindly."""
    g = torch.Generator().manual_seed(seed)
    first, last = nn.Linear(features, hidden), nn.Linear(hidden, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.randn(hidden, features, generator=g) / features**0.5)
        first.bias.copy_(torch.randn(hidden, generator=g) * 0.1)
        last.weight.zero_()
    return nn.Sequential(first, nn.Tanh(), last)


def chances(policy: nn.Module, x: Tensor) -> Tensor:
    """π over the candidates of each set: [n, m, F] -> [n, m]."""
    return policy(x)[..., 0].softmax(-1)


def expected_score(policy: nn.Module, x: Tensor, right: Tensor) -> Tensor:
    """The exact expected score on each set, [n]; `right` is [n, m]."""
    with torch.no_grad():
        return (chances(policy, x) * right).sum(-1)


def practise(
    policy: nn.Module, x: Tensor, right: Tensor, updates: int, batch: int = 32, G: int = 8, lr: float = 0.05, seed: int = 0
) -> list[Picked]:
    """GRPO with one update a batch: sets drawn with replacement, G picks of each, advantages (r − mean)/sd within a set, zero where all are
    equal. Raises UserError without sets."""
    if not len(x):
        raise UserError("practise: there are no sets to train on; make more candidates, or keep some easy ones")
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr)
    log: list[Picked] = []
    for _ in range(updates):
        at = torch.randint(len(x), (batch,), generator=rng)
        pi = chances(policy, x[at])
        picks = torch.multinomial(pi.detach(), G, replacement=True, generator=rng)
        r = right[at].gather(1, picks)
        A = (r - r.mean(1, keepdim=True)) / (r.std(1, keepdim=True) + 1e-6)
        loss = -(A * pi.gather(1, picks).log()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append(Picked(float(r.mean()), float((r.max(1).values == r.min(1).values).float().mean())))
    return log
