"""The model Delethink's RL experiment starts from: a small decoder, trained from nothing for a few minutes on relay workings.

One document in three is a query and a whole working, of which 30 % restate the state, as in the brief; the others are a query and a piece
that begins anywhere, what a boundary leaves, half of them in either style. So both styles are known in full and from the middle, and what
a boundary took away (in the delta style, a register) can only be guessed. Only train-split problems are used. Every character is a token,
so chunks and carry-overs are counted in characters.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import click
import torch

from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.delethink_rl_task import LINE, RESTATE, relay, run
from reasonry.tasks.skill import Skill
from reasonry.train.sft import Example, batches, fit, muon, warm_then_cosine

TEMPLATE = "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}"
SEEN = 23
"""Leading tokens of a piece that are read, not predicted: more than a line, so that a restated register file is among them."""
PIECE = 4 * LINE
"""Most tokens of a piece."""
PIECES = 2 / 3
BATCH, LR, WARMUP = 4096, 0.02, 20
SHAPE = DecoderConfig(
    vocab_size=259, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=128, max_position=512,
    qk_norm=True,
)  # fmt: skip


def characters() -> Tokenizer:
    """A token for every byte, and a chat template that adds one token to the question."""
    return Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE)


def document(tokenizer: Tokenizer, task: Skill, rng: random.Random) -> Example:
    """A query with a whole working, or with a piece."""
    problem = task.draw_from("train", rng)
    context, piece = tokenizer.encode(tokenizer.render(problem.messages)), rng.random() < PIECES
    text, final = run(problem.meta["start"], problem.meta["ops"], rng.random() < (0.5 if piece else RESTATE))
    whole = (*tokenizer.encode(f"{text}\n#### {final}"), min(tokenizer.eos_ids))
    start = rng.randrange(1, len(whole) - SEEN) if piece else 0
    part = whole[start : start + PIECE] if piece else whole
    return Example((*context, *part), (*[False] * len(context), *(i >= SEEN or not piece for i in range(len(part)))))


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Documents without end."""
    task = relay()
    return (document(tokenizer, task, random.Random(f"relay/{seed}/{i}")) for i in count())


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` steps; made once, in `folder`."""
    if (folder / "config.json").exists():
        return folder
    tokenizer, decoder = characters(), Decoder(SHAPE)
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    stream = batches(documents(tokenizer, seed), BATCH, 512, torch.Generator().manual_seed(seed))
    optimizers = muon(decoder, LR, 0.01)
    for p in fit(decoder, optimizers, islice(stream, steps), lambda s: LR * warm_then_cosine(s, WARMUP, steps), range(steps)):
        if (p.step + 1) % 50 == 0:
            click.echo(f"start: step {p.step + 1} of {steps}, loss {p.loss:.3f}", err=True)
    part = folder.with_name(folder.name + ".part")
    save_decoder(decoder, part, tokenizer=tokenizer)
    return part.rename(folder)
