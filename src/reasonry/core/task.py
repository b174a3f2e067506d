"""What is asked (`Problem`), where problems come from (`Task`), and how an answer is judged (`Verdict`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from reasonry.core.lm import Message


@dataclass(frozen=True, slots=True)
class Problem:
    """One question. Made by a task, read by solvers (never its answer) and by the judge."""

    id: str
    """Unique within its task; the same problem has the same id on every machine."""
    prompt: str | tuple[Message, ...]
    """A plain string is one user message."""
    answer: Any = None
    """What the judge compares with; `None` when only an environment can tell."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the task knows (difficulty, skill, the solution's steps). JSON values only."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as chat messages."""
        return (Message("user", self.prompt),) if isinstance(self.prompt, str) else self.prompt


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of an answer."""

    score: float | None
    """In [0, 1]; `None` is *not scored* (unreadable gold answer, judge failed), which is not the same as wrong."""
    passed: bool | None
    why: str = ""
    """One phrase a person can check."""
    answer: str | None = None
    """The answer as the judge read it out of the text: what votes and maj@k count. `None` where none was found."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """Named parts of a reward (format, length, …), before anything combines them."""


@runtime_checkable
class Task(Protocol):
    """A source of problems and their judge. Splits never overlap; a seed gives the same problems on every machine."""

    @property
    def name(self) -> str: ...

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` problems of a split (`train`, `test`, …), all there are when `n` is None and the split is finite."""
        ...

    def extract(self, text: str) -> str | None:
        """The answer inside a model's text, in canonical spelling, without looking at the gold answer; `None` where there is none."""
        ...

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Judges a model's whole text (it extracts for itself). Never raises for what a model wrote."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What an environment answers to an action."""

    observation: str
    reward: float = 0.0
    done: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


class Env(Protocol):
    """An interactive problem, used once. `reset` then `step` until done; `fork` where the world allows it."""

    def reset(self) -> str: ...

    def step(self, action: str) -> Step: ...


class GroupEnv(Protocol):
    """An interactive problem for several agents who move at once, used once: nobody sees another's move of a round before it is made."""

    @property
    def agents(self) -> int: ...

    def reset(self) -> tuple[str, ...]:
        """What each agent is told first."""
        ...

    def step(self, actions: Sequence[str]) -> tuple[Step, ...]:
        """One round: a move of each agent, and what each is answered. All are done at the same time."""
        ...
