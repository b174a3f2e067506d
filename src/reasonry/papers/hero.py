"""HERO's experiments: a table with exact gradients, and a small language model on sums with a verifier that knows one spelling of many.

Everything here is composition: strata and weights are `train.hero`, the reward model `lm.likelihood`, the loop
`train.loop`. The table is `hero_lab`, the task `hero_task`, start and reward model `hero_start`, one arm `hero_arms`; claims and
verdict rules are in `hero_findings`, the page in `hero_page`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from reasonry.core import Evidence, Paper
from reasonry.core.run import Run, commit, machine, open_run, write_whole
from reasonry.papers.hero_arms import Lab
from reasonry.papers.hero_findings import (
    ALPHAS,
    ARMS,
    CLAIMS,
    EQUAL,
    FULL,
    HERO,
    MIXED,
    MODEL,
    POOR,
    REGIMES,
    SD,
    SHUFFLED,
    SPARSE,
    START,
    VERIFIER,
    Cell,
    Learnt,
    Plan,
    Row,
    alpha_arm,
    findings,
    measures,
)
from reasonry.papers.hero_lab import Arm, Schedule, World, learn
from reasonry.papers.hero_page import report
from reasonry.papers.hero_start import judge, start
from reasonry.train.health import silent
from reasonry.train.hero import Hero

PLAN = Plan()


def tables(plan: Plan) -> Iterator[tuple[str, str, Arm, World, int]]:
    """(world's name, arm's name, arm, world, updates) of every curve of the table."""
    for world, recall in ((FULL, 1.0), (SPARSE, 0.3)):
        for name, normaliser in ((world, "mean only"), (f"{world}, {SD}", SD)):
            for arm in ARMS:
                yield name, arm, Arm(arm, normaliser), World(recall), plan.updates
    few = min(100, plan.updates)
    yield FULL, EQUAL, Arm(HERO, hero=Hero(0, 0, 1, 1)), World(), few
    for alpha in ALPHAS:
        hero = Arm(HERO, hero=Hero(alpha, min(alpha, 0.5)))
        yield FULL, alpha_arm(alpha), hero, World(), few
        yield f"{FULL}, {POOR}", alpha_arm(alpha), hero, World(1.0, 3.0, 1.0), few


def cells(run: Run, plan: Plan, seeds: Sequence[int]) -> list[Cell]:
    """The table's arms; those that the run holds are not made again."""
    held = [Cell(**json.loads(line)) for line in run.lines("table")]
    for seed in seeds:
        for world, name, arm, how, updates in tables(plan):
            if any((c.seed, c.world, c.arm) == (seed, world, name) for c in held):
                continue
            found = learn(arm, how, seed, Schedule(updates))
            new = [Cell(seed, world, name, update, accuracy) for update, accuracy in found.items()]
            run.append_line("table", "\n".join(json.dumps(asdict(c)) for c in new).encode())
            held += new
        click.echo(f"table: seed {seed} done", err=True)
    return held


async def models(lab: Lab, plan: Plan, seeds: Sequence[int]) -> tuple[list[Row], list[Learnt]]:
    """Every arm of every regime, trained and tested."""
    rows, steps = list[Row](), list[Learnt]()
    arms = [(regime, arm) for regime in REGIMES for arm in ((*ARMS, SHUFFLED) if regime == MIXED else (VERIFIER, MODEL, HERO))]
    for seed in seeds:
        rows += await lab.test(START, START, seed, None)
        for number, (regime, arm) in enumerate(arms, 1):
            state, told = await lab.train(regime, arm, seed, silent)
            found = await lab.test(regime, arm, seed, state)
            steps, rows = steps + told, rows + found
            share = sum(r.passed for r in found) / len(found)
            click.echo(f"seed {seed}, arm {number} of {len(arms)}, {regime}, {arm}: {share:.3f} right on test problems", err=True)
    return rows, steps


def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Evidence:
    """Fills the table, teaches the start, fits the reward model, trains and tests every arm, judges, and writes `report.html`."""
    run = open_run(path / "table", {"updates": plan.updates}, resume=True)
    found = cells(run, plan, seeds)
    knows = judge(path / "judge", plan.judging)
    lab = Lab(path, plan, start(path / "start", knows, plan.teaching), knows)
    rows, steps = asyncio.run(models(lab, plan, seeds))
    evidence = Evidence(
        paper="hero",
        scale=f"a table of 128 prompts, and a decoder of two blocks, {plan.steps} GRPO steps an arm",
        command=f"reasonry run hero --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"equal samples: in the table 128 × 8 answers an update; {plan.steps} steps of {plan.prompts} × {plan.group} attempts",
        measures=measures(found, rows, steps),
        findings=findings(found, rows),
        meta={
            "plan": asdict(plan),
            "n": "seeds, with Student's interval over them, or for test problems that over problems where wider; tokens: least and most",
            "true accuracy": "share of test problems answered rightly in any form, by a judge that no arm was trained on",
        },
    )
    write_whole(path / "report.html", report(plan, found, rows, steps, evidence))
    return evidence


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    path.mkdir(parents=True, exist_ok=True)
    return measure(path, seeds, plan)


PAPER = Paper(
    slug="hero",
    title="Hybrid Reinforcement: When Reward Is Sparse, It's Better to Be Dense",
    arxiv="2510.07242",
    method="reasonry.train.hero",
    summary="A verifier decides which of two bands a reward lies in, a reward model where inside the band, and prompts on whose answers "
    "the reward model's scores differ most weigh more.",
    differs=(
        "A table with exact gradients, and a decoder of two blocks on sums of four steps, not a 4B model on mathematics.",
        "The verifier misses right answers because it compares texts and the gold form is hidden; it never passes a wrong one.",
        "The reward model is the policy before it was taught to guess, one in five of its workings unfinished; it scores by the mean "
        "log-probability of an answer. The paper takes a finished one of 7B. In pilots two blocks with a linear head, fitted on some 2000 "
        "noisy scores, did not learn to tell right from wrong answers to one problem. Weights go by σ_u/σ̄, for scores in nats.",
        "What training moves is which habit the policy takes up; what it knows of sums was taught before.",
        "The weight is on the advantage and the advantage is mean-only: a group-sd normaliser would cancel a weight on the reward.",
        "No cold start by supervised training on the regime's data; every arm begins at the same model; learning rates are much higher.",
        "In the table the reward model's hack, the learning rate and the prompts' difficulty are ours, chosen near the brief's prototype.",
    ),
    fails_when="The group's sd is divided by, or α is large, and the reward model can be hacked: in groups where nothing is right its "
    "noise and its hack get the step of real correctness. And in the small language model here: on "
    "verifiable problems, and on those mixed with ambiguous ones, the verifier alone taught it more in as many samples.",
    claims=CLAIMS,
    run=run,
)
