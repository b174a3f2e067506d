"""The arms of h1's experiment: orders of practice, each trained with the same Dr.GRPO until it has sampled the same number of tokens.

Invariant: an arm is its own run directory and a function of (plan, seed, arm). Arms share nothing but the start model, so they may run in
any order and in several processes; each goes on from its last checkpoint.

Dr.GRPO divides by a constant length. It is one number here, the limit of the longest trained chains, for all arms and stages: a constant
that grew with the stage would shrink the later stages' gradients, and one that differed between arms would be a difference between arms.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
import msgspec

from reasonry.core import Budget, Problem, Run, Sampling, Trajectory, open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.h1_findings import CONTROL, LONG, MIX, RAMP, SHORT, START, Arm, Draws, Plan, Row, Step
from reasonry.papers.h1_task import chains
from reasonry.solve.single import Single
from reasonry.tasks.judges import hash_answer
from reasonry.train.aggregate import Constant
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Curriculum, mix, only, ramp
from reasonry.train.health import Record
from reasonry.train.loop import STEPS, train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward, Signals
from reasonry.train.rollout import CUT, rollout

TASK = chains(1)
"""Judges answers to chains of any length."""
TOLD_EVERY = 10.0
"""Seconds between two lines about an arm's progress."""


def limit(plan: Plan, h: int) -> int:
    """Tokens one answer to a chain of `h` may have."""
    return plan.base_tokens + plan.step_tokens * h


def arms(plan: Plan) -> dict[str, Curriculum]:
    """The orders of practice. All but the curriculum have the longest limit from the first step on that any of their chains needs."""
    longest = limit(plan, plan.H)
    every = mix(dict.fromkeys(range(1, plan.H + 1), 1.0), longest)
    return {
        RAMP: ramp(plan.H, plan.base_tokens, plan.step_tokens, None, plan.steps_per_stage),
        LONG: only(plan.H, longest),
        SHORT: only(1, limit(plan, 1)),
        MIX: every,
        CONTROL: every,
    }


def coin(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
    """A reward that knows nothing of the answer."""
    flips = random.Random(f"{problem.id}/{group[0].segments[0].policy_version}")
    return [{"score": float(flips.random() < 0.5)} for _ in group]


def recipe(plan: Plan, arm: str, seed: int) -> Recipe:
    """The same for all arms but for the control's reward; `steps` is the end of the first slice."""
    return Recipe(
        objective=replace(find("dr-grpo").objective, aggregate=Constant(limit(plan, plan.H))), lr=plan.lr, steps=plan.every,
        prompts=plan.prompts, group=plan.G, save_every=plan.every, seed=seed, reward=Reward((coin,)) if arm == CONTROL else Reward(),
    )  # fmt: skip


def budget(plan: Plan, arm: str) -> int:
    """Tokens an arm may sample."""
    return plan.control_tokens if arm == CONTROL else plan.tokens


async def arm(plan: Plan, name: str, seed: int, begin: Path, path: Path) -> Arm:
    """Trains (unless it is the start itself) and examines one arm; done once, its result is kept in `path`."""
    kept = path / "arm.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Arm)
    run = open_run(path, {"plan": asdict(plan), "arm": name, "seed": seed, "recipe": describe(recipe(plan, name, seed))}, resume=True)
    lm = load_lm(str(begin), max_rows=plan.prompts * plan.G)
    assert isinstance(lm, LocalLM)
    async with lm:
        log = [] if name == START else await practise(plan, arms(plan)[name], recipe(plan, name, seed), budget(plan, name), lm, run)
        found = Arm(name, seed, log, await examined(plan, lm, name, seed), await drawn(plan, lm, name, seed))
    run.write(kept.name, msgspec.json.encode(found).decode())
    return found


async def practise(plan: Plan, curriculum: Curriculum, plain: Recipe, end: int, lm: LocalLM, run: Run) -> list[Step]:
    """Trains `lm` until `end` tokens are sampled; in the end it is the best checkpoint of the last stage, by validation.

    The loop counts steps, so it is asked for `plan.every` more at a time, and at last for as many as pay for the rest of the budget.
    """
    levels = sorted({level for stage in curriculum.stages for level in stage.levels})
    problems = {h: chains(h).problems("train", plan.pool, plain.seed) for h in levels}
    held_out = {h: chains(h, "validation").problems("validation", plan.validation, plain.seed) for h in range(1, plan.H + 1)}
    solver, told = Single(lm, Sampling(max_tokens=limit(plan, plan.H))), Teller(run.path.name, end)

    async def validate() -> float:
        """Mean accuracy over the trained lengths; the same problems and random numbers every time, for every arm."""
        rows = [row for h, chosen in held_out.items() for row in await attempts(plan, lm, run.path.name, plain.seed, h, chosen)]
        return sum(row.passed for row in rows) / len(rows)

    stop = None
    while stop != (stop := next_stop(plan, end, log_of(run))):
        await train(lm, solver, TASK, curriculum, problems, replace(plain, steps=stop), run, validate=validate, progress=told)
    return log_of(run)


def next_stop(plan: Plan, end: int, log: Sequence[Step]) -> int:
    """The step to train up to next, a function of the whole slices of the log; the same again where the budget is spent, to the nearest
    step."""
    whole = log[: len(log) // plan.every * plan.every]
    if not whole:
        return plan.every
    latest = whole[-plan.every :]
    rate = sum(step.length for step in latest) / len(latest) * plan.prompts * plan.G
    return len(whole) + min(max(round((end - whole[-1].tokens) / rate), 0), plan.every)


def log_of(run: Run) -> list[Step]:
    """What the run's log says of its steps."""
    return [msgspec.json.decode(line, type=Step) for line in run.lines(STEPS)]


async def examined(plan: Plan, lm: LocalLM, name: str, seed: int) -> list[Row]:
    """One attempt at each test problem of each length."""
    rows: list[Row] = []
    for h in range(1, plan.longest + 1):
        rows += await attempts(plan, lm, name, seed, h, chains(h, "test").problems("test", plan.problems, seed))
    return rows


async def attempts(plan: Plan, lm: LocalLM, name: str, seed: int, h: int, problems: Sequence[Problem], each: int = 1) -> list[Row]:
    """`each` attempts at some problems at temperature 1. Arms share the seeds of attempts as they share problems."""
    solver, room = Single(lm, Sampling(max_tokens=limit(plan, h))), Budget(completion_tokens=limit(plan, h))
    rows: list[Row] = []
    async for group in rollout(solver, TASK, problems, room, each, inner_seed(seed, h)):
        for t in group.trajectories:
            assert t.verdict is not None
            rows.append(Row(name, seed, h, group.problem.id, bool(t.verdict.passed), t.stop in CUT, steps_right(group.problem, t.answer)))
    return rows


async def drawn(plan: Plan, lm: LocalLM, name: str, seed: int) -> list[Draws]:
    """Many attempts at a few test problems of a length that was not trained, for pass@k."""
    if name not in plan.drawn_arms:
        return []
    problems = chains(plan.drawn_length, "test").problems("test", plan.drawn_problems, inner_seed(seed, 128))
    rows = await attempts(plan, lm, name, seed, plan.drawn_length, problems, plan.draws)
    found = {p.id: [row for row in rows if row.problem == p.id] for p in problems}
    return [Draws(name, seed, id, len(own), sum(r.passed for r in own), sum(r.whole for r in own)) for id, own in found.items()]


def steps_right(problem: Problem, text: str) -> list[bool | None]:
    """For each step whether the line the answer has for it ends in the right value; `None` where there is no such line.

    Lines are counted, not named: nothing rewards a model for naming them well. The last step is right where the answer is.
    """
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    ends = [line.rpartition("=")[2].strip() for line in lines]
    gold = problem.meta["values"]
    found = [ends[j] == y if j < len(ends) else None for j, y in enumerate(gold)]
    return [*found[:-1], hash_answer(text) == gold[-1]]


class Teller:
    """Says how far an arm is, at most every `TOLD_EVERY` seconds."""

    def __init__(self, label: str, end: int) -> None:
        self._label, self._end, self._told = label, end, time.monotonic()
        self._began: tuple[float, int] | None = None

    def __call__(self, record: Record) -> None:
        """Takes note of one step."""
        now, tokens = time.monotonic(), record["tokens"]
        self._began = self._began or (now, tokens)
        if now - self._told < TOLD_EVERY or now == self._began[0]:
            return
        self._told = now
        rate = (tokens - self._began[1]) / (now - self._began[0])
        left = max(self._end - tokens, 0) / rate
        click.echo(
            f"{self._label}: {tokens:,} of {self._end:,} tokens, {rate:,.0f} a second, {left:.0f} s left; "
            f"stage {record['stage'] + 1}, {record['pass_rate']:.0%} right",
            err=True,
        )
