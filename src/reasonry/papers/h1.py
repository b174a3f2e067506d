"""h1, measured: what a length curriculum costs a simulated agent, and how far it takes a small model beyond the lengths it was trained on.

Everything here is composition: chains are `synth`, training is `train.loop`, the simulated agent is `h1_agent`. The start model is in
`h1_start`, the chains in `h1_task`, the arms in `h1_arms`, claims and verdict rules in `h1_findings`, the page in `h1_page`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from reasonry.core import Evidence, Paper, open_run
from reasonry.core.run import commit, machine, write_whole
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers import h1_agent
from reasonry.papers.h1_arms import arm, arms, limit, practise, recipe
from reasonry.papers.h1_findings import CLAIMS, LONG, RAMP, SHORT, START, Arm, Facts, Plan, findings
from reasonry.papers.h1_measures import measures
from reasonry.papers.h1_page import report
from reasonry.papers.h1_start import start
from reasonry.papers.h1_task import chains
from reasonry.synth import chance_rate
from reasonry.train.curriculum import Curriculum, ramp

PLAN = Plan()
WORKERS = 2
"""Arms trained at once, each in a process with one thread."""


def one_arm(plan: Plan, name: str, seed: int, begin: Path, path: Path) -> Arm:
    """`h1_arms.arm` in a process of its own."""
    torch.set_num_threads(1)
    return asyncio.run(arm(plan, name, seed, begin, path))


def one_start(plan: Plan, seed: int, path: Path) -> Path:
    """`h1_start.start` in a process of its own."""
    torch.set_num_threads(1)
    return start(plan.model, plan.teaching, seed, path)


async def same_weights(plan: Plan, begin: Path, path: Path, seed: int) -> dict[str, bool]:
    """Whether curricula that are one and the same training leave the same weights: two steps of each, on few problems."""
    small = replace(plan, every=2, prompts=4, pool=40, validation=2)
    shut, opened = ramp(1, plan.base_tokens, plan.step_tokens), ramp(plan.H, plan.base_tokens, plan.step_tokens, 0.0, 1)
    pairs: dict[str, tuple[str, Curriculum]] = {"H = 1 and standard training": (SHORT, shut), "gate 0 and only the longest": (LONG, opened)}
    same: dict[str, bool] = {}
    for name, (standard, curriculum) in pairs.items():
        weights = []
        for i, order in enumerate((arms(small)[standard], curriculum)):
            lm = load_lm(str(begin))
            assert isinstance(lm, LocalLM)
            async with lm:
                run = open_run(path / f"{standard} {i}", {}, resume=True)
                await practise(small, order, recipe(small, standard, seed), 1, lm, run)
                weights.append(lm.decoder.state_dict())
        same[name] = all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))
    return same


def facts(plan: Plan, begin: Path, seeds: Sequence[int]) -> Facts:
    """The simulated agent, the identities, and the chance rates."""
    orders = h1_agent.arms(2, 0.95)
    atoms: dict[str, list[float]] = {
        name: np.median(h1_agent.costs(name, plan.agent_lengths, range(plan.agent_seeds)), axis=1).tolist() for name in orders
    }
    with TemporaryDirectory() as folder:
        same = asyncio.run(same_weights(plan, begin, Path(folder), seeds[0]))
    tested = {h: [p for seed in seeds for p in chains(h, "test").problems("test", plan.problems, seed)] for h in range(1, plan.longest + 1)}
    grown = {name: h1_agent.growth(plan.agent_lengths, cost) for name, cost in atoms.items()}
    return Facts(grown, atoms, same, {h: chance_rate(problems) for h, problems in tested.items()})


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, each arm from its last checkpoint."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(WORKERS, os.cpu_count() or 1), mp_context=spawn) as pool:
        begins = dict(zip(seeds, pool.map(one_start, *zip(*((plan, s, path / f"start-{s}") for s in seeds), strict=True)), strict=True))
        jobs = [
            pool.submit(one_arm, plan, name, seed, begins[seed], path / f"seed-{seed}-{name.replace(' ', '-')}")
            for seed in seeds for name in (RAMP, *(a for a in arms(plan) if a != RAMP), START)
        ]  # fmt: skip
        try:
            known = facts(plan, begins[seeds[0]], seeds)
            made = [job.result() for job in jobs]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    evidence = Evidence(
        paper="h1",
        scale=f"{plan.model} after {plan.teaching} steps on single problems and bundles with at most one link; chains up to "
        f"{plan.longest}; and a simulated agent",
        command=f"reasonry run h1 --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.tokens:,} sampled tokens an arm and seed ({plan.control_tokens:,} for the random reward), to the nearest step",
        measures=measures(plan, made, known),
        findings=findings(plan, made, known),
        meta={
            "plan": asdict(plan), "limits": {h: limit(plan, h) for h in range(1, plan.longest + 1)},
            "n": "problems over all seeds (groups where the metric is about groups); every seed has a start model of its own",
        },
    )  # fmt: skip
    write_whole(path / "report.html", report(plan, made, known, evidence))
    return evidence


PAPER = Paper(
    slug="h1",
    title="h1: Bootstrapping LLMs to Reason over Longer Horizons",
    arxiv="2510.07312",
    method="reasonry.synth.chain",
    summary="Chains short problems into long ones, each fed by the answer before, and trains on them with a reward for the last answer "
    "alone, chains of one first, then of two, and so on.",
    differs=(
        "A one-million-parameter model and two-operation arithmetic instead of Qwen2.5-3B-Instruct and GSM8K; lengths 1 to 4, tested to 6.",
        "The start is made so that it has the paper's gap: taught single problems and bundles of up to six, told like chains but unlinked, "
        "few of them with one link. So it knows the form of long answers, and has seen links one at a time.",
        "Arms are matched by sampled tokens, not by steps; stages have equal steps and the last takes the rest of the budget.",
        "The best checkpoint of a stage is chosen by mean validation accuracy over all trained lengths, in every arm.",
        "Dr.GRPO's constant is one number for all arms and stages, the limit of the longest trained chains.",
        "pass@k counts attempts with every step right: the answers are small numbers, and 128 guesses hit most of them.",
    ),
    fails_when="Where the lengths grade smoothly into one another a uniform mix is a curriculum of itself and may be as good; and chains "
    "of one may get worse than with training on them alone.",
    claims=CLAIMS,
    run=run,
)
