"""Rollout: groups complete alone, failures are data, seeds are stable."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from toy_lm import Digits

from reasonry.core import Budget, Cost, Problem, Segment, Stop, Trajectory, Verdict
from reasonry.train.rollout import Attempts, rollout

TASK = Digits()
PROBLEMS = TASK.problems("train", 3)


@dataclass
class Scripted:
    """Answers with the problem's own digit; problem 0 waits for `gate`, attempts whose place is in `fails` go wrong."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fails: tuple[int, ...] = ()
    name: str = "scripted"
    seeds: dict[str, list[int]] = field(default_factory=dict)
    cancelled: int = 0

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        mine = self.seeds.setdefault(problem.id, [])
        mine.append(seed)
        place = len(mine) - 1
        try:
            if problem.id.endswith("0"):
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if place in self.fails:
            if place % 2:
                raise ConnectionError("no line")
            return Trajectory(problem.id, stop=Stop.ERROR, error="a tool broke")
        segment = Segment((1,), (2,), problem.answer, (0.0,), Stop.EOS, Cost(calls=1))
        return Trajectory(problem.id).add(segment).finish(Stop.EOS, problem.answer)


async def collect(solver: Any, seed: int = 5, **more: Any) -> list[Attempts]:
    return [g async for g in rollout(solver, TASK, PROBLEMS, Budget(), 4, seed, **more)]


async def test_a_group_does_not_wait_for_another() -> None:
    """Problem 0 is answered only after the two others were handed over: with a barrier this would never end."""
    solver = Scripted()
    order: list[int] = []
    async for group in rollout(solver, TASK, PROBLEMS, Budget(), 4, 5):
        order.append(group.index)
        if len(order) == 2:
            solver.gate.set()
    assert sorted(order[:2]) == [1, 2]
    assert order[2] == 0


async def test_attempts_are_judged_and_carry_the_policy_version() -> None:
    solver = Scripted()
    solver.gate.set()
    for group in await collect(solver, version=7):
        assert len(group.trajectories) == 4
        assert all(t.verdict == TASK.judge(group.problem, str(group.problem.answer)) for t in group.trajectories)
        assert {s.policy_version for t in group.trajectories for s in t.segments} == {7}


async def test_failed_attempts_are_counted_and_their_siblings_go_on() -> None:
    """An exception and an attempt that ends in ERROR are both failures, each with its sentence."""
    solver = Scripted(fails=(0, 1))
    solver.gate.set()
    for group in await collect(solver):
        assert len(group.trajectories) == 2
        assert set(group.failures) == {"a tool broke", "ConnectionError: no line"}


async def test_seeds_are_distinct_and_the_same_again() -> None:
    one, same, other = Scripted(), Scripted(), Scripted()
    for solver in (one, same, other):
        solver.gate.set()
    await collect(one)
    await collect(same)
    await collect(other, seed=6)
    seeds = [s for mine in one.seeds.values() for s in mine]
    assert one.seeds == same.seeds
    assert len(set(seeds)) == 12
    assert not set(seeds) & {s for mine in other.seeds.values() for s in mine}


async def test_leaving_early_cancels_what_is_under_way() -> None:
    solver = Scripted()
    groups = rollout(solver, TASK, PROBLEMS, Budget(), 4, 5)
    async for _ in groups:
        break
    await groups.aclose()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert solver.cancelled == 4


async def test_a_judge_that_raises_leaves_the_attempt_unscored() -> None:
    class Broken(Digits):
        def judge(self, problem: Problem, answer: str) -> Verdict:
            raise ZeroDivisionError("oops")

    solver = Scripted()
    solver.gate.set()
    async for group in rollout(solver, Broken(), PROBLEMS, Budget(), 2, 5):
        for t in group.trajectories:
            assert t.verdict is not None
            assert (t.verdict.score, t.verdict.passed) == (None, None)
