"""HERO's first experiment: a table for a policy, a verifier that refuses right answers, and a reward model that can be hacked.

An answer is `POSITIONS` choices among `OPTIONS`, each position with its own softmax; it is right when all choices are. Rewards, strata,
weights and advantages are the ones that training uses (`train.hero`, `train.advantage`); the gradient of log π is exact, because there is
no network. Half of the prompts begin with hardly a chance.

    reward model   s = 2 · share of right choices + hack · [answer holds the prompt's hacked choice] + noise · N(0, 1)
    verifier       passes a right answer at rate `recall`, a wrong one never

Letters: P prompts, G answers of each, K positions, O options; M = P·G.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reasonry.train.advantage import GroupStd, Normaliser, Outcome, group_mean, times_weight, unscaled
from reasonry.train.hero import Hero, stratified
from reasonry.train.tokens import Tokens

PROMPTS, POSITIONS, OPTIONS = 128, 5, 6
VERIFIER, MODEL, BLEND, HERO = "verifier", "reward model", "blend", "HERO"
NORMALISERS: dict[str, Normaliser] = {"mean only": unscaled, "group sd": GroupStd()}


@dataclass(frozen=True)
class World:
    """What rewards are made of."""

    recall: float = 1.0
    hack: float = 0.8
    """What the reward model adds for one wrong choice, the same in every answer to a prompt."""
    noise: float = 0.3


@dataclass(frozen=True)
class Arm:
    """How answers are paid."""

    reward: str
    normaliser: str = "mean only"
    hero: Hero = Hero()  # noqa: RUF009 (a frozen value)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; the same for every arm."""

    updates: int = 300
    group: int = 8
    lr: float = 2.0
    at: tuple[int, ...] = (50, 100, 300)
    """Updates after which accuracy is taken."""


def start(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [P, K, O], the right choices [P, K] and the hacked choice [P], a wrong option of position 0, of a seed."""
    g = torch.Generator().manual_seed(seed)
    right = torch.randint(OPTIONS, (PROMPTS, POSITIONS), generator=g)
    hacked = (right[:, 0] + torch.randint(1, OPTIONS, (PROMPTS,), generator=g)) % OPTIONS
    known = torch.where(torch.arange(PROMPTS) % 2 == 0, 2.0, 0.8)
    logits = 0.3 * torch.randn(PROMPTS, POSITIONS, OPTIONS, generator=g, dtype=torch.float64)
    return logits.scatter_add(2, right[..., None], known[:, None, None].expand(-1, POSITIONS, 1).double()), right, hacked


def accuracy(logits: Tensor, right: Tensor) -> Tensor:
    """P(right) of each prompt, [P], exactly."""
    return logits.softmax(-1).gather(2, right[..., None])[..., 0].prod(1)


def rewards(arm: Arm, v: Tensor, s: Tensor, tokens: Tokens, mean: float | None) -> tuple[Tensor, Tensor | None, float | None]:
    """R [M], w [M] where the arm weighs prompts, and the running mean of σ_u."""
    if arm.reward != HERO:
        return {VERIFIER: v, MODEL: s, BLEND: 0.5 * v + 0.5 * s}[arm.reward], None, mean
    hero, groups = arm.hero, tokens.by_prompt
    sigma = groups.std(s, 0)
    now = float(sigma.mean())
    mean = now if mean is None else hero.decay * mean + (1 - hero.decay) * now
    return stratified(v, s, groups, hero.alpha, hero.beta), groups.spread(hero.weight(sigma, mean)), mean


def learn(arm: Arm, world: World, seed: int, schedule: Schedule = Schedule()) -> dict[int, float]:
    """Update -> mean true accuracy over the prompts, at the schedule's updates and before the first."""
    logits, right, hacked = start(seed)
    g = torch.Generator().manual_seed(1000 + seed)
    G, P = schedule.group, PROMPTS
    answers = torch.arange(P * G)
    prompt = answers // G
    estimator = Outcome(group_mean, NORMALISERS[arm.normaliser])
    found = {0: float(accuracy(logits, right).mean())}
    mean: float | None = None
    for update in range(1, schedule.updates + 1):
        pi = logits.softmax(-1)
        y = torch.multinomial(pi.reshape(P * POSITIONS, OPTIONS), G, replacement=True, generator=g).reshape(P, POSITIONS, G).transpose(1, 2)
        hits = (y == right[:, None]).reshape(P * G, POSITIONS)
        v = (hits.all(1) & (torch.rand(P * G, generator=g) < world.recall)).double()
        hack = (y[:, :, 0] == hacked[:, None]).reshape(P * G)
        s = 2 * hits.double().mean(1) + world.hack * hack + world.noise * torch.randn(P * G, generator=g, dtype=torch.float64)
        tokens = Tokens(segment=answers, trajectory=answers, prompt=prompt, reward=v)
        R, w, mean = rewards(arm, v, s, tokens, mean)
        tokens = replace(tokens, reward=R, weight=w)
        A = estimator(tokens)
        A = (A if w is None else times_weight(A, tokens)).reshape(P, G)
        pull = torch.zeros_like(logits).scatter_add(2, y.transpose(1, 2), A[:, None].expand(P, POSITIONS, G))
        logits = logits + schedule.lr / G * (pull - A.sum(1)[:, None, None] * pi)
        if update in schedule.at:
            found[update] = float(accuracy(logits, right).mean())
    return found
