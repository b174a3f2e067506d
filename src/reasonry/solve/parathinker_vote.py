"""Parallel thinking and majority voting together: several attempts of any solver, put to a vote; and what a vote of P paths should give.

The closed form: P answers drawn independently from chances q over m answers (the rest, 1 − Σq, gives none), the most frequent wins, ties
are equally likely to go to each of the tied. Then Pr(a wins) = Σ over counts n with n_a = max n > 0 of
P!/Π n_i! · Π q_i^{n_i} / #{b: n_b = max n}. A vote that gives ties to the answer seen first has the same chances, for all orders are
equally likely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import factorial, prod

from reasonry.core import Budget, Problem, Solver, Stop, Task, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.solve.select import as_meta, vote


def vote_chances(q: Sequence[float], paths: int) -> tuple[float, ...]:
    """The chance of each answer to win a vote of so many; the rest is that nobody answers. Sums over all counts: for few answers."""
    if min(q, default=0.0) < 0 or sum(q) > 1 + 1e-9:
        raise UserError(f"vote: chances {tuple(q)} are not a distribution; give numbers of at least 0 that add up to at most 1")
    chances, none = [0.0] * len(q), max(1 - sum(q), 0.0)
    for counts in _counts(len(q), paths):
        silent = paths - sum(counts)
        most = max(counts, default=0)
        if most == 0:
            continue
        ways = factorial(paths) / prod(factorial(n) for n in (*counts, silent))
        p = ways * none**silent * prod(x**n for x, n in zip(q, counts, strict=True))
        won = [i for i, n in enumerate(counts) if n == most]
        for i in won:
            chances[i] += p / len(won)
    return tuple(chances)


def _counts(answers: int, paths: int) -> Iterator[tuple[int, ...]]:
    """All counts of so many answers with a sum of at most `paths`."""
    if answers == 0:
        yield ()
        return
    for n in range(paths + 1):
        for rest in _counts(answers - 1, paths - n):
            yield (n, *rest)


@dataclass(frozen=True)
class Voted:
    """k attempts of a solver beside one another; the answer most of them give."""

    solver: Solver
    task: Task
    """Reads the answers; its judge is never asked."""
    k: int
    name: str = "voted"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"parathinker: k is {self.k} but at least one attempt is needed; raise k")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One vote. Attempts share the budget evenly; where a share is less than one of a unit, there are fewer attempts."""
        n = min([self.k, *(int(limit) for unit, limit in budget.limits() if unit in ("tokens", "completion_tokens", "calls"))])
        if n < 1:
            return Trajectory(problem.id).finish(Stop.BUDGET, "", next(unit for unit, limit in budget.limits() if limit < 1))
        share = Budget(**{unit: limit // n if isinstance(limit, int) else limit / n for unit, limit in budget.limits()})  # type: ignore[arg-type]
        made = await asyncio.gather(*(self.solver(problem, share, inner_seed(seed, i)) for i in range(n)))
        answers = [self.task.extract(t.answer) if t.answer else None for t in made]
        choice = vote(answers)
        taken = made[choice.index or 0]
        cost = made[0].cost
        for t in made[1:]:
            cost |= t.cost
        segments = tuple(s for t in made for s in t.segments)
        trace = replace(Trajectory(problem.id), segments=segments, cost=cost)
        unit = next((t.spent for t in made if t.spent), None)
        stop = Stop.BUDGET if unit else taken.stop or Stop.LENGTH
        return trace.finish(stop, taken.answer, unit, **as_meta(choice, answers), attempts=[dict(t.meta) for t in made])
