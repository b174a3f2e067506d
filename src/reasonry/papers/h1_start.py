"""Where all arms of h1's experiment begin: a shipped model taught single problems, and bundles of them of which few have one link.

It leaves the paper's gap: single problems mostly right, chains of two far less often than p², longer ones hardly ever. Bundles show the
form of long answers; no demonstration has two links. Only train-split problems are used. The checkpoint is made once and kept in the run
directory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch

from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.load import model_folder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.h1_task import bundle, chains
from reasonry.papers.taught import Teaching, taught
from reasonry.train.sft import Example, chat_example

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
    shipped = model_folder(model)
    decoder, tokenizer = load_decoder(shipped, torch.float32), Tokenizer.load(shipped)
    return taught(folder, decoder, tokenizer, demonstrations(tokenizer, seed), Teaching(steps, lr=5e-3, warmup=10, weight_decay=0.1), seed)
