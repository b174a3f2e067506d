"""Batches for the tests of objectives: all groups of the enumerable policy of `train.lab`, and ragged random ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reasonry.train import lab
from reasonry.train.advantage import GroupStd, Outcome, group_mean
from reasonry.train.aggregate import Aggregate, trajectory_mean
from reasonry.train.lab import ANSWERS, LENGTH, log_probabilities, probabilities, random_policy
from reasonry.train.objective import Objective, Scored, loss, score
from reasonry.train.ratio import Clip, Ratio, per_token, recomputed
from reasonry.train.surrogate import PPO
from reasonry.train.tokens import Tokens


def policy(seed: int) -> Tensor:
    """Logits [contexts, 4], float64, with gradient."""
    return random_policy(seed).requires_grad_()


def rewards(seed: int = 0) -> Tensor:
    """An arbitrary reward for each answer, not tied to its length."""
    return torch.rand(len(ANSWERS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(answers: Tensor, R: Tensor, group: int, **more: Any) -> Tokens:
    """Answers [M] as plain one-segment trajectories, `group` to a prompt."""
    M = answers.numel()
    every = torch.arange(M)
    return Tokens(
        segment=torch.repeat_interleave(every, LENGTH[answers]), trajectory=every, prompt=every // group, reward=R[answers], **more
    )


def groups_of(G: int) -> Tensor:
    """Every ordered group of G answers, flat [answers^G · G]."""
    grid = torch.cartesian_prod(*[torch.arange(len(ANSWERS))] * G)
    return grid.reshape(-1)


def expected_gradient(objective: Objective, theta: Tensor, R: Tensor, G: int, sampled_by: Tensor | None = None, **more: Any) -> Tensor:
    """E over all groups of G independent answers of the gradient of −loss, exactly. The objective's weights must be linear in prompts."""
    behaviour = (theta if sampled_by is None else sampled_by).detach()
    answers = groups_of(G)
    chance = probabilities(behaviour)[answers].reshape(-1, G).prod(-1)
    tokens = batch(answers, R, G, **more)
    if sampled_by is not None:
        tokens = replace(tokens, logp_old=log_probabilities(behaviour, answers), logp_sampler=log_probabilities(behaviour, answers))
    scored = score(objective, tokens)
    per_token = chance[tokens.prompt[tokens.by_trajectory.of]] * chance.numel()
    scored = Scored(
        tokens=tokens, advantage=scored.advantage, weight=scored.weight * per_token,
        extra_weights=tuple(w * per_token for w in scored.extra_weights), total=scored.total,
    )  # fmt: skip
    value, _ = loss(objective, scored, log_probabilities(theta, answers))
    return -torch.autograd.grad(value, theta)[0]


def true_gradient(theta: Tensor, R: Tensor) -> Tensor:
    """∇ E[R], exactly, in the shape of `theta`."""
    return lab.true_gradient(theta.detach(), R).reshape(theta.shape)


def ragged(seed: int, prompts: int = 3, group: int = 4, longest: int = 6, segments: int = 3) -> tuple[Tokens, Tensor]:
    """A random batch with every optional field, trajectories of several segments, float64; and log π_θ [N] with gradient, near π_old."""
    g = torch.Generator().manual_seed(seed)

    def draw(n: int, high: float = 1.0) -> Tensor:
        return torch.rand(n, generator=g, dtype=torch.float64) * high

    M = prompts * group
    per_trajectory = torch.randint(1, segments + 1, (M,), generator=g)
    S = int(per_trajectory.sum())
    size = torch.randint(1, longest + 1, (S,), generator=g)
    N = int(size.sum())
    segment = torch.repeat_interleave(torch.arange(S), size)
    old = -draw(N, 3.0) - 0.05
    reward = (draw(M) > 0.5).double()
    reward[::group], reward[1::group] = 1.0, 0.0
    tokens = Tokens(
        segment=segment, trajectory=torch.repeat_interleave(torch.arange(M), per_trajectory), prompt=torch.arange(M) // group,
        reward=reward, logp_old=old, logp_sampler=old + 0.05 * (draw(N) - 0.5), logp_ref=old + 0.5 * (draw(N) - 0.5),
        value=draw(N), process=draw(N) - 0.5, step=segment, planning=draw(N) > 0.7, draw=draw(N), baseline=draw(M), weight=0.5 + draw(M),
        signals={"right": (draw(M) > 0.5).double(), "short": draw(M)},
    )  # fmt: skip
    now = (old + 0.6 * (draw(N) - 0.5)).clamp(max=-0.01)
    return tokens, now.requires_grad_()


def gradient(objective: Objective, tokens: Tokens, now: Tensor, entropy: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Loss and its gradient with respect to log π_θ [N]."""
    entropy = torch.ones_like(now.detach()) if entropy is None else entropy
    value, _ = loss(objective, score(objective, tokens), now, entropy)
    return value.detach(), torch.autograd.grad(value, now)[0]


EPS = Clip(0.8, 1.2)
GROUP = Outcome(group_mean, GroupStd())
TOKEN = Ratio(per_token, recomputed)


def ppo(aggregate: Aggregate = trajectory_mean, **more: Any) -> Objective:
    return Objective(**{"advantage": GROUP, "ratio": TOKEN, "surrogate": PPO(EPS), "aggregate": aggregate, **more})


def same_length(seed: int) -> tuple[Tokens, torch.Tensor]:
    """Every answer one segment of five tokens."""
    tokens, _ = ragged(seed, longest=1, segments=1)
    M, g = tokens.prompt.numel(), torch.Generator().manual_seed(seed)
    old = -torch.rand(5 * M, generator=g).double() - 0.1
    five = Tokens(
        segment=torch.repeat_interleave(torch.arange(M), 5),
        trajectory=torch.arange(M),
        prompt=tokens.prompt,
        reward=tokens.reward,
        logp_old=old,
    )
    return five, (old + 0.3 * (torch.rand(5 * M, generator=g).double() - 0.5)).requires_grad_()
