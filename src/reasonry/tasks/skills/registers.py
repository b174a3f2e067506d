"""State tracking: a small program over registers is run a number of times, and every change is written down.

The question `a=3 b=7. loop 4: a+=4 b+=a. give a b` does not grow with the number of loops; only the working does. Two styles of working:
*restate* opens each loop with the whole register file, *delta* writes only what changes:

    [2] a=7 b=0        [2]
    a=1 b=1            a=1 b=1

Invariant: every operation is a bijection of the register file (factors are coprime with the modulus, no register is added to itself),
so nothing is ever forgotten and an early mistake shows at the end.

Long programs (9–64 loops) enter the training text only as the tails of their workings, so that a model learns to count on from any loop
while every document it reads stays short: what generalises past the trained length must do so from the text of a state, not by position.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer

NAMES = "abcdefgh"
ITEMS = 36
"""Most register values in a restating demonstration that is used for training: what keeps it under about 170 tokens."""
LONG = (9, 64)
"""Loops of a long program."""
_HEADER = re.compile(r"^\[\d+\](.*)$", re.MULTILINE)
_ITEM = re.compile(r"\[\d+\]|\b[a-h]=\d+")
_VALUE = re.compile(r"\b([a-h])=\d+")


def step(state: dict[str, int], op: str, modulus: int) -> str:
    """Runs one operation (`a+=4`, `a*=3`, `a+=b`) on `state` in place and names the register it changed."""
    target, sign, right = op[0], op[1], op[3:]
    operand = state[right] if right in state else int(right)
    state[target] = (state[target] + operand if sign == "+" else state[target] * operand) % modulus
    return target


def show(state: dict[str, int]) -> str:
    """The register file as text: `a=1 b=4`."""
    return " ".join(f"{name}={value}" for name, value in state.items())


def run(start: dict[str, int], ops: Sequence[str], loops: int, modulus: int, restate: bool) -> tuple[str, str]:
    """The working of a program in one of the two styles, and the final register file."""
    state, written = dict(start), []
    for loop in range(1, loops + 1):
        written.append(f"[{loop}] {show(state)}" if restate else f"[{loop}]")
        changed = []
        for op in ops:
            target = step(state, op, modulus)
            changed.append(f"{target}={state[target]}")
        written.append(" ".join(changed))
    return "\n".join(written), show(state)


def restates(text: str) -> float:
    """The share of loop headers in a working that restate every register the text mentions; 0 where there is no header."""
    names = set(_VALUE.findall(text))
    headers = [set(_VALUE.findall(rest)) for rest in _HEADER.findall(text)]
    return sum(h == names for h in headers) / len(headers) if headers and names else 0.0


def cut(working: str, names: Sequence[str], rng: random.Random, most: int | None = None) -> str:
    """The tail of a working from a random later item on, as a document cut at a context boundary would be.

    The tail has at most `most` items (headers and values; `None`: any number) and shows a value of every register (in restate style: it
    holds a whole restated header). A working without such a tail comes back whole.
    """
    starts = [m.start() for m in _ITEM.finditer(working)][1:]
    starts = starts if most is None else starts[-most:]
    if restates(working) == 1.0:
        latest = max(m.start() for m in _HEADER.finditer(working))
        starts = [s for s in starts if s <= latest]
    else:
        starts = [s for s in starts if set(_VALUE.findall(working[s:])) == set(names)]
    return working[rng.choice(starts) :] if starts else working


def unknowable(text: str) -> int:
    """How many leading characters of an assistant's text follow from nothing the reader has seen: those a trainer should not score.

    0 for a whole working; for a cut one, up to where every register of the final answer has been shown.
    """
    if text.startswith("[1]"):
        return 0
    body, _, final = text.partition("\n####")
    missing = set(_VALUE.findall(final))
    for found in _VALUE.finditer(body):
        missing.discard(found[1])
        if not missing:
            return found.end()
    return len(body)


def registers(
    registers: int = 2,
    loops: int | None = None,
    ops: int | None = None,
    modulus: int = 10,
    restate: float = 0.3,
    cut_share: float = 0.25,
    long_share: float = 0.0,
) -> Skill:
    """Programs of `ops` operations (without it, 1–4) over `registers` registers, run `loops` times (without it, 1–8).

    Without `loops`, programs are those of the training text: 2–16 operations in all, and short enough to restate. With `ops` of at least
    `registers`, every register changes in every loop, so that all of the file must be remembered. `restate` is the share
    of demonstrations in restating style, `cut_share` the share whose working starts in the middle. `long_share` of the programs run
    9–64 loops and change every register in each; their demonstrations always start near the end. Raises UserError for a value out of range.
    """
    for field, value, low, high in (
        ("registers", registers, 2, len(NAMES)),
        ("loops", 1 if loops is None else loops, 1, 10_000),
        ("ops", 1 if ops is None else ops, 1, 16),
        ("modulus", modulus, 2, 1000),
    ):
        if not low <= value <= high:
            raise UserError(f"registers: {field} is {value} but must be {low} to {high}")
    for field, share in (("restate", restate), ("cut_share", cut_share), ("long_share", long_share)):
        if not 0 <= share <= 1:
            raise UserError(f"registers: {field} is {share} but must be 0 to 1")
    if long_share and ops is not None and ops < registers:
        raise UserError(f"registers: ops is {ops} but long programs change all {registers} registers; raise ops or leave long_share out")
    names = NAMES[:registers]
    factors = [c for c in range(2, 10) if math.gcd(c, modulus) == 1]

    def draw_op(rng: random.Random) -> str:
        target = rng.choice(names)
        kind = rng.choice(("add", "add", "copy", "copy", "times"))
        if kind == "times" and factors:
            return f"{target}*={rng.choice(factors)}"
        if kind == "copy":
            return f"{target}+={rng.choice(names.replace(target, ''))}"
        return f"{target}+={rng.randint(1, min(9, modulus - 1))}"

    def shape(rng: random.Random) -> tuple[int, int]:
        while True:
            length, times = ops or rng.randint(1, 4), loops or rng.randint(1, 8)
            if loops or ((ops or 2 <= length * times <= 16) and (times == 1 or times * (registers + length) <= ITEMS)):
                return length, times

    def covering_program(rng: random.Random) -> list[str]:
        while True:
            program = [draw_op(rng) for _ in range(ops or rng.randint(registers, max(registers, 4)))]
            if {op[0] for op in program} == set(names):
                return program

    def draw(rng: random.Random) -> Draft:
        start = {name: rng.randrange(modulus) for name in names}
        if loops is None and rng.random() < long_share:
            program, times = covering_program(rng), rng.randint(*LONG)
        else:
            length, times = shape(rng)
            covers = ops is not None and ops >= registers
            program = covering_program(rng) if covers else [draw_op(rng) for _ in range(length)]
        mod = "" if modulus == 10 else f"mod {modulus}. "
        text = f"{mod}{show(start)}. loop {times}: {' '.join(program)}. give {' '.join(names)}"
        meta = {"start": start, "ops": program, "loops": times, "modulus": modulus, "registers": registers, "steps": len(program) * times}
        return Draft(text, text, run(start, program, times, modulus, restate=False)[1], meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        meta = problem.meta
        style = rng.random() < restate
        working, final = run(meta["start"], meta["ops"], meta["loops"], meta["modulus"], style)
        if loops is None and meta["loops"] >= LONG[0]:
            working = cut(working, names, rng, most=ITEMS)
        elif rng.random() < cut_share:
            working = cut(working, names, rng)
        return answer(working, final)

    return Skill("registers", draw, work)
