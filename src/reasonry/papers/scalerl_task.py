"""The task of ScaleRL's small runs, and the model they start from: sums of three numbers, worked in two steps.

`7+12-9` is answered `=19=10`: every step is written down, the last one is the answer. A step may be worked out (`=`), or only estimated, to
the nearest five (`~`):

    =19=10        ~20=11        =19~10        ~20~10

Demonstrations estimate `ESTIMATES` of their steps, at random. So the start can work sums out, often does not, and is right in less than
half of its answers; an estimate that happens to be exact counts as right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from reasonry.core import Problem, Verdict
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.tasks.skill import Draft, draw_problems, of_split, split_of
from reasonry.train.sft import Example

SMALLEST, LARGEST = 1, 9
"""Of the three numbers."""
LONGEST = 12
"""Tokens an answer may have; a demonstration has at most 8."""
ESTIMATES = 0.5
"""Share of steps that a demonstration only estimates."""
_LAST = re.compile(r"[=~](-?\d+)$")


@dataclass(frozen=True)
class Sums:
    """Two operations, plus or minus, none of which falls below 0."""

    name: str = "sums"

    def draw(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        a, b, c = (rng.randint(SMALLEST, LARGEST) for _ in range(3))
        first = rng.choice("+-") if a >= b else "+"
        middle = a + b if first == "+" else a - b
        second = rng.choice("+-") if middle >= c else "+"
        change = c if second == "+" else -c
        text = f"{a}{first}{b}{second}{c}"
        return Draft(text, text, str(middle + change), {"middle": middle, "change": change})

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError as `draw_problems` does."""
        return draw_problems(self.name, split, n, seed, of_split(self.draw, split))

    def work(self, problem: Problem, rng: random.Random) -> str:
        """A demonstration, which may estimate."""

        def step(value: int) -> tuple[str, int]:
            return ("~", 5 * round(value / 5)) if rng.random() < ESTIMATES else ("=", value)

        first, middle = step(problem.meta["middle"])
        second, last = step(middle + problem.meta["change"])
        return f"{first}{middle}{second}{last}"

    def extract(self, text: str) -> str | None:
        """The number of the last step."""
        found = _LAST.search(text)
        return found and found[1]

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Right where the last number is."""
        found = self.extract(answer)
        return Verdict(float(found == problem.answer), found == problem.answer, answer=found)


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Train-split problems with their workings, without end."""
    task, eos = Sums(), min(tokenizer.eos_ids)
    for i in count():
        rng = random.Random(f"sums/{seed}/{i}")
        draft = task.draw(rng)
        if split_of(draft.key) == "train":
            problem = draft.problem(task.name)
            context = tokenizer.encode(tokenizer.render(problem.messages))
            written = (*tokenizer.encode(task.work(problem, rng)), eos)
            yield Example((*context, *written), (*[False] * len(context), *[True] * len(written)))


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` supervised steps; made once, in `folder`."""
    tokenizer = characters()
    return taught(folder, fresh(SMALL, seed), tokenizer, documents(tokenizer, seed), Teaching(steps), seed)
