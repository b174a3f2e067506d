"""Trains the toy model in a directory, killed on the way as often as asked: `train_toy.py DIRECTORY KILLS SEED`; prints the weights' hash.

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
from dataclasses import replace
from functools import partial
from pathlib import Path

from toy_lm import Digits, toy_lm

from reasonry.core import Run, open_run
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, ramp
from reasonry.train.health import Progress, Record, silent
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe

RECIPE = Recipe(objective=find("clip-cov").objective, lr=3e-3, steps=8, prompts=3, group=4, updates=2, save_every=2, seed=7)


async def run_toy(run: Run, recipe: Recipe, spec: str = "self-consistency?k=2&max_tokens=3", progress: Progress = silent) -> str:
    """Trains with two stages of digits; returns the hash of the weights."""
    task = Digits()
    ten = task.problems()
    curriculum = replace(ramp(2, 2, 1, steps_per_stage=4), group_filter=every_group)
    async with toy_lm() as lm:
        await train(lm, build_solver(spec, lm, task), task, curriculum, {1: ten[:5], 2: ten[5:]}, recipe, run, progress=progress)
        weights = b"".join(p.detach().numpy().tobytes() for p in lm.decoder.parameters())
    return hashlib.sha256(weights).hexdigest()


def main() -> None:
    """See the module."""
    path, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    resumed = []
    while True:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            run = open_run(path, describe(RECIPE), resume=True)
            run.write("digest", asyncio.run(run_toy(run, RECIPE, progress=partial(_tell, writer))))
            os._exit(0)
        os.close(writer)
        steps: list[int] = []
        wanted = rng.randint(0, 3) if kills else RECIPE.steps
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
