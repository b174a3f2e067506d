"""The task of DeepSearch's experiment, and the model that all arms start from: chains of sums and products told step by step.

    8a*3b+4c*7     ->     a8*3=4;b4+4=8;c8*7=6
                          #### 6

A step up to its semicolon is a chunk of the search, and the last step is one with the answer, so that every chunk decides something.

Digits count modulo ten. An answer passes if every step's digit is right, so that two mistakes which undo each other do not. Demonstrations
are wrong on purpose, so that every step can go wrong and reward has something to do: a product's last digit is one too high in
`SLIPS["*"]` of the cases, a sum's in `SLIPS["+"]`, and what follows goes on from the wrong digit. The model learns just that: right is what
it does mostly, one mistake is what it does otherwise, and the more products a chain has the harder it is. Every character is a token. Only
train-split problems are taught.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from reasonry.core import Message, Problem, Verdict
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.tasks.judges import hash_answer
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.train.sft import Example, chat_example

SLIPS: Mapping[str, float] = {"*": 0.45, "+": 0.1}
"""Share of demonstrated steps with a wrong result."""
SHORTEST, LONGEST = 4, 6
"""Steps of a chain."""
STEP, END = 7, ";"
"""Characters of a step, and the last of them."""
TOKENS = LONGEST * STEP + len("#### 0") + 1
"""Of the longest answer."""


def result(x: int, op: str, y: int) -> int:
    """One step, modulo ten."""
    return (x * y if op == "*" else x + y) % 10


def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
    """A working that slips as often as demonstrations do."""
    x, lines = int(problem.meta["start"]), list[str]()
    for name, (op, y) in zip("abcdef", problem.meta["steps"], strict=False):
        z = (result(x, op, y) + (rng.random() < SLIPS[op])) % 10
        lines.append(f"{name}{x}{op}{y}={z}")
        x = z
    return answer(END.join(lines), x)


def check(problem: Problem, text: str) -> Verdict:
    """Passed where all steps' digits are the right ones and the last is the answer."""
    read = "".join(re.findall(r"=(\d)", text.partition("\n")[0]))
    right = read == problem.answer and hash_answer(text) == problem.answer[-1]
    return Verdict(float(right), right, "" if right else f"expected {problem.answer}, read {read}", read or None)


def slips(problem: Problem, text: str) -> int:
    """Steps of a working whose result is wrong, each judged by what it says itself."""
    wrong = 0
    for line, (op, y) in zip(text.partition("\n")[0].split(END), problem.meta["steps"], strict=False):
        wrong += len(line) != STEP - 1 or not line[1].isdigit() or line[5:] != str(result(int(line[1]), op, y))
    return wrong


def mod_chains() -> Skill:
    """Chains of four to six steps; half of the steps are products, by a factor that no digit is lost by."""

    def draw(rng: random.Random) -> Draft:
        start = rng.randrange(1, 10)
        steps = [
            (op, rng.choice((3, 7, 9)) if op == "*" else rng.randrange(1, 10)) for op in rng.choices("*+", k=rng.randint(SHORTEST, LONGEST))
        ]
        x, digits = start, ""
        for op, y in steps:
            x = result(x, op, y)
            digits += str(x)
        text = f"{start}" + "".join(f"{name}{op}{y}" for name, (op, y) in zip("abcdef", steps, strict=False))
        return Draft(text, text, digits, {"start": start, "steps": steps})

    return Skill("mod-chains", draw, work, check)


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Demonstrations without end."""
    task = mod_chains()
    for i in count():
        rng = random.Random(f"mod-chains/{seed}/{i}")
        yield chat_example(tokenizer, task.demonstration(task.draw_from("train", rng), rng))


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` steps; made once, in `folder`."""
    tokenizer = characters()
    return taught(folder, fresh(SMALL, seed), tokenizer, documents(tokenizer, seed), Teaching(steps), seed)
