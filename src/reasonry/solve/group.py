"""Several solvers as the agents of an environment in which all move at once: the exchange, with the environment for a view and a rule.

Each agent is shown what the environment answered it, never what others wrote. Calls, budget, failures and log are the exchange's
(`solve.exchange`); a turn that failed reaches the environment as an empty move. Invariant: the environment is a function of the moves, so
it is played anew from the history wherever it is asked, and an attempt holds no state but what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reasonry.core import Budget, GroupEnv, Message, Problem, Solver, Step, Trajectory
from reasonry.solve.exchange.core import Agent, Ask, Chosen, Exchange, History, Moment, Said, Seen, Turn
from reasonry.solve.exchange.stops import plain
from reasonry.solve.select import Choice

Enter = Callable[[Problem], GroupEnv]
"""A problem's environment, at its beginning."""


def told(instructions: str = "") -> Ask:
    """The problem with, first, an agent's own instructions and, last, what the environment has answered it so far."""

    def ask(problem: Problem, seen: Seen) -> Problem:
        heard = "\n".join(s.text for s in seen.peers)
        system = (Message("system", instructions),) if instructions else ()
        *before, last = problem.messages
        question = replace(last, content=f"{last.content}\n\n{heard}" if heard else last.content)
        return replace(problem, prompt=(*system, *before, question))

    return ask


def played(env: GroupEnv, history: History) -> list[tuple[Step, ...]]:
    """What the environment answered to each round; `env` is used up."""
    env.reset()
    return [env.step([s.text for s in said]) for said in history]


@dataclass(frozen=True)
class Group:
    """Lets solvers play together."""

    players: Sequence[Solver]
    asks: Sequence[Ask]
    """How each is asked."""
    enter: Enter
    rounds: int
    close: Callable[[Sequence[tuple[Step, ...]]], str]
    """What the environment answered, round by round -> the attempt's answer."""
    name: str = "group"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One game. `meta["exchange"]` holds every turn."""
        names = [f"agent {i + 1}" for i in range(len(self.players))]

        def sees(turn: Turn, history: History) -> Seen:
            mine = names.index(turn.agent)
            answered = played(self.enter(problem), history)
            return Seen((), tuple(Said("game", t, steps[mine].observation, None) for t, steps in enumerate(answered)))

        def over(history: History) -> str | None:
            return "done" if played(self.enter(problem), history)[-1][0].done else None

        async def choose(moment: Moment) -> Chosen:
            text = self.close(played(self.enter(problem), moment.history))
            return Chosen(replace(moment.history[-1][-1], agent="group", text=text, error=None), Choice(None, 0.0))

        agents = [Agent(n, solver, ask) for n, solver, ask in zip(names, self.players, self.asks, strict=True)]
        return await Exchange(agents, self.rounds, lambda text: None, sees, plain(over), choose, name=self.name)(problem, budget, seed)
