"""The training text of the pocket models, and the task that asks for all of their skills.

Invariant: `documents(split)` holds only problems of that split, so a model trained on `train` has met no test problem.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from reasonry.core import Message, Problem, UserError, Verdict
from reasonry.tasks.skills import SKILLS, Skill
from reasonry.tasks.skills.registers import registers

MIXTURE: tuple[tuple[float, Skill], ...] = (
    (0.20, SKILLS["arithmetic"]()),
    (0.19, registers(registers=2, long_share=0.3)),
    *((0.01, registers(registers=r, long_share=0.3)) for r in range(3, 9)),
    (0.06, SKILLS["recall"]()),
    (0.10, SKILLS["word"]()),
    (0.08, SKILLS["calc"]()),
    (0.09, SKILLS["notes"]()),
    (0.08, SKILLS["revise"]()),
    (0.08, SKILLS["judge"]()),
    (0.06, SKILLS["style"]()),
)
"""Weight (share of documents) and skill. State tracking has 0.25: mostly two registers, a little of each larger file."""


def documents(split: str = "train", seed: int = 0) -> Iterator[tuple[Message, ...]]:
    """Whole chats without end, drawn from `MIXTURE`. The same split and seed give the same chats everywhere."""
    for _, messages in numbered_documents(split, seed):
        yield messages


def numbered_documents(split: str = "train", seed: int = 0, start: int = 0) -> Iterator[tuple[str, tuple[Message, ...]]]:
    """(skill, chat) from document `start` on: a reader that stopped can go on, and many can share the work by their starts."""
    weights, skills = zip(*MIXTURE, strict=True)
    for i in itertools.count(start):
        rng = random.Random(f"documents/{split}/{seed}/{i}")
        skill = rng.choices(skills, weights)[0]
        yield skill.name, skill.demonstration(skill.draw_from(split, rng), rng)


class Pocket:
    """The mixture task: every skill in turn, in equal parts; a problem's `meta["skill"]` says which judged it."""

    name = "pocket"

    def __init__(self) -> None:
        self._skills = {name: make() for name, make in SKILLS.items()}

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` problems, the skills taking turns. Raises UserError without `n`."""
        if n is None:
            raise UserError("pocket: n is missing but this task never ends; say how many problems")
        share, rest = divmod(n, len(self._skills))
        each = [skill.problems(split, share + (i < rest), seed) for i, skill in enumerate(self._skills.values())]
        return [p for turn in itertools.zip_longest(*each) for p in turn if p is not None]

    def extract(self, text: str) -> str | None:
        """What follows the last `#### `."""
        return self._skills["arithmetic"].extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The verdict of the problem's own skill."""
        return self._skills[problem.meta["skill"]].judge(problem, answer)
