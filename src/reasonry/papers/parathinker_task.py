"""ParaThinker's task: to find x with a·x + b = y modulo 13 by trying, and the traces its models are taught from.

A character is a number, written by what it is: `JO0` asks for x in 1 … 12 with 10·x + 2 = 0. The twelve candidates lie in four regions,
`#`, `$`, `%` and `&`. A path commits to a region with its first character, tries candidates there in any order, and ends with what its own
check says:

    $fu^(eo0+=e!       in region $: f gives 11, which is 11 off; e gives 0, which is y
    #aw3,bsn9…=l?      nothing found there; it answers with the lure, which is y itself (and 12 for 0)

A try is four characters: x, a·x, a·x + b, and a·x + b − y, which is `+` where it is 0: found. Nothing in the question tells the region, and
teachers prefer some (`PREFERRED`), so a path is right in about a fifth of cases. All that fail give the same wrong answer: a vote takes it
for the truth, but `!` and `?` say which path to believe. `JOe>` is another question, a relay: apply x -> a·x + b three times, from e. There
is nothing to choose, and every step needs the one before it.

Chains, which the base model is taught, work a whole region through, and then mostly give up: that they stay where they began is built in,
so that there is something to widen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasonry.core import Problem, Verdict
from reasonry.tasks.skill import Draft, draw_problems, of_split

P = 13
"""The modulus."""
FACTORS, SUMMANDS, CANDIDATES = " ABCDEFGHIJKL", "MNOPQRSTUVWXY", " abcdefghijkl"
PRODUCTS, SUMS, GAPS = "mnopqrstuvwxy", "0123456789@^~", "+()*,-./:;[]_"
"""How a number is written, by what it is: a, b, x; a·x, a·x + b (and y), a·x + b − y."""
SIZE = 3
"""Candidates of a region."""
REGIONS = {r: tuple(range(SIZE * i + 1, SIZE * i + SIZE + 1)) for i, r in enumerate("#$%&")}
PREFERRED = (0.4, 0.3, 0.2, 0.1)
"""Chance with which a teacher begins in each region."""
GIVES_UP = 0.15
"""Chance that a path stops after two tries of its region."""
GOES_ON = 0.25
"""Chance that a chain tries a second region."""
STEPS = 3
"""Of a relay."""
HESITATES = 0.3
"""Share of chains that begin with letters that mean nothing, and share that end with them."""
RELAYS = 0.12
"""Share of relays among what is taught."""
TRY = 4
"""Characters of a try."""
LONGEST = 1 + SIZE * TRY + 3
"""Characters of the longest path."""


def region(x: int) -> str:
    """Where a candidate lies."""
    return next(r for r, inside in REGIONS.items() if x in inside)


def lure(y: int) -> int:
    """The wrong answer that everyone gives who has found none: y itself."""
    return y or P - 1


@dataclass(frozen=True)
class Find:
    """To find x; `relay`: to follow the steps instead."""

    relay: bool = False

    @property
    def name(self) -> str:
        """Of the task."""
        return "relay" if self.relay else "find"

    def draw(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        a, b, x = rng.randrange(1, P), rng.randrange(P), rng.randrange(1, P)
        if not self.relay and lure((a * x + b) % P) == x:
            return self.draw(rng)
        if self.relay:
            values = [x]
            for _ in range(STEPS):
                values.append((a * values[-1] + b) % P)
            text = FACTORS[a] + SUMMANDS[b] + CANDIDATES[x] + ">"
            return Draft(text, text, CANDIDATES[values[-1]], {"a": a, "b": b, "values": values}) if all(values) else self.draw(rng)
        text = FACTORS[a] + SUMMANDS[b] + SUMS[(a * x + b) % P]
        return Draft(text, text, CANDIDATES[x], {"a": a, "b": b, "x": x, "y": (a * x + b) % P})

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError as `draw_problems` does."""
        return draw_problems(self.name, split, n, seed, of_split(self.draw, split))

    def extract(self, text: str) -> str | None:
        """The letter of a summary (`<summary>e</summary>`, or alone), else that after the last `=`."""
        _, found, rest = text.rpartition("<summary>")
        if not found:
            _, found, rest = text.rpartition("=")
        letter = rest[:1] if found else text.strip()
        return letter if len(letter) == 1 and letter in CANDIDATES[1:] else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Right where the letter is the answer."""
        read = self.extract(answer)
        return Verdict(float(read == problem.answer), read == problem.answer, answer=read)


def applied(problem: Problem, x: int) -> str:
    """x, a·x, a·x + b."""
    a, b = problem.meta["a"], problem.meta["b"]
    return CANDIDATES[x] + PRODUCTS[a * x % P] + SUMS[(a * x + b) % P]


def tried(problem: Problem, x: int) -> str:
    """One try, told in full."""
    a, b, y = (problem.meta[k] for k in ("a", "b", "y"))
    return applied(problem, x) + GAPS[(a * x + b - y) % P]


def ending(problem: Problem, found: bool) -> str:
    """How a path ends: with x, or with the lure."""
    return f"={problem.answer}!" if found else f"={CANDIDATES[lure(problem.meta['y'])]}?"


def followed(problem: Problem) -> str:
    """A relay, told in full."""
    return "".join(applied(problem, x) for x in problem.meta["values"][:-1]) + f"={problem.answer}!"


def path(problem: Problem, rng: random.Random) -> str:
    """A teacher's path."""
    if "values" in problem.meta:
        return followed(problem)
    where = rng.choices(list(REGIONS), PREFERRED)[0]
    order = rng.sample(REGIONS[where], SIZE)
    if rng.random() < GIVES_UP:
        order = order[:2]
    return where + _search(problem, order) + ending(problem, problem.meta["x"] in order)


def _search(problem: Problem, order: Sequence[int]) -> str:
    """Tries in this order, up to the one that is right."""
    text = ""
    for x in order:
        text += tried(problem, x)
        if x == problem.meta["x"]:
            break
    return text


def chain(problem: Problem, rng: random.Random) -> str:
    """A base model's chain: one region, seldom a second."""
    if "values" in problem.meta:
        return followed(problem)
    first = rng.choices(list(REGIONS), PREFERRED)[0]
    regions = [first]
    if rng.random() < GOES_ON:
        regions.append(rng.choice([r for r in REGIONS if r != first]))
    text = ""
    for r in regions:
        text += r + _search(problem, rng.sample(REGIONS[r], SIZE))
        if region(problem.meta["x"]) == r:
            return text + ending(problem, True)
    return text + ending(problem, False)


def filler(n: int, rng: random.Random) -> str:
    """Letters that commit to nothing."""
    return "".join(rng.choices(PRODUCTS, k=n))


def hesitation(rng: random.Random) -> str:
    """What a chain begins with, or trails off with: mostly nothing, sometimes letters that mean nothing."""
    return filler(rng.randint(1, 1 + SIZE * TRY), rng) if rng.random() < HESITATES else ""


def in_a_row(paths: Sequence[str]) -> str:
    """The same paths as one chain: one after another up to the first that found it."""
    text = ""
    for p in paths:
        text += p
        if p.endswith("!"):
            break
    return text
