"""Trains the toy model with two processes, as `torchrun` would start them: `train_team.py DIRECTORY KIND …`; writes what it got there.

KIND, any number of them, is a name in `RECIPES`. Then `hero` once more, stopped after two steps and resumed, into `stopped`; and phrases
mined before the first step, into `grams`, by processes that would each find others. The same recipes, trained by one process, are what the
test compares with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from toy_lm import TELLING, Digits, toy_lm

from reasonry.core import Budget, Cost, Message, Problem, Solver, Stop, Trajectory, open_run
from reasonry.lm.decoder import Decoder
from reasonry.lm.scorer import Scores
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only
from reasonry.train.distributed import Team, team
from reasonry.train.health import Record
from reasonry.train.hero import Hero, VarianceWeight, scored_by
from reasonry.train.loop import frozen_copy
from reasonry.train.lora import LoRA
from reasonry.train.planned import planned
from reasonry.train.planning import Given, Strategic
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward
from reasonry.train.settings import Settings, read


def descent(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Plain gradient descent with momentum: what differs in a gradient differs as much in a weight."""
    return [torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=lr, momentum=0.5)]


class Sums:
    """A scorer: the digits of an answer, added up."""

    name = "sums"

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        return Scores(tuple(float(sum(int(c) for c in answer if c.isdigit())) for answer in answers), Cost())


HERO = Hero(scale="relative")
PAID = Reward((*TELLING.signals, scored_by(Sums())), HERO)
GRPO = Recipe(objective=find("grpo").objective, lr=0.1, steps=3, prompts=3, group=4, save_every=2, reward=TELLING, optimizer=descent)
RECIPES = {
    "parts": replace(GRPO, part_tokens=1, updates=2),
    "one prompt": replace(GRPO, prompts=1),
    "mini-batches": replace(GRPO, minibatches=2, updates=2),
    "adamw": replace(GRPO, lr=1e-3, optimizer=Recipe.optimizer),
    "lora": replace(GRPO, lr=1e-2, optimizer=LoRA(4)),
    "hero": replace(GRPO, objective=HERO.objective(GRPO.objective), lr=1e-3, optimizer=Recipe.optimizer, reward=PAID),
    "hicra": replace(GRPO, objective=find("hicra").objective, enrich=Given(lambda s: [i % 2 == 0 for i in range(len(s.ids or ()))])),
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
        beside = [VarianceWeight(HERO)] if recipe.reward == PAID else []
        more = {"reference": reference, "beside": beside, "validate": validate, "progress": tell}
        await t.train(lm, solver, task, curriculum, {1: task.problems("train", 5)}, recipe, run, **more)
        return {n: p.detach().clone() for n, p in lm.decoder.named_parameters()}, told


@dataclass(frozen=True)
class Phrases:
    """Says a phrase of its own, and is right."""

    phrase: str
    name: str = "phrases"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        return Trajectory(problem.id, (), f"{problem.answer} {self.phrase}", Stop.EOS)


async def mined(t: Team, path: Path) -> dict[str, Any]:
    """What `planning = "extract"` takes for this process's grams, and whether a rating is agreed upon."""
    s = read(Settings, {"model": "pocket-1m", "task": "word", "planning": "extract", "objective": "hicra"})
    task, run = Digits(), t.first_opens(lambda: open_run(path, {}, resume=True))
    phrase = ("first of all work backwards", "let me try something else")[t.rank]
    async with toy_lm() as lm:
        work = partial(planned, s, GRPO, lm, Phrases(phrase), task, {1: task.problems("train", 6)}, run)
        recipe, _ = await t.first_does(work)
    assert isinstance(recipe.enrich, Strategic)

    async def rate(number: int) -> int:
        return number + t.rank

    return {"said": phrase, "grams": sorted(recipe.enrich.grams.index), "rated": await t.first_says(rate)(7)}


def main() -> None:
    """See the module."""
    folder = Path(sys.argv[1])
    with team(cpu=True) as t:
        for kind in sys.argv[2:]:
            weights, told = asyncio.run(run_team(t, folder / kind / "run", RECIPES[kind]))
            torch.save(weights, folder / kind / f"weights-{t.rank}.pt")
            (folder / kind / f"records-{t.rank}.json").write_text(json.dumps(told))
        asyncio.run(run_team(t, folder / "stopped" / "run", RECIPES["hero"], stop=2))
        weights, _ = asyncio.run(run_team(t, folder / "stopped" / "run", RECIPES["hero"]))
        torch.save(weights, folder / "stopped" / f"weights-{t.rank}.pt")
        (folder / f"grams-{t.rank}.json").write_text(json.dumps(asyncio.run(mined(t, folder / "grams"))))


if __name__ == "__main__":
    main()
