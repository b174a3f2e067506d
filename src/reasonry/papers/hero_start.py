"""Where HERO's arms begin: a small model taught sums in both spellings, and a reward model that is wrong now and then.

The reward model is the start taught on, with workings of which one in five has a wrong line; its score is the mean log-probability it gives
an answer. It never sees a spelling named right or wrong, so it knows nothing of the verifier's tastes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from reasonry.core import Message
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.hero_task import FORMS, KINDS, MODULUS, STEPS, apply, sums
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.train.sft import Example, chat_example

LONGEST = 6 * STEPS + len("#### 0.0") + 1
"""Tokens of the longest true answer and its end."""
NOISE = 0.2
"""Share of the reward model's workings in which a line is wrong."""


def documents(tokenizer: Tokenizer, seed: int, noise: float = 0.0) -> Iterator[Example]:
    """Worked sums of both kinds without end, all of the training split; a share `noise` of them with a wrong line."""
    for i in count():
        rng = random.Random(f"sums/{seed}/{i}")
        task = sums(rng.choice(list(KINDS)))
        problem = task.draw_from("train", rng)
        messages = task.demonstration(problem, rng)
        if rng.random() < noise:
            wrong = spoilt(problem.meta["start"], problem.meta["steps"], rng)
            messages = (*messages[:-1], Message("assistant", wrong))
        yield chat_example(tokenizer, messages)


def spoilt(start: int, steps: list[list[str | int]], rng: random.Random) -> str:
    """A working in which one line's result is another digit, and all after it follow from that."""
    at, value, lines = rng.randrange(len(steps)), start, list[str]()
    for i, (op, b) in enumerate(steps):
        after = apply(value, str(op), int(b))
        after = (after + rng.randrange(1, MODULUS)) % MODULUS if i == at else after
        lines.append(f"{value}{op}{b}={after}")
        value = after
    return "\n".join([*lines, "#### " + rng.choice(FORMS).format(value)])


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` steps; made once."""
    tokenizer = characters()
    return taught(folder, fresh(SMALL, seed), tokenizer, documents(tokenizer, seed), Teaching(steps), seed)


def judge(folder: Path, begin: Path, steps: int, seed: int = 1) -> Path:
    """The reward model's folder: the start after `steps` more steps on noisy workings."""
    tokenizer = Tokenizer.load(begin)
    return taught(folder, load_decoder(begin), tokenizer, documents(tokenizer, seed, NOISE), Teaching(steps), seed)
