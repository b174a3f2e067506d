"""Measures how hard a task's problems are for a model: a solver runs several times on each, and every problem done is a line on disk.

Invariant: a measurement stopped at any instant goes on where it was; an attempt's seed is a function of (seed, problem, attempt), so what
comes of it does not depend on the stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonry.core import Budget, Problem, Solver, Task, UserError
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.command import opened
from reasonry.lm.load import load_lm
from reasonry.probe.difficulty import Rated, histogram, line_of, read_profile, shares
from reasonry.solve import build_solver
from reasonry.synth.spec import load
from reasonry.tasks import Data
from reasonry.train.rollout import Attempts, rollout

AT_ONCE = 16
"""Problems under way at a time."""
WIDTH = 40


@dataclass(frozen=True)
class Measurement:
    """What is measured with what."""

    model: str
    task: str
    solver: str = "single"
    n: int | None = None
    """Problems; left out: 200, or all where a file holds fewer."""
    attempts: int = 8
    max_tokens: int = 256
    split: str = "train"
    seed: int = 0


def measure(wanted: Measurement, out: Path, progress: Callable[[int, int], None]) -> list[Rated]:
    """The profile, also in `out`, in the order of the problems; goes on with what `out` holds of it. Raises UserError for a file of another
    measurement, and where no attempt could be judged."""
    held = read_profile(out) if out.exists() and out.stat().st_size else []
    if other := next((r for r in held if (r.model, r.task, r.solver) != (wanted.model, wanted.task, wanted.solver)), None):
        raise UserError(f"--out: {out} holds ratings with {other.model} and {other.solver} on {other.task}; name another file")
    if other := next((r for r in held if r.attempts > wanted.attempts), None):
        raise UserError(f"--out: {out} holds ratings of {other.attempts} attempts a problem; name another file, or ask for as many")
    task = load(wanted.task)
    problems = drawn(task, wanted)
    found = {r.problem.id: r for r in held}
    todo = [(i, p) for i, p in enumerate(problems) if p.id not in found]
    progress(len(problems) - len(todo), len(problems))

    def tell(rated: Rated) -> None:
        found[rated.problem.id] = rated
        with open(out, "a", encoding="utf-8") as file:
            file.write(line_of(rated) + "\n")
        progress(len([p for p in problems if p.id in found]), len(problems))

    failures = asyncio.run(_measure(wanted, task, todo, tell))
    rated = [found[p.id] for p in problems if p.id in found]
    if not rated:
        raise UserError(
            f"difficulty: no attempt could be judged; the first said: {failures[0] if failures else 'the judge gave no verdict'}"
        )
    write_whole(out, "".join(line_of(r) + "\n" for r in rated))
    return rated


def drawn(task: Task, wanted: Measurement) -> list[Problem]:
    """The problems to be measured."""
    if wanted.n is not None:
        return task.problems(wanted.split, wanted.n, wanted.seed)
    every = task.problems(wanted.split, None, wanted.seed) if isinstance(task, Data) else []
    return every if every and len(every) <= 200 else task.problems(wanted.split, 200, wanted.seed)


async def _measure(wanted: Measurement, task: Task, todo: Sequence[tuple[int, Problem]], tell: Callable[[Rated], None]) -> list[str]:
    """Measures the problems and tells each; what failed."""
    failures: list[str] = []
    room = asyncio.Semaphore(AT_ONCE)
    budget = Budget(completion_tokens=wanted.max_tokens)

    async def one(solver: Solver, i: int, problem: Problem) -> None:
        async with room:
            async for group in rollout(solver, task, [problem], budget, wanted.attempts, inner_seed(wanted.seed, i)):
                failures.extend(group.failures)
                if (rated := _rated(wanted, group)) is not None:
                    tell(rated)

    async with opened(load_lm(wanted.model)) as lm:
        solver = build_solver(wanted.solver, lm, task)
        async with asyncio.TaskGroup() as jobs:
            for i, problem in todo:
                jobs.create_task(one(solver, i, problem))
    return failures


def _rated(wanted: Measurement, group: Attempts) -> Rated | None:
    passed = [t.verdict.passed for t in group.trajectories if t.verdict is not None and t.verdict.passed is not None]
    if not passed:
        return None
    return Rated(group.problem, sum(passed), len(passed), wanted.model, wanted.solver, wanted.task)


def difficulty_text(profile: Sequence[Rated]) -> str:
    """The histogram, and what of it can be trained on."""
    counts, first = histogram(profile), profile[0]
    most = max(counts.values())
    lines = [f"{len(profile)} problems of {first.task}, {first.attempts} attempts each by {first.model} with {first.solver}"]
    rates = {"never": "0 %", "hard": "to 25 %", "medium": "between", "easy": "from 75 %", "always": "100 %"}
    for name, n in counts.items():
        bar = "█" * round(WIDTH * n / most)
        lines.append(f"  {name:<7}{rates[name]:>10}  {n:>5}  {bar}".rstrip())
    useful = sum(counts[name] for name in ("hard", "medium", "easy"))
    lines.append(f"{useful} of {len(profile)} teach by group rewards; the others are always right or always wrong.")
    if useful:
        lines.append("Among them: " + ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares(profile).items()) + ".")
    return "\n".join(lines)
