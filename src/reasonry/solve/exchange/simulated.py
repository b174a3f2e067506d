"""Agents that are explicit probabilities, for sweeps and for tests: called simulated wherever they are shown.

A simulated agent knows the gold answer, and is right or wrong with chances that are its parameters; what follows from talking is derived.
What is assumed: the chance of a right first answer (`skill`), how wrong answers are spread (`options`), and the rule by which it changes
its mind (`change`). It speaks the solver's protocol, makes one call a turn, and pays the tokens it is said to take.

Departures from models: errors of different agents at one question are independent unless `skill` makes them depend on the question; a rule
sees answers, not reasons, so that persuasion is a number (`tilt`) and not something a text has.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reasonry.core import Budget, Cost, Problem, Segment, Stop, Trajectory
from reasonry.solve.exchange.core import Seen

Skill = Callable[[Problem], float]
"""A problem -> the chance that the first answer is right."""
Change = Callable[[str, Sequence[str], str, random.Random], str]
"""(own last answer, peers' last answers, the right one, randomness) -> the next answer."""


def told(problem: Problem, seen: Seen) -> Problem:
    """How a simulated agent is asked: what it sees stands in the problem's `meta`, as answers."""
    own = next((s.answer for s in reversed(seen.own) if s.answer is not None), None)
    return replace(problem, meta={**problem.meta, "own": own, "peers": [s.answer for s in seen.peers if s.answer is not None]})


def level(chance: float) -> Skill:
    """The same chance at every problem."""
    return lambda problem: chance


def stubborn(own: str, peers: Sequence[str], right: str, rng: random.Random) -> str:
    """Never changes."""
    return own


def voter(chance: float, tilt: float = 0.0) -> Change:
    """Draws a peer and copies it with this chance (the voter model); with chance · (1 + tilt) where the peer is right, and
    chance · (1 − tilt) where it is wrong: how much more persuasive the truth is."""

    def change(own: str, peers: Sequence[str], right: str, rng: random.Random) -> str:
        if not peers:
            return own
        peer = rng.choice(peers)
        return peer if rng.random() < chance * (1 + tilt if peer == right else 1 - tilt) else own

    return change


def conformist(chance: float, power: float = 1.0) -> Change:
    """Takes an answer that k of its n − 1 peers give with chance · (k / (n − 1))^power, each other answer apart; above 1 majorities pull
    more than their share."""

    def change(own: str, peers: Sequence[str], right: str, rng: random.Random) -> str:
        u = rng.random()
        for answer, k in sorted(Counter(p for p in peers if p != own).items()):
            u -= chance * (k / len(peers)) ** power
            if u < 0:
                return answer
        return own

    return change


def outnumbered(chance: float = 1.0, share: float = 1.0) -> Change:
    """With this chance goes over to the answer that at least this share of the peers give against it."""

    def change(own: str, peers: Sequence[str], right: str, rng: random.Random) -> str:
        others = sorted(Counter(p for p in peers if p != own).items(), key=lambda pair: (-pair[1], pair[0]))
        return others[0][0] if others and others[0][1] >= share * len(peers) and rng.random() < chance else own

    return change


def verifying(change: Change, catch: float = 1.0) -> Change:
    """Changes only where its check says so: with chance `catch` a check tells right from wrong, and then nothing wrong is taken over."""

    def checked(own: str, peers: Sequence[str], right: str, rng: random.Random) -> str:
        new = change(own, peers, right, rng)
        return new if rng.random() >= catch or new == right else own

    return checked


@dataclass(frozen=True)
class Simulated:
    """A solver that only pretends (see the module). Raises ValueError for a problem without a gold answer that is a text."""

    skill: Skill
    change: Change = stubborn
    options: int = 2
    """Answers there are, the right one among them."""
    prompt_tokens: int = 40
    completion_tokens: int = 20
    model: str = "simulated"
    name: str = "simulated"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One turn: the first answer, or the change of mind that `told` gives it the grounds for."""
        trace = Trajectory(problem.id)
        cost = Cost(self.prompt_tokens, self.completion_tokens, calls=1)
        if unit := next((unit for unit, limit in budget.limits() if getattr(cost, unit) > limit), None):
            return trace.finish(Stop.BUDGET, "", unit)
        if not isinstance(problem.answer, str):
            raise ValueError(f"simulated: the gold answer of {problem.id!r} is {problem.answer!r}, and only a text can be simulated")
        rng, own = random.Random(f"simulated/{seed}"), problem.meta.get("own")
        answer = self._first(problem, rng) if own is None else self.change(own, problem.meta.get("peers", ()), problem.answer, rng)
        text = f"#### {answer}"
        return trace.add(Segment(None, None, text, None, Stop.EOS, cost, model=self.model)).finish(Stop.EOS, text)

    def _first(self, problem: Problem, rng: random.Random) -> str:
        if rng.random() < self.skill(problem):
            return str(problem.answer)
        return f"not {problem.answer}" + (f" ({rng.randrange(self.options - 1) + 1})" if self.options > 2 else "")
