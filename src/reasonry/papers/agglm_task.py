"""The task of AggLM's experiment: chained arithmetic modulo 10 whose every step is shown. An operation is a letter.

    question  7cfah        solution  7c0f6a7h5        answer  5

`a` … `i` add 1 … 9; `j`, `k`, `l` multiply by 3, 7, 9. Every step is a bijection of the value before it, so a slip is never mended by a
later step alone. No operation comes twice in a problem. A *fact* is an operation on a value; about half of the 120 facts, chosen by their
content, are held out: no problem that is practised by reward has one on its true way, and test problems have no other. So reward can teach
how to aggregate, or to be surer, but not the test's arithmetic. All solutions have the same length, right or wrong. Gold is computed; a
problem's split is decided by its content.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from reasonry.core import Message, Problem, Verdict
from reasonry.tasks.judges import Judge
from reasonry.tasks.skill import Draft, draw_problems, of_split, split_of

STEPS = 4
OPERATIONS = "abcdefghijkl"
_FACTORS = {"j": 3, "k": 7, "l": 9}
_SOLUTION = re.compile(r"\d(?:[a-l]\d)+")


def apply(value: int, operation: str) -> int:
    """The value after one operation."""
    return (value * _FACTORS[operation] if operation in _FACTORS else value + 1 + OPERATIONS.index(operation)) % 10


def held_out(value: int, operation: str) -> bool:
    """Whether the fact is kept for the test."""
    return sha256(f"fact {value}{operation}".encode()).digest()[0] < 128


Facts = Literal["any", "practised", "held out"]


def read_answer(text: str) -> str | None:
    """The last digit of a text that has the form of a solution; `None` for any other text."""
    return text.strip()[-1] if _SOLUTION.fullmatch(text.strip()) else None


JUDGE = Judge("last digit", read_answer, lambda gold: gold if isinstance(gold, str) else None, str.__eq__)


def values(question: str) -> list[int]:
    """The true value after each step."""
    value = int(question[0])
    return [value := apply(value, operation) for operation in question[1:]]


def worked(question: str, found: list[int]) -> str:
    """The solution with these values."""
    return question[0] + "".join(f"{operation}{v}" for operation, v in zip(question[1:], found, strict=True))


def slipped(question: str, chance: float, rng: random.Random) -> list[int]:
    """The values of a solution each of whose steps slips to another digit with this chance, and goes on from there."""
    value, found = int(question[0]), list[int]()
    for operation in question[1:]:
        value = apply(value, operation)
        if rng.random() < chance:
            value = (value + rng.randint(1, 9)) % 10
        found.append(value)
    return found


def right_steps(text: str) -> list[bool]:
    """Which steps of a solution follow from the value before them; none for a text that is no solution."""
    t = text.strip()
    return [apply(int(t[i - 1]), t[i]) == int(t[i + 1]) for i in range(1, len(t), 2)] if read_answer(t) else []


def noisy_check(text: str, error: float, rng: random.Random) -> float:
    """The share of steps that a checker passes which misjudges a step with chance `error`; it never sees the gold answer."""
    found = [ok != (rng.random() < error) for ok in right_steps(text)]
    return sum(found) / len(found) if found else 0.0


@dataclass(frozen=True, slots=True)
class Chains:
    """The task (`core.Task`). Judges the problems of every kind of facts alike."""

    facts: Facts = "any"
    """What the true ways of its problems are made of."""

    @property
    def name(self) -> str:
        """`chains`, whatever the facts: a problem is the same problem."""
        return "chains"

    def draw(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        text = self._walk(rng) if self.facts != "any" else str(rng.randrange(10)) + "".join(rng.sample(OPERATIONS, STEPS))
        return Draft(text, text, str(values(text)[-1]))

    def _walk(self, rng: random.Random) -> str:
        """A question whose every true step is a fact of the kind."""
        while True:
            value = rng.randrange(10)
            text = str(value)
            for _ in range(STEPS):
                fit = [op for op in OPERATIONS if op not in text and held_out(value, op) == (self.facts == "held out")]
                if not fit:
                    break
                operation = rng.choice(fit)
                text, value = text + operation, apply(value, operation)
            else:
                return text

    def draw_from(self, split: str, rng: random.Random) -> Problem:
        """The next problem of `rng` that belongs to `split`."""
        while True:
            draft = self.draw(rng)
            if split_of(draft.key) == split:
                return draft.problem(self.name)

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError without `n`."""
        return draw_problems(self.name, split, n, seed, of_split(self.draw, split))

    def extract(self, text: str) -> str | None:
        """The last digit."""
        return read_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Whether the last digit is right; nothing else counts."""
        return JUDGE(problem, answer)

    def demonstration(self, problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        """The problem with its true solution."""
        question = problem.messages[0].content
        return (*problem.messages, Message("assistant", worked(question, values(question))))
