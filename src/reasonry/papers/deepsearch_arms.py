"""The arms of DeepSearch's experiment: one loop, one objective, one number of sampled tokens; only how groups are made differs.

Invariant: an arm is its own run directory and a function of (plan, seed, arm, start). It goes on from its last checkpoint; once done, its
result is kept. Every arm chooses its hard subset in the same rounds by plain attempts, which are not counted in its tokens, and is asked
plainly in the end: search is in training alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import torch

from reasonry.core import Budget, Problem, Run, Sampling, Task, open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.deepsearch_findings import (
    BACKED,
    BACKED_RANDOM,
    CENTRED,
    DIRECT,
    NO_CACHE,
    PLAIN_BACKUP,
    PREFIX,
    RANDOM,
    START,
    Plan,
    Probe,
    Row,
    Step,
    Trained,
)
from reasonry.papers.deepsearch_task import END, TOKENS, mod_chains
from reasonry.solve.deepsearch import DeepSearch
from reasonry.solve.explore import Explore, PrefixTree
from reasonry.solve.single import Single
from reasonry.solve.tree import Decayed
from reasonry.train.catalogue import find
from reasonry.train.credit import NodeValue
from reasonry.train.curriculum import only
from reasonry.train.hard import Hard, Problems, in_rounds, rater
from reasonry.train.health import Progress
from reasonry.train.loop import HISTORY, STEPS, train
from reasonry.train.nodes import node_values
from reasonry.train.recipe import Recipe, describe
from reasonry.train.rollout import Explorer, rollout
from reasonry.train.solutions import Solutions

ROOM = Budget(completion_tokens=TOKENS)
ROWS, KV = 128, 65_536


def policy(folder: Path) -> LocalLM:
    """The start."""
    return LocalLM(load_decoder(folder, torch.float32), Tokenizer.load(folder), "policy", max_rows=ROWS, kv_tokens=KV)


def plain(lm: LocalLM) -> Single:
    """One direct answer."""
    return Single(lm, Sampling(max_tokens=TOKENS))


def search(plan: Plan, lm: LocalLM, arm: str) -> DeepSearch:
    """The arm's search: a chunk is a step."""
    negative = {"negative": "random"}
    full = DeepSearch(lm, mod_chains(), n=plan.n, chunk=TOKENS, delimiter=END, depth=plan.depth, ends=plan.group, max_tokens=TOKENS)
    return replace(full, **{PLAIN_BACKUP: {"back": Decayed()}, RANDOM: negative, BACKED_RANDOM: negative}.get(arm, {}))


def explorer(plan: Plan, lm: LocalLM, arm: str, stored: Solutions) -> Explorer:
    """What makes the arm's groups. Direct attempts go the way of problems with a solution, of which there are none."""
    if arm == PREFIX:
        return PrefixTree(search(plan, lm, arm))
    made = Explore(search(plan, lm, arm), stored, searches=arm != DIRECT)
    return replace(made, ways="backed") if arm in (BACKED, BACKED_RANDOM) else made


def recipe(plan: Plan, seed: int, arm: str) -> Recipe:
    """The same for all arms, but for the control that centres nodes by themselves."""
    objective = find("deepsearch").objective
    if arm == CENTRED:
        objective = replace(objective, advantage=NodeValue(centre="nodes"))
    return Recipe(
        objective=objective, lr=plan.lr, steps=plan.every, prompts=plan.prompts, group=plan.group, save_every=plan.every, seed=seed,
        enrich=node_values, part_tokens=1 << 17,
    )  # fmt: skip


async def arm(plan: Plan, name: str, seed: int, folder: Path, path: Path, told: Progress) -> Trained:
    """Trains (unless it is the start itself) and tests one arm."""
    kept = path / "arm.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Trained)
    how = recipe(plan, seed, name)
    run = open_run(path, {"plan": asdict(plan), "arm": name, "seed": seed, "recipe": describe(how)}, resume=True)
    async with policy(folder) as lm:
        hard: list[int] = []
        if name != START:
            hard = await practise(plan, name, how, lm, run, told)
        made = Trained(name, seed, log_of(run), await examined(plan, lm, name, seed, folder, path.parent), hard)
    run.write(kept.name, msgspec.json.encode(made).decode())
    return made


async def practise(plan: Plan, name: str, how: Recipe, lm: LocalLM, run: Run, told: Progress) -> list[int]:
    """Trains in rounds on what is hard, each until its share of the tokens is sampled; the problems of each round."""
    task, hard = mod_chains(), Hard(plan.attempts, plan.below, plan.rounds)
    stored = Solutions(0 if name in (NO_CACHE, DIRECT, PREFIX) else 4)
    groups = explorer(plan, lm, name, stored)
    sizes: list[int] = []

    async def learn(problems: Problems, upto: int) -> None:
        sizes.append(sum(map(len, problems.values())))
        stop = None
        while stop != (stop := next_stop(plan, upto, log_of(run))):
            batch = min(plan.prompts, sizes[-1])
            await train(
                lm, groups, task, only(1, TOKENS), problems, replace(how, steps=stop, prompts=batch), run, beside=[stored], progress=told
            )

    pool = task.problems("train", plan.pool, how.seed)
    rate = rater(plain(lm), task, ROOM, hard, how.seed)
    await in_rounds(hard, plan.tokens, run, {1: pool}, rate, learn)
    return sizes


def next_stop(plan: Plan, end: int, log: Sequence[Step]) -> int:
    """The step to train up to next until `end` tokens are sampled, a function of the whole slices of the log."""
    if not log:
        return plan.every
    latest = log[-plan.every :]
    before = log[-len(latest) - 1].tokens if len(log) > len(latest) else 0
    rate = max((latest[-1].tokens - before) / len(latest), 1.0)
    return len(log) + min(max(round((end - log[-1].tokens) / rate), 0), plan.every)


def log_of(run: Run) -> list[Step]:
    """What the run's log says of its steps, with the share of problems solved from its history."""
    history = run.path / HISTORY
    groups = [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []
    steps = [json.loads(line) for line in run.lines(STEPS)]
    solved = [sum(g[2] > 0 for g in of) / len(of) for of in groups]
    return [msgspec.convert({**s, "solved": share}, Step) for s, share in zip(steps, solved, strict=False)]


async def hard_test(plan: Plan, seed: int, folder: Path, path: Path) -> list[Problem]:
    """The seed's test problems that the start finds hard, rated once; held out from everything else."""
    task, kept = mod_chains(), path / f"hard-test-{seed}.json"
    problems = task.problems("test", plan.test, seed)
    if not kept.exists():
        async with policy(folder) as lm:
            found = await rater(plain(lm), task, ROOM, Hard(plan.attempts), inner_seed(seed, 77))(problems, 0)
        kept.write_text(json.dumps([p.id for p in problems if found[p.id] < plan.below]))
    chosen = set(json.loads(kept.read_text()))
    return [p for p in problems if p.id in chosen]


async def examined(plan: Plan, lm: LocalLM, name: str, seed: int, folder: Path, path: Path) -> list[Row]:
    """Plain attempts at the hard test problems, with the same random numbers for every arm."""
    problems = await hard_test(plan, seed, folder, path)
    rows: list[Row] = []
    async for group in rollout(plain(lm), mod_chains(), problems, ROOM, plan.test_attempts, inner_seed(seed, 99)):
        passed = [t.verdict is not None and t.verdict.passed is True for t in group.trajectories]
        rows.append(Row(seed, name, group.problem.id, sum(passed) / plan.test_attempts))
    return sorted(rows, key=lambda r: r.problem)


async def probed(plan: Plan, seed: int, folder: Path, path: Path) -> list[Probe]:
    """The start on hard test problems: searching, and answering directly until it has sampled at least as many tokens."""
    kept, task = path / f"probe-{seed}.json", mod_chains()
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=list[Probe])
    made: list[Probe] = []
    problems = (await hard_test(plan, seed, folder, path))[: plan.probe]
    async with policy(folder) as lm:
        made = await _probe(plan, lm, task, problems, seed)
    kept.write_bytes(msgspec.json.encode(made))
    return made


async def _probe(plan: Plan, lm: LocalLM, task: Task, problems: Sequence[Problem], seed: int) -> list[Probe]:
    made: list[Probe] = []
    trees = Explore(search(plan, lm, ""))
    direct = Explore(search(plan, lm, ""), searches=False)
    searched = {g.problem.id: g.trajectories async for g in rollout(trees, task, problems, ROOM, plan.group, seed)}
    answered = {g.problem.id: g.trajectories async for g in rollout(direct, task, problems, ROOM, 2 * plan.group, seed)}
    tokens: Mapping[str, int] = {p: sum(t.cost.completion_tokens for t in found) for p, found in searched.items()}
    for problem, found in searched.items():
        spent, enough = 0, []
        for t in answered[problem]:
            if spent < tokens[problem]:
                spent += t.cost.completion_tokens
                enough.append(t)
        for how, ends, paid in (("search", found, tokens[problem]), ("direct", enough, spent)):
            right = sum(t.verdict is not None and t.verdict.passed is True for t in ends)
            made.append(Probe(seed, problem, how, right, len(ends), paid))
    return made
