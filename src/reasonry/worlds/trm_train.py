"""Training a TRM: deep supervision with a carry that outlives the optimiser's step (arXiv 2510.04871, figure 3).

    slots that halted take a new puzzle and begin at (y0, z0)
    one supervision step; its loss moves the weights once
    steps += 1;  halted = steps ≥ N_sup, or the halting head says so and exploration does not forbid it

So a batch mixes puzzles of different ages, and the thought of an unfinished puzzle is met by slightly newer weights in the next step.

Invariant: weights, average, optimiser, carry and randomness are in one checkpoint that is replaced whole, and the step log is cut back to
it; a run that was killed goes on bit for bit (on a CPU with one thread).

Differs from the released code: a full batch is drawn each step and used only by slots that halted there too, but from our own seeded
generator; the gradient may be clipped; averaging and validation decide which weights remain, never the test puzzles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reasonry.core import Run, UserError
from reasonry.worlds.grids import Draw, Puzzles
from reasonry.worlds.optim import AdamATan2, Average, sign_update
from reasonry.worlds.stablemax import LogProbs, grid_loss, log_stablemax, solved
from reasonry.worlds.trm import TRM, Thought

STEPS, CHECKPOINT, BEST = "steps", "checkpoint.pt", "best.pt"


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the paper's for sudoku."""

    steps: int = 65_000
    batch: int = 768
    lr: float = 1e-4
    warmup: int = 2000
    """Steps over which the learning rate rises; constant after them."""
    weight_decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    optimizer: type[torch.optim.AdamW] | type[AdamATan2] = torch.optim.AdamW
    clip_norm: float | None = None
    mu: float = 0.999
    """Of the average of the weights."""
    explore: float = 0.1
    """Chance, each step and slot, that a draw from 2 … N_sup forbids halting earlier."""
    log_probs: LogProbs = log_stablemax
    hrm_halting: bool = False
    """HRM's rule: halt where the first output exceeds the second, which learns what the next step would say (an extra forward pass)."""
    puzzle_lr: float = 1e-4
    puzzle_decay: float = 1.0
    dtype: torch.dtype = torch.float32
    """Of the forward pass; norms, heads' losses and weights stay in fp32."""
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    """Steps between checkpoints, each validated."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise UserError(f"TRM training: {name} is {getattr(self, name)} but must be at least 1")
        for name in ("mu", "explore"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"TRM training: {name} is {getattr(self, name)} but must be from 0 to 1")


class Carry(NamedTuple):
    """What one optimiser step hands to the next, one row a slot."""

    thought: Thought
    puzzles: Puzzles
    steps: Tensor
    """[B] supervision steps made on the present puzzle."""
    halted: Tensor
    """[B]: the slot takes a new puzzle next."""

    @classmethod
    def empty(cls, model: TRM, rows: int, dtype: torch.dtype) -> Carry:
        """All slots halted, so that each is filled before anything is read."""
        cells = torch.zeros(rows, model.shape.cells, dtype=torch.long, device=model.y0.device)
        ids, halted = cells.new_zeros(rows), torch.ones(rows, dtype=torch.bool, device=cells.device)
        return cls(Thought(*(state.clone() for state in model.begin(rows, dtype))), Puzzles(cells, cells, ids), ids, halted)

    def filled(self, model: TRM, new: Puzzles) -> Carry:
        """Halted slots hold the new puzzle of their row, and begin at (y0, z0)."""
        wide, long = self.halted[:, None], self.halted[:, None, None]
        begin = model.begin(len(self.steps), self.thought.y.dtype)
        old = self.puzzles
        return Carry(
            Thought(torch.where(long, begin.y, self.thought.y), torch.where(long, begin.z, self.thought.z)),
            Puzzles(
                torch.where(wide, new.cells, old.cells),
                torch.where(wide, new.solutions, old.solutions),
                torch.where(self.halted, new.ids, old.ids),
            ),
            torch.where(self.halted, 0, self.steps),
            torch.zeros_like(self.halted),
        )


def halting(steps: Tensor, wants: Tensor, N_sup: int, explore: float, rng: Generator) -> Tensor:
    """Which slots halt: after `N_sup` steps always, before where the head wants to, unless exploration drew a later step. All [B]."""
    last = steps >= N_sup
    if N_sup == 1:
        return last
    drawn = torch.rand(steps.shape, generator=rng, device=steps.device) < explore
    least = drawn * torch.randint(2, N_sup + 1, steps.shape, generator=rng, device=steps.device)
    return (last | wants) & (steps >= least)


class Trainer:
    """A network in training, with everything that a checkpoint must hold. Made by `train`; tests drive it step by step."""

    def __init__(self, model: TRM, draw: Draw, recipe: Recipe) -> None:
        self.model, self.draw, self.recipe = model, draw, recipe
        self.optimizer = recipe.optimizer(model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
        self.average = Average(model, recipe.mu)
        self.rng = Generator(model.y0.device).manual_seed(recipe.seed)
        self.carry = Carry.empty(model, recipe.batch, recipe.dtype)
        self.step = 0
        self.best: float | None = None

    def advance(self) -> dict[str, Tensor]:
        """One supervision step and one update.

        Returns means over the batch, and of the slots that halted: how many, how many were solved, and their steps, summed.
        """
        r, model = self.recipe, self.model
        carry = self.carry.filled(model, self.draw(r.batch, self.rng))
        puzzles = carry.puzzles
        puzzle = None if model.puzzles is None else model.puzzles[puzzles.ids].requires_grad_()
        x = model.embedded(puzzles.cells, puzzle, r.dtype)
        thought, seen = model.deep_recursion(x, carry.thought)
        right = solved(seen.logits, puzzles.solutions)
        cells = grid_loss(seen.logits, puzzles.solutions, r.log_probs)
        halt = F.binary_cross_entropy_with_logits(seen.halt, right.float(), reduction="none")
        steps = carry.steps + 1
        loss = cells.sum() + 0.5 * halt.sum()
        if r.hrm_halting:
            loss = loss + 0.5 * self._go_on_loss(x.detach(), thought, seen.go_on, steps >= model.shape.N_sup).sum()
        self._update(loss / r.batch, puzzles.ids, puzzle)
        wants = seen.halt > (seen.go_on if r.hrm_halting else 0)
        halted = halting(steps, wants.detach(), model.shape.N_sup, r.explore, self.rng)
        self.carry = Carry(thought, puzzles, steps, halted)
        self.step += 1
        return {
            "loss": cells.detach().mean(), "halt_loss": halt.detach().mean(), "halt_right": ((seen.halt > 0) == right).float().mean(),
            "halted": halted.sum(), "exact": (right & halted).sum(), "steps": (steps * halted).sum(),
        }  # fmt: skip

    def _go_on_loss(self, x: Tensor, thought: Thought, go_on: Tensor, last: Tensor) -> Tensor:
        """HRM's Q-learning: going on is worth what the next step's head says. [B]"""
        with torch.no_grad():
            _, after = self.model.deep_recursion(x, thought)
            worth = torch.where(last, after.halt, torch.maximum(after.halt, after.go_on)).sigmoid()
        return F.binary_cross_entropy_with_logits(go_on, worth, reduction="none")

    def _update(self, loss: Tensor, ids: Tensor, puzzle: Tensor | None) -> None:
        r = self.recipe
        warm = min(1.0, (self.step + 1) / max(r.warmup, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = r.lr * warm
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if r.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), r.clip_norm)
        self.optimizer.step()
        if puzzle is not None and self.model.puzzles is not None:
            assert puzzle.grad is not None, "the prefix is read by every evaluation"
            sign_update(self.model.puzzles, ids, puzzle.grad, r.puzzle_lr * warm, r.puzzle_decay)
        self.average.follow(self.model)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        carry, puzzles = self.carry, self.carry.puzzles
        return {
            "step": self.step, "best": self.best, "model": self.model.state_dict(), "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(), "rng": self.rng.get_state(),
            "carry": (*carry.thought, puzzles.cells, puzzles.solutions, puzzles.ids, carry.steps, carry.halted),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.step, self.best, self.average.weights = state["step"], state["best"], state["average"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"].cpu())
        y, z, cells, solutions, ids, steps, halted = state["carry"]
        self.carry = Carry(Thought(y, z), Puzzles(cells, solutions, ids), steps, halted)


Validate = Callable[[TRM], float]
"""How good a network is; larger is better."""


def train(
    model: TRM,
    draw: Draw,
    recipe: Recipe,
    run: Run,
    validate: Validate | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda record: None,
) -> TRM:
    """Trains `model` in place and leaves it with its averaged weights: the last, or with `validate` the best (of equals the latest).

    Goes on from the run's checkpoint where there is one. Every `log_every` steps a record goes to `steps.jsonl` and to `tell`.
    """
    at = Trainer(model, draw, recipe)
    if (run.path / CHECKPOINT).exists():
        at.restore(torch.load(run.path / CHECKPOINT, map_location=model.y0.device, weights_only=True))
    cut_back(run, at.step)
    sums: dict[str, Tensor] = {}
    count = 0
    while at.step < recipe.steps:
        for name, value in at.advance().items():
            sums[name] = sums.get(name, 0) + value
        count += 1
        saving = at.step % recipe.save_every == 0 or at.step == recipe.steps
        if at.step % recipe.log_every == 0 or saving:
            record: dict[str, Any] = {"step": at.step, **_record(sums, count)}
            if saving and validate is not None:
                with at.average.swapped(model):
                    record["validation"] = validate(model)
            run.append(STEPS, record)
            tell(record)
            sums, count = {}, 0
            if "validation" in record and (at.best is None or record["validation"] >= at.best):
                at.best = record["validation"]
                save_whole(run.path / BEST, {"average": at.average.weights, "model": model.state_dict()})
        if saving:
            save_whole(run.path / CHECKPOINT, at.state())
    if (run.path / BEST).exists():
        best = torch.load(run.path / BEST, map_location=model.y0.device, weights_only=True)
        model.load_state_dict(best["model"] | best["average"])
    else:
        model.load_state_dict(model.state_dict() | at.average.weights)
    return model


def cut_back(run: Run, step: int) -> None:
    """Drops the records of steps that the checkpoint does not hold: they are made again."""
    kept = [line for line in run.lines(STEPS) if json.loads(line)["step"] <= step]
    if (run.path / f"{STEPS}.jsonl").exists():
        run.write(f"{STEPS}.jsonl", "".join(line.decode() + "\n" for line in kept))


def save_whole(path: Path, state: Any) -> None:
    """Writes a checkpoint beside the old one, then renames: a kill leaves one or the other."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _record(sums: Mapping[str, Tensor], count: int) -> dict[str, float]:
    """What `count` steps summed to, as means: over slots, and over those that halted, where any did."""
    found = {name: float(value) for name, value in sums.items()}
    halted = found.pop("halted")
    shares = {name: found.pop(name) / max(halted, 1) for name in ("exact", "steps")}
    means = {name: value / count for name, value in found.items()} | (shares if halted else {})
    return {name: round(value, 5) for name, value in means.items()}
