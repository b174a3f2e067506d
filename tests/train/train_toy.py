"""Trains the toy model in a directory, killed on the way as often as asked: `train_toy.py DIRECTORY KILLS SEED`; prints the weights' hash.

Each try is a forked child, so the libraries are loaded once; a kill is `SIGKILL` after a random time, and the next child resumes.
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
from pathlib import Path

from toy_lm import Digits, toy_lm

from reasonry.core import Run, open_run
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, ramp
from reasonry.train.health import Progress, silent
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe

RECIPE = Recipe(objective=find("clip-cov").objective, lr=3e-3, steps=10, prompts=4, group=4, updates=2, save_every=3, seed=7)


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

    def attempt() -> None:
        def slow(record: object) -> None:
            time.sleep(0.01)

        run = open_run(path, describe(RECIPE), resume=True)
        digest = asyncio.run(run_toy(run, RECIPE, progress=slow))
        run.write("digest", digest)

    while True:
        child = os.fork()
        if child == 0:
            attempt()
            os._exit(0)
        if kills:
            kills -= 1
            began, steps = time.monotonic(), path / "steps.jsonl"
            while not steps.exists() and time.monotonic() - began < 60:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.6)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL:
            print((path / "digest").read_text() if code == 0 else "")
            sys.exit(code)


if __name__ == "__main__":
    main()
