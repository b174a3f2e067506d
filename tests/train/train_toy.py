"""Trains the toy model in a directory, killed on the way as often as asked: `train_toy.py DIRECTORY KILLS SEED LAG`; prints its hash.

Each try is a forked child, so the libraries are loaded once; a kill is `SIGKILL` at a random time after a random number of steps, and the
next child resumes. Printed too: how many kills were left over, and the latest step that a try began with.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from toy_lm import Digits, toy_lm

from reasonry.core import Run, open_run
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Lesson, every_group, ramp
from reasonry.train.health import Progress, Record, silent
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Rewarded
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

RECIPE = Recipe(objective=find("clip-cov").objective, lr=3e-3, steps=20, prompts=3, group=4, updates=2, save_every=2, seed=7)

AHEAD = replace(RECIPE, lag=1, save_every=3)


class Memory:
    """A companion with a state that reaches the policy: a running mean of rewards, given as every attempt's baseline."""

    def __init__(self) -> None:
        self.mean = 0.0

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        return replace(batch.tokens, reward=batch.tokens.reward - self.mean * batch.tokens.prompt)

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        self.mean = 0.5 * self.mean + 0.5 * float(batch.tokens.reward.mean())
        return {"memory": self.mean}

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean = state["mean"]


async def run_toy(run: Run, recipe: Recipe, spec: str = "self-consistency?k=2&max_tokens=3", progress: Progress = silent) -> str:
    """Trains with two stages of digits, a companion and a validation that likes some weights better; returns the hash of the weights."""
    task = Digits()
    ten = task.problems()
    curriculum = replace(ramp(2, 2, 1, steps_per_stage=10), group_filter=every_group)
    async with toy_lm() as lm:

        async def validate() -> float:
            return float(lm.decoder.embed_tokens.weight.detach().double().sum().sin())

        problems, solver = {1: ten[:5], 2: ten[5:]}, build_solver(spec, lm, task)
        await train(lm, solver, task, curriculum, problems, recipe, run, None, [Memory()], validate, progress)
        weights = b"".join(p.detach().numpy().tobytes() for p in lm.decoder.parameters())
    return hashlib.sha256(weights).hexdigest()


def main() -> None:
    """See the module."""
    path, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    recipe = (RECIPE, AHEAD)[int(sys.argv[4])]
    resumed = []
    while True:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            run = open_run(path, describe(recipe), resume=True)
            run.write("digest", asyncio.run(run_toy(run, recipe, progress=partial(_tell, writer))))
            os._exit(0)
        os.close(writer)
        steps: list[int] = []
        wanted = rng.randint(0, 3) if kills else recipe.steps
        while len(steps) < wanted and (told := os.read(reader, 1)):
            steps += told
        resumed += steps[:1]
        if kills:
            kills -= 1
            time.sleep(rng.random() * 0.1)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(reader)
        if code != -signal.SIGKILL:
            print((path / "digest").read_text() if code == 0 else "", kills, max(resumed))
            sys.exit(code)


def _tell(writer: int, record: Record) -> None:
    os.write(writer, bytes([record["step"]]))


if __name__ == "__main__":
    main()
