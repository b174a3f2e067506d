"""What a partial answer is worth: V̂ inside, the exact value τ of an answer, from a process reward model, a rule, or a task.

Invariants. Values are logarithms, so exp(r/β) neither overflows nor vanishes; a value of zero is −∞. A verifier never sees the gold answer:
a task's `value` is given the problem without it. Asked again about the same partial answer it would be remembered, not asked, by whoever
walks: a verifier that answers differently each time is no V̂ until then.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from reasonry.core import Cost, Problem, Task, UserError
from reasonry.lm.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial answer, or a whole one."""

    text: str
    depth: int
    """h, its blocks."""
    horizon: int
    """H, the most blocks an answer has."""
    leaf: bool
    """Whether it counts as an answer: ended, or as long as it may be."""
    ended: bool
    """Whether the model itself ended it."""


@dataclass(frozen=True, slots=True)
class Valued:
    """What a verifier says, and what it took."""

    logs: tuple[float, ...]
    """log V̂ of each; −∞ where it has no value, or none could be found out."""
    cost: Cost


@dataclass(frozen=True)
class Verifier:
    """A named way of valuing."""

    name: str
    of: Callable[[Problem, Sequence[Partial]], Awaitable[Valued]]
    reads: bool = False
    """Whether it reads the text as tokens, so that a budget in tokens has to count them."""


Rule = Callable[[Problem, Partial], float]
"""(the problem, without its answer; a partial answer) -> V̂ ≥ 0."""


@runtime_checkable
class Valuing(Protocol):
    """A task that can value partial answers without the gold one."""

    def value(self, problem: Problem, text: str, ended: bool) -> float:
        """V̂ ≥ 0 of a partial answer."""
        ...


def by_rule(rule: Rule, name: str = "rule") -> Verifier:
    """A function's values. Raises UserError for a negative one."""

    async def of(problem: Problem, parts: Sequence[Partial]) -> Valued:
        blind = replace(problem, answer=None)
        return Valued(tuple(_log(rule(blind, p), name) for p in parts), Cost(verifier_calls=len(parts)))

    return Verifier(name, of)


def by_task(task: Task) -> Verifier:
    """The task's own. Raises UserError for a task that values nothing."""
    if not isinstance(task, Valuing):
        raise UserError(f"vgb: verifier is task, but the task {task.name} values no partial answers; name a reward model or a rule")
    return by_rule(lambda problem, part: task.value(problem, part.text, part.ended), f"{task.name}'s")


def nothing() -> Verifier:
    """1 everywhere: with `answers_of` the walk draws from the model's own answers that can be read."""
    return by_rule(lambda problem, part: 1.0, "none")


def avoiding(letters: str, alpha: float) -> Verifier:
    """V̂ = α^(H−h) while none of the letters is there, else 0 (the paper's letter avoidance, without any training)."""

    def rule(problem: Problem, part: Partial) -> float:
        if any(c in letters for c in part.text):
            return 0.0
        return 1.0 if part.leaf else alpha ** (part.horizon - part.depth)

    return by_rule(rule, f"avoid {letters}")


Link = Callable[[float], float]
"""A scorer's number s -> log V̂."""


def sigmoid(s: float) -> float:
    """V̂ = σ(s): heads trained on right and wrong."""
    return -math.log1p(math.exp(-s)) if s > 0 else s - math.log1p(math.exp(s))


def tilted(beta: float) -> Link:
    """V̂ = exp(s/β): the law is then the best for reward s and a KL penalty β."""
    return lambda s: s / beta


def as_it_is(s: float) -> float:
    """V̂ = s, a probability already."""
    return _log(s, "the reward model")


def by_scorer(scorer: Scorer, link: Link = sigmoid) -> Verifier:
    """A process reward model, in a folder or behind HTTP. What it fails to score is never gone to."""

    async def of(problem: Problem, parts: Sequence[Partial]) -> Valued:
        found = await asyncio.to_thread(scorer.scores, problem.messages, [p.text for p in parts])
        return Valued(tuple(-math.inf if s is None else link(s) for s in found.values), found.cost)

    return Verifier(scorer.name, of, reads=True)


def answers_of(task: Task, verifier: Verifier) -> Verifier:
    """The same, but an answer that has not ended, or that the task cannot read, has τ = 0."""

    async def of(problem: Problem, parts: Sequence[Partial]) -> Valued:
        said = await verifier.of(problem, parts)
        fit = (not p.leaf or (p.ended and task.extract(p.text) is not None) for p in parts)
        return replace(said, logs=tuple(log if good else -math.inf for log, good in zip(said.logs, fit, strict=True)))

    return replace(verifier, of=of)


def clipped(verifier: Verifier, least: float) -> Verifier:
    """The same, but inside nothing is worth less than `least`: a zero there would close the way to all below it. Answers keep their τ."""

    async def of(problem: Problem, parts: Sequence[Partial]) -> Valued:
        said = await verifier.of(problem, parts)
        low = math.log(least)
        return replace(said, logs=tuple(log if p.leaf else max(log, low) for log, p in zip(said.logs, parts, strict=True)))

    return replace(verifier, of=of)


def _log(value: float, name: str) -> float:
    if not value >= 0:
        raise UserError(f"vgb: {name} gave a value of {value:g}, but values are 0 or more; mend it, or turn scores into values (link)")
    return math.log(value) if value > 0 else -math.inf
