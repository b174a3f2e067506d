"""Generated problems, and the skill: a task that also writes the worked answer to each problem, so that a small model can be taught it.

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
from reasonry.tasks.judges import hash_answer, hashed
from reasonry.tasks.tools import ToolsOf

SPLITS = ("train", "validation", "test")
TRIES = 20_000
"""Drafts of other splits, or met before, that are thrown away before a task is declared too small."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem before it has an id. `key` is its content without its phrasing and without the skill's name: what decides its split."""

    key: str
    prompt: str | tuple[Message, ...]
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def problem(self, name: str) -> Problem:
        """The problem, with an id made of the task's name and its content; `meta["skill"]` is that name."""
        text = self.prompt if isinstance(self.prompt, str) else "\n".join(m.content for m in self.prompt)
        digest = hashlib.sha256(f"{self.key}\n{text}\n{self.answer}".encode()).hexdigest()[:12]
        return Problem(f"{name}-{digest}", self.prompt, self.answer, {**self.meta, "skill": name})


def split_of(key: str) -> str:
    """The split of a content: of every 20, two in `test`, one in `validation`, the rest in `train`."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % 20
    return "test" if bucket < 2 else "validation" if bucket == 2 else "train"


def check_split(name: str, split: str) -> None:
    """Raises UserError for a split that generated tasks do not have."""
    if split not in SPLITS:
        raise UserError(f"split: {split!r} is not a split of {name}; use one of {', '.join(SPLITS)}")


def draw_problems(name: str, split: str, n: int | None, seed: int, draw: Callable[[random.Random], Draft | None]) -> list[Problem]:
    """`n` different problems, the i-th tried from the seed (name, split, seed, i); `draw` gives `None` for one of another split.

    Raises UserError for an unknown split, without `n`, or when fewer than `n` problems turn up.
    """
    check_split(name, split)
    if n is None:
        raise UserError(f"{name}: n is missing but this task never ends; say how many problems")
    found: dict[str, Problem] = {}
    misses = i = 0
    while len(found) < n:
        draft = draw(random.Random(f"{name}/{split}/{seed}/{i}"))
        problem = draft and draft.problem(name)
        misses = misses + 1 if problem is None or problem.id in found else 0
        if problem is not None:
            found.setdefault(problem.id, problem)
        if misses > TRIES:
            raise UserError(f"{name}: n is {n} but only {len(found)} different problems of split {split!r} were found; ask for fewer")
        i += 1
    return list(found.values())


def of_split(draw: Callable[[random.Random], Draft], split: str) -> Callable[[random.Random], Draft | None]:
    """`draw` for `draw_problems`: a problem's key says which split it is of; one of another is `None`."""

    def kept(rng: random.Random) -> Draft | None:
        draft = draw(rng)
        return draft if split_of(draft.key) == split else None

    return kept


@dataclass(frozen=True, slots=True)
class Skill:
    """A task (`core.Task`) that knows how its problems are solved. A value: the functions are its parts."""

    name: str
    draw: Callable[[random.Random], Draft]
    """One problem of any split."""
    work: Callable[[Problem, random.Random], tuple[Message, ...]]
    """The messages that follow the prompt, ending with the assistant's answer; the generator varies their style."""
    check: Callable[[Problem, str], Verdict] = hashed
    tools_of: ToolsOf | None = None
    """The tools a problem's answer may call, where it may."""

    def draw_from(self, split: str, rng: random.Random) -> Problem:
        """The next problem of `rng` that belongs to `split`; raises UserError when none turns up."""
        check_split(self.name, split)
        for _ in range(TRIES):
            draft = self.draw(rng)
            if split_of(draft.key) == split:
                return draft.problem(self.name)
        raise UserError(f"{self.name}: no problem of split {split!r} was found; its options leave too few problems, widen them")

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError without `n`, or when the options leave fewer than `n` problems."""
        return draw_problems(self.name, split, n, seed, of_split(self.draw, split))

    def extract(self, text: str) -> str | None:
        """What follows the last `#### `."""
        return hash_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The skill's verdict on a model's whole text."""
        return self.check(problem, answer)

    def demonstration(self, problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        """The whole chat: the problem's messages, then the worked answer."""
        return problem.messages + self.work(problem, rng)


def answer(working: str, final: object) -> tuple[Message, ...]:
    """The assistant's one message: the working, then the line `#### final`."""
    return (Message("assistant", f"{working}\n#### {final}" if working else f"#### {final}"),)
