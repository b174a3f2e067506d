"""A skill: a generator of problems that also writes the worked answer to each, so that a small model can be taught it.

Invariant: the split of a problem is a function of its content (`split_of`), so splits never overlap, whatever the seed; and a seed
gives the same problems on every machine (seeds are strings, which Python hashes alike everywhere).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasonry.core import Message, Problem, UserError, Verdict
from reasonry.tasks import judges

SPLITS = ("train", "validation", "test")
_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem before it has an id. `key` is its content without its phrasing and without the skill's name: what decides its split."""

    key: str
    prompt: str | tuple[Message, ...]
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)


def split_of(key: str) -> str:
    """The split of a content: of every 20, two in `test`, one in `validation`, the rest in `train`."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % 20
    return "test" if bucket < 2 else "validation" if bucket == 2 else "train"


@dataclass(frozen=True, slots=True)
class Skill:
    """A task (`core.Task`) that knows how its problems are solved. A value: the functions are its parts."""

    name: str
    draw: Callable[[random.Random], Draft]
    """One problem of any split."""
    work: Callable[[Problem, random.Random], tuple[Message, ...]]
    """The messages that follow the prompt, ending with the assistant's answer; the generator varies their style."""
    judge: Callable[[Problem, str], Verdict] = judges.exact

    def draw_from(self, split: str, rng: random.Random) -> Problem:
        """The next problem of `rng` that belongs to `split`; raises UserError when none turns up."""
        if split not in SPLITS:
            raise UserError(f"split: {split!r} is not a split of {self.name}; use one of {', '.join(SPLITS)}")
        for _ in range(_TRIES):
            draft = self.draw(rng)
            if split_of(draft.key) == split:
                return self._problem(draft)
        raise UserError(f"{self.name}: no problem of split {split!r} was found; its options leave too few problems, widen them")

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError without `n`, or when the options leave fewer than `n` problems."""
        if n is None:
            raise UserError(f"{self.name}: n is missing but this task never ends; say how many problems")
        found: dict[str, Problem] = {}
        for i in range(n + _TRIES):
            if len(found) == n:
                return list(found.values())
            problem = self.draw_from(split, random.Random(f"{self.name}/{split}/{seed}/{i}"))
            found.setdefault(problem.id, problem)
        raise UserError(f"{self.name}: n is {n} but only {len(found)} different problems were found; ask for fewer")

    def extract(self, text: str) -> str | None:
        """What follows the last `#### `."""
        return judges.hash_answer(text)

    def demonstration(self, problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        """The whole chat: the problem's messages, then the worked answer."""
        return problem.messages + self.work(problem, rng)

    def _problem(self, draft: Draft) -> Problem:
        text = draft.prompt if isinstance(draft.prompt, str) else "\n".join(m.content for m in draft.prompt)
        digest = hashlib.sha256(f"{draft.key}\n{text}\n{draft.answer}".encode()).hexdigest()[:12]
        return Problem(f"{self.name}-{digest}", draft.prompt, draft.answer, {**draft.meta, "skill": self.name})


def answer(working: str, final: object) -> tuple[Message, ...]:
    """The assistant's one message: the working, then the line `#### final`."""
    return (Message("assistant", f"{working}\n#### {final}" if working else f"#### {final}"),)
