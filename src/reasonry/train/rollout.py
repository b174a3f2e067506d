"""Attempts to learn from: a solver, run `G` times on each problem of a step.

Invariants. Every attempt of every group is in flight at once and the engine batches what they ask; a group is handed over as soon as its
own attempts are done, and waits for no other. Seeds are a function of (seed, index of the problem, attempt) alone, so a step sampled again
is the same step. A failed attempt is data: it is counted and leaves its group, and its siblings go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from reasonry.core import Budget, Problem, Solver, Stop, Task, Trajectory, Verdict
from reasonry.core.seeds import inner_seed

CUT = frozenset({Stop.LENGTH, Stop.CONTEXT, Stop.BUDGET, Stop.MAX_CHUNKS})
"""Stops that mean an attempt was truncated."""


@runtime_checkable
class Explorer(Protocol):
    """Makes a problem's whole group at once, where attempts have something in common (a search tree). Unlike a solver it may ask the judge
    on the way, so it is for training alone; the seed decides all its randomness, and what its attempts cost together is what was spent."""

    @property
    def name(self) -> str:
        """What logs and reports call it."""
        ...

    def group(self, problem: Problem, budget: Budget, G: int, seed: int) -> Awaitable[Sequence[Trajectory]]:
        """About `G` finished attempts; `budget` is that of one."""
        ...


@dataclass(frozen=True)
class Attempts:
    """What became of one problem. Made by `rollout`, read by the loop."""

    index: int
    """Of the problem in its step."""
    problem: Problem
    trajectories: tuple[Trajectory, ...]
    """Finished and judged, in the order of their seeds; failed ones are not here."""
    failures: tuple[str, ...] = ()
    """One sentence for each failed attempt."""


async def rollout(
    solver: Solver | Explorer, task: Task, problems: Sequence[Problem], budget: Budget, G: int, seed: int, version: int = 0
) -> AsyncGenerator[Attempts, None]:
    """Yields the groups in the order they are done. Segments keep the version of the weights that the engine wrote on them, or say
    `version` where that is newer. Closing the iterator cancels the rest."""
    under_way = [asyncio.create_task(attempts(solver, task, p, i, budget, G, seed, version)) for i, p in enumerate(problems)]
    try:
        for done in asyncio.as_completed(under_way):
            yield await done
    finally:
        for job in under_way:
            job.cancel()


async def attempts(
    solver: Solver | Explorer, task: Task, problem: Problem, index: int, budget: Budget, G: int, seed: int, version: int = 0
) -> Attempts:
    """The group of one problem, number `index` of those that `seed` is for; the rest as in `rollout`."""
    if isinstance(solver, Explorer):
        return Attempts(index, problem, *await _explored(solver, task, problem, budget, G, inner_seed(seed, index), version))
    done = await asyncio.gather(*(_attempt(solver, task, problem, budget, inner_seed(seed, index, i), version) for i in range(G)))
    trajectories = tuple(t for t in done if isinstance(t, Trajectory))
    return Attempts(index, problem, trajectories, tuple(t for t in done if isinstance(t, str)))


async def _attempt(solver: Solver, task: Task, problem: Problem, budget: Budget, seed: int, version: int) -> Trajectory | str:
    """The judged attempt, or what went wrong."""
    try:
        t = await solver(problem, budget, seed)
    except Exception as error:
        return _sentence(error)
    if t.stop is None:
        raise TypeError(f"solver {solver.name} returned an attempt that is not finished: its stop is None")
    if t.stop is Stop.ERROR:
        return t.error or "the solver did not say what failed"
    return await _judged(task, problem, t, version)


async def _explored(
    explorer: Explorer, task: Task, problem: Problem, budget: Budget, G: int, seed: int, version: int
) -> tuple[tuple[Trajectory, ...], tuple[str, ...]]:
    """The judged attempts of a whole group, and what went wrong."""
    try:
        made = await explorer.group(problem, budget, G, seed)
    except Exception as error:
        return (), (_sentence(error),)
    return tuple([await _judged(task, problem, t, version) for t in made]), ()


async def _judged(task: Task, problem: Problem, t: Trajectory, version: int) -> Trajectory:
    segments = tuple(replace(s, policy_version=max(s.policy_version, version)) for s in t.segments)
    return replace(t, segments=segments, verdict=await asyncio.to_thread(_judge, task, problem, t.answer))


def _judge(task: Task, problem: Problem, answer: str) -> Verdict:
    try:
        return task.judge(problem, answer)
    except Exception as error:  # judges promise not to raise; one that does leaves its attempt unscored, not the run broken
        return Verdict(score=None, passed=None, why=f"the judge failed: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
