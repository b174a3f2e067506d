"""Fitting a reward model: on scores, or on pairs of a better and a worse answer (Bradley–Terry).

    scores   L = mean (s(x, y) − (t − mean t)/sd t)²         the score is then in standard deviations of the targets
    pairs    L = −mean log σ(s(x, y⁺) − s(x, y⁻))            arXiv 2203.02155 eq. 1; only differences inside a prompt mean anything

    model = RewardModel(load_decoder(folder), Tokenizer.load(folder))
    for loss in fit_scores(model, [Labelled(problem.messages, text, share_of_right_lines), …], steps=200): print(loss)
    save_reward_model(model, "judge")                        # best-of-n?rm=judge, reasonry train --set reward_model=judge

Invariant: the order of the data is a function of the seed alone. Letters: B examples of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.core import Message, UserError
from reasonry.lm.reward_model import RewardModel
from reasonry.train.network import Optimizer, take_step
from reasonry.train.sft import adamw, warm_then_cosine


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer and how good somebody found it."""

    messages: tuple[Message, ...]
    answer: str
    score: float


@dataclass(frozen=True, slots=True)
class Preferred:
    """Two answers to one prompt, of which somebody preferred the first."""

    messages: tuple[Message, ...]
    better: str
    worse: str


def fit_scores(
    model: RewardModel,
    data: Sequence[Labelled],
    steps: int,
    lr: float = 1e-3,
    batch: int = 64,
    seed: int = 0,
    optimizer: Optimizer = adamw,
) -> Iterator[float]:
    """Trains the blocks by `optimizer` and the head by AdamW, with a warm-up and half a cosine; yields each step's loss. Raises UserError
    where all scores are equal."""
    if not data or not (sd := pstdev([d.score for d in data])):
        raise UserError(f"reward model: {len(data)} answers with a single score teach nothing; give answers of different quality")
    mean = fmean(d.score for d in data)
    rows = [model.encode(d.messages, d.answer) for d in data]
    target = torch.tensor([(d.score - mean) / sd for d in data], device=model.head.weight.device)

    def loss(at: list[int]) -> Tensor:
        return F.mse_loss(model([rows[i] for i in at]), target[at])

    yield from fit(model, loss, len(data), steps, lr, batch, seed, optimizer)


def fit_pairs(
    model: RewardModel,
    data: Sequence[Preferred],
    steps: int,
    lr: float = 1e-3,
    batch: int = 32,
    seed: int = 0,
    optimizer: Optimizer = adamw,
) -> Iterator[float]:
    """As `fit_scores`, on preferences. Raises UserError where there are none."""
    if not data:
        raise UserError("reward model: there are no pairs to learn from; give some")
    better = [model.encode(d.messages, d.better) for d in data]
    worse = [model.encode(d.messages, d.worse) for d in data]

    def loss(at: list[int]) -> Tensor:
        s = model([better[i] for i in at] + [worse[i] for i in at])
        return -F.logsigmoid(s[: len(at)] - s[len(at) :]).mean()

    yield from fit(model, loss, len(data), steps, lr, batch, seed, optimizer)


def fit(
    model: RewardModel, loss: Callable[[list[int]], Tensor], n: int, steps: int, lr: float, batch: int, seed: int, optimizer: Optimizer
) -> Iterator[float]:
    """The shared loop: `loss` of the examples at some of `n` places, by AdamW for the head and `optimizer` for the blocks."""
    model.requires_grad_(True)
    optimizers = [*optimizer(model.trunk, lr, 0.01), torch.optim.AdamW(model.head.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.01)]
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for step in range(steps):
        while len(order) < min(batch, n):
            order += torch.randperm(n, generator=generator).tolist()
        at, order = order[:batch], order[batch:]
        for group in (group for o in optimizers for group in o.param_groups):
            group["lr"] = lr * warm_then_cosine(step, max(steps // 20, 1), steps)
        yield take_step((model,), optimizers, (loss(at) for _ in range(1)), clip_norm=1.0)[0]
    model.requires_grad_(False)


def pairs_of(data: Sequence[Labelled]) -> list[Preferred]:
    """Every two answers to the same prompt that were scored differently, the better first."""
    of: dict[tuple[Message, ...], list[Labelled]] = {}
    for d in data:
        of.setdefault(d.messages, []).append(d)
    return [Preferred(m, a.answer, b.answer) for m, group in of.items() for a in group for b in group if a.score > b.score]
