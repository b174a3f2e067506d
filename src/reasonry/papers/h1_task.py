"""The chains of h1's experiment: two operations a problem, adapters identity, +c and ·2, names that say nothing of depth.

    B: 14 times 2 minus 5         B=14*2=28-5=23
    K: (B - 3) plus 8 minus 1  -> K=20+8=28-1=27
    what is K?                    #### 27

An atom's split is decided by its two operations alone, so no atom of a test chain was ever in a training chain, in any slot. Every value
stays within 0..TOP; atoms are solved anew wherever they stand; the adapter must be worked out unwritten.
"""

from __future__ import annotations

import random
from fractions import Fraction

from reasonry.core import Message, Problem
from reasonry.synth import Adapter, AnyOf, Atom, Chain, Chained, Form, Wording, identity, scaled, shifted, synth
from reasonry.synth.atoms import Slot
from reasonry.tasks.judges import hashed
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import Atom as Operation

TOP = 59
OPERATIONS = (*(Operation(op, n) for op in "+-" for n in range(1, 10)), *(Operation("*", n) for n in (2, 2, 3)))
"""Of an atom, each drawn with equal chance."""
WORDS = {"+": "plus", "-": "minus", "*": "times"}
NUDGE = 5
"""The +c of an adapter is one of ±1 … ±NUDGE."""
POOL = {"train": 2000, "validation": 300, "test": 600}
"""Atoms of each split, their first values included."""
WORDING = Wording("", "{name}: {text}", "what is {last}?", "{name}={work}")
NAMES = AnyOf("BCDFGHJKLMNPQRSTVWZ")


def solve(operations: tuple[Operation, ...], x: int) -> list[int] | None:
    """The values after each operation; `None` where one leaves 0..TOP."""
    values = [x]
    for operation in operations:
        values.append(operation(values[-1]))
    return values[1:] if all(0 <= value <= TOP for value in values) else None


def worked(operations: tuple[Operation, ...], x: int) -> str:
    """`14*2=28-5=23`."""
    text = str(x)
    for operation in operations:
        x = operation(x)
        text += f"{operation.op}{operation.operand}={x}"
    return text


def _draw(rng: random.Random) -> Draft:
    while True:
        operations, x = (rng.choice(OPERATIONS), rng.choice(OPERATIONS)), rng.randint(0, TOP)
        values = solve(operations, x)
        if values is not None and values[-1] != x:
            told = " ".join(f"{WORDS[o.op]} {o.operand}" for o in operations)
            meta = {"x": x, "operations": [[o.op, o.operand] for o in operations]}
            return Draft(told, f"{x} {told}", str(values[-1]), meta)


def _parts(problem: Problem) -> tuple[int, tuple[Operation, ...]]:
    return problem.meta["x"], tuple(Operation(op, n) for op, n in problem.meta["operations"])


def _work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
    x, operations = _parts(problem)
    return answer(worked(operations, x), problem.answer)


SINGLE = Skill("two-operations", _draw, _work)
"""One atom at a time, as a task."""


def atom(problem: Problem) -> Atom:
    """A problem of `SINGLE` with its program; the slot is its first number."""
    x, operations = _parts(problem)

    def program(value: Fraction) -> Fraction | None:
        values = solve(operations, int(value)) if value.denominator == 1 else None
        return None if values is None else Fraction(values[-1])

    slot = Slot(0, len(str(x)), Fraction(x))
    return Atom(problem.messages[0].content, Fraction(problem.answer), slot, program, lambda v: worked(operations, int(v)), problem.id)


def adapter(so_far: Chain, following: Atom, rng: random.Random) -> Adapter:
    """Identity, +c or ·2, each a third of the draws."""
    kind = rng.randrange(3)
    return identity if kind == 0 else shifted(rng.choice((-1, 1)) * rng.randint(1, NUDGE)) if kind == 1 else scaled(2)


FORM = Form("re-solve", atom, adapter)


def chains(h: int, split: str = "train") -> Chained:
    """Chains of `h` atoms as a task, over the atoms of one split."""
    return synth(SINGLE, h, FORM, WORDING, pool=POOL[split], judging=hashed, naming=NAMES)
