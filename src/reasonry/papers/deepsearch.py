"""DeepSearch, measured: tree search inside training against direct sampling, its parts taken out one by one, and search without a model.

Everything here is composition: the search is `solve.deepsearch`, its groups `solve.explore`, training `train.loop` with `train.nodes`,
`train.solutions` and `train.hard`. The task and the start are in `deepsearch_task`, the arms in `deepsearch_arms`, trees without a model in
`deepsearch_lab`, claims and verdict rules in `deepsearch_findings`, the page in `deepsearch_page`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from reasonry.core import Budget, Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.core.seeds import inner_seed
from reasonry.papers.deepsearch_arms import arm, hard_test, policy, probed, search
from reasonry.papers.deepsearch_findings import CLAIMS, START, Lab, Plan, Probe, Trained, findings, measures
from reasonry.papers.deepsearch_lab import KINDS, measured
from reasonry.papers.deepsearch_page import report
from reasonry.papers.deepsearch_task import TOKENS, mod_chains, start
from reasonry.solve.explore import judged
from reasonry.solve.tree.dump import Record, dump
from reasonry.train.health import Record as Told

PLAN = Plan()


class Meter:
    """Says on the terminal how far the experiment is, at most every ten seconds."""

    def __init__(self, arms: int, tokens: int) -> None:
        self._arms, self._tokens, self._arm, self._told = arms, tokens, "", 0.0

    def begin(self, number: int, name: str) -> None:
        """A new arm, the `number`-th from 1."""
        self._arm = f"arm {number} of {self._arms}, {name}"

    def tell(self, record: Told) -> None:
        """Takes note of a step."""
        if time.monotonic() - self._told >= 10:
            self._told = time.monotonic()
            click.echo(f"{self._arm}: {record['tokens']:,} of {self._tokens:,} tokens, right {record['pass_rate']:.2f}", err=True)


async def trees(plan: Plan, seeds: Sequence[int], path: Path) -> list[Lab]:
    """Search without a model, kept once measured."""
    kept = path / "lab.json"
    if not kept.exists():
        made = [Lab(kind, s, await measured(kind, plan.lab_problems, s)) for s in seeds for kind in KINDS]
        write_whole(kept, msgspec.json.encode(made).decode())
    return msgspec.json.decode(kept.read_bytes(), type=list[Lab])


async def drawing(plan: Plan, folder: Path) -> list[Record]:
    """The start's tree of the first training problem, of those tried, with right and wrong ends, as records."""
    task = mod_chains()
    records: list[Record] = []
    async with policy(folder) as lm:
        how = search(plan, lm, "")
        for i, problem in enumerate(task.problems("train", plan.drawn, 1234)):

            async def judge(text: str, problem: object = problem) -> bool:
                return await judged(task, problem, text)  # type: ignore[arg-type]

            tree = await how.search(problem, judge, Budget(), plan.group, i, lambda c, e, i=i: inner_seed(i, c, e), TOKENS)
            records = dump(tree.root, lambda node, tree=tree: tree.segments[node].text)
            ends = [r["end"] for r in records if r["end"] is not None]
            if 1.0 in ends and -1.0 in ends:
                break
    return records


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Evidence:
    """Teaches the start, trains and tests every arm for every seed, searches without a model, judges, and writes `report.html`."""
    path.mkdir(parents=True, exist_ok=True)
    folder = start(path / "start", plan.teaching)
    jobs = [(name, seed) for seed in seeds for name in (START, *plan.arms)]
    meter = Meter(len(jobs), plan.tokens)
    made, probes = list[Trained](), list[Probe]()
    for number, (name, seed) in enumerate(jobs, 1):
        meter.begin(number, f"{name}, seed {seed}")
        if name == START:
            probes += await probed(plan, seed, folder, path)
        made.append(await arm(plan, name, seed, folder, path / f"seed-{seed}-{name.replace(',', '').replace(' ', '-')}", meter.tell))
    lab = await trees(plan, seeds, path)
    hard = {s: len(await hard_test(plan, s, folder, path)) for s in seeds}
    evidence = Evidence(
        paper="deepsearch",
        scale=f"a decoder of two blocks taught for {plan.teaching} steps on chains of sums and products, asked those it finds hard",
        command=f"reasonry run deepsearch --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.tokens:,} sampled tokens an arm and seed, to the nearest step; dead ends are counted, the rating of problems is not",
        measures=measures(made, probes, lab),
        findings=findings(made, probes, lab),
        meta={
            "plan": asdict(plan), "hard test problems by seed": hard,
            "n": "seeds (training runs), with Student's interval over them or that over problems where wider; training: least and most",
        },
    )  # fmt: skip
    write_whole(path / "report.html", report(plan, made, await drawing(plan, folder), evidence))
    return evidence


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    return asyncio.run(measure(path, seeds, plan))


PAPER = Paper(
    slug="deepsearch",
    title="DeepSearch: Overcome the Bottleneck of RLVR via Monte Carlo Tree Search",
    arxiv="2509.25454",
    method="reasonry.solve.deepsearch",
    summary="Makes a problem's group of attempts by one tree search: chunks grow from the best node of the whole frontier, right and "
    "surely wrong ends are backed up under a constraint, and every chunk is trained by the value of its node.",
    differs=(
        "A decoder of two blocks on chains of four to six steps, a chunk a step, four children and about eight ends; not a 1.5B "
        "reasoner with chunks of 256 tokens.",
        "The start is taught to slip: products go wrong in 45 % of its steps, sums in 10 %; pass@1 is low by errors that reward can mend.",
        "All arms are matched by sampled tokens, chunks on dead ends included, and are evaluated by plain attempts.",
        "Hard problems are those passed at most once in four (the code's ≤ 25 %), chosen in two rounds; prompts with one reward "
        "only are left out of the update, for there the paper's formula pulls all inner nodes one way.",
        "One round's newcomers have no visits, so local UCT is a random choice among them, in the paper's procedure as here; and its "
        "new ends are siblings, so which of them is backed up matters only where the others are not learned from.",
        "An arm of ours, `centred nodes`, takes inner values less their own mean rather than the ends' mean.",
    ),
    fails_when="Where scores do not tell good prefixes from bad ones, search spends tokens on many ways with a common wrong beginning: it "
    "then solves fewer problems than as many independent attempts, though it finds more right ways where it solves one.",
    claims=CLAIMS,
    run=run,
)
