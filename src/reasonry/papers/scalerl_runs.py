"""ScaleRL's small runs: the recipe, and the recipe with one part exchanged, each trained and examined on held-out problems as it goes.

Invariant: a run is a directory, and a function of (plan, arm, seed). Its step log is one that `reasonry scale-fit` reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from reasonry.core import Budget, Problem, Sampling, Trajectory
from reasonry.core.run import Run, open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.engine.flops import causal_pairs, forward_flops
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.scalerl_found import DAPO, GRPO, NO_FILTER, Curve, Plan
from reasonry.papers.scalerl_task import LONGEST, Sums
from reasonry.solve.single import Single
from reasonry.train.aggregate import trajectory_mean
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Curriculum, Lesson, every_group, no_positive_resampling, only
from reasonry.train.health import Progress, silent
from reasonry.train.loop import STEPS, train
from reasonry.train.objective import Objective
from reasonry.train.recipe import Recipe, WarmCosine, describe
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import rollout
from reasonry.train.surrogate import PPO
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch
from reasonry.train.variants import HIGHER

SAMPLING = Sampling(max_tokens=LONGEST)
ROWS, KV = 128, 16_384
START = "start.json"
WARMUP = 4
"""Updates until the whole learning rate."""


def objective(arm: str) -> Objective:
    """ScaleRL's, or ScaleRL's with the arm's part exchanged."""
    whole = find("scalerl").objective
    if arm == DAPO:
        return replace(whole, surrogate=PPO(HIGHER))
    return replace(whole, aggregate=trajectory_mean) if arm == GRPO else whole


def curriculum(plan: Plan, arm: str) -> Curriculum:
    """Solved problems are not asked again, in every arm; groups that teach nothing stay in one of them."""
    asked = replace(only(1, LONGEST), prompt_filters=(partial(no_positive_resampling, ceiling=plan.drop_above),))
    return replace(asked, group_filter=every_group) if arm == NO_FILTER else asked


def recipe(plan: Plan, arm: str, seed: int) -> Recipe:
    """The same for every arm but for its objective."""
    return Recipe(
        objective=objective(arm), lr=plan.lr, steps=plan.updates, schedule=WarmCosine(WARMUP, plan.updates, floor=1.0),
        weight_decay=0.01, prompts=plan.prompts, group=plan.group, updates=plan.passes, save_every=plan.every, seed=seed,
        part_tokens=1 << 17,
    )  # fmt: skip


def policy(folder: Path) -> LocalLM:
    """The start, to be trained."""
    return LocalLM(load_decoder(folder, torch.float32), Tokenizer.load(folder), "policy", max_rows=ROWS, kv_tokens=KV)


async def pass_rate(plan: Plan, lm: LocalLM, problems: Sequence[Problem], seed: int) -> float:
    """mean@k: the share of right answers among k attempts at each problem."""
    right: list[bool] = []
    async for group in rollout(Single(lm, SAMPLING), Sums(), problems, Budget(completion_tokens=LONGEST), plan.attempts, seed):
        right += [t.verdict is not None and t.verdict.passed is True for t in group.trajectories]
    return sum(right) / len(right)


class Ledger:
    """Adds up FLOPs for every step's record: of sampling all attempts, and of the updates (a backward pass counts as two forward ones)."""

    def __init__(self, lm: LocalLM, passes: int) -> None:
        self._config, self._passes = lm.decoder.config, passes
        self.sampled, self._learned = 0.0, 0.0

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens as they are; counts what learning from them takes."""
        rows = [len(row.ids) for row in batch.rows]
        once = forward_flops(self._config, sum(rows), sum(causal_pairs(n, 0) for n in rows), batch.tokens.segment.numel())
        self._learned += 3 * self._passes * once
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """The sum so far."""
        return {"spent_flops": self.sampled + self._learned}

    def state_dict(self) -> dict[str, Any]:
        """Both sums."""
        return {"sampled": self.sampled, "learned": self._learned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back."""
        self.sampled, self._learned = state["sampled"], state["learned"]


@dataclass(frozen=True)
class Metered:
    """`single`, whose FLOPs go to a ledger."""

    single: Single
    ledger: Ledger
    name: str = "single"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt."""
        t = await self.single(problem, budget, seed)
        self.ledger.sampled += t.cost.flops
        return t


async def curve(plan: Plan, begin: Path, path: Path, arm: str, seed: int, told: Progress = silent) -> Curve:
    """Trains one arm, from where an earlier run stopped, and returns what its log says."""
    task, plain = Sums(), recipe(plan, arm, seed)
    run = open_run(path, {**describe(plain), **asdict(plan), "arm": arm}, resume=True)
    problems = task.problems("train", plan.train_problems, seed)
    held_out = task.problems(plan.split, plan.problems, seed)
    async with policy(begin) as lm:
        ledger = Ledger(lm, plan.passes)
        solver = Metered(Single(lm, SAMPLING), ledger)

        async def validate() -> float:
            """On the same problems every time, with random numbers of its own: evaluations are independent."""
            return await pass_rate(plan, lm, held_out, inner_seed(seed, sum(1 for _ in run.lines(STEPS))))

        if not (run.path / START).exists():  # before the first update: R_0
            run.write(START, json.dumps(await validate()))
        await train(lm, solver, task, curriculum(plan, arm), {1: problems}, plain, run, beside=[ledger], validate=validate, progress=told)
    return read_curve(run, arm, seed)


def read_curve(run: Run, arm: str, seed: int) -> Curve:
    """The evaluations of a finished run, R_0 the first; also written as `curve.jsonl`, which `reasonry scale-fit` reads."""
    records = [json.loads(line) for line in run.lines(STEPS)]
    begin = {"tokens": 0, "spent_flops": 0.0, "validation": json.loads((run.path / START).read_text())}
    rows = [begin, *({k: r.get(k) for k in (*begin, "truncated")} for r in records if "validation" in r)]
    run.write("curve.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    flops = max((r.get("spent_flops", 0.0) for r in records), default=0.0)
    truncated, alike, used = (fmean(r[name] or 0.0 for r in records) for name in ("truncated", "zero_variance", "learned"))
    return Curve(arm, seed, tuple(row["tokens"] for row in rows), tuple(row["validation"] for row in rows), truncated, alike, used, flops)
