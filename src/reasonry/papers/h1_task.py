"""The chains of h1's experiment: two operations a problem; adapters identity, +c and ·2.

    P=14*2-5           P=14*2=28-5=23
    Q=(P-3)+8-1    ->  Q=23-3=20+8=28-1=27
    what is Q?         #### 27

An atom's split is decided by its two operations alone, so no atom of a test chain was ever in a training chain, in any slot. Every value
stays within 0..TOP, and atoms are solved anew wherever they stand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

from reasonry.core import Message, Problem, UserError
from reasonry.synth import Adapter, Atom, Chain, Chained, Form, Wording, chain, identity, synth
from reasonry.synth.atoms import Slot
from reasonry.synth.chain import free_names
from reasonry.tasks.judges import hashed, spell
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import Atom as Operation

TOP = 59
OPERATIONS = (*(Operation(op, n) for op in "+-" for n in range(1, 10)), *(Operation("*", n) for n in (2, 2, 3)))
"""Of an atom, each drawn with equal chance; a product never follows a sum, so that left to right is also the usual order."""
NUDGE = 5
"""The +c of an adapter is one of ±1 … ±NUDGE."""
POOL = {"train": 2000, "validation": 300, "test": 600}
"""Atoms of each split, their first values included."""
WORDING = Wording("", "{name}={text}", "what is {last}?", "{name}={link}{work}")


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
        if values is not None and values[-1] != x and (operations[1].op != "*" or operations[0].op == "*"):
            told = "".join(f"{o.op}{o.operand}" for o in operations)
            meta = {"x": x, "operations": [[o.op, o.operand] for o in operations]}
            return Draft(told, f"{x}{told}", str(values[-1]), meta)


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
    if kind == 0:
        return identity
    if kind == 1:
        return Adapter(scale=Fraction(2), words="{y}*2")
    c = rng.choice((-1, 1)) * rng.randint(1, NUDGE)
    return Adapter(offset=Fraction(c), words=f"{{y}}{c:+d}")


FORM = Form("re-solve", atom, adapter)


def bundle(k: int, linked: bool, atoms: Sequence[Atom], rng: random.Random) -> tuple[Message, ...]:
    """`k` problems told like a chain, each with a first value of its own, and the answer; `linked`: one of them, but the first, takes the
    answer before it. The form of long chains, and links one at a time."""
    chosen, names, at = rng.sample(atoms, k), free_names(k, ()), rng.randint(1, k - 1) if linked else 0
    texts, works, values = [a.text for a in chosen], [_worked(a) for a in chosen], [a.answer for a in chosen]
    if linked:
        made = _pair(chosen[at - 1], atoms, rng)
        (phi,), second = made.adapters, made.atoms[1]
        texts[at], values[at] = second.ask(phi.told(names[at - 1])), made.answer
        works[at] = phi.worked(made.values[0]) + _worked(second, made.inputs[1])
    lines = [WORDING.line.format(name=name, text=text) for name, text in zip(names, texts, strict=True)]
    steps = [WORDING.step.format(name=name, link="", work=work) for name, work in zip(names, works, strict=True)]
    prompt = "\n".join([*lines, WORDING.closing.format(last=names[-1])])
    return Message("user", prompt), *answer("\n".join(steps), spell(values[-1]))


def _worked(a: Atom, x: Fraction | None = None) -> str:
    assert a.work is not None
    assert a.slot is not None
    return a.work(a.slot.value if x is None else x)


def _pair(first: Atom, atoms: Sequence[Atom], rng: random.Random) -> Chain:
    """A chain of two that begins with `first`."""
    one = chain((first,), ())
    while True:
        second = rng.choice(atoms)
        try:
            return chain((first, second), (adapter(one, second, rng),))
        except UserError:
            continue


def chains(h: int, split: str = "train") -> Chained:
    """Chains of `h` atoms as a task, over the atoms of one split."""
    return synth(SINGLE, h, FORM, WORDING, pool=POOL[split], judging=hashed)
