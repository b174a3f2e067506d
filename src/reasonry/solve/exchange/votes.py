"""What the agents' turns come to: equivalence of answers, majority and weighted votes, margins and entropy.

Invariants. No choice of an answer depends on the order of the turns: its weight is summed exactly (`math.fsum`), ties are drawn by the seed
among the sorted classes, or given to what led in the first round. A turn that failed or has no answer casts no vote.

Symbols: w_i weight of agent i, p_i its chance to be right. Log-odds weights w_i = log(p_i / (1 − p_i)) make the weighted vote the Bayes
rule of independent voters over two answers (Nitzan & Paroush 1982).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import fsum, log, log2

from reasonry.core import UserError
from reasonry.probe.votes import tally
from reasonry.solve.exchange.core import Choose, Chosen, History, Moment, Said
from reasonry.solve.select import Choice
from reasonry.tasks.same import same_answer

Key = Callable[[str], Hashable]
"""An answer -> its class: answers with one key are one answer."""


def as_spelled(answer: str) -> Hashable:
    """Letter for letter: for tasks whose answers have one spelling."""
    return answer


def keys(said: Sequence[Said], key: Key) -> list[Hashable | None]:
    """The class of each turn's answer; `None` where there is none."""
    return [None if s.answer is None or s.error else key(s.answer) for s in said]


def top(said: Sequence[Said], key: Key, weights: Sequence[float] | None = None) -> frozenset[Hashable]:
    """The answers with the most weight; several where they tie, none where nobody answered."""
    cast = tally(keys(said, key), weights)
    most = max(cast.values(), default=0.0)
    return frozenset(k for k, w in cast.items() if w == most)


def margin(said: Sequence[Said], key: Key) -> float:
    """How far the most frequent answer leads the next, as a share of all agents: in [0, 1], 0 for a tie."""
    cast = sorted(tally(keys(said, key)).values(), reverse=True)
    return (cast[0] - (cast[1] if len(cast) > 1 else 0.0)) / len(said) if cast else 0.0


def share(said: Sequence[Said], key: Key) -> float:
    """Votes of the most frequent answer as a share of all agents: in [1/n, 1] where anybody answered."""
    return max(tally(keys(said, key)).values(), default=0.0) / len(said) if said else 0.0


def entropy(said: Sequence[Said], key: Key) -> float:
    """Of the votes, in bits: 0 exactly where all who answered agree, at most log2 n."""
    cast = list(tally(keys(said, key)).values())
    total = fsum(cast)
    return max(0.0, -fsum(c / total * log2(c / total) for c in cast))


def log_odds(chances: Mapping[str, float], cap: float = 6.0) -> dict[str, float]:
    """w_i = log(p_i / (1 − p_i)), within ± `cap`. Raises UserError for a chance outside [0, 1]."""
    if odd := next((f"{a}: {p}" for a, p in chances.items() if not 0 <= p <= 1), None):
        raise UserError(f"weights: a chance lies between 0 and 1, not {odd}")
    return {a: cap if p == 1 else -cap if p == 0 else max(-cap, min(cap, log(p / (1 - p)))) for a, p in chances.items()}


def calibrated(right: Mapping[str, Sequence[bool]], prior: float = 1.0) -> dict[str, float]:
    """Chances of being right from calibration questions, with `prior` right and `prior` wrong ones added, so that none is 0 or 1."""
    return {a: (sum(seen) + prior) / (len(seen) + 2 * prior) for a, seen in right.items()}


Tie = Callable[[frozenset[Hashable], History, int], Hashable]
"""(tied answers, what was said, seed) -> the one taken."""


def drawn_tie(tied: frozenset[Hashable], history: History, seed: int) -> Hashable:
    """One at random."""
    return random.Random(f"tie/{seed}").choice(sorted(tied, key=repr))


def first_round_tie(key: Key) -> Tie:
    """The one of them that most agents gave before they talked; drawn where that ties as well."""

    def tie(tied: frozenset[Hashable], history: History, seed: int) -> Hashable:
        cast = tally(keys(history[0], key))
        most = max((cast.get(k, 0.0) for k in tied), default=0.0)
        return drawn_tie(frozenset(k for k in tied if cast.get(k, 0.0) == most), history, seed)

    return tie


Voters = Callable[[History], Sequence[Said]]
"""What was said -> the turns that vote."""


def last_round(history: History) -> Sequence[Said]:
    """Those of the last round."""
    return history[-1]


def first_round(history: History) -> Sequence[Said]:
    """Those of the first: a plain ensemble, whatever was said later."""
    return history[0]


def all_rounds(history: History) -> Sequence[Said]:
    """Every turn of every round."""
    return [s for said in history for s in said]


def last_answers(history: History) -> Sequence[Said]:
    """Each agent's last turn that has an answer: a format lost while reading peers is not a changed mind."""
    latest = {s.agent: s for said in history for s in said if s.answer is not None and not s.error}
    return [latest.get(s.agent, s) for s in history[-1]]


def majority(
    key: Key = same_answer, voters: Voters = last_round, weights: Mapping[str, float] | None = None, tie: Tie = drawn_tie
) -> Choose:
    """The answer with the most votes, or the most weight by agent; an agent without a weight counts 1, one below zero counts 0.

    The text taken is that of the heaviest agent that gave it, of the latest round, of the first seat.
    """

    async def choose(moment: Moment) -> Chosen:
        said = list(voters(moment.history))
        w = [max((weights or {}).get(s.agent, 1.0), 0.0) for s in said]
        found = keys(said, key)
        cast = tally(found, w)
        if not cast or not any(cast.values()):
            return Chosen(None, Choice(None, 0.0))
        tied = top(said, key, w)
        winner = next(iter(tied)) if len(tied) == 1 else tie(tied, moment.history, moment.seed)
        index = max((i for i, k in enumerate(found) if k == winner), key=lambda i: (w[i], said[i].round, -i))
        votes = {str(k): weight for k, weight in sorted(cast.items(), key=lambda pair: repr(pair[0]))}
        return Chosen(said[index], Choice(index, cast[winner] / fsum(cast.values()), votes))

    return choose
