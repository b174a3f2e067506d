"""HICRA's three experiments: a simulated reasoner, a small model on puzzles with strategies, and the extractor against known phrases.

Everything here is composition: grams and probes are `probe`, the boost and the masks `train`, puzzles `tasks.puzzle`. The simulated
reasoner is `hicra_agent`, the start `hicra_start`, the arms `hicra_arms`, the extractor's test `hicra_grams`; claims and verdict rules are
in `hicra_findings`, the figures in `hicra_measures`, the page in `hicra_page`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers import hicra_agent
from reasonry.papers.hicra_arms import Experiment, Grams
from reasonry.papers.hicra_findings import CLAIMS, findings
from reasonry.papers.hicra_grams import entropy_and_planning, quality
from reasonry.papers.hicra_measures import measures
from reasonry.papers.hicra_page import report
from reasonry.papers.hicra_rows import ARMS, GRPO, HICRA, START, Facts, Plan, Row, Step
from reasonry.papers.hicra_start import start
from reasonry.train.health import Progress, Record

PLAN = Plan()


def simulated(plan: Plan, seed: int) -> dict[str, list[list[float]]]:
    """`q/arm` -> [agents][marks]; all arms at the middle base, HICRA and GRPO at the others."""
    marks = range(plan.marked, plan.updates + 1, plan.marked)
    seeds = range(seed * plan.agents, (seed + 1) * plan.agents)
    found: dict[str, list[list[float]]] = {}
    for q in plan.bases:
        world = hicra_agent.World(q=q)
        for arm, boost in hicra_agent.arms(world).items():
            if q == plan.bases[1] or arm in (GRPO, HICRA):
                curve = hicra_agent.learn(world, boost, plan.updates, seeds, marks)
                found[f"{q:g}/{arm}"] = [[float(curve[m][i]) for m in marks] for i in range(plan.agents)]
    return found


async def known(experiment: Experiment, seed: int, grams: Grams) -> Facts:
    """A seed's facts, found once."""
    kept = experiment.path / f"facts-seed{seed}.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Facts)
    with TemporaryDirectory() as folder:
        same = await experiment.same(seed, grams, Path(folder))
    async with experiment.lm() as lm:
        high, of_planning, share = entropy_and_planning(lm, grams)
    plan = experiment.plan
    found = Facts(seed, simulated(plan, seed), quality(plan, grams, seed), high, of_planning, share, same)
    write_whole(kept, msgspec.json.encode(found).decode())
    return found


def teller(label: str, budget: int) -> Progress:
    """Says how far an arm is, at most every ten seconds."""
    told = [0.0]

    def tell(record: Record) -> None:
        if time.monotonic() - told[0] >= 10:
            told[0] = time.monotonic()
            click.echo(f"{label}: {record['tokens']:,} of {budget:,} tokens, {record['pass_rate']:.0%} right", err=True)

    return tell


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan, split: str) -> Evidence:
    """Teaches the start, finds the grams, trains and tests every arm for every seed, judges, and writes `report.html`."""
    experiment = Experiment(path, plan, start(path / "start", plan.teaching), split)
    rows, steps, facts = list[Row](), list[Step](), list[Facts]()
    for seed in seeds:
        grams = await experiment.mined(seed)
        rows += await experiment.test(START, seed, None)
        for arm in ARMS:
            state, told = await experiment.train(arm, seed, grams, teller(f"{arm}, seed {seed}", plan.tokens))
            steps += told
            rows += await experiment.test(arm, seed, state)
    for seed in seeds:
        facts.append(await known(experiment, seed, await experiment.mined(seed)))
    evidence = Evidence(
        paper="hicra",
        scale=f"a decoder of two blocks taught for {plan.teaching} steps on number puzzles, {plan.tokens:,} sampled tokens an arm; and a "
        "simulated reasoner",
        command=f"reasonry run hicra --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.tokens:,} sampled tokens an arm and seed, to the nearest step; all seeds share the start",
        measures=measures(plan, rows, steps, facts),
        findings=findings(plan, rows, steps, facts),
        meta={
            "plan": asdict(plan),
            "n": "seeds (training runs) for the small model and the extractor, with Student's interval or that over problems where wider; "
            "agents for the simulated reasoner",
        },
    )
    write_whole(path / "report.html", report(plan, rows, steps, facts, evidence))
    return evidence


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN, split: str = "test") -> Evidence:
    """The experiments; resume what `path` already holds."""
    return asyncio.run(measure(path, seeds, plan, split))


PAPER = Paper(
    slug="hicra",
    title="Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning",
    arxiv="2509.03646",
    method="reasonry.probe.strategic_grams",
    summary="Finds the phrases in which a model announces strategies, in its own right answers, and gives their tokens more credit: "
    "Â + α|Â|. The same phrases make probes of planning against execution for any log.",
    differs=(
        "A decoder of two blocks on number puzzles with three strategies, not 4B to 8B models on competition mathematics.",
        "No sentence encoder: phrases are embedded by their letters and words, so clusters join spellings, not meanings.",
        "For training the top 40 % of clusters are kept, not 20 %: with so few kinds of phrases 20 % leaves whole strategies out. "
        "The extractor's test shows 10 to 40 %.",
        "The placebo boosts as many tokens of each batch, drawn at random; the paper draws random n-grams, of which these short texts hold "
        "too few beside the strategic ones.",
        "The entropy arm boosts the batch's 30 % of tokens with the highest entropy; `long_and_right`, the variant that third-party notes "
        "ascribe to the authors' code, is in `train.planning` and not an arm here.",
        "The aggregation, the learning rate and the group size are ours; no filtering of groups with one reward.",
        "The simulated reasoner has one more control, planning advantages × 1.2 whatever their sign, for the boost is also a larger step.",
    ),
    fails_when="Calculations are told in words of a small vocabulary: their phrases stand in as many solutions as strategies do, and the "
    "extractor takes them for strategies.",
    claims=CLAIMS,
    run=run,
)
