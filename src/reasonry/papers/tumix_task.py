"""The questions of TUMIX's experiment, four kinds over single bytes, and the encyclopaedia that some of them need.

    arithmetic   37*48?                          exact, beyond what the small model can do in its head
    fact         kum?                            the number of a thing: only the encyclopaedia knows it
    mixed        kum*lob?                        two facts and a product
    word         ann has 7 gets 5 pays 3 wins 4? small numbers; the work is the reading

An answer is a whole number between `<` and `>`; the last one of a text counts, and `<?>` is none. The encyclopaedia is drawn anew from a
seed, so no number in it can be learnt. The noisy index holds another number for `NOISE` of the things: everyone who asks it is told the
same wrong thing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from reasonry.core import Problem, Verdict
from reasonry.solve.tumix_marks import BARE, last_marked
from reasonry.tasks.judges import Judge
from reasonry.tasks.skill import Draft, draw_problems, split_of

Questions = Literal["arithmetic", "fact", "mixed", "word"]
KINDS: tuple[Questions, ...] = ("arithmetic", "fact", "mixed", "word")
NOISE = 0.3
"""The share of things about which the noisy index is wrong."""
LOW, HIGH = 32, 99
"""Of the numbers in products and in the encyclopaedia; products have four digits."""
THINGS = tuple(a + b + c for a in "bdfghjklmnprstvwz" for b in "aeiou" for c in "bdfghjklmnprstvwz")
PEOPLE = ("ann", "bob", "eve", "joe", "sue", "tim")
VERBS = {"gets": 1, "buys": 1, "wins": 1, "eats": -1, "pays": -1, "uses": -1}


def read_answer(text: str) -> str | None:
    """The last number between answer marks; `None` where there is none or it is no whole number."""
    found = last_marked(text, BARE)
    return str(int(found)) if found and found.lstrip("-").isdecimal() and len(found) < 12 else None


JUDGE = Judge("marked number", read_answer, lambda gold: gold if isinstance(gold, str) else None, str.__eq__)


def number(thing: str, world: int) -> int:
    """What the encyclopaedia of a seed says of a thing."""
    return LOW + int.from_bytes(sha256(f"{world}/{thing}".encode()).digest()[:4]) % (HIGH - LOW + 1)


def rumour(thing: str, world: int) -> int:
    """What the noisy index says of it."""
    digest = sha256(f"noisy/{world}/{thing}".encode()).digest()
    right = number(thing, world)
    if digest[0] >= 256 * NOISE:
        return right
    return LOW + (right - LOW + 1 + int.from_bytes(digest[1:5]) % (HIGH - LOW)) % (HIGH - LOW + 1)


def entries(world: int, noisy: bool) -> dict[str, str]:
    """The whole encyclopaedia, thing by thing; what the search tool is built over."""
    told = rumour if noisy else number
    return {thing: str(told(thing, world)) for thing in THINGS}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question taken apart."""

    kind: Questions
    things: tuple[str, ...] = ()
    """Whose numbers it needs, in order."""
    terms: tuple[int, ...] = ()
    """Numbers it gives; of a word problem with their signs."""

    @property
    def text(self) -> str:
        """As it is asked (for word problems the phrasing is drawn elsewhere)."""
        return "*".join(self.things or map(str, self.terms)) + "?"


def truth(asked: Asked, values: Mapping[str, int]) -> int:
    """The right answer, given the numbers of its things."""
    if asked.kind == "word":
        return sum(asked.terms)
    found = [values[thing] for thing in asked.things] or list(asked.terms)
    return found[0] if len(found) == 1 else found[0] * found[1]


def expression(asked: Asked, values: Mapping[str, int]) -> str:
    """The code that computes it: `37*48`, `7+5-3`."""
    if asked.kind == "word":
        return str(asked.terms[0]) + "".join(f"{t:+d}" for t in asked.terms[1:])
    return "*".join(str(v) for v in ([values[thing] for thing in asked.things] or asked.terms))


def draw(kind: Questions, rng: random.Random) -> tuple[Asked, str]:
    """A question of a kind and how it is asked."""
    if kind == "word":
        while True:
            verbs = [rng.choice(list(VERBS)) for _ in range(3)]
            terms = [rng.randint(1, 9), *(VERBS[verb] * rng.randint(1, 9) for verb in verbs)]
            if min(sum(terms[:i]) for i in range(1, 5)) >= 0:
                break
        said = " ".join(f"{verb} {abs(t)}" for verb, t in zip(verbs, terms[1:], strict=True))
        return Asked(kind, (), tuple(terms)), f"{rng.choice(PEOPLE)} has {terms[0]} {said}?"
    if kind == "arithmetic":
        asked = Asked(kind, (), (rng.randint(LOW, HIGH), rng.randint(LOW, HIGH)))
    else:
        asked = Asked(kind, tuple(rng.sample(THINGS, 1 if kind == "fact" else 2)))
    return asked, asked.text


@dataclass(frozen=True, slots=True)
class Mixture:
    """The task (`core.Task`): questions of all kinds by turns, asked of the encyclopaedia of seed `world`."""

    world: int = 0
    kinds: tuple[Questions, ...] = KINDS

    @property
    def name(self) -> str:
        """`tumix`."""
        return "tumix"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split, as many of each kind. Raises UserError without `n`."""
        each = None if n is None else -(-n // len(self.kinds))
        found = [draw_problems(f"tumix-{kind}", split, each, seed, lambda rng, k=kind: self._draft(k, split, rng)) for kind in self.kinds]
        return [problem for together in zip(*found, strict=True) for problem in together][:n]

    def _draft(self, kind: Questions, split: str, rng: random.Random) -> Draft | None:
        asked, text = draw(kind, rng)
        key = f"{asked.terms}" if kind == "word" else asked.text
        answer = truth(asked, {thing: number(thing, self.world) for thing in asked.things})
        return Draft(key, text, str(answer), {"kind": kind}) if split_of(key) == split else None

    def extract(self, text: str) -> str | None:
        """The last marked number."""
        return read_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Whether the last marked number is the right one."""
        return JUDGE(problem, answer)
