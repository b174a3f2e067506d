"""`synth`: any task with numeric answers → a task of chains of its problems (h1, arXiv 2510.07312).

Invariant: a chain of a split is made of problems of that split of the source, and the source's splits never overlap; so no atom is in
two splits, whatever the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reasonry.core import Message, Problem, Task, UserError, Verdict
from reasonry.synth.adapters import Adapter, draw, shifted
from reasonry.synth.atoms import Atom, from_program, from_text
from reasonry.synth.chain import PLAIN, Chain, Wording, chain
from reasonry.tasks.judges import Judge, numeric
from reasonry.tasks.skill import answer

ADAPTER_TRIES = 8
"""Adapters drawn for one place of a chain before its atom is exchanged."""
TRIES = 500
"""Chains drawn in vain, one after another, before a split is declared too small."""

Order = Callable[[int, random.Random], Sequence[int]]
"""(h, rng) -> which problem is told i-th."""


def in_order(h: int, rng: random.Random) -> Sequence[int]:
    """Told in the order of the chain."""
    return range(h)


def shuffled(h: int, rng: random.Random) -> Sequence[int]:
    """Told in a random order; names alone say what comes first."""
    return rng.sample(range(h), h)


@dataclass(frozen=True, slots=True)
class Form:
    """How atoms are got from problems and linked. The two ways of the literature are `RE_SOLVE` and `LABEL_PRESERVING`."""

    name: str
    atom: Callable[[Problem], Atom | None]
    adapter: Callable[[Chain, Atom, random.Random], Adapter]
    """(chain so far, next atom, rng) -> an adapter to try."""


def _to_own_value(so_far: Chain, atom: Atom, rng: random.Random) -> Adapter:
    assert atom.slot is not None  # atoms without slot are only ever drawn first
    return shifted(atom.slot.value - so_far.answer)


RE_SOLVE = Form("re-solve", from_program, lambda so_far, atom, rng: draw(rng))
"""Atoms with programs, random adapters: later answers are computed anew, so knowing the source's answers is of no use."""
LABEL_PRESERVING = Form("label-preserving", from_text, _to_own_value)
"""Plain questions and answers, `slot = previous answer + d`: every atom keeps its known answer. A model that knows those answers by heart
can skip the chain; prefer `RE_SOLVE` for claims about horizon skills."""


@dataclass(frozen=True)
class Chained:
    """A task (`core.Task`) of chains of length `h`. Made by `synth`."""

    name: str
    source: Task
    h: int
    form: Form
    wording: Wording
    order: Order
    pool: int | None
    """Source problems a split's chains are made of, the same for every seed; `None` takes all there are."""
    judging: Judge

    def atoms(self, split: str) -> list[Atom]:
        """The atoms of a split, in the source's order; problems without a numeric answer are left out."""
        try:
            problems = self.source.problems(split, self.pool)
        except UserError as error:
            mend = "; give pool where the source never ends" if self.pool is None else ""
            raise UserError(f"{self.name}: {error}{mend}") from None
        return [atom for p in problems if (atom := self.form.atom(p)) is not None]

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different chains of a split; without `n` and with h = 1, each atom once. Raises UserError where there are not so many."""
        atoms = self.atoms(split)
        if self.h == 1:
            alone = [chain((atom,), ()).problem(self.name) for atom in atoms]
            if n is not None and n > len(alone):
                raise UserError(f"{self.name}: n is {n} but split {split!r} has {len(alone)} problems; ask for fewer or raise pool")
            return alone if n is None else random.Random(f"{self.name}/{split}/{seed}").sample(alone, n)
        if n is None:
            raise UserError(f"{self.name}: n is missing but there are very many chains; say how many")
        linked = [atom for atom in atoms if atom.slot is not None]
        if len(linked) < self.h:
            raise UserError(
                f"{self.name}: split {split!r} has {len(linked)} problems with a usable slot but a chain takes {self.h}; "
                f"give more problems, with their solutions"
            )
        found: dict[str, Problem] = {}
        misses = i = 0
        while len(found) < n:
            rng = random.Random(f"{self.name}/{split}/{seed}/{i}")
            made = self._grow(atoms, linked, rng)
            problem = made and made.problem(self.name, self.wording, order=self.order(self.h, rng))
            misses = misses + 1 if problem is None or problem.id in found else 0
            if problem is not None:
                found.setdefault(problem.id, problem)
            if misses > TRIES:
                raise UserError(f"{self.name}: n is {n} but only {len(found)} chains of split {split!r} were found; ask for fewer")
            i += 1
        return list(found.values())

    def _grow(self, atoms: Sequence[Atom], linked: Sequence[Atom], rng: random.Random) -> Chain | None:
        """A random chain of different atoms; `None` where no drawn atom and adapter fit together."""
        made = chain((rng.choice(atoms),), ())
        for atom in rng.sample(linked, min(len(linked), 4 * self.h)):
            if made.h == self.h:
                break
            if atom not in made.atoms:
                made = self._extend(made, atom, rng) or made
        return made if made.h == self.h else None

    def _extend(self, made: Chain, atom: Atom, rng: random.Random) -> Chain | None:
        for _ in range(ADAPTER_TRIES):
            try:
                return chain((*made.atoms, atom), (*made.adapters, self.form.adapter(made, atom, rng)))
            except UserError:
                continue
        return None

    def extract(self, text: str) -> str | None:
        """The number a text answers."""
        return self.judging.extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Whether the last answer is right; nothing else counts."""
        return self.judging(problem, answer)

    def demonstration(self, problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        """The problem with its worked answer. Raises UserError for chains of atoms that do not know their working."""
        if "solution" not in problem.meta:
            raise UserError(f"{self.name}: problem {problem.id} has no worked solution; only chains of executable atoms have one")
        return problem.messages + answer(problem.meta["solution"], problem.answer)


def synth(
    task: Task,
    h: int,
    form: Form = LABEL_PRESERVING,
    wording: Wording = PLAIN,
    order: Order = in_order,
    pool: int | None = None,
    judging: Judge | None = None,
) -> Chained:
    """Chains of `h` problems of `task` as a task. `pool` is needed where the task never ends. Raises UserError for h below 1.

    Works for any task whose problems have a text and a numeric answer: GSM8K's files and your own question and answer files with
    `LABEL_PRESERVING` (answers need their solutions), generated arithmetic and word problems with `RE_SOLVE`. Answers are compared as
    numbers unless `judging` says otherwise.
    """
    if h < 1:
        raise UserError(f"synth: h is {h} but a chain has at least 1 problem")
    return Chained(f"{task.name}-chain{h}", task, h, form, wording, order, pool, judging or numeric())


def chance_rate(problems: Sequence[Problem]) -> float:
    """What always giving the commonest answer would earn on these problems: the share a score must exceed to mean anything."""
    return max(Counter(str(p.answer) for p in problems).values()) / len(problems)
