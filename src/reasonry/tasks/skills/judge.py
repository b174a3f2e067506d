"""Judging: a worked solution or a single step is shown, half of them with one wrong line; the answer is `right` or `wrong`."""

from __future__ import annotations

import random

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import Atom, chain, chain_key, question
from reasonry.tasks.skills.revise import near


def judge(steps: int | None = None) -> Skill:
    """Solutions of `steps` lines; without it, 1–3, where one line is shown as a single step. Raises UserError for fewer than one."""
    if steps is not None and steps < 1:
        raise UserError(f"judge: steps is {steps} but must be 1 or more")

    def draw(rng: random.Random) -> Draft:
        start, atoms = chain(steps or rng.randint(1, 3), rng)
        broken = rng.randrange(len(atoms)) if rng.random() < 0.5 else None
        shown, checked, value = [], [], start
        for i, atom in enumerate(atoms):
            claimed = near(atom(value), rng) if i == broken else atom(value)
            shown.append(f"{value}{atom.op}{atom.operand}={claimed}")
            if broken is None or i <= broken:
                checked.append(_checked(i, atom, value, claimed))
            value = claimed
        asked = "is it right or wrong?"
        whole = "\n".join([question(start, atoms, rng), "solution:", *shown, asked])
        text = f"{shown[0]}. {asked}" if len(atoms) == 1 else whole
        final = "right" if broken is None else "wrong"
        meta = {"steps": len(atoms), "wrong_line": None if broken is None else broken + 1, "working": "\n".join(checked)}
        return Draft(chain_key(start, atoms), text, final, meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer(problem.meta["working"], problem.answer)

    return Skill("judge", draw, work)


def _checked(i: int, atom: Atom, value: int, claimed: int) -> str:
    line = atom.line(value)
    return f"line {i + 1}: {line} {'yes' if atom(value) == claimed else 'no'}"
