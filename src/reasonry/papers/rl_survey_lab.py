"""The survey's first experiment: the gradient of every kind of estimator against the true one, by enumeration (`train.lab`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import comb

import torch
from torch import Tensor

from reasonry.train.advantage import GroupStd, Outcome, by_mean, group_mean, leave_one_out, length_weighted, no_baseline, unscaled
from reasonry.train.aggregate import prompt_mean, trajectory_mean, trajectory_sum
from reasonry.train.credit import GAE
from reasonry.train.lab import ANSWERS, measure, probabilities, random_policy, slope, true_gradient
from reasonry.train.objective import Objective
from reasonry.train.surrogate import Reinforce
from reasonry.train.tokens import Tokens

PASS_RATES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
"""About the shares of right answers of the lab's prompts."""

PLAIN = Objective(advantage=Outcome(no_baseline, unscaled), ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum)
ARMS: dict[str, Objective] = {
    "REINFORCE": PLAIN,
    "RLOO": replace(PLAIN, advantage=Outcome(leave_one_out, unscaled)),
    "perfect critic": replace(PLAIN, advantage=GAE()),
    "R − μ": replace(PLAIN, advantage=Outcome(group_mean, unscaled)),
    "OPO": replace(PLAIN, advantage=Outcome(length_weighted, unscaled)),
    "(R − μ)/sd": replace(PLAIN, advantage=Outcome(group_mean, GroupStd())),
    "MaxRL": replace(PLAIN, advantage=Outcome(group_mean, by_mean)),
    "R − μ, mean per answer": replace(PLAIN, advantage=Outcome(group_mean, unscaled), aggregate=trajectory_mean),
    "R − μ, mean over tokens": replace(PLAIN, advantage=Outcome(group_mean, unscaled), aggregate=prompt_mean),
    "GRPO": replace(PLAIN, advantage=Outcome(group_mean, GroupStd()), aggregate=trajectory_mean),
    "DAPO": replace(PLAIN, advantage=Outcome(group_mean, GroupStd()), aggregate=prompt_mean),
}
"""On-policy every clipped ratio has the gradient of Â·log π, so the surrogate is that; the sum over tokens where no other mean is named."""


@dataclass(frozen=True)
class Bench:
    """What an arm's estimator is on the lab's prompts together. Made by `bench`."""

    cosine: float
    """Of its expectation to the true gradient of the mean reward."""
    scale: float
    """Its expectation along the true gradient, in units of that gradient."""
    error: float
    """‖E[g] − truth‖/‖truth‖."""
    noise: float
    """√E‖g − E[g]‖² / ‖E[g]‖, of one group of every prompt."""
    slopes: tuple[float, float]
    """Change of the expected length of right and of wrong answers, less that of the true gradient; mean over prompts, per unit step."""


def right_answers(theta: Tensor, share: float, seed: int) -> Tensor:
    """Answers whose probabilities add up to about `share`, drawn at random, at least one right and one wrong; [Y] bool."""
    p, right = probabilities(theta), torch.zeros(len(ANSWERS), dtype=torch.bool)
    for y in torch.randperm(len(ANSWERS), generator=torch.Generator().manual_seed(seed)).tolist():
        total = float(p[right].sum())
        if abs(total + float(p[y]) - share) < abs(total - share):
            right[y] = True
    if not right.any():
        right[p.argmin()] = True
    return right


def bench(seed: int, G: int) -> Mapping[str, Bench]:
    """All arms on the same prompts of a seed, groups of G."""
    prompts = []
    for i, share in enumerate(PASS_RATES):
        theta = random_policy(1000 * seed + i)
        right = right_answers(theta, share, 1000 * seed + i)
        prompts.append((theta, right, right.double(), true_gradient(theta, right.double())))
    truth = torch.cat([t for *_, t in prompts])
    found: dict[str, Bench] = {}
    for name, objective in ARMS.items():
        value = [(probabilities(theta) * R).sum().expand(len(ANSWERS)) for theta, _, R, _ in prompts]
        made = [measure(objective, theta, R, G, v) for (theta, _, R, _), v in zip(prompts, value, strict=True)]
        mean = torch.cat([m.mean for m in made])
        slopes = [
            [a - b for a, b in zip(slope(theta, m.mean, right), slope(theta, t, right), strict=True)]
            for m, (theta, right, _, t) in zip(made, prompts, strict=True)
        ]
        found[name] = Bench(
            cosine=float(mean @ truth / (mean.norm() * truth.norm())),
            scale=float(mean @ truth / (truth @ truth)),
            error=float((mean - truth).norm() / truth.norm()),
            noise=sum(m.variance for m in made) ** 0.5 / float(mean.norm()),
            slopes=(sum(s[0] for s in slopes) / len(slopes), sum(s[1] for s in slopes) / len(slopes)),
        )
    return found


def prompt_weight(objective: Objective, p: float, G: int) -> float:
    """How strongly a prompt with pass rate `p` is learned from, in expectation over groups of G: E[Â of a right answer] − E[Â of a wrong
    one], which is 1 for the true gradient of the mean reward. Exact: a sum over how many of the other answers are right."""

    def advantage(rights: int) -> Tensor:
        every = torch.arange(G)
        return objective.advantage(Tokens(segment=every, trajectory=every, prompt=every * 0, reward=(every < rights).double()))

    of = [comb(G - 1, k) * p**k * (1 - p) ** (G - 1 - k) for k in range(G)]
    return sum(w * float(advantage(k + 1)[0] - advantage(k)[G - 1]) for k, w in enumerate(of))
