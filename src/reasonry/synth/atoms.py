"""Atoms: text problems with one numeric slot and a numeric answer, which is what chains are made of.

Two ways to have one. `from_program`: the problem comes with its program, so any value can be put in its slot and the answer computed
anew. `from_text`: only text and answer are known (GSM8K files), so the slot must keep its value; it is an integer of the question that
the solution really uses.

Invariant: `atom.ask(spell(atom.slot.value))` is the problem's text, letter for letter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from reasonry.core import Problem
from reasonry.tasks.judges import number, numbers
from reasonry.tasks.skills.arithmetic import TOP, atoms_of, lines
from reasonry.tasks.skills.arithmetic import Atom as Operation
from reasonry.tasks.tools import calculator

NUDGES = (-1, 1, 7)
"""How far a slot is moved to see whether the answer depends on it."""

_INTEGER = re.compile(r"\d+")
_MAKES_NO_SLOT_BEFORE = re.compile(r"(?:[\w.,:/^\\-]|(?:\^|/|\*\*)\s*\(?|\\[a-z]+\s*|[\w}][(\[][^)\]]*|\{[^}]*)$")
"""What stands before a number that is no slot: part of a longer number, a word, a sign, an exponent, a denominator, an argument."""
_MAKES_NO_SLOT_AFTER = re.compile(r"^(?:[\w^]|[.,:]\d|\s*/\s*\(?\w|\s*\^|\s*\*\*|[-–]\d|\s+\d+/\d)")
"""What stands after one: the rest of a longer number, a unit written together, a power, a fraction's bar, a range, a mixed number."""
_CALCULATION = re.compile(r"<<([^<>=]*)=([^<>=]*)>>")
_OPERAND = re.compile(r"(?<![\w.])\d+(?:\.\d+)?|(?<![\w.])\.\d+")


@dataclass(frozen=True, slots=True)
class Slot:
    """Where in an atom's text its input stands, and the value that stands there."""

    start: int
    end: int
    value: Fraction


@dataclass(frozen=True, slots=True)
class Atom:
    """f: x → y as text. Made by `from_program`, `from_text` or by hand; read by `chain`."""

    text: str
    answer: Fraction
    """y for the value that stands in the text."""
    slot: Slot | None = None
    """`None`: the atom can only begin a chain."""
    solve: Callable[[Fraction], Fraction | None] | None = None
    """x → y, `None` outside the atom's domain. No program: the slot must keep its value."""
    work: Callable[[Fraction], str] | None = None
    """x → the working, for demonstrations."""
    id: str = ""
    """The source problem's."""

    def ask(self, x: str) -> str:
        """The text with `x` in its slot."""
        return self.text if self.slot is None else self.text[: self.slot.start] + x + self.text[self.slot.end :]


def depends(atom: Atom) -> bool:
    """Whether every nudge of the slot that stays in the domain changes the answer, and at least one stays there.

    An atom whose slot does not matter (multiplied by 0, rounded away) would let a chain be answered without its earlier steps.
    Only for atoms with a program.
    """
    if atom.slot is None or atom.solve is None:
        raise ValueError("depends: the atom has no slot or no program")
    y = atom.solve(atom.slot.value)
    moved = [z for nudge in NUDGES if (z := atom.solve(atom.slot.value + nudge)) is not None]
    return bool(moved) and y not in moved


def from_program(problem: Problem) -> Atom | None:
    """The atom of a generated problem that keeps its program in its meta (`arithmetic`, `word`); the slot is its first number, the
    start. `None` for another problem. Its domain: whole numbers that stay within 0..TOP all the way."""
    text = _text(problem)
    if text is None or not {"start", "atoms"} <= problem.meta.keys():
        return None
    start, operations = atoms_of(problem)
    found = re.search(rf"(?<!\d){start}(?!\d)", text)
    if found is None:
        return None

    def solve(x: Fraction) -> Fraction | None:
        return _run(x, operations)

    def work(x: Fraction) -> str:
        return "\n".join(lines(int(x), operations))

    y = solve(Fraction(start))
    return None if y is None else Atom(text, y, Slot(*found.span(), Fraction(start)), solve, work, problem.id)


def _run(x: Fraction, operations: Sequence[Operation]) -> Fraction | None:
    if x.denominator != 1:
        return None
    value = int(x)
    for operation in operations:
        if not 0 <= value <= TOP:
            return None
        value = operation(value)
    return Fraction(value) if 0 <= value <= TOP else None


def from_text(problem: Problem) -> Atom | None:
    """The atom of any problem with a text and a numeric answer; `None` where it has none. Its slot is the first usable integer.

    An integer is usable when it stands alone in the question (not in a fraction, a decimal, an exponent, a function's argument), its
    value stands nowhere else there (a second copy would tell it), and the solution uses it: where the solution has GSM8K's marked
    calculations `<<16-3=13>>`, moving the value and working them through must change the answer; elsewhere the solution must name it.
    Without a solution in `meta["solution"]` there is no slot.
    """
    text = _text(problem)
    answer = None if text is None else number(str(problem.answer))
    if text is None or answer is None:
        return None
    solution = str(problem.meta.get("solution") or "")
    told = Counter(numbers(text))
    slots = (Slot(m.start(), m.end(), Fraction(m[0])) for m in _INTEGER.finditer(text) if _stands_alone(text, m))
    slot = next((s for s in slots if told[s.value] == 1 and uses(solution, s.value, answer)), None)
    return Atom(text, answer, slot, id=problem.id)


def _text(problem: Problem) -> str | None:
    return problem.messages[0].content if len(problem.messages) == 1 else None


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether the integer could be replaced by a name without changing what the text around it means."""
    before, after = text[max(match.start() - 60, 0) : match.start()], text[match.end() : match.end() + 20]
    plain = not (match[0].startswith("0") and len(match[0]) > 1)
    return plain and not _MAKES_NO_SLOT_BEFORE.search(before) and not _MAKES_NO_SLOT_AFTER.search(after)


def uses(solution: str, value: Fraction, answer: Fraction) -> bool:
    """Whether a solution leads from `value` to `answer`: by its marked calculations where it has some, else by naming the value."""
    calculations = _CALCULATION.findall(solution)
    if not calculations:
        return value in numbers(solution)
    moved: dict[Fraction, Fraction] = {value: value + 1}
    if value not in _operands(calculations):
        return False
    for expression, result in calculations:
        new, old = _value(_substitute(expression, moved)), _exactly(result)
        if new is None or old is None:
            return False
        if new != _value(expression):
            moved[old] = new
        elif old in moved and old != value:
            del moved[old]
    return moved.get(answer, answer) != answer


def _operands(calculations: Sequence[tuple[str, str]]) -> set[Fraction]:
    return {Fraction(m) for expression, _ in calculations for m in _OPERAND.findall(expression)}


def _substitute(expression: str, moved: Mapping[Fraction, Fraction]) -> str:
    def put(match: re.Match[str]) -> str:
        x = Fraction(match[0])
        return f"({float(moved[x])!r})" if x in moved else match[0]

    return _OPERAND.sub(put, expression)


def _value(expression: str) -> Fraction | None:
    return _exactly(calculator(expression))


def _exactly(text: str) -> Fraction | None:
    try:
        return Fraction(text.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None
