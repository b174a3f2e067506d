"""Trains the toy model with two processes, as `torchrun` would start them: `train_team.py DIRECTORY KIND …`; writes what it got there.

KIND, any number of them, is a name in `RECIPES`. Then `adamw` once more, stopped after two steps and resumed, into `stopped`. The same
recipes, trained by one process, are what the test compares with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from toy_lm import TELLING, Digits, toy_lm

from reasonry.core import Budget, Problem, Solver, Trajectory, open_run
from reasonry.lm.decoder import Decoder
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only
from reasonry.train.distributed import Team, team
from reasonry.train.health import Record
from reasonry.train.loop import frozen_copy
from reasonry.train.lora import LoRA
from reasonry.train.recipe import Recipe, describe


def descent(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Plain gradient descent with momentum: what differs in a gradient differs as much in a weight."""
    return [torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=lr, momentum=0.5)]


GRPO = Recipe(objective=find("grpo").objective, lr=0.1, steps=3, prompts=3, group=4, save_every=2, reward=TELLING, optimizer=descent)
RECIPES = {
    "parts": replace(GRPO, part_tokens=1, updates=2),
    "one prompt": replace(GRPO, prompts=1),
    "adamw": replace(GRPO, lr=1e-3, optimizer=Recipe.optimizer),
    "lora": replace(GRPO, lr=1e-2, optimizer=LoRA(4)),
}
"""Three prompts for two processes make rounds in which one has nothing to do; one prompt leaves one without any."""


@dataclass(frozen=True)
class Shaky:
    """A solver that fails now and then."""

    solver: Solver
    name: str = "shaky"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        if seed % 5 == 0:
            raise ConnectionError("no line")
        return await self.solver(problem, budget, seed)


async def run_team(t: Team, path: Path, recipe: Recipe, stop: int | None = None) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Trains; returns all weights as they are on this process, and the records."""
    task, told = Digits(), list[dict[str, Any]]()

    def tell(record: Record) -> None:
        told.append(dict(record))

    recipe = recipe if stop is None else replace(recipe, steps=stop)
    scores = count(1)

    async def disputed() -> float:
        """To the first process it gets worse, to the second better."""
        return float(next(scores) * (1 if t.rank else -1))

    validate = disputed if recipe.prompts == 1 else None
    run = t.first_opens(lambda: open_run(path, {**describe(replace(recipe, steps=3)), "optimizer": "-"}, resume=True))
    async with toy_lm() as lm:
        solver = Shaky(build_solver("single?max_tokens=3", lm, task))
        reference, curriculum = frozen_copy(lm.decoder), replace(only(1, 3), group_filter=every_group)
        more = {"reference": reference, "validate": validate, "progress": tell}
        await t.train(lm, solver, task, curriculum, {1: task.problems("train", 5)}, recipe, run, **more)
        return {n: p.detach().clone() for n, p in lm.decoder.named_parameters()}, told


def main() -> None:
    """See the module."""
    folder = Path(sys.argv[1])
    with team(cpu=True) as t:
        for kind in sys.argv[2:]:
            weights, told = asyncio.run(run_team(t, folder / kind / "run", RECIPES[kind]))
            torch.save(weights, folder / kind / f"weights-{t.rank}.pt")
            (folder / kind / f"records-{t.rank}.json").write_text(json.dumps(told))
        asyncio.run(run_team(t, folder / "stopped" / "run", RECIPES["adamw"], stop=2))
        weights, _ = asyncio.run(run_team(t, folder / "stopped" / "run", RECIPES["adamw"]))
        torch.save(weights, folder / "stopped" / f"weights-{t.rank}.pt")


if __name__ == "__main__":
    main()
