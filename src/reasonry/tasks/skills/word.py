"""Small word problems: someone has some things, and one to three things happen."""

from __future__ import annotations

import random

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import Atom, atoms_of, chain_key, lines, next_atom, result
from reasonry.tasks.skills.words import NAMES, PLACES, THINGS

_EVENTS = {
    "+": ("{friend} gives {who} {n} more.", "{who} finds {n} in the {place}.", "{who} buys {n} more."),
    "-": ("{who} gives {n} to {friend}.", "{who} loses {n} in the {place}.", "{who} sells {n}."),
    "*": ("now {who} has {n} times as many.", "that grows to {n} times as many."),
}


def word(steps: int | None = None) -> Skill:
    """Word problems of `steps` operations; without it, 1 to 3. Raises UserError for fewer than one."""
    if steps is not None and steps < 1:
        raise UserError(f"word: steps is {steps} but a problem has at least 1")

    def draw(rng: random.Random) -> Draft:
        who, friend = rng.sample(NAMES, 2)
        thing, place = rng.choice(THINGS), rng.choice(PLACES)
        start = value = rng.randint(2, 60)
        atoms: list[Atom] = []
        told = [f"{who} has {start} {thing}."]
        for _ in range(steps or rng.randint(1, 3)):
            atom = next_atom(value, rng)
            value = atom(value)
            atoms.append(atom)
            told.append(rng.choice(_EVENTS[atom.op]).format(who=who, friend=friend, place=place, n=atom.operand))
        asked = rng.choice((f"how many {thing} does {who} have now?", f"how many {thing} has {who}?"))
        pairs = [[a.op, a.operand] for a in atoms]
        meta = {"start": start, "atoms": pairs, "steps": len(atoms), "thing": thing}
        return Draft(chain_key(start, atoms), " ".join([*told, asked]), str(result(start, atoms)), meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer("\n".join(lines(*atoms_of(problem))), problem.answer)

    return Skill("word", draw, work)
