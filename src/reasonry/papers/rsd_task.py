"""RSD's task: sums of single digits worked one step at a time, in the student's plain style (A) and the teacher's chatty one (B).

A step of A is `15+5=20;`. A step of B says the same the long way: a connector, the numbers written backwards, the result put right, often a
check: `hmm 51+5=02 so 20;wait 20-5=15 ok;`. The teacher has learnt steps of both, mostly B, so it can go on from either; the student has
seen A, and B in one step of a hundred. Both end with `#` and the answer.

The student's demonstrations are wrong about some sums (`DOUBTFUL` of them, chosen by their content), each with a chance of its own and
always in the same way, so it has errors that more of its own writing does not mend but that leave the right digit some probability. The
teacher's demonstrations are right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from reasonry.core import Message, Problem, Verdict
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.taught import SMALL
from reasonry.tasks.skill import Draft, draw_problems, of_split, split_of
from reasonry.train.sft import Example, chat_example

STUDENT = SMALL
TEACHER_SHAPE = replace(SMALL, hidden_size=96, num_layers=3, num_heads=6, num_kv_heads=2, intermediate_size=256)
LEAST, IN_STYLE, HARDER = 3, 5, 6
"""Numbers of a problem: fewest, most of one in style, and those of a harder one. Students and traces know all of them."""
SEEN = 0.01
"""The share of B's steps in what the student was taught."""
DOUBTFUL = 0.3
WRONG = (0.2, 0.9)
"""The chance that a demonstration of a doubtful sum is wrong, another for each."""
CONNECTORS = ("hmm ", "wait ", "well ")
OTHER = "abcdefghij"
"""Digits as the teacher that nobody can follow writes them."""


@dataclass(frozen=True)
class Sums:
    """Sums of `least` to `terms` single digits (2–9)."""

    terms: int
    least: int

    @property
    def name(self) -> str:
        """With the numbers of terms."""
        return f"sums-{self.least}-{self.terms}"

    def draft(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        digits = [rng.randint(2, 9) for _ in range(rng.randint(self.least, self.terms))]
        text = "+".join(map(str, digits))
        return Draft(text, text, str(sum(digits)), {"digits": digits})

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split."""
        return draw_problems(self.name, split, n, seed, of_split(self.draft, split))

    def extract(self, text: str) -> str | None:
        """The number after the mark at the end."""
        found = re.search(r"#(\d+)$", text)
        return found[1] if found else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Right where that number is the sum."""
        found = self.extract(answer)
        right = found == problem.answer
        return Verdict(float(right), right, answer=found)


Style = Callable[[int, int, int, random.Random], str]
"""(the sum so far, the next digit, what they make, chance) -> a step."""


def plain(a: int, b: int, c: int, rng: random.Random) -> str:
    """A step of style A."""
    return f"{a}+{b}={c};"


def chatty(a: int, b: int, c: int, rng: random.Random) -> str:
    """A step of style B."""
    check = f"wait {c}-{b}={a} ok;" if rng.random() < 0.4 else ""
    return f"{rng.choice(CONNECTORS)}{str(a)[::-1]}+{b}={str(c)[::-1]} so {c};{check}"


def foreign(a: int, b: int, c: int, rng: random.Random) -> str:
    """A step that nobody can follow who does not know these digits."""
    return plain(a, b, c, rng).translate(str.maketrans("0123456789", OTHER))


def mostly(style: Style, share: float) -> Style:
    """That style in a share of the steps, A in the others."""
    return lambda a, b, c, rng: (style if rng.random() < share else plain)(a, b, c, rng)


Sum = Callable[[int, int, random.Random], int]
"""(the sum so far, the next digit, chance) -> what a demonstration takes for their sum."""


def right(a: int, b: int, rng: random.Random) -> int:
    """Their sum."""
    return a + b


def doubting(salt: str) -> Sum:
    """Their sum, or for a doubtful one too much, always by the same; the salt decides which are doubtful."""

    def doubtful(a: int, b: int, rng: random.Random) -> int:
        digest = sha256(f"{salt}{a}+{b}".encode()).digest()
        if digest[0] >= 256 * DOUBTFUL or rng.random() >= WRONG[0] + (WRONG[1] - WRONG[0]) * digest[1] / 255:
            return a + b
        return a + b + (1, 2, 3, 10)[digest[2] % 4]

    return doubtful


def worked(digits: list[int], style: Style, add: Sum, rng: random.Random) -> str:
    """The whole working and the answer."""
    total, said = digits[0], ""
    for digit in digits[1:]:
        after = add(total, digit, rng)
        said += style(total, digit, after, rng)
        total = after
    return f"{said}#{total}"


def documents(tokenizer: Tokenizer, style: Style, add: Sum, seed: int | str) -> Iterator[Example]:
    """Worked problems of the training split with `LEAST` to `HARDER` numbers, without end."""
    rng, task = random.Random(f"rsd/{seed}"), Sums(HARDER, LEAST)
    while True:
        draft = task.draft(rng)
        if split_of(draft.key) == "train":
            chat = (Message("user", str(draft.prompt)), Message("assistant", worked(draft.meta["digits"], style, add, rng)))
            yield chat_example(tokenizer, chat)
