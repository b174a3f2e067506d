"""Style instructions: a small sum, and how its answer is to be written. The judge looks at both."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from reasonry.core import Message, Problem, Verdict
from reasonry.tasks.judges import hash_answer, hashed
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.arithmetic import chain, chain_key, result

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """A number from 0 to 999 in words: `one hundred forty two`."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10 - 2] + (f" {_ONES[number % 10]}" if number % 10 else "")
    return f"{_ONES[number // 100]} hundred" + (f" {in_words(number % 100)}" if number % 100 else "")


STYLES: dict[str, Callable[[int], str]] = {
    "in words": lambda x: f"the answer is {in_words(x)}.",
    "in brackets": lambda x: f"[ {x} ]",
    "twice": lambda x: f"{x} and again {x}.",
    "politely": lambda x: f"thank you for asking. the answer is {x}.",
    "with a sign off": lambda x: f"the answer is {x}. bye, your friend",
    "in capitals": lambda x: f"THE ANSWER IS {x}.",
    "with stars": lambda x: f"*** {x} ***",
    "as a question": lambda x: f"is the answer {x}?",
    "plainly": lambda x: f"the answer is {x}.",
}
"""Instruction → how the answer is written."""
_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "in words": lambda line, x: line.endswith(f"{in_words(int(x))}.") and not any(c.isdigit() for c in line),
    "in brackets": lambda line, x: bool(re.fullmatch(rf"\[ ?{x} ?\]", line)),
    "twice": lambda line, x: re.findall(r"\d+", line) == [x, x],
    "politely": lambda line, x: ("thank" in line or "please" in line) and x in line,
    "with a sign off": lambda line, x: line.endswith("bye, your friend") and x in line,
    "in capitals": lambda line, x: line.isupper() and x in line,
    "with stars": lambda line, x: bool(re.fullmatch(rf"\*+ ?{x} ?\*+", line)),
    "as a question": lambda line, x: line.endswith("?") and x in line,
    "plainly": lambda line, x: line == f"the answer is {x}.",
}


def follows(style: str, text: str) -> bool:
    """Whether the line before `#### ` writes the final answer in the style asked for, be that answer right or wrong."""
    final = hash_answer(text)
    lines = [line.strip() for line in text.split("####")[0].strip().splitlines()]
    if final is None or not re.fullmatch(r"\d{1,3}", final) or not lines:
        return False
    return _CHECKS[style](lines[-1], final)


def style() -> Skill:
    """One sum and one of `STYLES`. Signals `correct` and `style`; the score is their mean, and it passes when both hold."""

    def draw(rng: random.Random) -> Draft:
        start, atoms = chain(1, rng)
        chosen = rng.choice(tuple(STYLES))
        line = atoms[0].line(start)
        text = f"what is {line.split('=')[0]}? answer {chosen}."
        return Draft(chain_key(start, atoms), text, str(result(start, atoms)), {"steps": 1, "style": chosen, "working": line})

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        written = STYLES[problem.meta["style"]](int(problem.answer))
        return answer(f"{problem.meta['working']}\n{written}", problem.answer)

    def check(problem: Problem, text: str) -> Verdict:
        plain, styled = hashed(problem, text), follows(problem.meta["style"], text)
        signals = {"correct": plain.score or 0.0, "style": float(styled)}
        why = plain.why or ("" if styled else f"not written {problem.meta['style']}")
        return Verdict((signals["correct"] + signals["style"]) / 2, bool(plain.passed and styled), why, plain.answer, signals)

    return Skill("style", draw, work, check)
