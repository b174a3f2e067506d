"""The greedy answer as baseline: what the policy would have got without chance (ReMax, arXiv 2310.10505 §3).

One attempt at temperature 0 for each prompt of the batch, by the same solver under the same limits, judged and rewarded like the others.
It is not trained on. What it costs is told as `beside_tokens`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import is_dataclass, replace
from typing import Any, cast

import torch

from reasonry.core import Sampling, Solver, Task, UserError
from reasonry.train.curriculum import Lesson
from reasonry.train.reward import Reward, Rewarded
from reasonry.train.rollout import rollout
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch


def at_zero(solver: Solver) -> Solver:
    """The solver with its `sampling` at temperature 0. Raises UserError for one that has no such field."""
    if is_dataclass(solver) and isinstance(sampling := getattr(solver, "sampling", None), Sampling):
        return cast(Solver, replace(cast(Any, solver), sampling=sampling.with_(temperature=0.0)))
    raise UserError(f"ReMax: solver {solver.name} has no field `sampling` to set to temperature 0; use another objective, or give it one")


class GreedyBaseline:
    """Brings `Tokens.baseline` (a `train.beside.Beside`)."""

    def __init__(self, solver: Solver, task: Task, reward: Reward) -> None:
        """`solver` is the one that is trained."""
        self.solver, self.task, self.reward = at_zero(solver), task, reward
        self._spent = 0

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `baseline`. Raises UserError for a greedy attempt that failed or was not scored."""
        wanted = [r.trajectory.problem_id for group in rewarded for r in group]
        problems = [p for p in lesson.problems if p.id in set(wanted)]
        found: dict[str, float] = {}
        self._spent = 0
        async with aclosing(rollout(self.solver, self.task, problems, lesson.budget, 1, 0, step)) as finished:
            async for group in finished:
                scored = await asyncio.to_thread(self.reward, group.problem, group.trajectories)
                if not scored:
                    why = group.failures[0] if group.failures else "it was not scored"
                    raise UserError(f"ReMax: problem {group.problem.id!r} has no greedy answer to compare with: {why}")
                found[group.problem.id] = scored[0].reward
                self._spent += scored[0].trajectory.cost.completion_tokens
        return replace(batch.tokens, baseline=torch.tensor([found[p] for p in wanted]))

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Tells `greedy_reward`, the mean over the batch's attempts, and `beside_tokens`."""
        return {"greedy_reward": float(batch.tokens.need("baseline", "`prepare`").mean()), "beside_tokens": self._spent}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it remembers nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
