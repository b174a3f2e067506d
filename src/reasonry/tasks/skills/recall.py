"""Key–value recall through filler: pairs are given, words go by, one value is asked for."""

from __future__ import annotations

import random

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.words import FILLER, ITEMS

_ASKS = ("what is {key}?", "which number is {key}?", "give {key}")


def recall(pairs: int | None = None, filler: int | None = None) -> Skill:
    """`pairs` keys with two-digit values (without it, 2–6) and `filler` words between them and the question (without it, 0–60)."""
    if pairs is not None and not 1 <= pairs <= len(ITEMS):
        raise UserError(f"recall: pairs is {pairs} but must be 1 to {len(ITEMS)}")
    if filler is not None and filler < 0:
        raise UserError(f"recall: filler is {filler} but must be 0 or more")

    def draw(rng: random.Random) -> Draft:
        keys = rng.sample(ITEMS, pairs or rng.randint(2, 6))
        values = rng.sample(range(10, 100), len(keys))
        length = rng.randint(0, 60) if filler is None else filler
        asked = rng.randrange(len(keys))
        listed = ". ".join(f"{k} is {v}" for k, v in zip(keys, values, strict=True))
        passing = " ".join(rng.choice(FILLER) for _ in range(length))
        text = f"{listed}. {passing + '. ' if passing else ''}{rng.choice(_ASKS).format(key=keys[asked])}"
        meta = {"key": keys[asked], "pairs": len(keys), "filler": length, "place": asked}
        return Draft(f"{listed} {keys[asked]}", text, str(values[asked]), meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer(f"{problem.meta['key']} is {problem.answer}", problem.answer)

    return Skill("recall", draw, work)
