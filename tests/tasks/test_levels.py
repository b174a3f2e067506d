"""Levels as one task: each problem is judged by the level it came from."""

from __future__ import annotations

import pytest

from reasonry.core import Problem, Task, Verdict
from reasonry.tasks import load_task
from reasonry.tasks.levels import Levels


class Own:
    """Judges by its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(f"{self.name}/{split}/{i}", "?") for i in range(n or 1)]

    def extract(self, text: str) -> str | None:
        return self.name + text

    def judge(self, problem: Problem, answer: str) -> Verdict:
        return Verdict(1.0, True, self.name)


def test_every_problem_is_judged_by_its_own_level() -> None:
    task = Levels("all", {1: Own("one"), 3: Own("three")})
    assert isinstance(task, Task)
    drawn = task.problems("train", 2)
    assert [task.judge(p, "x").why for p in drawn] == ["one", "one", "three", "three"]
    assert task.extract("!") == "one!"
    with pytest.raises(KeyError):
        task.judge(Problem("unknown", "?"), "x")


def test_a_level_draws_what_its_task_draws() -> None:
    task = Levels("arithmetic", {level: load_task(f"arithmetic?steps={level}") for level in (1, 2)})
    assert task.at(2, "validation", 5, seed=3) == load_task("arithmetic?steps=2").problems("validation", 5, 3)
