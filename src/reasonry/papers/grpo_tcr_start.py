"""Where the arms of GRPO-TCR's experiment begin: a base model over bytes, and what supervised training on tool traces makes of it.

The base, one for all seeds, is taught chains of thought without tools, some of them wrong, and a few (`TOUCHED`) with a stitched call: it
has seen that calls exist. It is also the case of a model that reasons at length and hardly uses tools. On it stand, a seed each, the
starts: `real` traces, `stitched` ones, and stitched ones whose text was right. All see as many tokens. Only train-split problems are used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import torch

from reasonry.core import Message, Problem
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.grpo_tcr_findings import FILTERED, REAL, STITCHED, Plan
from reasonry.papers.grpo_tcr_task import DELIBERATE, FAMILIES, FREE, REACT, plain, problems_of, real, synthetic
from reasonry.papers.taught import SMALL, Teaching, fresh, taught
from reasonry.train.sft import Example, chat_example

TEMPLATE = "{% for m in messages %}{{ m.content }}{{ '<|im_end|>' if m.role == 'assistant' else '<|im_start|>' }}{% endfor %}"
TOUCHED = 0.08
"""The share of the base's texts that hold a call."""
Write = Callable[[Problem, str, random.Random], tuple[Message, ...]]
"""(problem, mode its prompt asks for, random numbers) -> a chat."""


def characters() -> Tokenizer:
    """A token for every byte, and a template that ends each message with one token: the assistant's with the one it samples itself."""
    return Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE)


def _untaught(problem: Problem, mode: str, rng: random.Random) -> tuple[Message, ...]:
    return synthetic(problem, rng) if rng.random() < TOUCHED else plain(problem, rng)


def _real(problem: Problem, mode: str, rng: random.Random) -> tuple[Message, ...]:
    return real(problem, rng, rng.choice((REACT, DELIBERATE)) if mode == FREE else mode)


WRITERS: dict[str, Write] = {
    REAL: _real,
    STITCHED: lambda problem, mode, rng: synthetic(problem, rng),
    FILTERED: lambda problem, mode, rng: synthetic(problem, rng, filtered=True),
}
"""Start -> what its texts are."""


def documents(tokenizer: Tokenizer, write: Write, name: str) -> Iterator[Example]:
    """Texts without end about problems of all families, asked in all modes."""
    tasks = {mode: problems_of(FAMILIES, mode) for mode in (FREE, REACT, DELIBERATE)}
    for i in count():
        rng = random.Random(f"{name}/{i}")
        mode = rng.choice((FREE, REACT, DELIBERATE))
        yield chat_example(tokenizer, write(tasks[mode].draw_from("train", rng), mode, rng))


def base(plan: Plan, folder: Path) -> Path:
    """The base model's checkpoint folder; made once."""
    tokenizer = characters()
    return taught(folder, fresh(SMALL, 0), tokenizer, documents(tokenizer, _untaught, "base"), Teaching(plan.base_steps), 0)


def start(plan: Plan, name: str, seed: int, begin: Path, folder: Path) -> Path:
    """A start's checkpoint folder; made once."""
    tokenizer = Tokenizer.load(begin)
    teaching = Teaching(plan.sft_steps, lr=0.01, warmup=10, batch=plan.sft_tokens)
    texts = documents(tokenizer, WRITERS[name], f"{name}/{seed}")
    return taught(folder, load_decoder(begin, torch.float32), tokenizer, texts, teaching, seed)
