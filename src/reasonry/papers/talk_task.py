"""The two tasks of the debate experiment: AggLM's chained arithmetic (`agglm_task.Chains`), and the same with bare answers.

    chain    7cfah     solution  7c0f6a7h5     peers show, and a revision writes, the derivation: it can be checked step by step
    bare     7cfah?    solution  7c0f6a7h5     peers show, and a revision writes, the answer alone: 5

The first answer is a derivation in both. Both are split by their chain: a test chain is in no training text of either kind.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from reasonry.core import Problem, Verdict
from reasonry.papers.agglm_task import OPERATIONS, STEPS, Chains, apply, read_answer, right_steps, slipped, values, worked
from reasonry.tasks.judges import Judge
from reasonry.tasks.skill import Draft, draw_problems, of_split
from reasonry.tasks.tools import calculator

_FACTORS = {"j": 3, "k": 7, "l": 9}


def read_bare(text: str) -> str | None:
    """A text that is a digit, or the last digit of a derivation; `None` for any other text."""
    text = text.strip()
    return text if re.fullmatch(r"\d", text) else read_answer(text)


JUDGE = Judge("digit", read_bare, lambda gold: gold if isinstance(gold, str) else None, str.__eq__)


@dataclass(frozen=True, slots=True)
class Bare:
    """The task whose answers may stand alone (`core.Task`)."""

    name: str = "bare"

    def draw(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        chain = str(rng.randrange(10)) + "".join(rng.sample(OPERATIONS, STEPS))
        return Draft(chain, f"{chain}?", str(values(chain)[-1]))

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError without `n`."""
        return draw_problems(self.name, split, n, seed, of_split(self.draw, split))

    def extract(self, text: str) -> str | None:
        """The digit."""
        return read_bare(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Whether the digit is right."""
        return JUDGE(problem, answer)


CHAINS, BARE = Chains(), Bare()


def wrong_values(chain: str, rng: random.Random) -> list[int]:
    """The values of a solution that slips and ends wrong."""
    while True:
        found = slipped(chain, 0.3, rng)
        if found[-1] != values(chain)[-1]:
            return found


def checked(problem: Problem, text: str) -> bool | None:
    """A check that looks at no peer: the question's own operations in order, each step worked out by the calculator; `None` for an answer
    without a derivation."""
    derivation = text.strip()
    if not right_steps(derivation):
        return None
    asked = derivation[0] + derivation[1::2] == problem.messages[0].content.rstrip("?")
    return asked and all(_step(derivation[i - 1], derivation[i], derivation[i + 1]) for i in range(1, len(derivation), 2))


def _step(before: str, operation: str, after: str) -> bool:
    factor = _FACTORS.get(operation)
    expression = f"{before}*{factor}%10" if factor else f"({before}+{OPERATIONS.index(operation) + 1})%10"
    return calculator(expression) == after


__all__ = ["BARE", "CHAINS", "Bare", "apply", "checked", "read_bare", "values", "worked", "wrong_values"]
