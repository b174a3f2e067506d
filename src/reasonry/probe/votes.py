"""Choosing among candidates, in expectation: the chance with which a fair rule takes each of them.

Invariants. Ties are broken evenly, in expectation rather than by a toss; so a rule's value depends on nothing but the candidates as a set:
in another order the same chances move along. A candidate without an answer is no answer like others: no vote is cast for it, and it is
never taken over one that has an answer.

Letters: m candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import exp, fsum

from reasonry.core import Problem, UserError
from reasonry.tasks.pool import Candidate, Reads

Key = Hashable | None
"""The answer's class; `None` is no answer."""
Same = Callable[[Candidate, Candidate], bool]


def spelled(a: Candidate, b: Candidate) -> bool:
    """Whether two answers have the same canonical spelling."""
    return a.answer == b.answer


def judged(task: Reads, problem: Problem) -> Same:
    """Whether the task's judge takes one answer for the other, as 1/2 for 0.5: for judges whose spelling is not canonical."""
    from dataclasses import replace

    def same(a: Candidate, b: Candidate) -> bool:
        return a.answer == b.answer or task.judge(replace(problem, answer=b.answer), a.text).passed is True

    return same


def classes(candidates: Sequence[Candidate], same: Same = spelled) -> list[int | None]:
    """Each candidate's class of equivalent answers, by the number of the class in order of appearance; `None` without an answer."""
    firsts: list[Candidate] = []
    found: list[int | None] = []
    for c in candidates:
        if c.answer is None:
            found.append(None)
            continue
        at = next((i for i, first in enumerate(firsts) if same(c, first)), len(firsts))
        if at == len(firsts):
            firsts.append(c)
        found.append(at)
    return found


def tally(keys: Sequence[Key], weights: Sequence[float] | None = None) -> dict[Hashable, float]:
    """Weight per answer, in order of first appearance. Raises ValueError where a weight is negative: a vote against is not a vote."""
    cast: dict[Hashable, list[float]] = {}
    for key, weight in zip(keys, [1.0] * len(keys) if weights is None else weights, strict=True):
        if weight < 0:
            raise ValueError(f"weights must not be negative, got {weight}")
        if key is not None:
            cast.setdefault(key, []).append(weight)
    return {key: fsum(held) for key, held in cast.items()}  # fsum: the sum of the same numbers in any order is the same


def winners(keys: Sequence[Key], weights: Sequence[float] | None = None) -> list[Hashable]:
    """The answers with the most weight, more than one where they tie; none where nothing was cast."""
    cast = tally(keys, weights)
    most = max(cast.values(), default=0.0)
    return [key for key, weight in cast.items() if weight == most]


def by_vote(keys: Sequence[Key], weights: Sequence[float] | None = None) -> list[float]:
    """The chance [m] that each candidate is taken when the heaviest answer wins; its candidates share its chance evenly."""
    won = winners(keys, weights)
    return [1 / len(won) / keys.count(key) if key in won and key is not None else 0.0 for key in keys]


def by_score(keys: Sequence[Key], scores: Sequence[float | None]) -> list[float]:
    """The chance [m] that each is taken when the highest score wins; one without a score or an answer never does."""
    told = [s for k, s in zip(keys, scores, strict=True) if k is not None and s is not None]
    best = [k is not None and s is not None and s == max(told) for k, s in zip(keys, scores, strict=True)]
    return [b / max(sum(best), 1) for b in best]


def any_one(keys: Sequence[Key]) -> list[float]:
    """1/m each: one candidate drawn blindly, whatever it says; its expected score is pass@1."""
    return [1 / len(keys)] * len(keys)


def weights(scores: Sequence[float | None]) -> list[float]:
    """Scores as weights of votes: as they are where none is negative; else exp(s − max), as for log-probabilities. No score is weight 0."""
    told = [s for s in scores if s is not None]
    if not told:
        raise UserError("weighted vote: no candidate has a score; give scores")
    if min(told) >= 0:
        return [s or 0.0 for s in scores]
    return [0.0 if s is None else exp(s - max(told)) for s in scores]


def largest(keys: Sequence[Key]) -> int:
    """Votes of the most frequent answer: the size of the majority, 0 where nobody answered."""
    return int(max(tally(keys).values(), default=0))


def expected(chances: Sequence[float], correct: Sequence[float]) -> float:
    """The expected score of a choice."""
    return fsum(p * c for p, c in zip(chances, correct, strict=True))
