"""Rewards: a dictionary of named signals for each attempt, and a function that makes one number of each, a group at a time.

Invariants. *Not scored* is not *wrong*: an attempt for which any signal is `None` leaves its group. Signals stay apart until they are
combined, so that a log shows each and an objective may normalise each (GDPO). A reward is finite, or the run stops and says whose it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasonry.core import Problem, Trajectory, UserError

Signals = Mapping[str, float]
Signal = Callable[[Problem, Sequence[Trajectory]], Sequence[Signals | None]]
"""(problem, its group's judged attempts) -> named numbers for each attempt, `None` for one it cannot score."""
Combine = Callable[[Sequence[Signals]], Sequence[float]]
"""The signals of a group's attempts -> the reward of each."""


def verdict(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
    """The judge's `score`, with whatever signals it named."""
    return [None if t.verdict is None or t.verdict.score is None else {"score": t.verdict.score, **t.verdict.signals} for t in group]


def each(function: Callable[[Problem, Trajectory], Signals | None]) -> Signal:
    """A signal from a function of one attempt."""

    def signal(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
        return [function(problem, t) for t in group]

    return signal


def overlong(longest: int, buffer: int) -> Signal:
    """`overlong`: 0 up to `longest − buffer` sampled tokens, then falling to −1 at `longest` and beyond (DAPO, arXiv 2503.14476 eq. 13).

    An attempt's tokens are what it cost, unless its `meta` has their number as `length`: a way through a tree shares costs with others.
    """
    if not 0 < buffer <= longest:
        raise UserError(f"overlong: buffer is {buffer} but must be above 0 and at most longest ({longest}); change it")

    def one(problem: Problem, t: Trajectory) -> Signals:
        over = t.meta.get("length", t.cost.completion_tokens) - (longest - buffer)
        return {"overlong": -min(max(over / buffer, 0.0), 1.0)}

    return each(one)


def columns(problem: Problem) -> dict[str, Any]:
    """What a data set's row would hold beside the prompt: `answer`, and everything in the problem's `meta`."""
    return {"answer": problem.answer, **problem.meta}


def trl_reward(
    function: Callable[..., Sequence[float | None]], name: str | None = None, columns: Callable[[Problem], Mapping[str, Any]] = columns
) -> Signal:
    """A TRL reward function, `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, as the signal `name` (its own).

    Called once per group. A problem whose prompt is a string gives strings, one whose prompt is a chat gives messages as dictionaries, as
    in TRL. The completion is the attempt's answer, its ids those of its last segment. TRL leaves a `None` out of the sum over reward
    functions; here the attempt leaves its group.
    """
    label = name or getattr(function, "__name__", type(function).__name__)

    def signal(problem: Problem, group: Sequence[Trajectory]) -> list[Signals | None]:
        if isinstance(problem.prompt, str):
            prompt, completions = problem.prompt, [t.answer for t in group]
        else:
            prompt = [{"role": m.role, "content": m.content} for m in problem.prompt]
            completions = [[{"role": "assistant", "content": t.answer}] for t in group]
        values = function(
            prompts=[prompt] * len(group),
            completions=completions,
            completion_ids=[list(t.segments[-1].ids or ()) if t.segments else [] for t in group],
            **{key: [value] * len(group) for key, value in columns(problem).items()},
        )
        return [None if v is None else {label: float(v)} for v in values]

    return signal


@dataclass(frozen=True)
class Weighted:
    """R = Σ_k w_k S_k."""

    weights: Mapping[str, float]

    def __call__(self, group: Sequence[Signals]) -> list[float]:
        """Raises UserError for a weight whose signal is absent."""
        for s in group:
            if missing := next((name for name in self.weights if name not in s), None):
                raise UserError(f"reward: {missing!r} has a weight but the signals are {sorted(s)}; name it alike, or bring the signal")
        return [sum(w * s[name] for name, w in self.weights.items()) for s in group]


@dataclass(frozen=True)
class Rewarded:
    """An attempt with its reward. Made here, read by the loop."""

    trajectory: Trajectory
    signals: Signals
    reward: float


@dataclass(frozen=True)
class Reward:
    """What attempts are paid for."""

    signals: tuple[Signal, ...] = (verdict,)
    combine: Combine = Weighted({"score": 1.0})

    def __call__(self, problem: Problem, group: Sequence[Trajectory]) -> list[Rewarded]:
        """The attempts of one group that could be scored, in order. Raises UserError for a signal or reward that is no number."""
        merged: list[dict[str, float] | None] = [{} for _ in group]
        for signal in self.signals:
            found = signal(problem, group)
            _count("signal", signal, found, group)
            merged = [None if have is None or new is None else {**have, **new} for have, new in zip(merged, found, strict=True)]
        scored = [(t, s) for t, s in zip(group, merged, strict=True) if s is not None]
        rewards = self.combine([s for _, s in scored])
        _count("combine", self.combine, rewards, scored)
        for (_, s), r in zip(scored, rewards, strict=True):
            if bad := next((f"{k} is {v}" for k, v in {**s, "reward": r}.items() if not math.isfinite(v)), None):
                raise UserError(f"reward: {bad} for an answer to {problem.id!r}; return a finite number, or None for not scored")
        return [Rewarded(t, s, float(r)) for (t, s), r in zip(scored, rewards, strict=True)]


def _count(what: str, function: object, got: Sequence[object], wanted: Sequence[object]) -> None:
    if len(got) != len(wanted):
        name = getattr(function, "__name__", type(function).__name__)
        raise UserError(f"reward: {what} {name} returned {len(got)} values for {len(wanted)} attempts; return one for each")
