"""Small models taught in minutes: where a paper's arms begin, from nothing or from a shipped model.

Invariant: a folder is made once and whole; the weights are a function of (decoder, documents, teaching) alone, and whoever asks again is
given what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import torch

from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.train.sft import Example, batches, fit, muon, warm_then_cosine

SMALL = DecoderConfig(
    vocab_size=259, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=128, max_position=512,
    qk_norm=True,
)  # fmt: skip
"""90 thousand parameters over single bytes."""
TEMPLATE = "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}"


@dataclass(frozen=True)
class Teaching:
    """How long and how fast."""

    steps: int
    lr: float = 0.02
    warmup: int = 20
    weight_decay: float = 0.01
    batch: int = 4096
    """Tokens of a step."""


def characters() -> Tokenizer:
    """A token for every byte, and a chat template that adds one token to each message."""
    return Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE)


def fresh(shape: DecoderConfig, seed: int) -> Decoder:
    """A decoder with weights drawn from `seed`."""
    decoder = Decoder(shape)
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    return decoder


def taught(folder: Path, decoder: Decoder, tokenizer: Tokenizer, documents: Iterable[Example], teaching: Teaching, seed: int = 0) -> Path:
    """The checkpoint folder of `decoder` after so many steps on `documents`, by Muon with a warm-up and half a cosine."""
    if (folder / "config.json").exists():
        return folder
    stream = batches(documents, teaching.batch, 512, torch.Generator().manual_seed(seed))
    optimizers, steps = muon(decoder, teaching.lr, teaching.weight_decay), teaching.steps
    for p in fit(
        decoder, optimizers, islice(stream, steps), lambda s: teaching.lr * warm_then_cosine(s, teaching.warmup, steps), range(steps)
    ):
        if (p.step + 1) % 50 == 0:
            click.echo(f"{folder.name}: step {p.step + 1} of {steps}, loss {p.loss:.3f}", err=True)
    part = folder.with_name(folder.name + ".part")
    save_decoder(decoder, part, tokenizer=tokenizer)
    return part.rename(folder)
