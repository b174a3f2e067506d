"""Where all arms of h1's experiment begin: a shipped model taught single problems, and bundles of them of which few have one link.

It leaves the paper's gap: single problems mostly right, chains of two far less often than p², longer ones hardly ever. Bundles show the
form of long answers; no demonstration has two links. Only train-split problems are used. The checkpoint is made once and kept in the run
directory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import torch

from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.load import model_folder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.h1_task import bundle, chains
from reasonry.train.sft import Example, batches, chat_example, fit, muon, warm_then_cosine

BATCH, LR, WARMUP = 4096, 5e-3, 10
BUNDLES = 0.85
"""The share of demonstrations that are bundles; the rest are single problems."""
LINKED = 0.12
"""The share of bundles with a link, which is one chain of two."""
LONGEST = 6
"""Problems of the largest bundle."""


def demonstrations(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Worked answers without end, a function of the seed alone."""
    task, rng = chains(1), random.Random(f"h1/{seed}")
    singles, atoms = task.problems("train"), task.atoms("train")
    while True:
        if rng.random() < BUNDLES:
            chat = bundle(rng.randint(2, LONGEST), rng.random() < LINKED, atoms, rng)
        else:
            chat = task.demonstration(rng.choice(singles), rng)
        yield chat_example(tokenizer, chat)


def start(model: str, steps: int, seed: int, folder: Path) -> Path:
    """The checkpoint folder of `model` taught for `steps` steps; made once, in `folder`."""
    if (folder / "config.json").exists():
        return folder
    shipped = model_folder(model)
    decoder, tokenizer = load_decoder(shipped, torch.float32), Tokenizer.load(shipped)
    stream = batches(demonstrations(tokenizer, seed), BATCH, 512, torch.Generator().manual_seed(seed))
    optimizers = muon(decoder, LR, 0.1)
    for p in fit(decoder, optimizers, islice(stream, steps), lambda s: LR * warm_then_cosine(s, WARMUP, steps), range(steps)):
        if (p.step + 1) % 20 == 0:
            click.echo(f"seed {seed}, teaching the start: step {p.step + 1} of {steps}, loss {p.loss:.3f}", err=True)
    part = folder.with_name(folder.name + ".part")
    save_decoder(decoder, part, tokenizer=tokenizer)
    return part.rename(folder)
