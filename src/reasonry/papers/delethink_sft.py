"""The model of Delethink's experiment: the shipped one, taught for a few minutes on pieces of register workings.

As in the brief, 30 % of the workings restate the state and the rest write changes only. A document is a query and a piece of a working,
cut at any token, at most `PIECE` tokens long: what a context boundary leaves, and what a long text leaves in any training set with a
window. Programs run up to 64 loops, so that counting is known from any loop to the next, but no document is longer than the trained
length. Only train-split problems are used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import torch

from reasonry.core import Problem
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.load import model_folder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.tasks.skills.registers import LONG, registers
from reasonry.tasks.skills.registers import run as work_out
from reasonry.train.sft import Example, adamw, batches, fit, warm_then_cosine

PIECE = 160
"""Most tokens of a working in one document: about that of the longest whole working in the shipped model's training text."""
SEEN = 32
"""Leading tokens of a piece that starts in the middle of a working and are read, not predicted: nobody could know them."""
RESTATE = 0.3
BATCH, LR, WARMUP = 4096, 5e-4, 10


def piece(tokenizer: Tokenizer, problem: Problem, style: str, rng: random.Random) -> Example:
    """A query and a random piece of its working: from the beginning, from anywhere, or near enough to the end to show it."""
    meta = problem.meta
    text, final = work_out(meta["start"], meta["ops"], meta["loops"], meta["modulus"], style == "restate")
    context = tokenizer.encode(tokenizer.render(problem.messages))
    whole = (*tokenizer.encode(f"{text}\n#### {final}"), min(tokenizer.eos_ids))
    latest = max(len(whole) - SEEN, 1)
    start = rng.choice((0, rng.randrange(latest), rng.randrange(max(len(whole) - PIECE, 0), latest)))
    part = whole[start : start + PIECE]
    read = SEEN if start else 0
    return Example((*context, *part), (*[False] * len(context), *(i >= read for i in range(len(part)))))


def pieces(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Documents without end: half of them of two registers, the rest of three to eight; loops from 1 to 64, one in four short."""
    for i in range(10**9):
        rng = random.Random(f"delethink/{seed}/{i}")
        r = 2 if rng.random() < 0.5 else rng.randint(3, 8)
        loops = rng.randint(1, LONG[0]) if rng.random() < 0.25 else rng.randint(*LONG)
        task = registers(registers=r, ops=rng.randint(r, max(r, 4)), loops=loops)
        yield piece(tokenizer, task.draw_from("train", rng), "restate" if rng.random() < RESTATE else "delta", rng)


def taught(model: str, steps: int, folder: Path) -> Path:
    """The checkpoint folder of `model` taught for `steps` steps; made once, in `folder`. No steps: the model as it is."""
    if steps == 0 or (folder / "config.json").exists():
        return folder if steps else model_folder(model)
    shipped = model_folder(model)
    decoder, tokenizer = load_decoder(shipped, torch.float32), Tokenizer.load(shipped)
    stream = batches(pieces(tokenizer, 0), BATCH, 512, torch.Generator().manual_seed(0))
    optimizers = adamw(decoder, LR, 0.1)
    for p in fit(decoder, optimizers, islice(stream, steps), lambda s: LR * warm_then_cosine(s, WARMUP, steps), range(steps)):
        if (p.step + 1) % 10 == 0:
            click.echo(f"teaching: step {p.step + 1} of {steps}, loss {p.loss:.3f}", err=True)
    part = folder.with_name(folder.name + ".part")
    save_decoder(decoder, part, tokenizer=tokenizer)
    return part.rename(folder)
