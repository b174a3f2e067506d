"""Several tasks as one, each a level of a curriculum: `arithmetic?steps={level}` for levels 1, 2, 3.

Invariant: every problem is judged by the level it was drawn from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reasonry.core import Problem, Task, Verdict
from reasonry.tasks.tools import Tool, tools_for


@dataclass(frozen=True)
class Levels:
    """A task (`core.Task`) whose problems come from the tasks of its levels."""

    name: str
    tasks: Mapping[int, Task]
    _home: dict[str, Task] = field(default_factory=dict, repr=False)
    """Problem id -> the task it was drawn from."""

    def at(self, level: int, split: str, n: int | None, seed: int = 0) -> list[Problem]:
        """Problems of one level."""
        drawn = self.tasks[level].problems(split, n, seed)
        self.adopt(level, drawn)
        return drawn

    def adopt(self, level: int, problems: Iterable[Problem]) -> None:
        """Takes problems that came by another way as a level's own."""
        self._home.update((p.id, self.tasks[level]) for p in problems)

    def tools_of(self, problem: Problem) -> Mapping[str, Tool]:
        """Its own level's tools."""
        return tools_for(self._home[problem.id])(problem)

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` problems of each level, level after level."""
        return [p for level in self.tasks for p in self.at(level, split, n, seed)]

    def extract(self, text: str) -> str | None:
        """The answer as the first level reads it; levels of a task read alike."""
        return next(iter(self.tasks.values())).extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Its own level's verdict. Only for problems drawn through this object, or adopted."""
        return self._home[problem.id].judge(problem, answer)
