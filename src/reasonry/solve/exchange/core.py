"""The exchange: agents answer alone, then in rounds each is shown what others said and answers again; a rule ends it, a choice answers.

    round 0      every agent alone
    round 1 …    sees(turn, history) -> what this agent is shown;  ask(problem, seen) -> the problem in its words;  solver(problem)
    after each   stop(moment) -> why it ends, or not
    at the end   choose(moment) -> whose text is the answer

An agent is a solver and the way it is asked, so every solver takes part, and its calls are the attempt's: segments keep their model and
role, `parent` is moved to their new places, and the log says which segments are whose.

Invariants. All agents of a wave run at once; none of the wave sees another's turn of that wave. The attempt spends no more than its
budget: a round's share is what is left over the rounds still planned, divided evenly, and what is not used goes to later rounds; a plan so
thin that nobody could speak gives way to one with fewer rounds, then fewer agents. A turn that failed is in the log with its reason, is
shown to nobody and casts no vote; a mistake of the user's (`UserError`) ends the attempt. The seed decides everything: round r, agent i
has `inner_seed(seed, r, i)`, and the first turn of all the attempt's own, so that its first call is the one that its solver alone makes.
No rule, choice or view is told the gold answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from reasonry.core import Budget, Cost, Problem, Segment, Solver, Stop, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.solve.select import Choice

_RULING, _CHOOSING = 1 << 16, 1 << 17
"""Where the seeds of rulings and of the choice begin; those of rounds count from 0."""


@dataclass(frozen=True, slots=True)
class Said:
    """One agent's turn. Made by the exchange; seen by other agents, counted by rules and votes, kept in the log."""

    agent: str
    round: int
    text: str
    answer: str | None
    """In canonical spelling; `None` where there is none to read."""
    stop: Stop = Stop.EOS
    error: str | None = None
    """One sentence where the turn failed."""
    spent: str | None = None
    """The unit of its share that ran out."""
    saw: tuple[tuple[int, str], ...] = ()
    """(round, agent) of every turn of others that it was shown."""
    segments: tuple[int, int] = (0, 0)
    """Its calls: from, and up to but not with, these indices of the attempt's segments."""
    cost: Cost = Cost()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What its solver kept: tool counts, votes, a gate's verdict."""


History = tuple[tuple[Said, ...], ...]
"""Rounds, each with the turns made so far in the agents' order; only the last may be incomplete."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent is shown: nothing in round 0."""

    own: tuple[Said, ...] = ()
    """Its earlier turns, oldest first."""
    peers: tuple[Said, ...] = ()
    """Turns of others, in the order they are shown in."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is."""

    agent: str
    round: int
    agents: tuple[str, ...]
    """All of them, in order."""
    seed: int
    """For views that draw or shuffle."""


Ask = Callable[[Problem, Seen], Problem]
"""How an agent is asked: the problem in the words that show what it sees; with an empty `Seen`, the first question."""
Sees = Callable[[Turn, History], Seen]
"""Who is shown what."""


def as_it_is(problem: Problem, seen: Seen) -> Problem:
    """The problem unchanged, whatever there is to see."""
    return problem


@dataclass(frozen=True)
class Agent:
    """Someone who takes part."""

    name: str
    """Unique in its exchange."""
    solver: Solver
    ask: Ask = as_it_is


@dataclass(frozen=True, slots=True)
class Moment:
    """What rules and choices look at: after a round, or at the end."""

    problem: Problem
    """Without its answer."""
    history: History
    left: Budget
    """What a ruling or a choice may still spend."""
    seed: int


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether the exchange ends here, and what it took to find out."""

    why: str | None = None
    """The reason it ends; `None`: it goes on."""
    calls: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose text is the answer."""

    said: Said | None
    """`None` where nobody gave an answer."""
    choice: Choice
    """The votes; its index counts the turns that were voted on."""
    calls: tuple[Segment, ...] = ()


Rule = Callable[[Moment], Awaitable[Ruling]]
Choose = Callable[[Moment], Awaitable[Chosen]]
Order = Callable[[int], Sequence[Sequence[int]]]
"""(number of agents) -> waves that speak one after another in every round but the first."""


def together(n: int) -> tuple[tuple[int, ...], ...]:
    """Simultaneous: all answer from the round before."""
    return (tuple(range(n)),)


def in_turn(n: int) -> tuple[tuple[int, ...], ...]:
    """Sequential: each also sees who spoke before it in this round."""
    return tuple((i,) for i in range(n))


def seat_seed(seed: int, round: int, agent: int) -> int:
    """The seed of a turn."""
    return seed if round == agent == 0 else inner_seed(seed, round, agent)


@dataclass(frozen=True)
class Exchange:
    """Lets agents answer over rounds."""

    agents: Sequence[Agent]
    rounds: int
    """At most, with the first, in which all answer alone: T rounds of debate are T + 1."""
    read: Callable[[str], str | None]
    """A text's answer in canonical spelling."""
    sees: Sees
    stop: Rule
    choose: Choose
    order: Order = together
    held: Cost = Cost()
    """What the ruling and the choice after a round take at most: held back from the agents."""
    name: str = "exchange"

    def __post_init__(self) -> None:
        names = [a.name for a in self.agents]
        if not names:
            raise UserError(f"{self.name}: there are no agents; name at least one")
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise UserError(f"{self.name}: two agents are called {twice!r}; give each a name of its own")
        if self.rounds < 1:
            raise UserError(f"{self.name}: rounds is {self.rounds} but the first, in which all answer alone, is one; raise it")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. `meta["exchange"]` is the log (see `logged`); `answers`, `chosen`, `share` and `votes` tell of the choice.

        Ends with BUDGET where the budget cut a turn of the last round short, or allowed no further one; with ERROR where a whole round
        failed.
        """
        trace, history, unit, why = Trajectory(problem.id), (), None, "rounds"
        for round in range(self.rounds):
            trace, said, short = await self._round(problem, budget, seed, trace, history)
            if not any(map(_spoke, said)):
                unit, why = short, "budget"
                break
            history = (*history, said)
            unit = next((s.spent for s in said if s.spent), None)
            if all(s.error for s in said):
                return replace(trace, error=said[0].error).finish(Stop.ERROR, "", exchange=self._log(history, "error"))
            if round + 1 == self.rounds:
                break
            ruling = await self.stop(self._moment(problem, history, budget, trace, inner_seed(seed, _RULING + round)))
            trace = trace.add(*ruling.calls)
            if ruling.why is not None:
                why = ruling.why
                break
        if not history:
            return trace.finish(Stop.BUDGET, "", unit, exchange=self._log(history, why))
        chosen = await self.choose(self._moment(problem, history, budget, trace, inner_seed(seed, _CHOOSING)))
        trace = trace.add(*chosen.calls)
        taken = chosen.said or next(s for s in history[-1] if not s.error)
        told = {"answers": [s.answer for s in history[-1]], "chosen": chosen.said and [chosen.said.round, chosen.said.agent]}
        told |= {"share": chosen.choice.share, "votes": dict(chosen.choice.tally)}
        return trace.finish(Stop.BUDGET if unit else taken.stop, taken.text, unit, exchange=self._log(history, why), **told)

    def _moment(self, problem: Problem, history: History, budget: Budget, trace: Trajectory, seed: int) -> Moment:
        return Moment(replace(problem, answer=None), history, budget.left(trace.cost), seed)

    def _log(self, history: History, why: str) -> dict[str, Any]:
        return {"agents": [a.name for a in self.agents], "ended": why, "rounds": [[logged(s) for s in r] for r in history]}

    async def _round(
        self, problem: Problem, budget: Budget, seed: int, trace: Trajectory, history: History
    ) -> tuple[Trajectory, tuple[Said, ...], str | None]:
        """The attempt with one more round; its turns in the agents' order; the unit that let nobody speak, where none could.

        Without room in a plan nothing is spent, so the next one starts from the same place.
        """
        n, left = len(self.agents), budget.left(trace.cost + self.held)
        plans = [(n, ahead) for ahead in range(self.rounds - len(history), 0, -1)]
        plans += [] if history else [(fewer, 1) for fewer in range(n - 1, 0, -1)]
        said: tuple[Said, ...] = ()
        for speaking, ahead in plans:
            waves = self.order(n) if history else (tuple(range(speaking)),)
            tried, said = trace, ()
            for wave in waves:
                tried, more = await self._wave(problem, _share(left, speaking, ahead, len(waves)), seed, tried, history, said, wave)
                said += more
            if any(map(_spoke, said)):
                return tried, tuple(sorted(said, key=lambda s: self._names.index(s.agent))), None
        return trace, (), next((s.spent for s in said if s.spent), None)

    async def _wave(
        self, problem: Problem, share: Budget, seed: int, trace: Trajectory, history: History, before: tuple[Said, ...], wave: Sequence[int]
    ) -> tuple[Trajectory, tuple[Said, ...]]:
        """The attempt with the turns of those who speak at once."""
        round, known = len(history), (*history, before) if before else history
        turns = [Turn(self.agents[i].name, round, self._names, seat_seed(seed, round, i)) for i in wave]
        views = [self.sees(turn, known) if history else Seen() for turn in turns]
        asked = [self._asked(self.agents[i], problem, view, share, turn.seed) for i, view, turn in zip(wave, views, turns, strict=True)]
        made = await asyncio.gather(*asked, return_exceptions=True)
        if mistake := next((m for m in made if isinstance(m, UserError)), None):
            raise mistake
        said = list[Said]()
        spent = list[Cost]()
        for turn, view, t in zip(turns, views, made, strict=True):
            saw = tuple((s.round, s.agent) for s in view.peers)
            if isinstance(t, BaseException):
                if not isinstance(t, Exception | asyncio.CancelledError):
                    raise t
                said.append(Said(turn.agent, round, "", None, Stop.ERROR, f"{type(t).__name__}: {t}", saw=saw))
                continue
            start = len(trace.segments)
            trace = replace(trace, segments=(*trace.segments, *(_moved(s, start) for s in t.segments)))
            error = (t.error or f"{turn.agent} ended without a reason") if t.stop in (Stop.ERROR, None) else None
            answer = None if error else self.read(t.answer)
            ended = t.stop or Stop.ERROR
            place = (start, len(trace.segments))
            said.append(Said(turn.agent, round, t.answer, answer, ended, error, t.spent, saw, place, t.cost, t.meta))
            spent.append(t.cost)
        return replace(trace, cost=trace.cost + reduce(Cost.__or__, spent, Cost())), tuple(said)

    async def _asked(self, agent: Agent, problem: Problem, seen: Seen, share: Budget, seed: int) -> Trajectory:
        return await agent.solver(agent.ask(problem, seen), share, seed)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.agents)


def logged(said: Said) -> dict[str, Any]:
    """A turn in JSON values: who, what, whom it saw, and which of the attempt's segments are its own."""
    told: dict[str, Any] = {"agent": said.agent, "answer": said.answer, "text": said.text, "stop": said.stop.value}
    told |= {"saw": [list(pair) for pair in said.saw], "segments": list(said.segments)}
    told |= {"tokens": said.cost.completion_tokens, "prompt_tokens": said.cost.prompt_tokens, "calls": said.cost.calls}
    told |= {"meta": dict(said.meta)} if said.meta else {}
    return told if said.error is None else {**told, "error": said.error}


def _spoke(said: Said) -> bool:
    return said.stop is not Stop.BUDGET or said.segments[0] < said.segments[1]


def _share(left: Budget, agents: int, rounds: int, waves: int) -> Budget:
    """What one turn may spend where this much is left for so many rounds. Agents of a wave spend their seconds at the same time."""
    parts = {unit: rounds * (waves if unit == "seconds" else agents) for unit, _ in left.limits()}
    return Budget(**{unit: limit // parts[unit] if isinstance(limit, int) else limit / parts[unit] for unit, limit in left.limits()})  # type: ignore[arg-type]  # units are Budget's own


def _moved(segment: Segment, by: int) -> Segment:
    return segment if segment.parent is None else replace(segment, parent=segment.parent + by)
