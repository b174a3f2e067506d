"""Revising: a question, the answer given before, and peers' answers with how often each peer is right."""

from __future__ import annotations

import random

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import atoms_of, chain, chain_key, lines, question, result


def near(value: int, rng: random.Random) -> int:
    """A wrong answer of the kind a slip makes: off by 1, 2, 10 or 20, never below zero."""
    return rng.choice([v for d in (1, 2, 10, 20) for v in (value - d, value + d) if v >= 0])


def revise(steps: int | None = None, peers: int | None = None) -> Skill:
    """Arithmetic of `steps` steps (without it, 1–3) with `peers` peers (without it, 2–4). A peer "right k of 10" is right with k/10."""
    for field, value in (("steps", steps), ("peers", peers)):
        if value is not None and value < 1:
            raise UserError(f"revise: {field} is {value} but must be 1 or more")

    def draw(rng: random.Random) -> Draft:
        start, atoms = chain(steps or rng.randint(1, 3), rng)
        right = result(start, atoms)
        mine = right if rng.random() < 0.5 else near(right, rng)
        asked = [question(start, atoms, rng), f"you said {mine}."]
        said = []
        for i in range(1, (peers or rng.randint(2, 4)) + 1):
            reliability = rng.randint(1, 9)
            value = right if rng.random() < reliability / 10 else near(right, rng)
            said.append(value)
            asked.append(f"peer {i} (right {reliability} of 10): {value}.")
        asked.append(rng.choice(("what is right?", "answer again.")))
        pairs = [[a.op, a.operand] for a in atoms]
        meta = {"start": start, "atoms": pairs, "steps": len(atoms), "mine": mine, "peers": said}
        return Draft(chain_key(start, atoms), "\n".join(asked), str(right), meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        agreeing = [str(i) for i, value in enumerate(problem.meta["peers"], 1) if str(value) == problem.answer]
        verdict = f"peers right: {' '.join(agreeing) or 'none'}"
        return answer("\n".join([*lines(*atoms_of(problem)), verdict]), problem.answer)

    return Skill("revise", draw, work)
