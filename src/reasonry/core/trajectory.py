"""One attempt as data: the model calls made on the way (`Segment`) and the whole (`Trajectory`).

Invariants. Each segment is scored on *its own* context: segments need not extend one another (a chunk reset, a stripped thought).
A trajectory's cost is the cost it was given by what spent it, never recomputed from its text. Everything here is JSON-serialisable:
logs hold it, trainers learn from it, probes read it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from reasonry.core.cost import Budget, Cost
from reasonry.core.lm import Completion, Ids, Stop
from reasonry.core.task import Problem, Verdict


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asked for in a segment, and what came back."""

    name: str
    arguments: Mapping[str, Any]
    result: str | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One model call: what the model saw, what it sampled, and with which log-probabilities.

    The per-token tuples have the length of `ids` or are `None` where unknown (endpoints that give no ids).
    """

    context: Ids | None
    """Token ids the model saw. `None` where an endpoint gave none: such a segment can be read, not trained."""
    ids: Ids | None
    """Token ids it sampled."""
    text: str
    """A view of `ids`, for people and for judges."""
    logprobs: tuple[float, ...] | None
    """Sampler log-probability per token: what importance ratios divide by."""
    stop: Stop
    cost: Cost
    role: str = "answer"
    """What the call was for: `answer`, `think`, `vote`, `judge`, `plan`, …"""
    parent: int | None = None
    """Index of the segment this one grew from, where the attempt branches."""
    mask: tuple[bool, ...] | None = None
    """Which of `ids` may be trained; `None` is all of them (forced tokens are not)."""
    policy_version: int = 0
    """Which weights sampled it; the first of them, where they changed on the way."""
    positions: Ids | None = None
    """Position of each context and sampled token, where they are not simply 0, 1, 2, … (parallel paths)."""
    groups: Ids | None = None
    """Attention group of each context and sampled token, for `nn.masks`; `None` is a plain causal prefix."""
    tool: ToolCall | None = None
    model: str = ""
    """Which LM was called, where an attempt uses several."""
    versions: Ids | None = None
    """Which weights sampled each of `ids`, not falling, where they changed on the way; `None`: all of it by `policy_version`."""

    @classmethod
    def of(cls, completion: Completion, role: str = "answer", **more: Any) -> Segment:
        """The record of a completion."""
        versions = completion.versions or (0,)
        return cls(
            context=completion.prompt_ids,
            ids=completion.ids,
            text=completion.text,
            logprobs=completion.sampler_logprobs if completion.sampler_logprobs is not None else completion.logprobs,
            stop=completion.stop,
            cost=completion.cost,
            role=role,
            policy_version=versions[0],
            versions=versions if versions[0] != versions[-1] else None,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One attempt at one problem. A solver grows it (`add`, `finish`), the judge adds its verdict, then it never changes."""

    problem_id: str
    segments: tuple[Segment, ...] = ()
    answer: str = ""
    """The text handed to the judge."""
    stop: Stop | None = None
    """`None` while the attempt is under way."""
    spent: str | None = None
    """Which unit of the budget ran out, when `stop` is BUDGET."""
    cost: Cost = field(default_factory=Cost)
    verdict: Verdict | None = None
    error: str | None = None
    """One sentence, when `stop` is ERROR."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the method wants to keep: votes, scores, the chosen index. JSON values only."""

    def add(self, *segments: Segment) -> Trajectory:
        """With more calls made one after another; their cost is added."""
        cost = sum((s.cost for s in segments), self.cost)
        return replace(self, segments=self.segments + segments, cost=cost)

    def beside(self, segments: tuple[Segment, ...]) -> Trajectory:
        """With more calls that ran at the same time; seconds overlap and caches add."""
        if not segments:
            return self
        together = segments[0].cost
        for s in segments[1:]:
            together |= s.cost
        return replace(self, segments=self.segments + segments, cost=self.cost + together)

    def finish(self, stop: Stop, answer: str, spent: str | None = None, **meta: Any) -> Trajectory:
        """The ended attempt."""
        return replace(self, stop=stop, answer=answer, spent=spent, meta={**self.meta, **meta})


class Solver(Protocol):
    """A program that calls models. Bound to them when made, then called alike; any number of calls may be in flight."""

    @property
    def name(self) -> str: ...

    def __call__(self, problem: Problem, budget: Budget, seed: int) -> Awaitable[Trajectory]:
        """One attempt. The seed decides all its randomness. Stops at the budget and says so. Reads no global state."""
        ...
