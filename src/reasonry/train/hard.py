"""Rounds of training on the problems that are still hard: D^{t+1} = {x ∈ D^t : Pass1@K(x) < δ} (DeepSearch, arXiv 2509.25454).

Pass1@K is the share of K independent attempts that pass. A round begins by rating the problems of the round before under the weights as
they are, and trains on those below the threshold. Invariant: a round's problems are written down in the run before its first step, and
are a subset of those of the round before; a run killed anywhere goes on in the round it was in.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from reasonry.core import Budget, Problem, Run, Solver, Task, UserError
from reasonry.core.seeds import inner_seed
from reasonry.train.rollout import rollout

Problems = Mapping[int, Sequence[Problem]]
"""Level -> its problems."""


@dataclass(frozen=True)
class Hard:
    """Which problems are hard, and how often that is asked."""

    attempts: int = 4
    """K."""
    below: float = 0.25
    """δ."""
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.rounds < 1 or self.below <= 0:
            raise UserError(f"hard: is [{self.attempts}, {self.below:g}, {self.rounds}]; give attempts, a share above 0, and rounds")


async def rates(solver: Solver, task: Task, problems: Sequence[Problem], budget: Budget, K: int, seed: int) -> dict[str, float]:
    """Pass1@K by problem id; an attempt that failed or could not be judged is no pass."""
    found: dict[str, float] = {}
    async for group in rollout(solver, task, problems, budget, K, seed):
        passed = sum(t.verdict is not None and t.verdict.passed is True for t in group.trajectories)
        found[group.problem.id] = passed / K
    return found


async def in_rounds(
    hard: Hard, steps: int, run: Run, problems: Problems, rate: Callable[[Sequence[Problem], int], Awaitable[Mapping[str, float]]],
    train: Callable[[Problems, int], Awaitable[None]],
) -> None:  # fmt: skip
    """Trains `steps` in all, in equal rounds. `rate` is given problems and the round's number; `train` is given the round's problems and
    the step to train up to, and must go on from the run's checkpoint. Raises UserError where no problem is hard at first; later rounds
    that would be empty end the training."""
    for number in range(hard.rounds):
        name = f"hard-{number}.json"
        stored = run.path / name
        if not stored.exists():
            found = await rate([p for level in sorted(problems) for p in problems[level]], number)
            kept = {level: [p.id for p in of if found.get(p.id, 0.0) < hard.below] for level, of in problems.items()}
            run.write(name, json.dumps(kept))
        kept = {int(level): set(ids) for level, ids in json.loads(stored.read_text()).items()}
        problems = {level: [p for p in of if p.id in kept[level]] for level, of in problems.items()}
        if not any(problems.values()):
            if number == 0:
                raise UserError(f"hard: none of the problems is passed in less than {hard.below:g} of {hard.attempts} attempts; raise it")
            return
        await train(problems, steps * (number + 1) // hard.rounds)


def rater(
    solver: Solver, task: Task, budget: Budget, hard: Hard, seed: int
) -> Callable[[Sequence[Problem], int], Awaitable[dict[str, float]]]:
    """`rate` by plain attempts of a solver."""

    async def rate(problems: Sequence[Problem], number: int) -> dict[str, float]:
        return await rates(solver, task, problems, budget, hard.attempts, inner_seed(seed, -2 - number))

    return rate
