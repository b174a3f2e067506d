"""The survey's three experiments: estimators against the true gradient, objectives against one another, before against after.

Everything here is composition: the lab is `rl_survey_lab`, objectives come from `train.catalogue` with what they need beside them from
`train.assemble`, training is `train.loop`, attempts run through `evaluate.compare`. Claims and verdict rules are in `rl_survey_findings`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import torch

from reasonry.core import Budget, Evidence, Paper, Problem, Sampling, Trajectory, open_run
from reasonry.core.run import commit, machine, write_whole
from reasonry.evaluate import compare
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.rl_survey_findings import BOUNDED, CLAIMS, UNBOUNDED, Drawn, Entrant, Plan, findings, measures
from reasonry.papers.rl_survey_lab import ARMS, PASS_RATES, bench, prompt_weight
from reasonry.papers.rl_survey_page import report
from reasonry.papers.taught import Teaching, taught
from reasonry.solve.single import Single
from reasonry.tasks import load_task
from reasonry.tasks.skill import Skill
from reasonry.train.assemble import beside_for, learns_from_equals
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, informative, only
from reasonry.train.loop import STEPS, frozen_copy, train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.sft import Example, chat_example

PLAN = Plan()
WEIGHED = ("REINFORCE", "RLOO", "R − μ", "(R − μ)/sd", "MaxRL")
"""The lab's arms whose weights of prompts are worked out: those that differ in the advantage alone."""


def demonstrations(task: Skill, tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Worked answers to training problems, without end."""
    rng, problems = random.Random(f"rl-survey/{seed}"), task.problems("train", 20_000, seed)
    while True:
        yield chat_example(tokenizer, task.demonstration(rng.choice(problems), rng))


def policy(path: Path, plan: Plan, seed: int) -> LocalLM:
    """The model before training: the plan's, shown `teaching` small batches of worked answers; made once a seed."""
    shipped = model_folder(plan.model)
    decoder, tokenizer = load_decoder(shipped, torch.float32), Tokenizer.load(shipped)
    task = load_task(plan.task)
    assert isinstance(task, Skill), "the plan's task has no demonstrations"
    teaching = Teaching(plan.teaching, lr=5e-3, warmup=3, weight_decay=0.1, batch=2048)
    lm = load_lm(str(taught(path / f"start-seed{seed}", decoder, tokenizer, demonstrations(task, tokenizer, seed), teaching, seed)))
    assert isinstance(lm, LocalLM)
    return lm


def solver(lm: LocalLM, plan: Plan, name: str = "single") -> Single:
    """One plain answer."""
    return Single(lm, Sampling(max_tokens=plan.max_tokens), name)


async def trained(path: Path, lm: LocalLM, plan: Plan, slug: str, seed: int, steps: int, updates: int) -> int:
    """Trains `lm` in place with an objective of the catalogue, its KL term left out; the tokens it sampled. Goes on where it stopped."""
    entry = find(slug)
    entry = replace(entry, objective=replace(entry.objective, kl=None))
    recipe = Recipe(
        objective=entry.objective, lr=plan.lr, steps=steps, prompts=plan.prompts, group=plan.group, updates=updates, seed=seed,
    )  # fmt: skip
    run = open_run(path, {**describe(recipe), "model": plan.model, "task": plan.task, "objective_name": slug}, resume=True)
    task, policy = load_task(plan.task), solver(lm, plan)
    curriculum = replace(only(1, plan.max_tokens), group_filter=every_group if learns_from_equals(entry) else informative)
    beside = beside_for(entry, lm, policy, task, recipe)
    problems = {1: task.problems("train", plan.train_problems, seed)}
    await train(lm, policy, task, curriculum, problems, recipe, run, frozen_copy(lm.decoder), beside)
    return max(json.loads(line)["tokens"] for line in run.lines(STEPS))


class _Line(msgspec.Struct):
    problem: str
    trajectory: Trajectory


async def passes(path: Path, lm: LocalLM, plan: Plan, problems: list[Problem], attempts: int, seed: int) -> Mapping[str, tuple[int, int]]:
    """Problem id -> (attempts scored, those that passed)."""
    run = open_run(path, {"plan": asdict(plan), "seed": seed, "attempts": attempts}, resume=True)
    budget = Budget(completion_tokens=plan.max_tokens)
    await compare([solver(lm, plan)], load_task(plan.task), problems, [budget], run, attempts=attempts, seed=seed)
    counts = {p.id: (0, 0) for p in problems}
    for line in run.lines("attempts"):
        stored = msgspec.json.decode(line, type=_Line)
        if stored.trajectory.verdict is not None and stored.trajectory.verdict.passed is not None:
            n, right = counts[stored.problem]
            counts[stored.problem] = n + 1, right + stored.trajectory.verdict.passed
    return counts


async def entrant(path: Path, plan: Plan, slug: str, staleness: int, seed: int) -> Entrant:
    """One run of the tournament: trained, then tried once on every test problem."""
    folder = path / f"tournament-{slug}-{staleness}-seed{seed}"
    async with policy(path, plan, seed) as lm:
        tokens = await trained(folder, lm, plan, slug, seed, plan.tournament_steps, staleness)
        problems = load_task(plan.task).problems("test", plan.tournament_problems, seed)
        counts = await passes(folder.with_name(folder.name + "-test"), lm, plan, problems, 1, seed)
    scored = [right for n, right in counts.values() if n]
    accuracy = sum(scored) / len(scored)
    click.echo(f"{slug}, {staleness} updates a batch, seed {seed}: {accuracy:.3f} right, {tokens} tokens", err=True)
    return Entrant(seed, slug, staleness, accuracy, tokens)


async def sharpened(path: Path, plan: Plan, seed: int) -> list[Drawn]:
    """Problems tried `attempts` times before training, again before, and after."""
    problems = load_task(plan.task).problems("test", plan.problems, seed)
    async with policy(path, plan, seed) as lm:
        before = await passes(path / f"before-seed{seed}", lm, plan, problems, plan.attempts, 2 * seed)
        again = await passes(path / f"again-seed{seed}", lm, plan, problems, plan.attempts, 2 * seed + 1)
        click.echo(f"seed {seed}: {sum(r == 0 for _, r in before.values())} of {len(problems)} problems never solved before", err=True)
        await trained(path / f"sharpen-seed{seed}", lm, plan, plan.sharpener, seed, plan.steps, 1)
        after = await passes(path / f"after-seed{seed}", lm, plan, problems, plan.attempts, 2 * seed)
    return [
        Drawn(seed, f"{seed}/{p.id}", plan.attempts, before[p.id][1], again[p.id][1], after[p.id][1])
        for p in problems
        if before[p.id][0] == again[p.id][0] == after[p.id][0] == plan.attempts
    ]


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Evidence:
    """The lab, the sharpening run and the tournament, in this order."""
    labs = {seed: bench(seed, plan.lab_group) for seed in seeds}
    weights = {arm: [prompt_weight(ARMS[arm], p, plan.weight_group) for p in PASS_RATES] for arm in WEIGHED}
    drawn = [d for seed in seeds for d in await sharpened(path, plan, seed)]
    variants = [(slug, staleness, seed) for seed in seeds for staleness in plan.staleness for slug in (*BOUNDED, *UNBOUNDED)]
    entrants = [await entrant(path, plan, *variant) for variant in variants] if plan.tournament_steps else []
    return Evidence(
        paper="rl-survey",
        scale=f"softmax policies over 40 answers, enumerated; the shipped model {plan.model}, shown {plan.teaching} small "
        f"batches of worked answers, on {plan.task}",
        command=f"reasonry run rl-survey --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"tournament: {plan.tournament_steps} steps of {plan.prompts} × {plan.group} attempts of at most {plan.max_tokens} tokens, "
        "alike for every arm",
        measures=measures(plan, labs, weights, entrants, drawn),
        findings=findings(plan, labs, weights, entrants, drawn),
        meta={
            "plan": asdict(plan),
            "n": "lab and tournament: seeds; pass@k: problems over all seeds",
            "staleness": "optimiser steps on each batch",
            "ranks": "the order of objectives at this size need not transfer to larger models",
        },
    )


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiments; resume what `path` already holds."""
    evidence = asyncio.run(measure(path, seeds, plan))
    write_whole(path / "report.html", report(evidence))
    return evidence


PAPER = Paper(
    slug="rl-survey",
    title="A survey of reinforcement learning for large reasoning models",
    arxiv="2509.08827",
    method="reasonry.train.objective",
    summary="Every named policy-gradient objective as one value of explicit parts, trained, compared, and exported to other libraries; and "
    "the survey's map with the part that holds each of its leaves.",
    differs=(
        "The survey measures nothing itself; the experiments are ours, of the questions it calls open or foundational.",
        "The lab has answers of at most three tokens, and the tournament a model of a million weights: ranks need not transfer.",
        "The small model begins where a few worked answers leave it, at about one problem in fifteen: as shipped it is so sure of itself "
        "that reward hardly moves it, and a first run of these experiments, at three times the rate, made it worse. The rate was then "
        "chosen on validation problems.",
        "The tournament's arms have no KL term, a constant rate, and as many optimiser steps on each batch as their staleness says.",
        "Arms of the tournament sample equally many attempts, not equally many tokens; the tokens are reported.",
        "Whether a problem was out of reach before training is judged by two draws of 128, since one alone may miss it by bad luck.",
    ),
    fails_when="Rewards are right or wrong and groups have two or three answers: the group's sd is then one number, and dividing by it "
    "changes the step's size alone.",
    claims=CLAIMS,
    run=run,
)
