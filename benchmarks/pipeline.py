"""Asynchronous training beside the loop that does one thing after the other: score, answers a second, idle shares, staleness, in one run.

    python benchmarks/pipeline.py [--seeds 2,3] [--steps 100] [--lr 3e-4]

A model of 90 thousand weights, taught sums of three numbers whose steps it often only estimates (the task of ScaleRL's small runs), learns
by ScaleRL's objective (CISPO with the ratio over the sampler) to work them out. Ways: the loop (sample, then learn); sampling ahead in the
same process (k = 8); sampling on two Ray workers in lockstep (k = 0) and ahead (k = 2 and 8). Every way makes the same number of updates
from the same number of answers, from the same start, once for each seed; every process computes with one thread. The learning rate is the
one that ScaleRL's small runs chose. A first measurement, with seeds 0 and 1, was made at a rate of `FASTER`, where the policy swings and
k = 8 falls behind; so the seeds here are others, and the loop and k = 8 are measured at that rate too.

One JSON line per way, and one for the start. `score`: test problems passed at temperature 1, the mean over problems and seeds; `low`,
`high`: its 95 % bootstrap interval over problems. `against_loop`: the paired difference to the loop with its interval, problem by problem.
`answers_per_second` is between the first and the last step's end, so that starting Ray and filling the pipeline are outside; medians over
seeds. Idle shares are means over steps: of the trainer, time waiting for a batch; of the samplers, time in which a worker had nothing to
attempt (in the loop: the time of the update). Three processes share this machine's cores, so the figures of two workers are a lower bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reasonry.core import Budget, Run, open_run
from reasonry.core.run import machine
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.scalerl_task import LONGEST, Sums, start
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import only
from reasonry.train.health import Record
from reasonry.train.loop import train
from reasonry.train.pipeline.actors import Cluster, Kit, connect
from reasonry.train.pipeline.driver import Pipeline
from reasonry.train.pipeline.local import Here
from reasonry.train.recipe import Recipe, WarmCosine, describe
from reasonry.train.rollout import rollout

TASK = Sums()
SPEC = f"single?max_tokens={LONGEST}"
PROMPTS, G, ROWS = 16, 8, 128
WARMUP = 4
LR, FASTER = 3e-4, 1e-3
AGAIN = ("loop", "ahead, two Ray workers, k = 8")
"""What is measured at the higher rate too."""
TAUGHT = 300
"""Supervised steps of the start."""
TRAINING, TESTED, ATTEMPTS = 1000, 160, 4
"""Problems, and how often each test problem is attempted."""
Sampler = Callable[[LocalLM], Pipeline | None]


def kit(folder: Path) -> Kit:
    """A worker's model, solver and task."""
    torch.set_num_threads(1)
    lm = load_lm(str(folder), "cpu", torch.float32, max_rows=ROWS)
    return Kit(lm, build_solver(SPEC, lm, TASK), TASK)


def ways(folder: Path) -> dict[str, tuple[int | None, int, Sampler]]:
    """Name -> k, workers, and what makes the sampler."""

    def here(lm: LocalLM) -> Pipeline:
        return Pipeline(Here(lm, build_solver(SPEC, lm, TASK), TASK), 8)

    def on_ray(k: int, lm: LocalLM) -> Pipeline:
        return Pipeline(Cluster(partial(kit, folder), ROWS), k, workers=2)

    return {
        "loop": (None, 0, lambda lm: None),
        "ahead, one process": (8, 0, here),
        "lockstep, two Ray workers": (0, 2, partial(on_ray, 0)),
        "ahead, two Ray workers, k = 2": (2, 2, partial(on_ray, 2)),
        "ahead, two Ray workers, k = 8": (8, 2, partial(on_ray, 8)),
    }


@dataclass(frozen=True)
class Seen:
    """One run of a way."""

    passed: list[float]
    """Share of the attempts at each test problem."""
    rate: float
    records: list[Record]


async def measured(folder: Path, sampler: Sampler, steps: int, lr: float, seed: int, path: Path) -> Seen:
    """Trains and tests."""
    stamps: list[float] = []
    recipe = Recipe(
        objective=find("scalerl").objective, lr=lr, steps=steps, prompts=PROMPTS, group=G, schedule=WarmCosine(WARMUP, steps, 1.0),
        save_every=steps, seed=seed,
    )  # fmt: skip
    run: Run = open_run(path, describe(recipe), resume=False)
    lm = load_lm(str(folder), "cpu", torch.float32, max_rows=ROWS)
    assert isinstance(lm, LocalLM)
    async with lm:
        solver = build_solver(SPEC, lm, TASK)
        problems = {1: TASK.problems("train", TRAINING)}
        await train(
            lm, solver, TASK, only(1, LONGEST), problems, recipe, run, sampler=sampler(lm),
            progress=lambda record: stamps.append(time.perf_counter()),
        )  # fmt: skip
        passed = await tested(lm)
    records = [json.loads(line) for line in run.lines("steps")]
    return Seen(passed, (steps - 1) * PROMPTS * G / (stamps[-1] - stamps[0]), records)


def interval(values: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """The mean of a value per problem, with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (4000, len(values)))].mean(1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def average(runs: list[Seen], key: str) -> float | None:
    """Of a monitor over the steps that have it, all but the first."""
    found = [r[key] for run in runs for r in run.records[1:] if r.get(key) is not None]
    return round(statistics.fmean(found), 4) if found else None


def idle(runs: list[Seen], k: int | None) -> dict[str, float | None]:
    """Shares of the time."""
    if k is not None:
        return {"trainer_idle": average(runs, "trainer_idle"), "sampler_idle": average(runs, "sampler_idle")}
    sampling, learning = average(runs, "seconds_sampling") or 0.0, average(runs, "seconds_learning") or 0.0
    return {"trainer_idle": round(sampling / (sampling + learning), 4), "sampler_idle": round(learning / (sampling + learning), 4)}


async def tested(lm: LocalLM) -> list[float]:
    """The share of its attempts that pass, for every test problem."""
    solver = build_solver(SPEC, lm, TASK)
    done = {g.index: g async for g in rollout(solver, TASK, TASK.problems("test", TESTED), Budget(), ATTEMPTS, 7)}
    return [statistics.fmean(bool(t.verdict and t.verdict.passed) for t in done[i].trajectories) for i in range(TESTED)]


async def at_start(folder: Path) -> list[float]:
    """The start, tested."""
    lm = load_lm(str(folder), "cpu", torch.float32, max_rows=ROWS)
    assert isinstance(lm, LocalLM)
    async with lm:
        return await tested(lm)


def scored(passed: np.ndarray[Any, Any]) -> dict[str, float]:
    """A score with its interval."""
    score, low, high = interval(passed)
    return {"score": round(score, 4), "low": round(low, 4), "high": round(high, 4)}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="2,3", help="separated by commas")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=LR, help="that of ScaleRL's small runs")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    torch.set_num_threads(1)
    import ray

    with tempfile.TemporaryDirectory() as scratch:
        folder = start(Path(scratch) / "start", TAUGHT)
        connect()
        runs_of: dict[tuple[float, str], list[Seen]] = {}
        each = ways(folder)
        for seed in seeds:
            for i, (lr, name) in enumerate([*((args.lr, name) for name in each), *((FASTER, name) for name in AGAIN)]):
                seen = asyncio.run(measured(folder, each[name][2], args.steps, lr, seed, Path(scratch) / f"{seed}-{i}"))
                runs_of.setdefault((lr, name), []).append(seen)
                print(f"# seed {seed}, lr {lr:g}, {name}: {np.mean(seen.passed):.3f} passed, {seen.rate:.0f} answers/s", flush=True)
        ray.shutdown()
        common = {"what": "asynchronous training", "seeds": seeds, "steps": args.steps, "machine": machine()}
        print(json.dumps({**common, "way": "start", "steps": 0, **scored(np.array(asyncio.run(at_start(folder))))}), flush=True)
        for (lr, name), runs in runs_of.items():
            k, workers, _ = each[name]
            loop, passed = runs_of[lr, "loop"], np.mean([run.passed for run in runs], 0)
            rate = statistics.median(run.rate for run in runs)
            row = {
                **common, "way": name, "k": k, "workers": workers, "lr": lr, "answers": args.steps * PROMPTS * G, **scored(passed),
                "against_loop": [round(x, 4) for x in interval(passed - np.mean([run.passed for run in loop], 0))],
                "answers_per_second": round(rate, 1), "ratio": round(rate / statistics.median(run.rate for run in loop), 2),
                **idle(runs, k), "staleness": average(runs, "staleness"),
                "staleness_max": max((r.get("staleness_max", 0) for run in runs for r in run.records), default=0),
                "versions": average(runs, "versions"), "ess": average(runs, "ess"), "mismatch": average(runs, "mismatch"),
                "clip_share": average(runs, "clip_share"),
            }  # fmt: skip
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
