"""A policy small enough to enumerate, to measure an objective's gradient against the true one exactly.

Every answer of at most three tokens over four, one of which ends the answer, with its own softmax in every context. A batch is one prompt's
group of G answers; all 40^G groups are enumerated, so expectation and variance are sums, not estimates. Everything is on-policy and in
float64. Letters: Y answers, C contexts, G answers of a group, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from reasonry.train.objective import Objective, loss, score
from reasonry.train.tokens import Tokens

END, WIDTH, LONGEST = 0, 4, 3


def _answers() -> list[tuple[int, ...]]:
    every = (y for n in range(1, LONGEST + 1) for y in product(range(WIDTH), repeat=n))
    return [y for y in every if END not in y[:-1] and (y[-1] == END or len(y) == LONGEST)]


ANSWERS = _answers()
"""The Y of them."""
CONTEXTS = sorted({y[:t] for y in ANSWERS for t in range(len(y))}, key=lambda c: (len(c), c))
LENGTH = torch.tensor([len(y) for y in ANSWERS])
"""T of each answer, [Y]."""
_START = LENGTH.cumsum(0) - LENGTH
_CONTEXT = torch.tensor([CONTEXTS.index(y[:t]) for y in ANSWERS for t in range(len(y))])
_TOKEN = torch.tensor([y[t] for y in ANSWERS for t in range(len(y))])


def random_policy(seed: int) -> Tensor:
    """Logits θ [C, 4]."""
    return torch.randn(len(CONTEXTS), WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _places(answers: Tensor) -> Tensor:
    """Where the tokens of a list of answers are in the enumeration, [N]."""
    n = LENGTH[answers]
    start = n.cumsum(0) - n
    return torch.arange(int(n.sum())) - torch.repeat_interleave(start - _START[answers], n)


def log_probabilities(theta: Tensor, answers: Tensor) -> Tensor:
    """log π_θ of each token of a list of answers, [N]."""
    at = _places(answers)
    return theta.log_softmax(-1)[_CONTEXT[at], _TOKEN[at]]


def probabilities(theta: Tensor) -> Tensor:
    """π_θ(y), [Y]."""
    every = torch.arange(len(ANSWERS))
    return theta.new_zeros(len(ANSWERS)).index_add(0, torch.repeat_interleave(every, LENGTH), log_probabilities(theta, every)).exp()


def true_gradient(theta: Tensor, R: Tensor) -> Tensor:
    """∇ E[R] of rewards R [Y], flat [C·4]."""
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad((probabilities(theta) * R).sum(), theta)[0].flatten()


@dataclass(frozen=True)
class Estimator:
    """What an objective's gradient is over all groups. Made by `measure`."""

    mean: Tensor
    """E[g], flat [C·4], of the objective to be maximised."""
    variance: float
    """E‖g − E[g]‖²."""


def measure(objective: Objective, theta: Tensor, R: Tensor, G: int, value: Tensor | None = None) -> Estimator:
    """The gradient estimator of one group, exactly. `value` [Y] is what a critic would say of each answer's prompt.

    Aggregations that are a mean over the batch's tokens must be given as their mean over a prompt's, which on a batch of one group is the
    same thing; steps over the batch see all groups at once.
    """
    answers = torch.cartesian_prod(*[torch.arange(len(ANSWERS))] * G).reshape(-1)
    chance = probabilities(theta)[answers].reshape(-1, G).prod(-1)
    M, every = answers.numel(), torch.arange(answers.numel())
    now = log_probabilities(theta, answers)
    tokens = Tokens(
        segment=torch.repeat_interleave(every, LENGTH[answers]), trajectory=every, prompt=every // G, reward=R[answers],
        logp_old=now, logp_sampler=now,
    )  # fmt: skip
    if value is not None:
        tokens = replace(tokens, value=value[answers][tokens.segment])
    logp = now.clone().requires_grad_()
    pull = -torch.autograd.grad(loss(objective, score(objective, tokens), logp)[0], logp)[0] * (M // G)  # each group by itself
    at, pi = _places(answers), theta.softmax(-1)
    group = tokens.prompt[tokens.by_trajectory.of]
    g = theta.new_zeros(M // G, len(CONTEXTS), WIDTH)
    g.index_put_((group, _CONTEXT[at], _TOKEN[at]), pull, accumulate=True)
    summed = theta.new_zeros(M // G, len(CONTEXTS)).index_put((group, _CONTEXT[at]), pull, accumulate=True)
    g = (g - summed[:, :, None] * pi).flatten(1)
    mean = (chance[:, None] * g).sum(0)
    return Estimator(mean, float((chance * ((g - mean) ** 2).sum(-1)).sum()))


def slope(theta: Tensor, direction: Tensor, right: Tensor) -> tuple[float, float]:
    """How the expected length of right and of wrong answers changes per unit of a step along `direction`; `right` is [Y] bool."""
    theta = theta.clone().requires_grad_()
    unit = (direction / direction.norm()).reshape(theta.shape)
    slopes: list[float] = []
    for which in (right, ~right):
        p = probabilities(theta) * which
        expected = (p * LENGTH).sum() / p.sum()
        slopes.append(float((torch.autograd.grad(expected, theta)[0] * unit).sum()))
    return slopes[0], slopes[1]
