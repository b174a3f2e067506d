"""A verifier with a known confusion matrix, for simulations: a task whose judge passes right answers at a rate `recall` and wrong ones at a
rate `false_positive`.

Invariant: the verdict on an answer is a function of (seed, problem, text), so the same answer is judged alike by everyone who asks. The
truth is in nothing that training sees; ask the task inside for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from reasonry.core import Problem, Task, UserError, Verdict


@dataclass(frozen=True)
class Noisy:
    """The task with that judge. An answer which the task's own judge could not score stays unscored."""

    task: Task
    recall: float = 1.0
    """P(passed | right)."""
    false_positive: float = 0.0
    """P(passed | wrong); precision follows from it and from how often answers are right (`precision`)."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("recall", "false_positive"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"noisy: {name} is {getattr(self, name)} but must be from 0 to 1")

    @property
    def name(self) -> str:
        """The inner task's, and the rates."""
        return f"noisy?recall={self.recall:g}&false_positive={self.false_positive:g}&of={self.task.name}"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """The inner task's."""
        return self.task.problems(split, n, seed)

    def extract(self, text: str) -> str | None:
        """As the inner task reads it."""
        return self.task.extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The inner verdict, mistaken at the rates."""
        truth = self.task.judge(problem, answer)
        if truth.passed is None:
            return truth
        passed = self.chance(problem, answer) < (self.recall if truth.passed else self.false_positive)
        return Verdict(float(passed), passed, "by a verifier with known errors", truth.answer)

    def chance(self, problem: Problem, answer: str) -> float:
        """The answer's own number in [0, 1)."""
        digest = hashlib.blake2b(f"{self.seed}\n{problem.id}\n{answer}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def precision(self, right: float) -> float:
        """P(right | passed) where a share `right` of the answers is right; 0 where nothing passes."""
        passed = self.recall * right + self.false_positive * (1 - right)
        return self.recall * right / passed if passed else 0.0
