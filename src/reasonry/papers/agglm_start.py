"""The model AggLM's experiment starts from: a small decoder taught both roles, to solve and, over candidates, to answer as one of them.

As a solver it learns from true solutions, but for some operations on some values (`DOUBTFUL` of them, chosen by their content) the
demonstrations are wrong with chance `WRONG`, always in the same way: so it has systematic errors beside those of a model taught for a short
while. As an aggregator it learns the form alone: the demonstrated answer is one of the candidates shown, picked at random, right or wrong.
Its candidates there are made by a process that slips, not by a model. Only train-split problems are used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

from reasonry.core import Message
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.agglm_task import Chains, apply, slipped, worked
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.tasks.pack import BARE, Packing, written
from reasonry.tasks.pool import Candidate
from reasonry.train.sft import Example, chat_example

SHAPE = SMALL
SETS = 0.4
"""The share of documents that are aggregations."""
SIZES = (2, 4, 6, 8, 8)
SLIPS = (0.05, 0.1, 0.2, 0.35)
"""The chance of a slip at a step, drawn for each set."""
TOGETHER = 0.3
"""The share of sets where one wrong solution takes the place of others, so that wrong majorities are seen too."""
DOUBTFUL = 0.25
WRONG = (0.2, 0.8)
"""The chance that a demonstration of a doubtful step is wrong, another for each; half of them are always wrong in the same way."""
FORM = Packing(BARE)


def believed(value: int, operation: str, rng: random.Random) -> int:
    """The value that a demonstration shows after a step."""
    right, digest = apply(value, operation), sha256(f"{value}{operation}".encode()).digest()
    if digest[0] >= 256 * DOUBTFUL or rng.random() >= WRONG[0] + (WRONG[1] - WRONG[0]) * digest[1] / 255:
        return right
    return (right + 1 + (digest[2] % 9 if digest[3] < 128 else rng.randrange(9))) % 10


def demonstrated(question: str, rng: random.Random) -> list[int]:
    """A solver's demonstration."""
    value = int(question[0])
    return [value := believed(value, operation, rng) for operation in question[1:]]


def candidates(question: str, rng: random.Random) -> list[Candidate]:
    """A made-up set."""
    m, chance = rng.choice(SIZES), rng.choice(SLIPS)
    texts = [worked(question, slipped(question, chance, rng)) for _ in range(m)]
    if rng.random() < TOGETHER:
        wrong = worked(question, slipped(question, 0.5, rng))
        texts = [wrong if rng.random() < 0.5 else text for text in texts]
    return [Candidate(text, None, len(text)) for text in texts]


def document(tokenizer: Tokenizer, task: Chains, rng: random.Random) -> Example:
    """A question with a solution, or with candidates and one of them."""
    problem = task.draw_from("train", rng)
    question = problem.messages[0].content
    if rng.random() < SETS:
        shown = candidates(question, rng)
        chat = (*written(problem.messages, shown, FORM), Message("assistant", rng.choice(shown).text))
    else:
        chat = (*problem.messages, Message("assistant", worked(question, demonstrated(question, rng))))
    return chat_example(tokenizer, chat)


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Documents without end."""
    task = Chains()
    return (document(tokenizer, task, random.Random(f"agglm/{seed}/{i}")) for i in count())


def start(folder: Path, teaching: Teaching, seed: int = 0) -> Path:
    """The checkpoint folder of the model after teaching; made once, in `folder`."""
    tokenizer = characters()
    return taught(folder, fresh(SHAPE, seed), tokenizer, documents(tokenizer, seed), teaching, seed)
