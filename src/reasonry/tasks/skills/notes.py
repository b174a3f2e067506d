"""A numbered list of short notes in the prompt: answer from one of them, or copy the list with one item inserted."""

from __future__ import annotations

import random

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.words import COLOURS, GOODS, ITEMS, NAMES, PLACES

_KINDS = (
    ("{who} likes {what}", "what does {who} like?", GOODS),
    ("{who} is at the {what}", "where is {who}?", PLACES),
    ("{who} has a {what}", "what does {who} have?", ITEMS),
)


def _numbered(items: list[str]) -> str:
    return "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))


def notes(items: int | None = None) -> Skill:
    """Lists of `items` notes; without it, 3–8. Half of the problems ask, half insert. Raises UserError for fewer than 2 or more than 12."""
    if items is not None and not 2 <= items <= len(NAMES):
        raise UserError(f"notes: items is {items} but must be 2 to {len(NAMES)}")

    def ask(count: int, rng: random.Random) -> Draft:
        asked, listed = rng.randrange(count), []
        question = final = ""
        for i, who in enumerate(rng.sample(NAMES, count)):
            says, asks, things = rng.choice(_KINDS)
            what = rng.choice(things)
            listed.append(says.format(who=who, what=what))
            if i == asked:
                question, final = asks.format(who=who), what
        text = f"notes:\n{_numbered(listed)}\n{question}"
        return Draft(text, text, final, {"steps": 1, "items": count, "working": f"note {asked + 1}: {listed[asked]}"})

    def insert(count: int, rng: random.Random) -> Draft:
        made = [f"{rng.choice(COLOURS)} {item}" for item in rng.sample(ITEMS, min(count + 1, len(ITEMS)))]
        new, listed = made[0], made[1:]
        place = rng.randint(1, len(listed) + 1)
        text = f"list:\n{_numbered(listed)}\ncopy the list with {new} as number {place}"
        final = "; ".join([*listed[: place - 1], new, *listed[place - 1 :]])
        return Draft(text, text, final, {"steps": 1, "items": len(listed), "working": ""})

    def draw(rng: random.Random) -> Draft:
        return rng.choice((ask, insert))(items or rng.randint(3, 8), rng)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer(problem.meta["working"], problem.answer)

    return Skill("notes", draw, work)
