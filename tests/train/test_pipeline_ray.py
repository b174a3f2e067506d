"""The pipeline on Ray: two processes sample for the trainer, and what is killed costs its unfinished groups and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_lm as toy
from toy_lm import TELLING, Digits, toy_lm

from reasonry.core import Budget, Problem, Solver, Trajectory, open_run
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only
from reasonry.train.health import Progress, silent
from reasonry.train.loop import train
from reasonry.train.pipeline.actors import Cluster, Kit, connect
from reasonry.train.pipeline.driver import Pipeline
from reasonry.train.recipe import Recipe

ray = pytest.importorskip("ray", reason="sampling on other processes needs Ray: pip install 'reasonry[ray]'")

CURRICULUM = replace(only(1, 6), group_filter=every_group)
RECIPE = Recipe(objective=find("cispo").objective, lr=0.01, steps=6, prompts=3, group=4, reward=TELLING, save_every=3)


@dataclass(frozen=True)
class Slow:
    """A solver that takes its time, so that a kill finds it at work."""

    solver: Solver
    name: str = "slow"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        await asyncio.sleep(0.3)
        return await self.solver(problem, budget, seed)


def kit(lm: LocalLM) -> Kit:
    return Kit(lm, build_solver("single?max_tokens=6", lm, Digits()), Digits())


def quick() -> Kit:
    return kit(toy_lm())


def slow() -> Kit:
    made = quick()
    return replace(made, solver=Slow(made.solver))  # type: ignore[arg-type]  # a solver, as it was


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Ray for all tests of this file; the toy travels by value, for workers cannot import a test."""
    import sys

    for module in (toy, sys.modules[__name__]):
        ray.cloudpickle.register_pickle_by_value(module)
    assert connect()
    yield
    ray.shutdown()


async def learnt(
    path: Path, pipeline: Pipeline | None, recipe: Recipe = RECIPE, progress: Progress = silent
) -> tuple[Decoder, list[dict[str, Any]]]:
    run = open_run(path, {}, resume=True)
    async with toy_lm() as lm:
        problems = {1: Digits().problems()}
        await train(lm, kit(lm).solver, Digits(), CURRICULUM, problems, recipe, run, progress=progress, sampler=pipeline)  # type: ignore[arg-type]
        return lm.decoder, [json.loads(line) for line in run.lines("steps")]


async def test_lockstep_on_two_workers_is_the_ordinary_loop(tmp_path: Path) -> None:
    """Weights go out and attempts come back to the last bit."""
    plain, _ = await learnt(tmp_path / "plain", None)
    host = Cluster(quick, rows=8)
    there, _ = await learnt(tmp_path / "ray", Pipeline(host, 0, workers=2))
    assert all(torch.equal(x, y) for x, y in zip(plain.parameters(), there.parameters(), strict=True))
    assert len({worker.pid for worker in host.workers} - {os.getpid()}) == 2


@pytest.mark.slow
async def test_killed_workers_cost_their_unfinished_groups_and_nothing_else(tmp_path: Path) -> None:
    """One by the system, one by Ray, both at work; each is replaced, and every update is made, from groups no older than k."""
    host = Cluster(slow, rows=8)

    def kill(record: Any) -> None:
        if record["step"] == 1:
            os.kill(host.workers[0].pid, signal.SIGKILL)
        if record["step"] == 3:
            ray.kill(host.workers[1].handle)

    _, told = await learnt(tmp_path / "run", Pipeline(host, 2, workers=2), replace(RECIPE, steps=10), kill)
    assert [r["step"] for r in told] == list(range(10))
    assert all(r["learned"] == 3 for r in told)
    assert 1 <= max(r["staleness_max"] for r in told) <= 2
    assert 1 <= told[-1]["asked_again"] <= 2 * 9
    assert len(host.workers) >= 3, "the last to be started may not have come before the end"


@pytest.mark.slow
async def test_a_mistake_in_a_worker_s_making_is_named(tmp_path: Path) -> None:
    def broken() -> Kit:
        raise FileNotFoundError("no such checkpoint")

    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        await learnt(tmp_path / "run", Pipeline(Cluster(broken, rows=8), 1))
