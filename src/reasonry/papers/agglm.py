"""AggLM: a small model trained to aggregate candidate solutions, against voting, scores, checks and an oracle at equal tokens.

Everything here is composition: sets and mixtures are `synth.aggregation`, prompts `tasks.pack`, the aggregator `solve.agglm`, training is
`train.loop` with the catalogue's objective, baselines are the ladder's rungs. The task is `agglm_task`, the start `agglm_start`, the arms
`agglm_arms`, claims and rules `agglm_findings`, the page `agglm_page`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.agglm_arms import Seed, examined
from reasonry.papers.agglm_findings import CLAIMS, Fact, Plan, Row, findings, measures
from reasonry.papers.agglm_page import report
from reasonry.papers.agglm_start import start
from reasonry.papers.taught import Teaching
from reasonry.train.health import Record

PLAN = Plan()
EVERY = 10.0
"""Seconds between two lines of progress."""


class Kept(msgspec.Struct):
    """What a seed's file holds."""

    rows: list[Row]
    facts: list[Fact]


class Teller:
    """Says how far the training of an arm is. Lives a seed."""

    def __init__(self, seed: int, steps: int) -> None:
        self._seed, self._steps, self._told = seed, steps, 0.0

    def __call__(self, record: Record) -> None:
        """Takes note of a step."""
        now, step = time.monotonic(), int(record["step"]) + 1
        if now - self._told >= EVERY or step == self._steps:
            self._told = now
            same = record["zero_variance"]
            click.echo(f"seed {self._seed}: step {step} of {self._steps}, reward {record['reward']:.2f}, same {same:.2f}", err=True)


def one_seed(path: Path, plan: Plan, seed: int, begin: Path) -> Kept:
    """Everything of one seed, made once."""
    file = path / f"seed-{seed}" / "seed.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    file.parent.mkdir(parents=True, exist_ok=True)
    rows, facts = asyncio.run(examined(Seed(file.parent, plan, seed, begin, Teller(seed, plan.steps))))
    kept = Kept(rows, facts)
    write_whole(file, msgspec.json.encode(kept).decode())
    return kept


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    begin = start(path / "start", Teaching(plan.teaching, batch=plan.batch))
    kept = [one_seed(path, plan, seed, begin) for seed in seeds]
    rows, facts = [r for k in kept for r in k.rows], [f for k in kept for f in k.facts]
    evidence = Evidence(
        paper="agglm",
        scale=f"a decoder of two blocks and 90 thousand weights, taught for {plan.teaching} steps to solve chains of four operations and "
        f"the form of aggregations; {plan.steps} GRPO steps of {plan.prompts} × {plan.group} aggregations an arm",
        command=f"reasonry run agglm --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"equal updates in every arm; {plan.m} candidates and one aggregation against a majority of {plan.m + 1}",
        measures=measures(rows, facts),
        findings=findings(rows),
        meta={
            "plan": asdict(plan),
            "n": "problems over all seeds, with a percentile bootstrap over problems; tokens and shares of training: least and most over "
            "attempts or seeds",
        },
    )
    write_whole(path / "report.html", report(plan, rows, facts, evidence))
    return evidence


PAPER = Paper(
    slug="agglm",
    title="The Majority is not always right: RL training for solution aggregation",
    arxiv="2509.06870",
    method="reasonry.solve.agglm",
    summary="Trains a model by reinforcement to read several candidate solutions and write one, on all sets whose majority is wrong and a "
    "few whose majority is right.",
    differs=(
        "A model of 90 thousand weights on chains of four operations modulo 10, not Qwen3-1.7B on mathematics; 500 training sets.",
        "The start is taught the form of aggregation with answers picked at random among the candidates, right or wrong: a small model "
        "cannot be prompted. So the untrained aggregator is a blind pick, where the paper's reaches the majority.",
        "Candidates have no thinking to be left out: their steps are the solution. Aggregations are as long as candidates, not a third.",
        "Some operations on some values are taught wrongly, with a chance of their own, so that wrong majorities occur.",
        "Candidates are sampled at temperature 1.2 and aggregations at 1; the paper uses 1.5 for both in training and 1 in the test.",
        "Test problems are made of operations on values that no practised problem has on its way. In a first run they were shared, and "
        "most of the gain was arithmetic learnt: a majority by the trained solver was better than the trained aggregator. The figures on "
        "practised facts are for comparison.",
        "The learning rate, .0003, was better than .001 on validation problems of held-out arithmetic. A second run had kept the first's, "
        ".003: all arms learnt the practised arithmetic nearly by heart, and were worse than a majority on held-out problems. "
        "This is the third run, on new problems and with the same rules.",
        "Two sets of eight for each problem; ties of the majority make a set hard where any tied answer is wrong; the paper names no rule.",
        "The reward models are the start itself, each with a head, trained on as many sampled answers as an aggregator's training takes, "
        "candidates included; the paper's have 7 and 72 billion weights and saw other data. Wrong answers to practised problems leave the "
        "practised facts, and so do all ways of a held-out one: a reward model of the former learns that mark, is good on practised facts "
        "for it and worse than chance on the test. One trained on problems of every fact cannot use it, and learns little else.",
        "The step checker errs by design (it misjudges a step in five), for on a task that is computed a perfect one would be the oracle.",
    ),
    fails_when="Where reward can teach the answers themselves: the small model learns the practised arithmetic, which looks like "
    "aggregation on problems of that arithmetic and is no better than a majority on others. And where no candidate is right there is "
    "nothing to select, where the majority is large little to gain. Here it also loses to what costs no training: the best of as many "
    "candidates by the sampler's own mean log-probability, and the vote weighted by a step checker.",
    claims=CLAIMS,
    run=run,
)
