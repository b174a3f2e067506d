"""Pools of candidates made here: attempts of a solver at a task, aggregations of them; and pools read from files and runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from reasonry.core import LM, Budget, Problem, Sampling, Solver, Stop, Task, Trajectory, UserError, Verdict
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.command import opened
from reasonry.lm.load import load_lm
from reasonry.solve import build_solver
from reasonry.solve.agglm import Aggregate, Found
from reasonry.synth.spec import load
from reasonry.tasks.judges import JUDGES
from reasonry.tasks.pack import WORDS, Packing
from reasonry.tasks.pool import Aggregated, Candidate, Pool, Reads, candidate, read_pools

MANY = 256
"""Attempts under way at once."""


@dataclass(frozen=True)
class ByJudge:
    """A judge's name as something that reads and judges answers."""

    name: str

    def extract(self, text: str) -> str | None:
        """The answer in canonical spelling."""
        return JUDGES[self.name]().extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The judge's verdict."""
        return JUDGES[self.name]()(problem, answer)


async def sample_pools(solver: Solver, task: Task, problems: Sequence[Problem], split: str, k: int, seed: int = 0) -> list[Pool]:
    """`k` attempts at each problem as pools. A failed attempt is left out. Raises UserError where a problem has none left."""
    gate = asyncio.Semaphore(MANY)

    async def one(p: Problem, i: int, j: int) -> Trajectory:
        async with gate:
            return await solver(p, Budget(), inner_seed(seed, i, j))

    pools: list[Pool] = []
    made = await asyncio.gather(*(one(p, i, j) for i, p in enumerate(problems) for j in range(k)))
    for i, p in enumerate(problems):
        kept = [t for t in made[i * k : (i + 1) * k] if t.stop is not Stop.ERROR]
        if not kept:
            raise UserError(f"{solver.name}: every attempt at problem {p.id!r} failed; the first said: {made[i * k].error}")
        pools.append(Pool(p, split, tuple(candidate(t, p, task) for t in kept)))
    return pools


@dataclass(frozen=True)
class _Given:
    """One set of candidates as an aggregator's source."""

    candidates: tuple[Candidate, ...]

    async def __call__(self, problem: Problem, m: int, budget: Budget, seed: int) -> Found:
        return Found(Trajectory(problem.id), self.candidates)


async def aggregate_pools(
    lm: LM, task: Reads, pools: Sequence[Pool], m: int, packing: Packing, sampling: Sampling, each: int = 1, seed: int = 0
) -> list[Pool]:
    """The pools with `each` aggregations by `lm` of every set of m candidates, in place of those they had."""
    gate = asyncio.Semaphore(MANY)

    async def one(pool: Pool, i: int, number: int, j: int) -> Aggregated:
        source = _Given(pool.candidates[number * m : (number + 1) * m])
        solver = Aggregate(lm, task, source, m, packing, sampling)  # type: ignore[arg-type]  # only reads and judges
        async with gate:
            t = await solver(pool.problem, Budget(), inner_seed(seed, i, number, j))
        plain = candidate(t, pool.problem, task)
        return Aggregated(**{f.name: getattr(plain, f.name) for f in fields(Candidate)}, set=number)

    done: list[Pool] = []
    for i, pool in enumerate(pools):
        sets = len(pool.candidates) // m
        made = await asyncio.gather(*(one(pool, i, number, j) for number in range(sets) for j in range(each)))
        done.append(Pool(pool.problem, pool.split, pool.candidates, tuple(made)))
    return done


class _Line(msgspec.Struct):
    solver: str
    problem: str
    trajectory: Trajectory


def pools_of(path: Path, task: Reads | None) -> list[Pool]:
    """The pools of a file; or of a run directory of compare, where the attempts of its first solver are the candidates. Raises UserError
    for a directory that is no such run."""
    if not path.is_dir():
        return read_pools(path, task)
    log, config = path / "attempts.jsonl", path / "config.json"
    if not log.is_file() or not config.is_file():
        raise UserError(f"{path}: holds no attempts.jsonl beside a config.json; name a run directory of reasonry compare, or a JSONL file")
    c = json.loads(config.read_text())
    of = load(c["task"])
    problems = {p.id: p for p in of.problems(c["split"], c["problems"], c["seed"])}
    decode = msgspec.json.Decoder(_Line).decode
    lines = [decode(raw) for raw in log.read_bytes().splitlines()]
    first = lines[0].solver if lines else ""
    made: dict[str, list[Candidate]] = {}
    for line in lines:
        if line.solver == first and line.problem in problems and line.trajectory.stop is not Stop.ERROR:
            made.setdefault(line.problem, []).append(candidate(line.trajectory, problems[line.problem], of))
    if not made:
        raise UserError(f"{path}: holds no finished attempt at a problem of {c['task']}; let the run finish first")
    return [Pool(problems[id], c["split"], tuple(found)) for id, found in made.items()]


def reader(judge_name: str | None, task: str | None) -> Reads | None:
    """What reads and judges answers, by a judge's name or a task's spec. Raises UserError for an unknown one."""
    if task is not None:
        return load(task)
    if judge_name is None:
        return None
    if judge_name not in JUDGES:
        raise UserError(f"--judge: {judge_name!r} is unknown; use one of {', '.join(JUDGES)}")
    return ByJudge(judge_name)


async def sampled_by(model: str, task: str, solver: str, n: int, k: int, split: str, seed: int) -> list[Pool]:
    """Fresh pools of `n` problems."""
    of = load(task)
    problems = of.problems(split, n, seed)
    async with opened(load_lm(model)) as lm:
        return await sample_pools(build_solver(solver, lm, of), of, problems, split, k, seed)


async def aggregated_by(
    model: str, task: Reads, pools: Sequence[Pool], m: int | None, words: str, max_tokens: int, seed: int
) -> list[Pool]:
    """The pools with one aggregation by a model of every set. Raises UserError for unknown words."""
    if words not in WORDS:
        raise UserError(f"--words: {words!r} is unknown; use one of {', '.join(WORDS)}")
    m = min(len(pool.candidates) for pool in pools) if m is None else m
    async with opened(load_lm(model)) as lm:
        return await aggregate_pools(lm, task, pools, m, Packing(WORDS[words]), Sampling(max_tokens=max_tokens), seed=seed)
