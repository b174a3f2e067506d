"""Chained arithmetic with a line of working per step: `start with 17. add 25. times 3. what is the result?`

A chain is a start value and atoms. An atom takes a number and gives a number, so atoms compose to any horizon. The pocket models are
taught 1–3 steps; longer chains are for evaluation and for reinforcement learning.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer

TOP = 300
"""Values stay within 0..TOP."""
_WORDS = {"+": ("add", "plus"), "-": ("take away", "minus"), "*": ("times", "times")}
_PHRASINGS = (
    ("start with {x}. ", 0, ". ", ". what is the result?"),
    ("take {x}, ", 0, ", then ", ". what do you get?"),
    ("what is {x} ", 1, ", then ", "?"),
)
"""Opening with the slot of the first value, which words name the operations, what stands between them, closing."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One step, value → value: an operation (`+`, `-`, `*`) with its operand."""

    op: str
    operand: int

    def __call__(self, value: int) -> int:
        """The value after this step."""
        if self.op == "+":
            return value + self.operand
        return value - self.operand if self.op == "-" else value * self.operand

    def line(self, value: int) -> str:
        """The step as working: `17+25=42`."""
        return f"{value}{self.op}{self.operand}={self(value)}"


def next_atom(value: int, rng: random.Random) -> Atom:
    """An atom that keeps `value` within 0..TOP: adds or takes away 1–50, or multiplies a value of at most 60 by 2–5."""
    ops = ["+"] * (value < TOP) + ["-"] * (value > 0) + ["*"] * (0 < value <= 60)
    op = rng.choice(ops)
    if op == "*":
        return Atom(op, rng.randint(2, 5))
    return Atom(op, rng.randint(1, min(50, TOP - value if op == "+" else value)))


def lines(start: int, atoms: Sequence[Atom]) -> list[str]:
    """The working of a chain, one line per atom."""
    made = []
    for atom in atoms:
        made.append(atom.line(start))
        start = atom(start)
    return made


def result(start: int, atoms: Sequence[Atom]) -> int:
    """The value of a chain."""
    for atom in atoms:
        start = atom(start)
    return start


def chain(steps: int, rng: random.Random) -> tuple[int, list[Atom]]:
    """A random chain: its start (1–99) and its atoms."""
    start = value = rng.randint(1, 99)
    atoms = []
    for _ in range(steps):
        atoms.append(next_atom(value, rng))
        value = atoms[-1](value)
    return start, atoms


def chain_key(start: int, atoms: Sequence[Atom]) -> str:
    """What decides the split of a chain, alike in every skill that shows one: a test chain is in no skill's training text."""
    return " ".join([str(start), *(f"{a.op}{a.operand}" for a in atoms)])


def question(start: int, atoms: Sequence[Atom], rng: random.Random) -> str:
    """A chain as a question, in one of a few phrasings."""
    opening, words, between, closing = rng.choice(_PHRASINGS)
    return opening.format(x=start) + between.join(f"{_WORDS[a.op][words]} {a.operand}" for a in atoms) + closing


def atoms_of(problem: Problem) -> tuple[int, list[Atom]]:
    """The chain kept in a problem's meta."""
    return problem.meta["start"], [Atom(op, operand) for op, operand in problem.meta["atoms"]]


def arithmetic(steps: int | None = None) -> Skill:
    """Chains of `steps` steps; without it, of 1 to 3. Raises UserError for fewer than one."""
    if steps is not None and steps < 1:
        raise UserError(f"arithmetic: steps is {steps} but a chain has at least 1")

    def draw(rng: random.Random) -> Draft:
        start, atoms = chain(steps or rng.randint(1, 3), rng)
        pairs = [[a.op, a.operand] for a in atoms]
        meta = {"start": start, "atoms": pairs, "steps": len(atoms)}
        return Draft(chain_key(start, atoms), question(start, atoms, rng), str(result(start, atoms)), meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer("\n".join(lines(*atoms_of(problem))), problem.answer)

    return Skill("arithmetic", draw, work)
