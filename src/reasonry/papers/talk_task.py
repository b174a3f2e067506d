"""The two tasks of the debate experiment: AggLM's chained arithmetic (`agglm_task.Chains`), and the same chains as multiple choice.

    chain            7cfah            solution  7c0f6a7h5     answer  5       a derivation that a peer can check step by step
    choice           7cfah?3591       solution  7c0f6a7h5B    answer  B       peers show the letter alone

Options are four different digits in an order drawn with the problem, so a letter says nothing without its question. Both kinds are split by
their chain: a test chain is in no training text of either.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from reasonry.core import Problem, Verdict
from reasonry.papers.agglm_task import OPERATIONS, STEPS, Chains, apply, right_steps, slipped, values, worked
from reasonry.tasks.judges import Judge
from reasonry.tasks.skill import Draft, draw_problems, split_of
from reasonry.tasks.tools import calculator

LETTERS = "ABCD"
_CHOICE = re.compile(r"(?:\d(?:[a-l]\d)+)?([A-D])")
_FACTORS = {"j": 3, "k": 7, "l": 9}


def read_letter(text: str) -> str | None:
    """The letter of a text that is one, or a derivation and one; `None` for any other text."""
    found = _CHOICE.fullmatch(text.strip())
    return found[1] if found else None


JUDGE = Judge("letter", read_letter, lambda gold: gold if isinstance(gold, str) else None, str.__eq__)


def letter(options: str, digit: int) -> str | None:
    """The letter of a digit; `None` where it is no option."""
    at = options.find(str(digit))
    return LETTERS[at] if at >= 0 else None


@dataclass(frozen=True, slots=True)
class Choices:
    """The multiple-choice task (`core.Task`)."""

    name: str = "choices"

    def draw(self, rng: random.Random) -> Draft:
        """One problem of any split."""
        chain = str(rng.randrange(10)) + "".join(rng.sample(OPERATIONS, STEPS))
        right = values(chain)[-1]
        options = [right, *rng.sample([d for d in range(10) if d != right], len(LETTERS) - 1)]
        rng.shuffle(options)
        shown = "".join(map(str, options))
        return Draft(chain, f"{chain}?{shown}", str(letter(shown, right)))

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems of a split. Raises UserError without `n`."""

        def draw(rng: random.Random) -> Draft | None:
            draft = self.draw(rng)
            return draft if split_of(draft.key) == split else None

        return draw_problems(self.name, split, n, seed, draw)

    def extract(self, text: str) -> str | None:
        """The letter."""
        return read_letter(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Whether the letter is right."""
        return JUDGE(problem, answer)


CHAINS, CHOICES = Chains(), Choices()


def wrong_values(chain: str, rng: random.Random) -> list[int]:
    """The values of a solution that slips at one step and ends wrong."""
    while True:
        found = slipped(chain, 0.3, rng)
        if found[-1] != values(chain)[-1]:
            return found


def checked(problem: Problem, text: str) -> bool | None:
    """A check that looks at no peer: the question's own operations in order, each step worked out by the calculator, and the answer that
    follows from the last; `None` for an answer without a derivation."""
    chain, _, options = problem.messages[0].content.partition("?")
    derivation = text.strip().rstrip(LETTERS)
    if not right_steps(derivation):
        return None
    asked = derivation[0] + derivation[1::2] == chain
    steps = (_step(derivation[i - 1], derivation[i], derivation[i + 1]) for i in range(1, len(derivation), 2))
    ends = read_letter(text) == letter(options, int(derivation[-1])) if options else True
    return asked and all(steps) and ends


def _step(before: str, operation: str, after: str) -> bool:
    factor = _FACTORS.get(operation)
    expression = f"{before}*{factor}%10" if factor else f"({before}+{OPERATIONS.index(operation) + 1})%10"
    return calculator(expression) == after


__all__ = ["CHAINS", "CHOICES", "LETTERS", "Choices", "apply", "checked", "letter", "read_letter", "values", "worked", "wrong_values"]
