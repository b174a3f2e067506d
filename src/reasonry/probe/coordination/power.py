"""How many rounds do I need? The chance of finding a coalition of known strength, by the length of the game and the number of groups.

The planted group: N agents that toss coins every round; with probability q the group's next signal is the majority of what they tossed,
else a coin too. Every triplet then has the same I3, known in closed form. Its games go through the column shuffle as a log would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from reasonry.core import UserError
from reasonry.probe.coordination.collectivity import LEVEL, fisher, p_value
from reasonry.probe.coordination.group import Discrete
from reasonry.probe.coordination.scores import coalitions, moves, triplets
from reasonry.probe.coordination.surrogates import shifts
from reasonry.probe.coordination.tables import JEFFREYS, Floats, plogp

TRIPLETS = 20
SURROGATES = 99
BITS = (0.02, 0.05, 0.1, 0.2)
ROUNDS = (10, 20, 50, 100, 200)
ENOUGH = 0.8


@dataclass(frozen=True)
class Power:
    """How likely one strength is found at one length."""

    bits: float
    """I3 in the limit of endless rounds."""
    rounds: int
    chance: float
    """Share of draws in which Fisher's combination over the groups falls below 0.05."""


def i3_limit(agents: int, q: float) -> float:
    """I3 of the planted group, in bits, for endless rounds."""
    rest = agents - 3
    ways = [comb(rest, r) / 2**rest for r in range(rest + 1)]
    up = [sum(w * (1.0 if 2 * (k + r) > agents else 0.5 if 2 * (k + r) == agents else 0.0) for r, w in enumerate(ways)) for k in range(4)]
    p = np.array([q * u + (1 - q) / 2 for u in up])
    weight = np.array([1, 3, 3, 1]) / 8
    return float(1 + (weight * (plogp(p) + plogp(1 - p))).sum())


def strength(agents: int, bits: float) -> float | None:
    """The q that gives this I3; `None` where no q does."""
    if i3_limit(agents, 1.0) < bits:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if i3_limit(agents, middle) < bits else (low, middle)
    return high


def power(
    agents: int, groups: int, bits: Sequence[float] = BITS, rounds: Sequence[int] = ROUNDS, games: int = 40, seed: int = 0
) -> list[Power]:
    """The chance for every strength (those that so many agents can have) and length; `games` are simulated for each, and groups drawn of
    them. Raises UserError for fewer than 3 agents."""
    if agents < 3:
        raise UserError(f"agents: {agents} have no triplets; power is told for 3 agents or more")
    made: list[Power] = []
    for b in bits:
        q = strength(agents, b)
        for T in rounds if q is not None else ():
            rng = np.random.default_rng([seed, T, round(1e4 * b)])
            p = np.array([_p(agents, T, q or 0.0, rng) for _ in range(games)])
            drawn = [fisher(p[rng.integers(0, games, groups)]) < LEVEL for _ in range(400)]
            made.append(Power(b, T, float(np.mean(drawn))))
    return made


def rounds_needed(table: Sequence[Power], bits: float) -> int | None:
    """The shortest length from which on a strength is found in 80 of 100; `None` where no length is long enough."""
    lengths = sorted((x.rounds, x.chance) for x in table if x.bits == bits)
    return next((T for i, (T, _) in enumerate(lengths) if all(c >= ENOUGH for _, c in lengths[i:])), None)


def planted(agents: int, rounds: int, q: float, rng: np.random.Generator) -> Discrete:
    """One planted game."""
    tossed = rng.integers(0, 2, (rounds, agents))
    side = np.sign(2 * tossed.sum(1) - agents)
    coins = rng.integers(0, 2, rounds)
    majority = np.where(side == 0, coins, side > 0).astype(np.int64)
    macro = rng.integers(0, 2, rounds)
    follows = rng.random(rounds - 1) < q
    macro[1:] = np.where(follows, majority[:-1], macro[1:])
    return Discrete(tossed[None], macro[None], 2, 2)


def _p(agents: int, rounds: int, q: float, rng: np.random.Generator) -> float:
    d = planted(agents, rounds, q, rng)
    by, exact = shifts(rounds, agents, SURROGATES, rng)
    at = (np.arange(rounds)[None, :, None] - by[:, None, :]) % rounds
    stack = Discrete(d.agents[0][at, np.arange(agents)], d.macro, 2, 2)
    triples = triplets(agents, TRIPLETS)
    observed: Floats = coalitions(moves(d, 1), JEFFREYS, triples)["I3"]
    return p_value(float(observed[0]), coalitions(moves(stack, 1), JEFFREYS, triples)["I3"], exact)
