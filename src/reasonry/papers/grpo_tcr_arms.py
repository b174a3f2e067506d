"""The arms of GRPO-TCR's experiment: RL of a model that calls a calculator, and the examination that all models get.

Invariant: an arm is its own run directory and a function of (plan, seed, arm); it goes on from its last checkpoint, and stops when it has
sampled the plan's tokens, to the nearest step. Arms of a seed are asked the same problems in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import msgspec

from reasonry.core import Budget, Problem, Run, Sampling, open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.grpo_tcr_findings import (
    CURATED,
    EPSILONS,
    ONE,
    PROSE,
    SCR,
    T_C,
    T_R,
    TCR,
    TEST,
    UNSEEN,
    VERDICT,
    Arm,
    Asked,
    Plan,
    Step,
    T,
    swept,
)  # fmt: skip
from reasonry.papers.grpo_tcr_task import DELIBERATE, FREE, REACT, problems_of, read, tools_of
from reasonry.probe.difficulty import BINS, Rated, curated
from reasonry.probe.tool_use import tool_use
from reasonry.solve.tool_loop import ToolLoop
from reasonry.train.catalogue import find
from reasonry.train.curriculum import only
from reasonry.train.loop import STEPS, frozen_copy, train
from reasonry.train.objective import Objective
from reasonry.train.ratio import Clip
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward, Weighted, overlong, verdict
from reasonry.train.rollout import CUT, rollout
from reasonry.train.surrogate import DualClip
from reasonry.train.tool_reward import FORMS

TRAINED = ("sums", "units", "lists")
"""Families of the RL set; `products` is left for the examination."""


@dataclass(frozen=True)
class Order:
    """What makes an arm an arm."""

    objective: Objective
    shaped: bool
    """With the overlong penalty."""
    families: tuple[str, ...] = TRAINED
    curated: bool = False
    prose: bool = False
    """Begins at the base, which was taught no tool traces."""
    forgiving: bool = True
    """With the tool-aware reward; else the verdict, as far apart."""


def orders() -> dict[str, Order]:
    """Every arm, by name."""
    t, tcr = find("grpo-t").objective, find("grpo-tcr").objective

    def raised(o: Objective, high: float) -> Objective:
        return replace(o, surrogate=DualClip(Clip(0.8, 1 + high), 10.0))

    made = {
        T: Order(t, False),
        T_C: Order(raised(t, 0.28), False),
        T_R: Order(t, True),
        TCR: Order(tcr, True),
        SCR: Order(find("grpo-scr").objective, True),
    }
    made |= {swept(e): Order(raised(tcr, e), True) for e in EPSILONS if swept(e) != TCR}
    return made | {
        ONE: Order(tcr, True, TRAINED[:1]),
        CURATED: Order(tcr, True, curated=True),
        PROSE: Order(tcr, True, prose=True),
        VERDICT: Order(tcr, True, prose=True, forgiving=False),
    }


def recipe(plan: Plan, order: Order, seed: int) -> Recipe:
    """The same for all arms but for what the order says; `steps` is the end of the first slice."""
    paid, weight = (FORMS["code"], {"tool_aware": 1.0}) if order.forgiving else (verdict, {"score": 2.0})
    signals, weights = (paid, overlong(plan.longest, plan.buffer)), {**weight, "overlong": float(order.shaped)}
    return Recipe(
        objective=order.objective, lr=plan.lr, steps=plan.every, prompts=plan.prompts, group=plan.G, updates=plan.updates,
        reward=Reward(signals, Weighted(weights)), save_every=plan.every, seed=seed, part_tokens=1 << 17,
    )  # fmt: skip


def opened(folder: Path) -> LocalLM:
    """The model of a checkpoint folder."""
    lm = load_lm(str(folder), max_rows=96, kv_tokens=32_768)
    assert isinstance(lm, LocalLM)
    return lm


def agent(plan: Plan, lm: LocalLM) -> ToolLoop:
    """The solver of all arms."""
    return ToolLoop(lm, tools_of, plan.turns, Sampling(max_tokens=plan.longest), read=read)


async def arm(plan: Plan, name: str, seed: int, begin: Path, path: Path, end: int | None = None) -> Arm:
    """Trains one arm from `begin` and examines it; done once, its result is kept in `path`."""
    kept = path / "arm.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Arm)
    order = orders()[name]
    plain = recipe(plan, order, seed)
    run = open_run(path, {"plan": asdict(plan), "arm": name, "seed": seed, "recipe": describe(plain)}, resume=True)
    async with opened(begin) as lm:
        reference = frozen_copy(lm.decoder)
        pool, rated = await chosen(plan, lm, order, seed)
        task, solver, stop = problems_of(order.families), agent(plan, lm), None
        while stop != (stop := next_stop(plan, end or plan.tokens, log_of(run))):
            r = replace(plain, steps=stop)
            await train(lm, solver, task, only(1, plan.longest), {1: pool}, r, run, reference if r.objective.kl else None)
        asked = await ask(plan, lm, seed, TEST, plan.attempts)
        if name in (TCR, ONE):
            asked += await ask(plan, lm, seed, UNSEEN, plan.attempts)
        found = Arm(name, seed, log_of(run), asked, [r.passes for r in rated], len({p.id.partition("#")[0] for p in pool}))
    run.write(kept.name, msgspec.json.encode(found).decode())
    last = found.log[-1]
    click.echo(f"{name}, seed {seed}: {len(found.log)} steps, {last.tokens:,} tokens, {last.pass_rate:.0%} right at the end", err=True)
    return found


async def examined(plan: Plan, name: str, seed: int, begin: Path, path: Path, sets: dict[str, int]) -> Arm:
    """A model as it is: set -> attempts at each of its problems; done once."""
    kept = path / "arm.json"
    if not kept.exists():
        path.mkdir(parents=True, exist_ok=True)
        async with opened(begin) as lm:
            asked = [a for where, n in sets.items() for a in await ask(plan, lm, seed, where, n)]
        part = kept.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(Arm(name, seed, [], asked, [], 0)))
        part.replace(kept)
    return msgspec.json.decode(kept.read_bytes(), type=Arm)


async def chosen(plan: Plan, lm: LocalLM, order: Order, seed: int) -> tuple[Sequence[Problem], list[Rated]]:
    """The training problems; for the curated arm those that the model itself passes sometimes, resampled, with what it was rated on;
    a model that hardly any problem teaches gets them as they are."""
    task = problems_of(order.families)
    if not order.curated:
        return task.problems("train", plan.pool, seed), []
    problems, passes = task.problems("train", plan.rated, seed), dict[str, int]()
    budget = Budget(completion_tokens=plan.longest)
    async for group in rollout(agent(plan, lm), task, problems, budget, plan.ratings, inner_seed(seed, 7)):
        passes[group.problem.id] = sum(bool(t.verdict and t.verdict.passed) for t in group.trajectories)
    rated = [Rated(p, passes[p.id], plan.ratings, "start") for p in problems]
    found = Counter(r.bin for r in rated if r.bin)
    if found.total() < plan.prompts:
        return problems, rated
    target = {name: share for name, share in zip(BINS, plan.target, strict=True) if found[name]}
    return curated(rated, target, plan.rated, limit=4, seed=seed), rated


def next_stop(plan: Plan, end: int, log: Sequence[Step]) -> int:
    """The step to train up to next, a function of the whole slices of the log; the same again where the tokens are spent."""
    whole = log[: len(log) // plan.every * plan.every]
    if not whole:
        return plan.every
    rate = sum(s.length for s in whole[-plan.every :]) / plan.every * plan.prompts * plan.G
    return len(whole) + min(max(round((end - whole[-1].tokens) / rate), 0), plan.every)


def log_of(run: Run) -> list[Step]:
    """What the run's log says of its steps."""
    return [msgspec.json.decode(line, type=Step) for line in run.lines(STEPS)]


def asked_of(plan: Plan, where: str, seed: int) -> list[Problem]:
    """The problems of a set; the mode sets have the test set's problems, asked in the mode."""
    if where == UNSEEN:
        return problems_of(("products",)).problems(plan.split, plan.unseen, seed)
    mode = {"react": REACT, "deliberate": DELIBERATE}.get(where, FREE)
    found = problems_of(TRAINED, FREE).problems(plan.split, plan.problems, seed)
    return [replace(p, prompt=str(p.prompt)[:-1] + mode) for p in found]


async def ask(plan: Plan, lm: LocalLM, seed: int, where: str, n: int) -> list[Asked]:
    """`n` attempts at each problem of a set, with seeds that all arms share."""
    task, room = problems_of(), Budget(completion_tokens=plan.longest)
    found: list[Asked] = []
    async for group in rollout(agent(plan, lm), task, asked_of(plan, where, seed), room, n, inner_seed(seed, len(where))):
        uses = [tool_use(t) for t in group.trajectories]
        found.append(
            Asked(
                where, group.problem.id, group.problem.meta["family"],
                [bool(t.verdict and t.verdict.passed) for t in group.trajectories], [t.cost.completion_tokens for t in group.trajectories],
                [u.calls for u in uses], [u.calls - u.succeeded for u in uses], [t.stop in CUT for t in group.trajectories],
            )
        )  # fmt: skip
    return sorted(found, key=lambda a: a.problem)


async def same_weights(plan: Plan, begin: Path, path: Path, seed: int) -> bool:
    """Whether two steps with one update a batch leave the same weights with the bound at .2, at .28 and at 1."""
    weights = []
    for high in (0.2, 0.28, 1.0):
        order = orders()[swept(high)]
        async with opened(begin) as lm:
            r = replace(recipe(plan, order, seed), updates=1, steps=2, prompts=2)
            run = open_run(path / f"{high}", {}, resume=True)
            pool = problems_of(TRAINED).problems("train", 8, seed)
            await train(lm, agent(plan, lm), problems_of(TRAINED), only(1, plan.longest), {1: pool}, r, run)
            weights.append([p.detach().clone() for p in lm.decoder.parameters()])
    return all((a == b).all() for others in weights[1:] for a, b in zip(weights[0], others, strict=True))
