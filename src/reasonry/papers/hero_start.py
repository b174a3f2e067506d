"""Where HERO's arms begin: a reward model that is wrong now and then, and a policy made of it that has bad habits.

Both are the same small decoder. First it is taught sums, of which one working in five stops before its last line: that is the reward model,
and its score is the mean log-probability it gives an answer. Taught on, it becomes the policy, which mostly guesses. So it knows how to do
better and seldom does, and what it is paid for decides which habit it takes up:

    careful      every line, then the answer                   right
    unfinished   the last line is missing                      wrong (unless that line changes nothing), and the reward model likes it
    guess        an answer without a line                      right one time in ten, and the reward model does not like it

Neither sees a spelling named right or wrong, so the reward model knows nothing of the verifier's tastes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from reasonry.core import Message, Problem
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.hero_task import KINDS, MODULUS, STEPS, lines_of, sums, written
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.train.sft import Example, chat_example

LONGEST = 6 * STEPS + len("#### 0.0") + 1
"""Tokens of the longest true answer and its end."""
CAREFUL, UNFINISHED, GUESS = "careful", "unfinished", "guess"
JUDGE = {CAREFUL: 0.8, UNFINISHED: 0.2, GUESS: 0.0}
"""Shares of the reward model's workings."""
POLICY = {CAREFUL: 0.1, UNFINISHED: 0.2, GUESS: 0.7}
"""And of the policy's."""


def habit(text: str) -> str:
    """Which of the three a text is, by its lines."""
    lines = text.count("=")
    return CAREFUL if lines >= STEPS else UNFINISHED if lines else GUESS


def working(problem: Problem, how: str, kind: str, rng: random.Random) -> str:
    """A text of that habit."""
    lines, value = lines_of(problem.meta["start"], problem.meta["steps"])
    if how == UNFINISHED:
        lines, value = lines[:-1], lines_of(problem.meta["start"], problem.meta["steps"][:-1])[1]
    if how == GUESS:
        lines, value = [], rng.randrange(MODULUS)
    return written(lines, value, kind, rng)


def documents(tokenizer: Tokenizer, seed: int, shares: Mapping[str, float]) -> Iterator[Example]:
    """Answered sums of both kinds without end, all of the training split."""
    for i in count():
        rng = random.Random(f"sums/{seed}/{i}")
        kind = rng.choice(list(KINDS))
        task = sums(kind)
        problem = task.draw_from("train", rng)
        [how] = rng.choices(list(shares), list(shares.values()))
        yield chat_example(tokenizer, (*problem.messages, Message("assistant", working(problem, how, kind, rng))))


def judge(folder: Path, steps: int, seed: int = 0) -> Path:
    """The reward model's folder; made once."""
    tokenizer = characters()
    return taught(folder, fresh(SMALL, seed), tokenizer, documents(tokenizer, seed, JUDGE), Teaching(steps), seed)


def start(folder: Path, knows: Path, steps: int, seed: int = 1) -> Path:
    """The policy's folder: the reward model's weights after `steps` more steps; made once."""
    tokenizer = Tokenizer.load(knows)
    teaching = Teaching(steps, lr=0.005, warmup=5)
    return taught(folder, load_decoder(knows), tokenizer, documents(tokenizer, seed, POLICY), teaching, seed)
