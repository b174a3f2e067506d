"""The staleness experiment: the same problems, random numbers and updates, sampled by weights up to k updates old, with ρ and without.

In-flight staleness is `train.pipeline.double`'s: every answer is begun by weights k updates old, and goes on with newer ones over the keys
and values of the old.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import msgspec

from reasonry.core import Budget
from reasonry.core.run import open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.local import LocalLM
from reasonry.papers.scalerl_found import SCALERL, Plan, Stale
from reasonry.papers.scalerl_runs import SAMPLING, curriculum, policy, recipe
from reasonry.papers.scalerl_task import LONGEST, Sums
from reasonry.solve.single import Single
from reasonry.train.health import Progress, silent
from reasonry.train.loop import STEPS, train
from reasonry.train.pipeline.double import Stale as InFlight
from reasonry.train.ratio import Ratio, itself, per_token
from reasonry.train.recipe import Recipe, describe
from reasonry.train.rollout import rollout

ANSWER = 8
"""Tokens of the longest demonstration: over as many the weights grow up to the newest."""


def stale_recipe(plan: Plan, corrected: bool, seed: int) -> Recipe:
    """ScaleRL's with one optimiser step on each batch, so that what is old is old by k alone; `corrected` false: ρ is 1."""
    plain = recipe(plan, SCALERL, seed)
    ratio = plain.objective.ratio if corrected else Ratio(per_token, itself)
    return replace(
        plain, objective=replace(plain.objective, ratio=ratio), steps=plan.stale_updates, updates=1, lr=plan.stale_lr,
        save_every=plan.stale_updates,
    )  # fmt: skip


async def stale(plan: Plan, begin: Path, path: Path, k: int, corrected: bool, seed: int, told: Progress = silent) -> Stale:
    """Trains one arm, from where an earlier run stopped, and examines what it ends with; done once, kept in `path`."""
    plain, task, kept = stale_recipe(plan, corrected, seed), Sums(), path / "stale.json"
    run = open_run(path, {**describe(plain), **asdict(plan), "k": k}, resume=True)
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Stale)
    problems = task.problems("train", plan.train_problems, seed)
    async with policy(begin) as lm:
        beside = InFlight(lm, k, ANSWER)
        await train(lm, Single(lm, SAMPLING), task, curriculum(plan, SCALERL), {1: problems}, plain, run, beside=[beside], progress=told)
        beside.close()
        rates = await examined(plan, lm, seed)
    steps = [r for line in run.lines(STEPS) if "staleness" in (r := json.loads(line))]
    mean, most, versions, ratio = ([r[name] for r in steps] for name in ("staleness", "staleness_max", "versions", "ratio_max"))
    found = Stale(
        k, corrected, seed, rates, fmean(mean or [0.0]), int(max(most, default=0)), fmean(versions or [0.0]), max(ratio, default=1.0)
    )
    run.write(kept.name, msgspec.json.encode(found).decode())
    return found


async def examined(plan: Plan, lm: LocalLM, seed: int) -> dict[str, float]:
    """Held-out problem -> share of right answers; every arm gets the same problems and random numbers."""
    rates: dict[str, float] = {}
    held_out = Sums().problems(plan.split, plan.problems, seed)
    budget, solver = Budget(completion_tokens=LONGEST), Single(lm, SAMPLING)
    async for group in rollout(solver, Sums(), held_out, budget, plan.attempts, inner_seed(seed, -1)):
        rates[group.problem.id] = fmean(float(t.verdict is not None and t.verdict.passed is True) for t in group.trajectories)
    return rates
