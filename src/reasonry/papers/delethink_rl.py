"""Delethink's RL experiment: the same model trained in chunks and in one context; what it learns to write, and what it is paid.

Everything here is composition: the environments are `solve.single` (LongCoT) and `solve.delethink`, the objective is the catalogue's
`delethink`, the loop `train.loop.train`. The task is `delethink_rl_task`, the start `delethink_rl_start`; claims and verdict rules are in
`delethink_rl_findings`, the page in `delethink_rl_page`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import msgspec
import torch

from reasonry.core import Budget, Evidence, Paper, Problem, Run, Sampling, Solver, Stop, Trajectory
from reasonry.core.run import commit, machine, open_run, write_whole
from reasonry.evaluate import compare
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.delethink_rl_findings import CLAIMS, CROSSED, START, Learnt, Plan, Row, findings, measures
from reasonry.papers.delethink_rl_page import report
from reasonry.papers.delethink_rl_start import start
from reasonry.papers.delethink_rl_task import relay, restating
from reasonry.papers.delethink_rl_task import run as work_out
from reasonry.solve.delethink import Delethink, tail
from reasonry.solve.single import Single
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Lesson, every_group, only
from reasonry.train.health import Record
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward, Rewarded, Signals
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

SAMPLING = Sampling(temperature=1.0)
PLAN = Plan()
ROWS, KV = 64, 32_768
"""Requests the engine computes together, and tokens its cache holds."""


def outcome(problem: Problem, group: Sequence[Trajectory]) -> list[Signals]:
    """1 for a right answer from an attempt that ended by itself; a truncated trace is a failure whatever it says."""
    return [{"score": float(succeeded(t))} for t in group]


def succeeded(t: Trajectory) -> bool:
    """Whether an attempt counts."""
    return t.verdict is not None and t.verdict.passed is True and t.stop is Stop.EOS


class Watch:
    """Looks at every step's attempts beside the policy, for the step's record: `restated`, `processed`. Learns nothing."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens as they are."""
        attempts = [r.trajectory for group in rewarded for r in group]
        processed = sum(t.cost.processed_tokens for t in attempts)
        self._seen = {"restated": fmean(restating(t.answer) for t in attempts), "processed": processed}
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """What `prepare` saw."""
        return self._seen

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


class Meter:
    """Says on the terminal how far the experiment is, at most every ten seconds: steps done, steps a minute, time left. Lives a run."""

    def __init__(self, arms: int, steps: int) -> None:
        self._arms, self._steps = arms, steps
        self._arm, self._began, self._told = "", 0.0, 0.0
        self._first = 0

    def begin(self, number: int, name: str) -> None:
        """A new arm, the `number`-th from 1."""
        self._arm, self._began, self._first = f"arm {number} of {self._arms}, {name}", time.monotonic(), -1

    def tell(self, record: Record) -> None:
        """Takes note of a step."""
        now, step = time.monotonic(), int(record["step"])
        if self._first < 0:
            self._first = step
        if now - self._told >= 10 or step + 1 == self._steps:
            self._told = now
            rate = (step + 1 - self._first) / (now - self._began)
            left = (self._steps - step - 1) / rate
            click.echo(
                f"{self._arm}: step {step + 1} of {self._steps}, {60 * rate:.0f} a minute, {left:.0f} s left; "
                f"reward {record['reward']:.2f}, restating {record['restated']:.2f}",
                err=True,
            )


@dataclass(frozen=True)
class Experiment:
    """What all arms and seeds share. Made once the start exists."""

    path: Path
    plan: Plan
    folder: Path
    """The start's checkpoint."""
    t_max: int
    """Thinking tokens an attempt may sample in any environment: those of a true working, all of which are of one length."""
    meter: Meter

    def lm(self, state: Mapping[str, torch.Tensor] | None = None) -> LocalLM:
        """The start, or the same model with other weights."""
        decoder = load_decoder(self.folder, torch.float32)
        if state is not None:
            decoder.load_state_dict(state)
        return LocalLM(decoder, Tokenizer.load(self.folder), "policy", max_rows=ROWS, kv_tokens=KV)

    def solver(self, lm: LocalLM, environment: str) -> Solver:
        """The environment, named after itself."""
        shape = self.plan.shapes[environment]
        if shape is None:
            return Single(lm, SAMPLING.with_(max_tokens=self.t_max), environment)
        C, m = shape
        return Delethink(lm, C, m, 1 + -(-(self.t_max - C) // (C - m)), tail, SAMPLING, environment)

    def recipe(self, seed: int) -> Recipe:
        """The paper's objective at a constant rate; the same for every arm."""
        plan = self.plan
        return Recipe(
            objective=find("delethink").objective, lr=plan.lr, steps=plan.steps, prompts=plan.prompts, group=plan.group,
            temperature=SAMPLING.temperature, reward=Reward((outcome,)), save_every=10, seed=seed, part_tokens=1 << 17,
        )  # fmt: skip

    async def train(self, arm: str, seed: int) -> tuple[dict[str, torch.Tensor], list[Learnt]]:
        """The weights after training in one environment, and the steps; goes on where an earlier run stopped."""
        recipe, task = self.recipe(seed), relay()
        run = open_run(self.path / f"{slug(arm)}-seed{seed}", {**describe(recipe), **asdict(self.plan), "environment": arm}, resume=True)
        problems = task.problems("train", self.plan.train_problems, seed)
        curriculum = replace(only(1, self.t_max), group_filter=every_group)
        async with self.lm() as lm:
            await train(lm, self.solver(lm, arm), task, curriculum, {1: problems}, recipe, run, beside=[Watch()], progress=self.meter.tell)
            return lm.decoder.state_dict(), learnt(run, arm, seed)

    async def test(self, arm: str, seed: int, state: Mapping[str, torch.Tensor] | None) -> list[Row]:
        """One model on the seed's test problems, in every environment it is to be tried in."""
        task = relay()
        run = open_run(self.path / f"{slug(arm)}-seed{seed}-test", {**asdict(self.plan), "seed": seed}, resume=True)
        problems = task.problems("test", self.plan.test_problems, seed)
        async with self.lm(state) as lm:
            solvers = [self.solver(lm, environment) for environment in CROSSED[arm]]
            await compare(solvers, task, problems, [Budget(completion_tokens=self.t_max)], run, seed=seed)
        return [row(msgspec.json.decode(line, type=_Line), arm, seed) for line in run.lines("attempts")]


class _Line(msgspec.Struct):
    solver: str
    problem: str
    trajectory: Trajectory


def row(line: _Line, arm: str, seed: int) -> Row:
    """A stored attempt as the findings read it."""
    t = line.trajectory
    cut = float(t.stop is not Stop.EOS)
    return Row(seed, arm, line.solver, line.problem, float(succeeded(t)), restating(t.answer), cut, t.cost.processed_tokens)


def learnt(run: Run, arm: str, seed: int) -> list[Learnt]:
    """A training run's stored steps."""
    records = [json.loads(line) for line in run.lines("steps")]
    return [
        Learnt(seed, arm, r["step"], r["reward"], r["restated"], r["tokens"], r["processed"], r.get("mismatch_max", 0.0)) for r in records
    ]


def slug(arm: str) -> str:
    """An arm's name as part of a folder's."""
    return arm.replace("=", "").lower()


async def length(folder: Path) -> int:
    """Tokens of a true working with its end, the same for all. Raises AssertionError where styles or problems differ in length."""
    tokenizer = Tokenizer.load(folder)
    workings = [
        "\n#### ".join(work_out(p.meta["start"], p.meta["ops"], restate))
        for p in relay().problems("train", 20)
        for restate in (True, False)
    ]
    lengths = {len(tokenizer.encode(w)) + 1 for w in workings}
    assert len(lengths) == 1, lengths
    return lengths.pop()


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Evidence:
    """Teaches the start, trains and tests every arm for every seed, judges, and writes `report.html`."""
    folder = start(path / "start", plan.teaching)
    arms = [(arm, seed) for arm in plan.shapes for seed in seeds]  # the dearest, m = C − 1, comes last
    meter = Meter(len(arms), plan.steps)
    experiment = Experiment(path, plan, folder, await length(folder), meter)
    rows, steps = list[Row](), list[Learnt]()
    for seed in seeds:
        rows += await experiment.test(START, seed, None)
    for number, (arm, seed) in enumerate(arms, 1):
        meter.begin(number, f"{arm}, seed {seed}")
        state, told = await experiment.train(arm, seed)
        steps += told
        rows += await experiment.test(arm, seed, state)
    evidence = Evidence(
        paper="delethink-rl",
        scale=f"a decoder of two blocks taught for {plan.teaching} steps on relay workings, {plan.steps} GRPO steps an arm",
        command=f"reasonry run delethink-rl --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"equal thinking tokens: {plan.steps} steps of {plan.prompts} × {plan.group} attempts of at most {experiment.t_max} tokens",
        measures=measures(rows, steps),
        findings=findings(rows, steps),
        meta={
            "plan": asdict(plan),
            "n": "seeds (training runs), with Student's interval over them or that over problems where wider; with one seed, its problems; "
            "training costs: least and most",
            "restating rate": "share of attempts in whose working more than half of the lines restate every register",
            "test reward": "share of attempts with the right answer that ended by themselves",
        },
    )
    write_whole(path / "report.html", report(plan, rows, steps, evidence))
    return evidence


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    return asyncio.run(measure(path, seeds, plan))


PAPER = Paper(
    slug="delethink-rl",
    title="The Markovian Thinker: RL in the chunked environment",
    arxiv="2510.06557",
    method="reasonry.solve.delethink",
    summary="Trains a model where it will think: in chunks, with only a short carried text between them. It learns to write down the state "
    "that it will need after the boundary.",
    differs=(
        "A decoder of two blocks on register programs with C = 46 and m = 23 tokens, not a reasoner on mathematics with C = 8192.",
        "The supervised start restates the state in 30 % of its workings and writes changes only in the rest, in lines of equal length.",
        "The start was chosen on validation problems to be right in both styles in one context, so plain RL has little left to learn. In "
        "pilots from weaker starts plain RL came to restate more too, though less and later than Delethink: `only-chunked` is a claim "
        "about a model that does not need the help.",
        "The carry-over is the tail alone (no head); sampling is at temperature 1, so that the start restates as it was taught to.",
        "One update per batch (the paper makes two), a much higher learning rate, and no surplus rows are deleted.",
        "The advantage is the group's, and groups of one reward are kept; the KL and entropy terms are 0 as in the paper.",
    ),
    fails_when="Nothing is carried (m = 0): no attempt reaches its end, every reward is 0, and there is nothing to learn from. And the "
    "start must know how to go on from what is carried: what it cannot do after a boundary, a few steps of reward do not teach it.",
    claims=CLAIMS,
    run=run,
)
