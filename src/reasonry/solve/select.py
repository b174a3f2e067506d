"""Choosing among candidates: by vote, by weighted vote, by score; and when to abstain.

Pure functions over values; no model, no task. Invariant: a tie goes to the candidate that came first, so a choice depends on nothing
but its arguments; `drawn` draws instead, from the fair chances of `probe.votes`. Every choice comes with what an evaluation needs for
pass@N and the selection gap (`as_meta`): which candidates there were, what each answered and scored, and which was taken.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonry.probe.votes import tally as count


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate was taken, and why. Made by the functions below, kept in a trajectory's `meta`."""

    index: int | None
    """Position of the chosen candidate; `None` when no candidate could be chosen."""
    share: float
    """The winner's part of all weight cast, in [0, 1]; 0 when nothing was cast."""
    tally: Mapping[str, float] = field(default_factory=dict)
    """Weight per answer, in order of first appearance. Empty for a choice by score."""


def vote(answers: Sequence[str | None]) -> Choice:
    """Majority vote: one candidate, one vote. A candidate without an answer (`None`) has none; ties go to the answer seen first."""
    return weighted_vote(answers, [1.0] * len(answers))


def weighted_vote(answers: Sequence[str | None], weights: Sequence[float]) -> Choice:
    """The answer with the largest sum of weights; the candidate taken is the heaviest that gave it, the first of equals.

    Raises ValueError where a weight is negative: a vote against is not a vote.
    """
    tally = {str(answer): weight for answer, weight in count(answers, weights).items()}
    if not tally:
        return Choice(None, 0.0)
    winner = max(tally, key=lambda a: tally[a])
    index = max((i for i, a in enumerate(answers) if a == winner), key=lambda i: weights[i])
    total = sum(tally.values())
    return Choice(index, tally[winner] / total if total else 0.0, tally)


def by_score(scores: Sequence[float | None]) -> Choice:
    """The candidate with the highest score; one without a score (`None`) is never taken. Ties go to the first."""
    scored = [(i, s) for i, s in enumerate(scores) if s is not None]
    if not scored:
        return Choice(None, 0.0)
    index, best = max(scored, key=lambda pair: pair[1])
    return Choice(index, 1.0 / sum(s == best for _, s in scored))


def drawn(chances: Sequence[float], rng: random.Random) -> Choice:
    """One candidate by fair chances (`probe.votes.by_vote`, `by_score`): ties are drawn, not given to the first."""
    if not sum(chances):
        return Choice(None, 0.0)
    index = rng.choices(range(len(chances)), chances)[0]
    return Choice(index, 1.0 / sum(p > 0 for p in chances))


def abstain(choice: Choice, least_share: float) -> Choice:
    """The same choice, or none at all when the winner's share is below `least_share`."""
    return choice if choice.share >= least_share else Choice(None, choice.share, choice.tally)


def as_meta(choice: Choice, answers: Sequence[str | None], scores: Sequence[float | None] | None = None) -> dict[str, Any]:
    """What a trajectory keeps of a choice, in JSON values.

    Candidate `i` is the trajectory's segment `i`: judging each of them gives pass@N, and the difference to the chosen one is the
    selection gap. Keys: `candidates` (how many), `answers`, `chosen`, `share`, `votes` (for a vote), `scores` (for scores).
    """
    meta: dict[str, Any] = {"candidates": len(answers), "answers": list(answers), "chosen": choice.index, "share": choice.share}
    if choice.tally:
        meta["votes"] = dict(choice.tally)
    if scores is not None:
        meta["scores"] = list(scores)
    return meta
