"""Chains of problems in one prompt: each problem's slot is filled from the answer of the one before.

h1 (arXiv 2510.07312): x_1 given; y_j = f_j(x_j); x_{j+1} = φ_j(y_j); the answer is y_h. Symbols: h length, f_j atoms, φ_j adapters.

Invariant: every gold value is computed from gold values only, and the prompt never shows y_j: it names it. Names and the order in which
the problems stand in the prompt change neither.

Departures from the paper: 1. The adapter's expression stands in the slot itself (`Ann has (P + 5) apples`), not in a sentence beside it
as in R-HORIZON (arXiv 2510.08189). 2. An executable atom whose answer does not depend on its slot is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from reasonry.core import Problem, UserError
from reasonry.synth.adapters import Adapter
from reasonry.synth.atoms import Atom, depends
from reasonry.tasks.judges import spell

_LETTERS = "PQRSTUVWXYZBCDEFGHJKLMNO"
"""A and I are words."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a chain of two or more problems is told. `{name}` is an answer's name, `{last}` the name of the answer asked for."""

    opening: str
    line: str
    """With `{text}`, the problem."""
    closing: str
    step: str = "{work}\n{name} = {value}"
    """One step of a worked answer: the problem's own working and the value of its answer's name. With `{link}`, its adapter's first."""


PLAIN = Wording(
    "Each letter stands for the answer to the problem beside it. Write each answer on a line of its own, like {last} = 5.",
    "{name}: {text}",
    "Give the value of {last}.",
)
"""Full sentences, for models that follow instructions."""
TERSE = Wording("", "{name}: {text}", "what is {last}?")
"""As few tokens as possible, for models taught the form."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its gold values. Made by `chain` and `join` only, which compute them."""

    atoms: tuple[Atom, ...]
    adapters: tuple[Adapter, ...]
    """One fewer than atoms."""
    inputs: tuple[Fraction | None, ...]
    """Gold x_j; `None` for a first atom without slot."""
    values: tuple[Fraction, ...]
    """Gold y_j."""

    @property
    def h(self) -> int:
        """Its length."""
        return len(self.atoms)

    @property
    def answer(self) -> Fraction:
        """y_h."""
        return self.values[-1]

    def run(self, x: Fraction) -> Fraction | None:
        """Executes the chain on another first value; `None` outside an atom's domain. Every atom must have a program."""
        y: Fraction | None = None
        for j, atom in enumerate(self.atoms):
            if atom.solve is None:
                raise UserError(f"Chain.run: problem {j + 1} has no program; only atoms with one can be executed anew")
            y = atom.solve(x if y is None else self.adapters[j - 1](y))
            if y is None:
                return None
        return y

    def prompt(self, wording: Wording = PLAIN, names: Sequence[str] | None = None, order: Sequence[int] | None = None) -> str:
        """All problems in one text; a chain of one is its problem's text, unchanged.

        `names` are those of the answers y_1 … y_h, chosen so that no problem holds them where `None`. `order[i]` is the index of the
        problem told i-th; told in the order of the chain where `None`. Raises UserError for names that are taken and for no permutation.
        """
        names, order = self._named(names), list(order) if order is not None else list(range(self.h))
        if sorted(order) != list(range(self.h)):
            raise UserError(f"Chain.prompt: order is {order} but must hold each of 0 … {self.h - 1} once")
        if self.h == 1:
            return self.atoms[0].text
        told = [self.atoms[0].text]
        told += [atom.ask(phi.told(name)) for atom, phi, name in zip(self.atoms[1:], self.adapters, names, strict=False)]
        lines = [wording.line.format(name=names[j], text=told[j]) for j in order]
        ends = [part.format(last=names[-1]) for part in (wording.opening, wording.closing)]
        return "\n".join(part for part in (ends[0], *lines, ends[1]) if part)

    def working(self, wording: Wording = PLAIN, names: Sequence[str] | None = None) -> str | None:
        """A worked answer, step by step as `wording.step` has it; `None` where an atom does not know its working."""
        steps = []
        links = ["", *(phi.worked(y) for phi, y in zip(self.adapters, self.values, strict=False))]
        for atom, x, y, name, link in zip(self.atoms, self.inputs, self.values, self._named(names), links, strict=True):
            if atom.work is None or x is None:
                return None
            work = atom.work(x)
            steps.append(wording.step.format(link=link, work=work, name=name, value=spell(y)) if self.h > 1 else work)
        return "\n".join(steps)

    def problem(
        self, task: str, wording: Wording = PLAIN, names: Sequence[str] | None = None, order: Sequence[int] | None = None
    ) -> Problem:
        """The chain as a problem of `task`. Its meta holds `h`, `names`, `values` (gold y_j), `atoms` (source ids) and, where known, a
        worked `solution`."""
        names = self._named(names)
        prompt, answer, working = self.prompt(wording, names, order), spell(self.answer), self.working(wording, names)
        meta = {"h": self.h, "names": list(names), "values": [spell(y) for y in self.values], "atoms": [atom.id for atom in self.atoms]}
        digest = hashlib.sha256(f"{prompt}\n{answer}".encode()).hexdigest()[:12]
        return Problem(f"{task}-{digest}", prompt, answer, meta if working is None else {**meta, "solution": working})

    def _named(self, names: Sequence[str] | None) -> list[str]:
        texts = [atom.text for atom in self.atoms] + [phi.words or "" for phi in self.adapters]
        if names is None:
            return free_names(self.h, texts)
        if len(names) != self.h or len(set(names)) != self.h or not all(re.fullmatch(r"[A-Za-z]\w*", name) for name in names):
            raise UserError(f"names: {list(names)} but a chain of {self.h} needs {self.h} different names of letters and digits")
        taken = next((name for name in names if _holds(texts, name)), None)
        if taken is not None:
            raise UserError(f"names: {taken!r} already stands in a problem's text; choose another name")
        return list(names)


def chain(atoms: Sequence[Atom], adapters: Sequence[Adapter]) -> Chain:
    """The chain f_1, φ_1, f_2, …, f_h with gold values computed from gold values.

    An atom with a program is solved anew for what its adapter gives it; one without must be given its own value back (the
    label-preserving form: `shifted(value − y_j)`). Raises UserError where that is not so, where a later atom has no slot or ignores it,
    and where a value leaves an atom's domain.
    """
    if not atoms or len(adapters) != len(atoms) - 1:
        raise UserError(f"chain: {len(atoms)} atoms and {len(adapters)} adapters, but a chain has at least one atom and one fewer adapters")
    first = atoms[0]
    inputs: list[Fraction | None] = [None if first.slot is None else first.slot.value]
    values = [first.answer]
    for j, (atom, phi) in enumerate(zip(atoms[1:], adapters, strict=True), 2):
        if atom.slot is None:
            raise UserError(f"chain: problem {j} has no slot, so it can only stand first; choose another one")
        x = phi(values[-1])
        if atom.solve is None:
            y = atom.answer if x == atom.slot.value else None
            why = f"has no program and must be given its own value {spell(atom.slot.value)}; use shifted(value - previous answer)"
        else:
            y, why = atom.solve(x), "cannot take that; use another adapter"
        if y is None:
            raise UserError(f"chain: problem {j} is given {spell(x)} but {why}")
        if atom.solve is not None and not depends(replace(atom, slot=replace(atom.slot, value=x))):
            raise UserError(f"chain: the answer of problem {j} does not depend on its slot; choose another problem")
        inputs.append(x)
        values.append(y)
    return Chain(tuple(atoms), tuple(adapters), tuple(inputs), tuple(values))


def join(left: Chain, adapter: Adapter, right: Chain) -> Chain:
    """The chain that goes through `left`, then `right`. Joining is associative; `right` is solved anew."""
    return chain(left.atoms + right.atoms, (*left.adapters, adapter, *right.adapters))


def free_names(h: int, texts: Sequence[str]) -> list[str]:
    """The first `h` of P, Q, …, P1, Q1, … that stand in none of the texts as words, in either case."""
    found: list[str] = []
    suffix = 0
    while len(found) < h:
        tail = str(suffix) if suffix else ""
        found += [letter + tail for letter in _LETTERS if not _holds(texts, letter + tail)]
        suffix += 1
    return found[:h]


def _holds(texts: Sequence[str], name: str) -> bool:
    word = re.compile(rf"(?<!\w){name}(?!\w)", re.IGNORECASE)
    return any(word.search(text) for text in texts)
