"""Delethink, measured: tracing past the trained length, the limit of the state, and what thinking costs.

Everything here is composition: the solvers are `solve.single` (LongCoT) and `solve.delethink`, the task is `registers`, attempts run
through `evaluate.compare`. Claims and verdict rules are in `delethink_findings`, the price of a thought in `delethink_cost`, the page in
`delethink_page`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

import click
import msgspec

from reasonry.core import LM, Budget, Evidence, Paper, Problem, Sampling, Solver, Stop, Trajectory
from reasonry.core.run import commit, machine, open_run, write_whole
from reasonry.evaluate import Snapshot, compare
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.delethink_cost import price
from reasonry.papers.delethink_findings import CLAIMS, Facts, Plan, Row, findings, measures
from reasonry.papers.delethink_page import report
from reasonry.papers.delethink_sft import taught
from reasonry.probe.stats import wilson
from reasonry.solve.calls import inner_seed
from reasonry.solve.delethink import Delethink, tail
from reasonry.solve.single import Single
from reasonry.tasks.skills.registers import registers, restates
from reasonry.tasks.skills.registers import run as work_out

SAMPLING = Sampling(temperature=0.6)
"""The paper's."""
OPENING = 6
"""Tokens that show which style a working opens in."""
TRIES = 64
"""Seeds looked through for an opening in the wanted style."""
SLACK = 1.25
"""T_max over the length of the longest true working."""
PLAN = Plan()

Shape = tuple[int, int] | None
"""(C, m), or `None` for LongCoT."""


@dataclass(frozen=True)
class InStyle:
    """Attempts a problem with the first of many seeds whose working opens in `style`, so that arms share both style and seed.

    Looking for it is a choice of seeds, made alike for every arm, and is not part of the attempt's cost.
    """

    solver: Solver
    lm: LM
    style: str

    @property
    def name(self) -> str:
        """That of the solver."""
        return self.solver.name

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt; an ERROR, hence not scored, where no seed opens in the style."""
        for i in range(TRIES):
            candidate = inner_seed(seed, 1000 + i)
            opening = SAMPLING.with_(max_tokens=OPENING, seed=inner_seed(candidate, 0))
            if style_of((await self.lm.complete(problem.messages, opening)).text) == self.style:
                return await self.solver(problem, budget, candidate)
        return Trajectory(problem.id, stop=Stop.ERROR, error=f"no working opened in the style {self.style}")


def style_of(text: str) -> str | None:
    """`restate` or `delta`, by how a working opens; `None` for anything else."""
    return "restate" if text.startswith("[1] ") else "delta" if text.startswith("[1]\n") else None


def truth(problem: Problem, style: str) -> tuple[str, str]:
    """The true working of a registers problem in a style, and its final state."""
    meta = problem.meta
    return work_out(meta["start"], meta["ops"], meta["loops"], meta["modulus"], style == "restate")


def lines_right(problem: Problem, text: str, style: str) -> float:
    """The share of the true working's lines that `text` writes before its first mistake."""
    wanted, written = truth(problem, style)[0].splitlines(), text.splitlines()
    wrong = (i for i, (a, b) in enumerate(zip(wanted, written, strict=False)) if a != b)
    return next(wrong, min(len(wanted), len(written))) / len(wanted)


class Meter:
    """Adds up the progress of many comparisons and says it on the terminal, at most every ten seconds. Lives as long as a run."""

    def __init__(self, expected: int) -> None:
        self._expected, self._done, self._told = expected, dict[str, int](), 0.0

    def tell(self, name: str, snapshot: Snapshot) -> None:
        """Takes note of one comparison's progress."""
        self._done[name] = snapshot.done
        if snapshot.seconds - self._told >= 10:
            self._told = snapshot.seconds
            click.echo(f"{sum(self._done.values())} of {self._expected} attempts, {snapshot.seconds:.0f} s", err=True)


@dataclass(frozen=True)
class Stage:
    """Arms to be run on the same problems with the same T_max."""

    name: str
    style: str
    x: int
    """What varies within the stage's name: loops, or registers."""
    registers: int
    loops: int
    problems: int
    """Per seed."""
    arms: Mapping[str, Shape]

    async def run(self, path: Path, lm: LocalLM, seed: int, meter: Meter) -> list[Row]:
        """Runs what `path` does not hold yet, and reads all of it back. Each loop has as many operations as there are registers."""
        task = registers(registers=self.registers, ops=self.registers, loops=self.loops)
        problems = {p.id: p for p in task.problems("test", self.problems, seed)}
        longest = max([len(await lm.encode("\n#### ".join(truth(p, self.style)))) for p in problems.values()])
        C, m = next(shape for shape in self.arms.values() if shape)
        t_max = C + ceil(max(SLACK * longest - C, 0) / (C - m)) * (C - m)
        config = {"stage": asdict(self), "seed": seed, "t_max": t_max, "model": lm.name, "sampling": asdict(SAMPLING)}
        name = f"{self.name}-{self.style}-{self.x}-seed{seed}"
        run, budget = open_run(path / name, config, resume=True), Budget(completion_tokens=t_max)
        solvers = [InStyle(solver(lm, arm, shape, t_max), lm, self.style) for arm, shape in self.arms.items()]
        await compare(solvers, task, list(problems.values()), [budget], run, seed=seed, progress=lambda s: meter.tell(name, s))
        lines = [msgspec.json.decode(line, type=_Line) for line in run.lines("attempts")]
        return [self._row(line, problems[line.problem], seed) for line in lines if line.trajectory.verdict]

    def _row(self, line: _Line, problem: Problem, seed: int) -> Row:
        t, verdict = line.trajectory, line.trajectory.verdict
        passed = float(verdict is not None and verdict.passed is True)
        right, cut = lines_right(problem, t.answer, self.style), float(t.stop is not Stop.EOS)
        return Row(self.name, self.style, self.x, line.solver, f"{seed}/{problem.id}", passed, right, restates(t.answer), cut)


class _Line(msgspec.Struct):
    solver: str
    problem: str
    trajectory: Trajectory


def solver(lm: LM, name: str, shape: Shape, t_max: int) -> Solver:
    """LongCoT is one call of T_max tokens; Delethink gets the chunks that reach T_max."""
    if shape is None:
        return Single(lm, SAMPLING.with_(max_tokens=t_max), name)
    C, m = shape
    return Delethink(lm, C, m, 1 + ceil(max(t_max - C, 0) / (C - m)), tail, SAMPLING, name)


async def change_tokens(lm: LM) -> int:
    """Tokens of one change in a working, its space counted with it: what the latest value of a register takes."""
    change = truth(registers(registers=2, ops=2, loops=1).problems("test", 1)[0], "delta")[0].split()[-1]
    return len(await lm.encode(f" {change}"))


def carrying(plan: Plan, m: int) -> dict[str, Shape]:
    """LongCoT, and Delethink with another m and as many new tokens in a chunk."""
    return {"LongCoT": None, "Delethink": (m + plan.C - plan.m, m)}


def stages(plan: Plan, change: int) -> list[Stage]:
    """Experiment 1: tracing in both styles, the ledger, the size of the carry-over, and the controls.

    The ledger's m holds `plan.ledger_fits` changes of `change` tokens each, and a header's bracket.
    """
    arms: dict[str, Shape] = {"LongCoT": None, "Delethink": (plan.C, plan.m)}
    small = carrying(plan, plan.ledger_fits * change + 4)
    controls: dict[str, Shape] = {"m=C/2": (plan.C, plan.C // 2), "m=0": (plan.C, 0), "m=C-1": (plan.C, plan.C - 1)}
    return [
        *(Stage("tracing", "restate", n, 2, n, plan.problems, arms) for n in plan.loops),
        *(Stage("tracing", "delta", n, 2, n, plan.problems, arms) for n in plan.delta_loops),
        *(Stage("ledger", "restate", r, r, max(2, plan.ledger_steps // r), plan.problems, small) for r in plan.ledger),
        *(Stage("state", "restate", m, 2, plan.trained, plan.problems, carrying(plan, m)) for m in (*plan.small_m, 16, *plan.large_m)),
        Stage("control", "restate", plan.control, 2, plan.control, plan.control_problems, controls),
    ]


async def facts(lm: LM, plan: Plan, seeds: Sequence[int]) -> Facts:
    """Whether one chunk that holds the whole thought is plain generation, and how workings open when the style is left to the model."""
    task, equal, styles = registers(registers=2, ops=2, loops=4), list[bool](), list[str]()
    one, plain = Delethink(lm, 512, 256, 3, tail, SAMPLING), Single(lm, SAMPLING.with_(max_tokens=512))
    for seed in seeds:
        problems = task.problems("test", plan.identical, seed)
        chunked = await asyncio.gather(*(one(p, Budget(), seed) for p in problems))
        whole = await asyncio.gather(*(plain(p, Budget(), seed) for p in problems))
        for a, b in zip(chunked, whole, strict=True):
            styles.append(style_of(b.answer) or "neither")
            if b.stop is Stop.EOS:
                equal.append(a.segments[0].ids == b.segments[0].ids and (a.answer, a.stop) == (b.answer, b.stop))
    openings = {s: wilson(styles.count(s), len(styles)) for s in ("restate", "delta", "neither")}
    return Facts(sum(equal) / max(len(equal), 1), openings)


async def measure(path: Path, seeds: tuple[int, ...], plan: Plan) -> Evidence:
    """Runs all stages, prices thinking, judges, and writes `report.html`. Raises AssertionError for a plan whose model is an endpoint."""
    lm = load_lm(str(taught(plan.model, plan.teaching, path / "taught")))
    assert isinstance(lm, LocalLM)
    async with lm:
        made = stages(plan, await change_tokens(lm))
        meter = Meter(sum(s.problems * len(s.arms) for s in made) * len(seeds))
        parts = await asyncio.gather(*(stage.run(path, lm, seed, meter) for stage in made for seed in seeds))
        rows = [row for part in parts for row in part]
        known, priced = await facts(lm, plan, seeds), await price(lm, plan.model, plan.C, plan.m, plan.lengths)
    evidence = Evidence(
        paper="delethink",
        scale=f"the shipped model {plan.model} after {plan.teaching} steps on pieces of register workings, mod 10",
        command=f"reasonry run delethink --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"equal T_max for every arm: {SLACK} × the longest true working, in whole chunks",
        measures=measures(rows, priced, known),
        findings=findings(plan, rows, priced, known),
        meta={"plan": asdict(plan), "temperature": SAMPLING.temperature, "n": "problems over all seeds; intervals are over problems"},
    )
    write_whole(path / "report.html", report(plan, rows, priced, evidence))
    return evidence


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    return asyncio.run(measure(path, seeds, plan))


PAPER = Paper(
    slug="delethink",
    title="The Markovian Thinker (Delethink)",
    arxiv="2510.06557",
    method="reasonry.solve.delethink",
    summary="Thinks in chunks of fixed size and carries only a short piece of text across each boundary: the context stays bounded however "
    "long the thought is, memory is constant and compute linear.",
    differs=(
        "Tracing only: reinforcement learning in the chunked environment is measured by `delethink-rl`. A short supervised training on "
        "pieces of register workings (at most 160 tokens, cut anywhere) stands for a reasoner's training: counting on is known, long "
        "contexts are not.",
        "The carry-over is the tail alone (no head): a register working opens with its state, not with a plan worth keeping.",
        "The task is register tracking with C = 64 and m = 32 tokens, not mathematics with C = 8192 and m = 4096.",
        "Arms share the style of the working (restating the state, or writing changes only), chosen by seed before the attempt.",
    ),
    fails_when="The live state does not fit into m tokens: two registers with m of 8 and less, ledgers of many registers. "
    "Also below the crossover, where re-reading the carried tokens costs more than a long context saves.",
    claims=CLAIMS,
    run=run,
)
