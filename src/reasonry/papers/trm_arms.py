"""TRM's arms: what is trained for each, and what is noted of it on the same unseen puzzles.

Arms that recurse make the same number of optimiser steps; networks that answer directly, and the one that writes, make as many as the same
FLOPs pay for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch

from reasonry.core import Run, open_run
from reasonry.core.run import write_whole
from reasonry.lm.decoder import Decoder
from reasonry.papers import trm_autoregressive as autoregressive
from reasonry.worlds.grids import Draw, Puzzles, SudokuWorld, endless, hinted, make
from reasonry.worlds.stablemax import log_softmax
from reasonry.worlds.trm import TRM, Mixer, Shape, parameters_of
from reasonry.worlds.trm_infer import Curve, chosen, curve
from reasonry.worlds.trm_train import CHECKPOINT, Recipe, train

WHOLE, ONE_STEP, SINGLE, TWO, ONE_SUP, DIRECT, DEEP, ATTENTION = (
    "trm", "one-step gradient", "z alone", "two networks", "one supervision step", "direct, same size", "direct, same depth", "attention",
)  # fmt: skip
WRITES = "autoregressive"
"""A decoder of the same size that says the grid cell by cell."""
LIVE, ROLLOUTS = "no average", "rollouts"
"""Read from the weights of `trm`: the last ones instead of the averaged, and the averaged ones with noise."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    clues: int | None = 12
    """Of a 6×6 puzzle; `None`: minimal ones."""
    hints: float = 0.5
    puzzles: int = 1000
    tested: int = 300
    """Unseen puzzles, the same for every arm; each seed has its own."""
    width: int = 48
    heads: int = 4
    T: int = 2
    n: int = 3
    N_sup: int = 8
    longest: int = 16
    """Supervision steps in the examination."""
    steps: int = 600
    batch: int = 32
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    mu: float = 0.99
    K: int = 8
    """Rollouts."""
    sigma: float = 0.3
    """Deviation of their noise."""
    save_every: int = 100


def shapes(plan: Plan) -> dict[str, Shape]:
    """The network of each arm that is trained."""
    whole = Shape(
        vocab=8, cells=36, width=plan.width, heads=plan.heads, round_to=8, prefix=1, T=plan.T, n=plan.n, N_sup=plan.N_sup
    )  # fmt: skip
    direct = replace(whole, answer=False, T=1, n=0, N_sup=1)
    return {
        WHOLE: whole,
        ONE_STEP: replace(whole, through=2),
        SINGLE: replace(whole, answer=False),
        TWO: replace(whole, networks=2),
        ONE_SUP: replace(whole, N_sup=1),
        ATTENTION: replace(whole, mixer=Mixer.ATTENTION),
        DIRECT: direct,
        DEEP: replace(direct, layers=whole.layers * whole.evaluations),
    }


def arms(plan: Plan) -> tuple[str, ...]:
    """Every arm that is trained."""
    return (*shapes(plan), WRITES)


def steps_of(plan: Plan, name: str) -> int:
    """Optimiser steps of an arm: the plan's, or for direct networks as many as the FLOPs of `trm` pay for."""
    held = shapes(plan)
    if name not in (DIRECT, DEEP, WRITES):
        return plan.steps
    row = autoregressive.training_flops(decoder(plan), 36) if name == WRITES else held[name].training_flops()
    return round(plan.steps * held[WHOLE].training_flops() / row)


def decoder(plan: Plan) -> Decoder:
    """The network of `autoregressive`."""
    return autoregressive.network(8, 36, plan.width, plan.heads)


class Read(msgspec.Struct, frozen=True):
    """One arm of one seed: what was trained, and how every test puzzle fared."""

    name: str
    seed: int
    steps: int
    parameters: int
    flops: float
    """Of training."""
    exact: list[str]
    """A line of 0 and 1 for each supervision step: whether each puzzle is wholly right."""
    blanks: list[float]
    """After each supervision step, the mean share of blanks that are right."""
    halt: list[float]
    """The halting head's logit on each puzzle, after as many steps as were trained."""
    first_halt: float
    """Mean step at which the head would first have halted."""

    def right(self, step: int) -> list[float]:
        """Each puzzle after `step` supervision steps, counted from 1; after the last where there are fewer."""
        return [float(mark) for mark in self.exact[min(step, len(self.exact)) - 1]]


def read(name: str, seed: int, shape: Shape, steps: int, batch: int, found: Curve, parameters: int, trained: int) -> Read:
    """An arm's row from the curve of its examination."""
    marks = ["".join(str(int(x)) for x in row) for row in found.exact.tolist()]
    at = min(trained, len(found.halt)) - 1
    return Read(
        name, seed, steps, parameters, shape.training_flops() * batch * steps, marks, found.cells.mean(1).tolist(),
        [round(x, 3) for x in found.halt[at].tolist()], found.first_halt.float().mean().item(),
    )  # fmt: skip


def puzzles_of(plan: Plan, seed: int, path: Path) -> tuple[Puzzles, Puzzles]:
    """Training and test puzzles of a seed, made once."""
    made, world = path / f"puzzles-{seed}.pt", SudokuWorld(6)
    if not made.exists():
        path.mkdir(parents=True, exist_ok=True)
        sets = [make(world, split, count, seed, plan.clues) for split, count in (("train", plan.puzzles), ("test", plan.tested))]
        part = made.with_suffix(".part")
        torch.save([(p.cells, p.solutions) for p in sets], part)
        part.replace(made)
    a, b = (Puzzles(c, s, torch.zeros(len(c), dtype=torch.long)) for c, s in torch.load(made, weights_only=True))
    return a, b


def arm(plan: Plan, name: str, seed: int, path: Path) -> list[Read]:
    """Trains an arm and examines it; goes on from what `path` holds. `trm` gives three rows, the others one."""
    folder = path / f"seed-{seed}-{name.replace(' ', '-').replace(',', '')}"
    stored = folder / "read.json"
    if stored.exists():
        return msgspec.json.decode(stored.read_bytes(), type=list[Read])
    known, test = puzzles_of(plan, seed, path)
    draw, steps = endless(known, SudokuWorld(6).changes), steps_of(plan, name)
    draw = hinted(draw, plan.hints) if plan.hints else draw
    run = open_run(folder, {"arm": name}, resume=True)
    torch.manual_seed(seed)
    rows = [written(plan, seed, steps, draw, test)] if name == WRITES else recursive(plan, name, seed, steps, draw, test, run)
    write_whole(stored, msgspec.json.encode(rows).decode())
    return rows


def written(plan: Plan, seed: int, steps: int, draw: Draw, test: Puzzles) -> Read:
    """Teaches the decoder and asks it for every test puzzle."""
    model = autoregressive.teach(decoder(plan), draw, recipe(plan, steps, seed))
    right, asked = autoregressive.write(model, test) == test.solutions, test.cells != test.solutions
    exact = "".join(str(int(x)) for x in right.all(-1).tolist())
    blanks = ((right & asked).sum(-1) / asked.sum(-1)).mean().item()
    flops = autoregressive.training_flops(model, 36) * plan.batch * steps
    size = sum(p.numel() for p in model.parameters())
    return Read(WRITES, seed, steps, size, flops, [exact], [blanks], [], 1.0)


def recursive(plan: Plan, name: str, seed: int, steps: int, draw: Draw, test: Puzzles, run: Run) -> list[Read]:
    """Trains one of our networks and runs every test puzzle."""
    shape = shapes(plan)[name]
    model = train(TRM(shape), draw, recipe(plan, steps, seed), run)
    size, longest = parameters_of(model), 1 if shape.N_sup == 1 and shape.T == 1 else plan.longest

    def row(as_: str, found: Curve) -> Read:
        return read(as_, seed, shape, steps, plan.batch, found, size, shape.N_sup)

    rows = [row(name, curve(model, test, longest))]
    if name == WHOLE:
        rows.append(row(ROLLOUTS, rollouts(model, test, plan, seed)))
        model.load_state_dict(torch.load(run.path / CHECKPOINT, weights_only=True)["model"])
        rows.append(row(LIVE, curve(model, test, longest)))
    return rows


def recipe(plan: Plan, steps: int, seed: int) -> Recipe:
    """How every arm is trained."""
    return Recipe(
        steps=steps, batch=plan.batch, lr=plan.lr, warmup=plan.warmup, weight_decay=plan.weight_decay, clip_norm=plan.clip_norm, mu=plan.mu,
        log_probs=log_softmax, seed=seed, log_every=plan.save_every, save_every=plan.save_every,
    )  # fmt: skip


def rollouts(model: TRM, test: Puzzles, plan: Plan, seed: int) -> Curve:
    """The best of K rollouts by the halting head, after each step: noise in all but the first."""
    runs = [curve(model, test, plan.N_sup)]
    runs += [curve(model, test, plan.N_sup, sigma=plan.sigma, seed=1000 * seed + k) for k in range(1, plan.K)]
    exact, cells, halt = (torch.stack([getattr(run, part) for run in runs]) for part in ("exact", "cells", "halt"))
    best = torch.stack([chosen(step) for step in halt.unbind(1)])
    return Curve(*(part.gather(0, best[None]).squeeze(0) for part in (exact, cells, halt)))


def trained(plan: Plan) -> Mapping[str, int]:
    """Arm → optimiser steps."""
    return {name: steps_of(plan, name) for name in arms(plan)}
