"""Running a trained TRM: supervision steps one after another, from (y0, z0) or from several disturbed starts, and the vote over copies.

Always the number of steps asked for, as the paper evaluates: nothing looks at the solution, and nothing stops early by it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Generator, Tensor

from reasonry.core import UserError
from reasonry.worlds.grids import Puzzles
from reasonry.worlds.stablemax import UNLABELLED
from reasonry.worlds.trm import TRM, Seen, Thought

A = TypeVar("A", bound=Hashable)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on the latent z."""

    sigma: Tensor
    """[B], each row's deviation; a row with 0 is not disturbed."""
    rng: Generator

    def like(self, z: Tensor) -> Tensor:
        """Noise of z's shape [B, P+L, D]."""
        drawn = torch.randn(z.shape, generator=self.rng, dtype=torch.float32, device=self.rng.device)
        return (self.sigma[:, None, None] * drawn).to(z)


@torch.no_grad()
def refine(
    model: TRM, cells: Tensor, steps: int, ids: Tensor | None = None, noise: Noise | None = None, dtype: torch.dtype = torch.float32
) -> Iterator[Seen]:
    """What the heads read after each supervision step of the puzzles `cells` [B, L]; `ids` [B] are rows of the table of embeddings.

    With `noise`, z is disturbed before every step (z has root mean square 1), so that rows with the same puzzle become different rollouts
    (PTRM, arXiv 2605.19943). Raises UserError for a network with a table where `ids` is missing.
    """
    if model.puzzles is not None and ids is None:
        raise UserError("TRM: this network knows each puzzle by an embedding of its own; say which with ids")
    x = model.embedded(cells, None if model.puzzles is None else model.puzzles[ids], dtype)
    thought = model.begin(len(cells), dtype)
    for _ in range(steps):
        if noise is not None:
            thought = Thought(thought.y, thought.z + noise.like(thought.z))
        thought, seen = model.deep_recursion(x, thought)
        yield seen


@dataclass(frozen=True)
class Curve:
    """How a set of puzzles fared, step by step: S steps, N puzzles."""

    exact: Tensor
    """[S, N]: the whole grid is right."""
    cells: Tensor
    """[S, N]: share of the cells that were to be found and are right."""
    halt: Tensor
    """[S, N]: the halting head's logit."""

    @property
    def first_halt(self) -> Tensor:
        """[N]: the first step at which the head would have halted, the last where it never would; counted from 1."""
        wants = self.halt > 0
        return torch.where(wants.any(0), wants.int().argmax(0) + 1, len(self.halt))


@torch.no_grad()
def curve(model: TRM, puzzles: Puzzles, steps: int, rows: int = 256, sigma: float = 0.0, seed: int = 0) -> Curve:
    """Runs every puzzle for `steps` steps, `rows` at once, and looks each answer up. `sigma` disturbs every row's z."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    rng = Generator(puzzles.cells.device).manual_seed(seed)
    for start in range(0, len(puzzles), rows):
        part = puzzles[slice(start, start + rows)]
        asked = (part.cells != part.solutions) & (part.solutions != UNLABELLED)
        counted = part.solutions != UNLABELLED
        exact, cells, halt = [], [], []
        noise = Noise(torch.full((len(part),), sigma, device=rng.device), rng) if sigma else None
        for seen in refine(model, part.cells, steps, part.ids, noise):
            right = seen.logits.argmax(-1) == part.solutions
            exact.append((right | ~counted).all(-1))
            cells.append((right & asked).sum(-1) / asked.sum(-1).clamp(min=1))
            halt.append(seen.halt)
        found.append((torch.stack(exact), torch.stack(cells), torch.stack(halt)))
    return Curve(*(torch.cat(parts, 1).cpu() for parts in zip(*found, strict=True)))


def exact_accuracy(model: TRM, puzzles: Puzzles, steps: int) -> float:
    """Share of puzzles that are wholly right after the last of `steps` steps."""
    return curve(model, puzzles, steps).exact[-1].float().mean().item()


def chosen(halt: Tensor) -> Tensor:
    """Which of K rollouts the halting head likes best: logits [K, N] -> [N]."""
    return halt.argmax(0)


def vote(answers: Sequence[A], halt: Sequence[float]) -> list[A]:
    """Answers by how many copies gave them, ties by the mean of their halting probabilities; the best first.

    ARC's rule in the released evaluator; its submission is the first two.
    """
    if not answers:
        raise ValueError("a vote needs at least one answer")
    trust: dict[A, list[float]] = {}
    for answer, logit in zip(answers, halt, strict=True):
        trust.setdefault(answer, []).append(float(torch.sigmoid(torch.tensor(logit))))
    return sorted(trust, key=lambda answer: (-len(trust[answer]), -sum(trust[answer]) / len(trust[answer])))
