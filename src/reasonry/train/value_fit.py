"""A process verifier from outcomes: rollouts of a model, their prefixes, and a head that says how often such a prefix ends well.

    V(x, y_{1:h}) = σ(s(x, y_{1:h})),   L = −mean [τ log V + (1 − τ) log(1 − V)]

Every rollout is cut into its blocks; each prefix short of the whole is a row, labelled with τ of what became of it, so that V tends to
E_π[τ | prefix], the value VGB asks for (arXiv 2510.03149, §4; the paper fits an MLP on a squared or a logistic loss). Rewards beyond {0, 1}
may be any number in [0, 1].

    model = RewardModel(load_decoder(folder), Tokenizer.load(folder))
    for loss in fit_values(model, prefixes(rollouts, lines), steps=300): print(loss)
    save_reward_model(model, "prm")            # vgb?verifier=prm, best-of-n?rm=prm

Invariant: the order of the data is a function of the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.core import Message, UserError
from reasonry.lm.reward_model import RewardModel
from reasonry.train.network import Optimizer
from reasonry.train.reward_fit import Labelled, fit
from reasonry.train.sft import adamw

Cut = Callable[[str], Sequence[str]]
"""A text -> its blocks, which put together are the text."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """An answer drawn from the model, and how it was judged."""

    messages: tuple[Message, ...]
    text: str
    outcome: float
    """τ, in [0, 1]."""


def lines(text: str) -> Sequence[str]:
    """A block is a line, its end included."""
    return text.splitlines(keepends=True)


def letters(text: str) -> Sequence[str]:
    """A block is a character."""
    return tuple(text)


def prefixes(rollouts: Iterable[Rollout], cut: Cut) -> list[Labelled]:
    """Every rollout's partial answers of one block and more, short of the whole, each labelled with the outcome."""
    found: list[Labelled] = []
    for r in rollouts:
        blocks = cut(r.text)
        found += [Labelled(r.messages, "".join(blocks[:h]), r.outcome) for h in range(1, len(blocks))]
    return found


def fit_values(
    model: RewardModel, data: Sequence[Labelled], steps: int, lr: float = 1e-3, batch: int = 64, seed: int = 0, optimizer: Optimizer = adamw
) -> Iterator[float]:
    """Trains the blocks by `optimizer` and the head by AdamW; yields each step's loss, in nats. Raises UserError for outcomes that are
    all alike or outside [0, 1]."""
    if not all(0 <= d.score <= 1 for d in data):
        raise UserError("values: an outcome is outside 0 to 1; scale rewards into that range first")
    if len({d.score for d in data}) < 2:
        raise UserError(
            f"values: {len(data)} prefixes with a single outcome teach nothing; roll out on problems neither too easy nor too hard"
        )
    rows = [model.encode(d.messages, d.answer) for d in data]
    target = torch.tensor([d.score for d in data], device=model.head.weight.device)

    def loss(at: list[int]) -> Tensor:
        return F.binary_cross_entropy_with_logits(model([rows[i] for i in at]), target[at])

    yield from fit(model, loss, len(data), steps, lr, batch, seed, optimizer)
