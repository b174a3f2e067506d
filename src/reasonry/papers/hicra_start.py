"""Where all arms of HICRA's experiment begin: a small decoder over words, taught noisy demonstrations of number puzzles.

It calculates well, knows every strategy and how to go back, and chooses nearly at random: what is left to learn is planning. Only
train-split problems are used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.taught import SMALL, TEMPLATE, Teaching, fresh, taught
from reasonry.tasks.puzzle import puzzle
from reasonry.tasks.skill import Skill
from reasonry.train.sft import Example, chat_example

VOCABULARY = 480
"""Enough for every word of the demonstrations to be one token."""
SHAPE: DecoderConfig = replace(SMALL, vocab_size=VOCABULARY, max_position=256)


def words(task: Skill) -> Tokenizer:
    """A token for every word of the task's demonstrations, with the space before it."""
    problems, rng = task.problems("train", 300), random.Random("hicra/tokenizer")
    texts = (f"{m.content}\n" for p in problems for m in task.demonstration(p, rng))
    return Tokenizer.train(texts, VOCABULARY, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE)


def documents(tokenizer: Tokenizer, task: Skill, seed: int) -> Iterator[Example]:
    """Demonstrations without end."""
    for i in count():
        rng = random.Random(f"hicra/{seed}/{i}")
        yield chat_example(tokenizer, task.demonstration(task.draw_from("train", rng), rng))


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` steps; made once, in `folder`."""
    task = puzzle()
    tokenizer = words(task)
    return taught(folder, fresh(SHAPE, seed), tokenizer, documents(tokenizer, task, seed), Teaching(steps, batch=2048), seed)
