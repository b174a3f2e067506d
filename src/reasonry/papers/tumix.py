"""TUMIX: agents of one small model with real tools, different and alike, over rounds, at equal sampled tokens.

Everything here is composition: the method is `solve.tumix` over `solve.exchange`, code runs in `tasks.sandbox`, group search is
`probe.groups`, the explicit model `solve.tumix_model`. The questions are `tumix_task`, what the model is taught `tumix_start`, tools and
records `tumix_lab`, the arms `tumix_arms`, claims and rules `tumix_findings`, the page `tumix_page`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.taught import Teaching
from reasonry.papers.tumix_arms import examined, modelled
from reasonry.papers.tumix_findings import CLAIMS, Fact, Plan, Row, findings, measures
from reasonry.papers.tumix_lab import opened
from reasonry.papers.tumix_page import report
from reasonry.papers.tumix_start import start

PLAN = Plan()


class Kept(msgspec.Struct):
    """What a seed's file holds."""

    rows: list[Row]
    facts: list[Fact]


async def one_seed(path: Path, plan: Plan, seed: int, begin: Path) -> Kept:
    """Everything of one seed, made once."""
    file = path / f"seed-{seed}" / "seed.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    lab, lm, session = await opened(file.parent, plan, seed, begin)
    async with lm, session:
        kept = Kept(*await examined(lab))
    write_whole(file, msgspec.json.encode(kept).decode())
    click.echo(f"seed {seed}: {len(kept.rows)} rows", err=True)
    return kept


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    begin = start(path / "start", Teaching(plan.steps, lr=plan.lr, batch=plan.batch), 0)
    kept = [asyncio.run(one_seed(path, plan, seed, begin)) for seed in seeds]
    rows, facts = [r for k in kept for r in k.rows], [f for k in kept for f in k.facts] + modelled(plan, seeds)
    evidence = Evidence(
        paper="tumix",
        scale=f"a decoder of two blocks and 90 thousand weights, taught for {plan.steps} steps; {4 * plan.each} questions a seed",
        command=f"reasonry run tumix --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget="self-consistency samples as many tokens as the group it is compared with, its judge's included",
        measures=measures(rows, facts),
        findings=findings(rows, facts),
        meta={
            "plan": asdict(plan),
            "n": "questions over all seeds, with a percentile bootstrap over questions; flips, rounds, tokens, calls and facts: least and "
            "most over questions or seeds",
        },
    )
    write_whole(path / "report.html", report(plan, rows, facts, evidence))
    return evidence


PAPER = Paper(
    slug="tumix",
    title="TUMIX: Multi-Agent Test-Time Scaling with Tool-Use Mixture",
    arxiv="2510.01279",
    method="reasonry.solve.tumix",
    summary="Fifteen agents of one model that differ in prompt, tools and control flow refine their answers over rounds in which each sees "
    "all; a judge stops, a vote answers.",
    differs=(
        "A model of 90 thousand weights, taught once for all seeds, on short questions of four kinds; not Gemini on HLE, GPQA and AIME.",
        "All prompts are ours, after the paper's descriptions; the small model's are letters, and what an agent does by its letter is "
        "taught.",
        "How an agent revises is taught by a rule: use your own tools where they help, with numbers others looked up; else take the most "
        "frequent answer made with a tool; else the most frequent.",
        "Hints differ by teaching: C does without code in three demonstrations of ten, C+ never; steering without hints errs in a fifth.",
        "Search asks an encyclopaedia drawn for each seed, by exact name: an exact index, one that is wrong about three things in ten, or "
        "both. S, as in the paper, has the second, which here is the noisy one.",
        "Agents that lack the tool say that they do not know, instead of guessing; products are beyond all of them without code.",
        "The best agents are chosen on validation questions; self-consistency draws from a pool of their answers, in expectation.",
        "The judge is a call of the same small model, taught to tell whether the most frequent answer is right.",
        "Stops are replayed on what was said in all rounds, the judge's calls being real; 4 rounds, where the paper's limit is not known.",
        "Agents designed by a model can be read from a file; none was written for this experiment, and groups of fifteen are searched "
        "among two answers of each agent.",
        "In a first run, with the same rules, made-up peers copied without slips: the model then trusted peers more than its own tool, "
        "and every large group lost by talking (fifteen agents had 86 % right after one round, 50 % after four). This is the second run: "
        "with slips among the peers of the demonstrations, more of these, and new test questions.",
        "To fit the time, questions were cut, not arms.",
    ),
    fails_when="Where an agent works worse for being shown others: copies of the best one lose by talking, most on questions that need two "
    "tools in turn. And where different agents share their blind spots as copies do: the explicit model's advantage is then zero.",
    claims=CLAIMS,
    run=run,
)
