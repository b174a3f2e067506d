"""ScaleRL, measured: does its law forecast, on curves whose end is known and on small runs; and what its recipe's parts do.

Everything here is composition: the law and its fit are `probe.scale_fit`, the recipe is the catalogue's `scalerl` in `train.loop`,
staleness is `train.pipeline`'s, interruption `solve.interrupted`, the heads `probe.head_precision`. The task and the start are in
`scalerl_task`, synthetic curves in `scalerl_law`, the runs in `scalerl_runs`, `scalerl_stale` and `scalerl_thoughts`, claims and verdict
rules in `scalerl_findings`, the page in `scalerl_page`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.scalerl_findings import CLAIMS, findings
from reasonry.papers.scalerl_found import Curve, Found, Plan, Stale, Thought
from reasonry.papers.scalerl_law import draw
from reasonry.papers.scalerl_measures import measures
from reasonry.papers.scalerl_page import report
from reasonry.papers.scalerl_runs import curve
from reasonry.papers.scalerl_stale import stale
from reasonry.papers.scalerl_task import start
from reasonry.papers.scalerl_thoughts import thoughts
from reasonry.probe.head_precision import Disagreement
from reasonry.probe.scale_log import Log
from reasonry.probe.scale_recipe import HeldOut, Options, recipe
from reasonry.train.health import Record

PLAN = Plan()
TOLD_EVERY = 10.0
"""Seconds between two lines on the terminal."""


class Teller:
    """Says how far a run is, now and then. Lives as long as the run."""

    def __init__(self, name: str, steps: int) -> None:
        self._name, self._steps, self._told = name, steps, time.monotonic()

    def __call__(self, record: Record) -> None:
        """Takes note of a step."""
        if time.monotonic() - self._told >= TOLD_EVERY or record["step"] + 1 == self._steps:
            self._told = time.monotonic()
            click.echo(f"{self._name}: step {record['step'] + 1} of {self._steps}, pass rate {record['pass_rate']:.2f}", err=True)


def log_of(curve: Curve) -> Log:
    """A run's curve as `reasonry scale-fit` would read it, its start included."""
    return Log(f"{curve.arm} {curve.seed}", np.array(curve.tokens), np.array(curve.rates), None, "tokens", "validation", held_out=True)


def forecast_of(plan: Plan, curve: Curve) -> HeldOut | None:
    """The forecast from the first part of a run against the rest; `None` where that part is too short to fit."""
    found = recipe(curve.arm, [log_of(curve)], Options(until=plan.until)).held_out
    return found if isinstance(found, HeldOut) else None


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Found:
    """Synthetic truth, the heads and the interruptions, the runs, the stale runs."""
    drawn = [d for seed in seeds for d in draw(seed, plan.curves)]
    attempts, heads = list[Thought](), list[tuple[Disagreement, ...]]()
    for seed in seeds:
        made, head = await thoughts(plan, path / f"thoughts-seed{seed}", seed)
        attempts, heads = attempts + made, [*heads, head]
    begin = start(path / "start", plan.teaching)
    curves, old = list[Curve](), list[Stale]()
    for seed in seeds:
        for arm in plan.arms:
            name = f"{slug(arm)}-seed{seed}"
            curves.append(await curve(plan, begin, path / name, arm, seed, Teller(name, plan.updates)))
        for k, corrected in plan.stale_arms:
            name = f"k{k}-{'rho' if corrected else 'one'}-seed{seed}"
            old.append(await stale(plan, begin, path / name, k, corrected, seed, Teller(name, plan.stale_updates)))
    forecasts = {(c.arm, c.seed): f for c in curves if (f := forecast_of(plan, c)) is not None}
    return Found(drawn, curves, forecasts, old, heads[0], attempts)


def slug(arm: str) -> str:
    """An arm's name as part of a folder's."""
    return "".join(c if c.isalnum() else "-" for c in arm.lower())


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, each run from its last checkpoint."""
    torch.set_num_threads(1)
    found = asyncio.run(measure(path, seeds, plan))
    evidence = Evidence(
        paper="scalerl",
        scale=f"a decoder of 90 thousand weights taught for {plan.teaching} steps on sums of three numbers, {plan.updates} batches an arm; "
        "synthetic curves; the shipped pocket-1m for heads and interruptions",
        command=f"reasonry run scalerl --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"equal batches: {plan.updates} of {plan.prompts} × {plan.group} attempts (staleness: {plan.stale_updates})",
        measures=measures(found),
        findings=findings(found),
        meta={
            "plan": asdict(plan),
            "n": "runs (an arm and a seed) with their least and greatest value; final pass rates: seeds; coverage: curves; heads: tokens; "
            "interruptions: attempts and problems",
            "heads": "tokens of the first seed's answers",
            "ranks": "which arm ends higher at this size is not claimed to transfer",
        },
    )
    write_whole(path / "report.html", report(plan, found, evidence))
    return evidence


PAPER = Paper(
    slug="scalerl",
    title="The Art of Scaling Reinforcement Learning Compute for LLMs (ScaleRL)",
    arxiv="2510.13786",
    method="reasonry.probe.scale_fit",
    summary="A saturating sigmoid of compute that tells from small runs where a recipe of reinforcement learning will end, and a recipe "
    "chosen with it: truncated importance weights, prompt averages, batch normalisation, fp32 logits, filters of prompts, interruptions.",
    differs=(
        "A decoder of 90 thousand weights on sums of three numbers instead of 8 billion on mathematics; compute is counted in sampled "
        "tokens, and a run has a hundred batches.",
        "The start was taught to estimate half of its steps, so that there is a rise to see; most of it is learning not to.",
        "Every batch is learned from four times, so that ratios differ from 1; the staleness experiment learns from each once, and is "
        "off-policy by its staleness alone, which is emulated on one core with exact in-flight switches of the weights.",
        "The share of a run that is fitted is 40 %; the first 5 % are dropped. R_0 is as noisy as any evaluation, not held exact.",
        "Intervals are profile likelihoods; the paper repeats a run three times instead.",
        "Interruptions are tried on a shipped model that was never trained with them: it then answers, but from half a working.",
        "The two heads differ in the order of summation only; hidden states are shared.",
        "Which parts move A and which B, the paper's leave-one-out result, is not tested: a small model's ranking would not tell.",
    ),
    fails_when="The bend of the curve is not behind the data: many ceilings fit equally well, and the forecast is refused.",
    claims=CLAIMS,
    run=run,
)
