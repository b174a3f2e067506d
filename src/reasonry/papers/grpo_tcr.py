"""GRPO-TCR, measured: what makes RL of a small agent with a calculator work, along the paper's axes: data, algorithm, reasoning mode.

Everything here is composition: traces are `synth.traces`, the agent is `solve.tool_loop`, rewards `train.tool_reward`, difficulties
`probe.difficulty`, training `train.loop`. The task is in `grpo_tcr_task`, starts in `grpo_tcr_start`, arms in `grpo_tcr_arms`, claims and
verdict rules in `grpo_tcr_findings`, the page in `grpo_tcr_page`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.grpo_tcr_arms import arm, examined, orders, same_weights
from reasonry.papers.grpo_tcr_findings import BASE, CLAIMS, FILTERED, REAL, STITCHED, TEST, UNSEEN, Arm, Plan, findings
from reasonry.papers.grpo_tcr_measures import measures
from reasonry.papers.grpo_tcr_page import report
from reasonry.papers.grpo_tcr_start import base, start

PLAN = Plan()


def one_seed(plan: Plan, seed: int, begin: Path, path: Path) -> list[Arm]:
    """All models of one seed: the base and the starts as they are, then every arm of RL."""
    made = [asyncio.run(examined(plan, BASE, seed, begin, path / "base", {TEST: plan.attempts}))]
    more = {"react": plan.mode_attempts, "deliberate": plan.mode_attempts, UNSEEN: plan.attempts}
    folders = {name: start(plan, name, seed, begin, path / _slug(name)) for name in (REAL, STITCHED, FILTERED)}
    for name, folder in folders.items():
        sets = {TEST: plan.sft_attempts, **(more if name == REAL else {})}
        made.append(asyncio.run(examined(plan, name, seed, folder, path / f"{_slug(name)}-asked", sets)))
    for name, order in orders().items():
        made.append(asyncio.run(arm(plan, name, seed, begin if order.prose else folders[REAL], path / _slug(name))))
    return made


def _slug(name: str) -> str:
    return name.lower().replace("ε_high", "bound").replace(",", "").replace(" ", "-")


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, each arm from its last checkpoint."""
    path.mkdir(parents=True, exist_ok=True)
    begin = base(plan, path / "base")
    arms = [a for seed in seeds for a in one_seed(plan, seed, begin, path / f"seed-{seed}")]
    real = path / f"seed-{seeds[0]}" / _slug(REAL)
    same = asyncio.run(same_weights(plan, real, path / "on-policy", seeds[0]))
    evidence = Evidence(
        paper="grpo-tcr",
        scale="a 90-thousand-parameter model over bytes with a calculator, on two-operation questions",
        command=f"reasonry run grpo-tcr --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.tokens:,} sampled tokens an arm and seed, to the nearest step; {plan.sft_steps * plan.sft_tokens:,} tokens a start",
        measures=measures(plan, arms),
        findings=findings(plan, arms, same),
        meta={
            "plan": asdict(plan),
            "n": "problems over all seeds; seeds for what is read from training logs, where low and high are the least and most of them",
        },
    )
    write_whole(path / "report.html", report(plan, arms, evidence))
    return evidence


PAPER = Paper(
    slug="grpo-tcr",
    title="Demystifying Reinforcement Learning in Agentic Reasoning",
    arxiv="2510.11701",
    method="reasonry.train.tool_reward",
    summary="What works when RL teaches an agent to use tools: supervised starts from real traces, problems matched to the model, and a "
    "policy gradient averaged over tokens with a raised upper clip bound, an overlong penalty, and a reward that forgives failed tries "
    "with tools.",
    differs=(
        "A 90-thousand-parameter model over bytes and a calculator, not Qwen2.5-7B or Qwen3-4B and a code sandbox; questions of two "
        "operations in four families. One base for all seeds, taught here; it has seen a few calls.",
        "Stitched traces replace one computation of a text without tools; the text's slips stay, as its writer never saw the result. A "
        "third start has texts without slips only.",
        "All arms have the reward of the authors' code (wrong answers earn less badly with calls). GRPO-T's KL coefficient is verl's "
        "default; the paper does not print one.",
        "The sweep of ε_high is .2, .28, .5, 1; GRPO without the token mean is not an arm, since attempts here are of like length.",
        "Four updates are made on the whole batch; the authors cut it into four mini-batches, as `minibatches = 4` of a recipe does.",
        "The case of a model that reasons without tools is the base itself, taught chains of thought and hardly any call.",
        "The target of the curated set is one easy, two medium, one hard; the paper takes a stronger model's histogram.",
        "Deliberate and reactive traces are taught side by side and asked for by one character of the prompt.",
    ),
    fails_when="A whole group is wrong: the reward then differs by the number of calls alone, the normaliser makes that full size, and the "
    "policy is taught to call more and nothing else.",
    claims=CLAIMS,
    run=run,
)
