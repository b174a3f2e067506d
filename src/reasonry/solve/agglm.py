"""AggLM's aggregation at test time: a model reads several candidate solutions and writes one (arXiv 2509.06870).

    m candidates, from any solvers and models  ->  one prompt  ->  one answer, or a vote of several, or further rounds

Symbols: x problem, y_1 … y_m candidates, ỹ ~ p_φ(·|x, y_1:m) the aggregation. The trained part is the call with role `aggregate`;
candidates keep the roles their solver gave them, so a recipe can train either alone.

Departures from the paper: 1. a candidate that does not fit is left out whole, in a random order. 2. several aggregations with a vote, and
rounds in which m aggregations take the candidates' place (recursive self-aggregation, with whole sets instead of random subsets), are
options. 3. where the budget pays for no aggregation, the candidates' majority answers. 4. ties of votes are drawn by the seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from reasonry.core import LM, Budget, Cost, Message, Problem, Sampling, Segment, Solver, Stop, Task, Trajectory, UserError
from reasonry.probe.votes import by_vote
from reasonry.solve.calls import inner_seed, prompt_length, room, sample_until, shortfall
from reasonry.solve.select import drawn, vote
from reasonry.tasks.pack import Packing, orderly, written
from reasonry.tasks.pool import Candidate, Pool, candidate, without_thinking

ROLE = "aggregate"
"""Role of the aggregator's calls."""
_FAR = 1 << 16
"""Where the seeds of aggregations begin; those of candidates count from 0."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a source found."""

    trace: Trajectory
    candidates: tuple[Candidate, ...]
    spent: str | None = None
    """The unit that ran out before all were found."""


class Source(Protocol):
    """Where candidates come from. Never looks at the gold answer; stays within the budget."""

    def __call__(self, problem: Problem, m: int, budget: Budget, seed: int) -> Awaitable[Found]:
        """Up to `m` candidates."""
        ...


@dataclass(frozen=True)
class Sampled:
    """Plain answers of one model; what short ones leave over pays for more."""

    lm: LM
    task: Task
    sampling: Sampling

    async def __call__(self, problem: Problem, m: int, budget: Budget, seed: int) -> Found:
        """Up to `m` of them."""
        trace, unit = await sample_until(self.lm, problem.messages, m, self.sampling, budget, seed, Trajectory(problem.id))
        read = (_candidate(s, self.task) for s in trace.segments)
        return Found(trace, tuple(read), unit)


@dataclass(frozen=True)
class Solved:
    """Attempts of one or more solvers, by turns; each may spend the same share of the budget."""

    solvers: Sequence[Solver]
    task: Task

    async def __call__(self, problem: Problem, m: int, budget: Budget, seed: int) -> Found:
        """As many of `m` as can be given at least one of every limited unit."""
        n = min([m, *(int(limit) for unit, limit in budget.limits() if unit in ("tokens", "completion_tokens", "calls"))])
        trace = Trajectory(problem.id)
        if n < 1:
            return Found(trace, (), next(unit for unit, limit in budget.limits() if limit < 1))
        share = Budget(**{unit: limit // n if isinstance(limit, int) else limit / n for unit, limit in budget.limits()})  # type: ignore[arg-type]
        solvers = [self.solvers[i % len(self.solvers)] for i in range(n)]
        made = await asyncio.gather(*(solver(problem, share, inner_seed(seed, i)) for i, solver in enumerate(solvers)))
        blind = replace(problem, answer=None)
        kept = [(t, candidate(t, blind, self.task)) for t in made if t.segments]
        for t, _ in kept:
            trace = replace(trace, segments=trace.segments + t.segments)
        spent = next((t.spent for t in made if t.spent), None) if not kept else None
        cost = sum((t.cost for t in made[1:]), made[0].cost)
        return Found(replace(trace, cost=cost), tuple(c for _, c in kept), spent)


@dataclass(frozen=True)
class Prepared:
    """The candidates that a pool file holds, drawn from a problem's by its id alone: every attempt at it sees the same ones."""

    pools: Mapping[str, Pool]

    async def __call__(self, problem: Problem, m: int, budget: Budget, seed: int) -> Found:
        """`m` of the problem's candidates. Raises UserError for a problem that the file does not hold."""
        if unit := budget.spent(Cost()):
            return Found(Trajectory(problem.id), (), unit)
        pool = self.pools.get(problem.id)
        if pool is None:
            raise UserError(f"agglm: the pool has no candidates for problem {problem.id!r}; make the pool of the problems that are asked")
        chosen = random.Random(f"prepared/{problem.id}").sample(pool.candidates, min(m, len(pool.candidates)))
        return Found(Trajectory(problem.id), tuple(replace(c, correct=None) for c in chosen))


@dataclass(frozen=True)
class Aggregate:
    """Gathers candidates, shows them to a model, takes what it writes."""

    lm: LM
    """The aggregator."""
    task: Task
    """Reads the answers out of the texts; its judge is never asked."""
    source: Source
    m: int = 8
    packing: Packing = Packing()  # noqa: RUF009 (a frozen value)
    """Its limit counts the aggregator's tokens."""
    sampling: Sampling = Sampling(max_tokens=1024)
    """Of an aggregation."""
    votes: int = 1
    """Aggregations of the last round; more than one are voted on."""
    rounds: int = 1
    """In each but the last, m aggregations become the candidates of the next."""
    name: str = "agglm"

    def __post_init__(self) -> None:
        for field in ("m", "votes", "rounds"):
            if getattr(self, field) < 1:
                raise UserError(f"agglm: {field} is {getattr(self, field)} but must be at least 1; raise it")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt; candidates' answers, what was shown, and the aggregations' answers are in `meta`."""
        calls = self.m * (self.rounds - 1) + self.votes
        held = Cost(await prompt_length(self.lm, problem.messages, budget) * calls, self.sampling.max_tokens * calls, calls=calls)
        rest = budget.left(held)
        paid = shortfall(rest, Cost(), Cost(0, 1, calls=1)) is None
        found = await self.source(problem, self.m, rest if paid else budget, seed)
        trace, candidates, unit = found.trace, found.candidates, found.spent
        if not candidates:
            return trace.finish(Stop.BUDGET, "", unit or budget.spent(trace.cost) or "tokens")
        meta: dict[str, Any] = {"candidates": len(candidates), "answers": [c.answer for c in candidates]}
        made: tuple[Segment, ...] = ()
        shown: list[list[int]] = []
        for i in range(self.rounds):
            n = self.votes if i + 1 == self.rounds else self.m
            made, shown, short = await self._round(problem, candidates, n, budget, trace.cost, inner_seed(seed, _FAR + i))
            unit = short or unit
            if not made:
                break
            trace = trace.beside(made)
            candidates = tuple(_candidate(s, self.task) for s in made)
            meta |= {"shown": shown, "aggregated": [c.answer for c in candidates], "rounds": i + 1}
        answers = [c.answer for c in candidates]
        choice = drawn(by_vote(answers), random.Random(f"agglm/{seed}"))
        taken = candidates[choice.index or 0]
        stop = Stop.BUDGET if unit else made[choice.index or 0].stop if made else Stop.EOS
        return trace.finish(stop, taken.text, unit, **meta, chosen=choice.index, share=vote(answers).share)

    async def _round(
        self, problem: Problem, candidates: Sequence[Candidate], n: int, budget: Budget, cost: Cost, seed: int
    ) -> tuple[tuple[Segment, ...], list[list[int]], str | None]:
        """Up to `n` aggregations of the same candidates, each in an order of its own; what each was shown; the unit that ran out."""
        asked: list[tuple[tuple[Message, ...], int, int]] = []
        shown: list[list[int]] = []
        need, unit = Cost(), None
        for i in range(n):
            messages, places = await self._packed(problem, candidates, inner_seed(seed, i))
            p = await prompt_length(self.lm, messages, budget)
            tokens, unit = room(budget, cost + need, self.sampling.max_tokens, p)
            if unit or (asked and tokens < self.sampling.max_tokens):
                unit = unit or ("completion_tokens" if budget.completion_tokens is not None else "tokens")
                break
            asked.append((messages, tokens, inner_seed(seed, i)))
            shown.append(places)
            need += Cost(p, tokens, calls=1)
        done = await asyncio.gather(
            *(self.lm.complete(messages, self.sampling.with_(max_tokens=tokens, seed=s)) for messages, tokens, s in asked)
        )
        made = tuple(Segment.of(y, role=ROLE, model=self.lm.name) for y in done)
        cut = len(asked) == 1 and asked[0][1] < self.sampling.max_tokens and made[0].stop is Stop.LENGTH
        if cut:
            unit = "completion_tokens" if budget.completion_tokens is not None else "tokens"
        return made, shown, unit if cut or not made else None

    async def _packed(self, problem: Problem, candidates: Sequence[Candidate], seed: int) -> tuple[tuple[Message, ...], list[int]]:
        """The prompt, and the places of the candidates that it shows; the last of a random order are left out where it is too long."""
        order = orderly(candidates, self.packing, seed)
        for n in range(len(order), -1, -1):
            messages = written(problem.messages, [candidates[i] for i in order[:n]], self.packing)
            if n == 0 or self.packing.limit is None or len(await self.lm.encode(messages)) <= self.packing.limit:
                return messages, order[:n]
        raise AssertionError("the loop ends with n = 0")


def _candidate(s: Segment, task: Task) -> Candidate:
    score = sum(s.logprobs) / len(s.logprobs) if s.logprobs else None
    return Candidate(
        s.text, task.extract(without_thinking(s.text)), s.cost.completion_tokens, s.model, score, prompt_tokens=s.cost.prompt_tokens
    )
