"""What a model needs to think along several paths at once: control tokens, and a thought embedding for each of their numbers.

ParaThinker (arXiv 2509.04475): path j opens with `<thinkj>`, closes with `</thinkj>`, and every token of it has the thought embedding T^(j)
added to its keys and values; `<summary>` opens what sees all paths, `</summary>` ends it. The tokens are looked up by name.

Invariant: what is added changes nothing before it is trained: the hidden states of texts without the new tokens are the model's own to the
last bit, unless thought embeddings are drawn instead of zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count, takewhile

import tokenizers
import torch
from tokenizers import AddedToken
from torch import Tensor

from reasonry.core import Ids, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.tokenizer import Tokenizer

AUTHORS_TAGS = 8
"""The numbers the authors' tokenizer has: `<think1>` … `<think8>`."""
AUTHORS_STD = 0.02
"""Standard deviation of the authors' first thought embeddings, number 0 included: it changes the model a little before any training."""
OPEN, CLOSE, SUMMARY, END = "<think{}>", "</think{}>", "<summary>", "</summary>"


@dataclass(frozen=True)
class Controls:
    """Ids of the control tokens of one tokenizer. Made by `controls`."""

    opens: Ids
    """`<think1>`, `<think2>`, …; path j's is `opens[j - 1]`."""
    closes: Ids
    """`</think1>`, …"""
    summary: int
    end: int
    """`</summary>`."""

    @property
    def tags(self) -> int:
        """J, the largest number a path may have."""
        return len(self.opens)

    @property
    def ids(self) -> frozenset[int]:
        """All of them."""
        return frozenset((*self.opens, *self.closes, self.summary, self.end))


def controls(tokenizer: Tokenizer) -> Controls:
    """The control tokens a tokenizer knows. Raises UserError where `<think1>` or one of its partners is not among its tokens."""
    found = list(takewhile(lambda i: tokenizer.backend.token_to_id(OPEN.format(i)) is not None, count(1)))
    if not found:
        raise UserError(f"{tokenizer.where} has no token {OPEN.format(1)}; give the model one (lm.thoughts.with_controls) and train it")
    return Controls(
        tuple(tokenizer.id_of(OPEN.format(i)) for i in found),
        tuple(tokenizer.id_of(CLOSE.format(i)) for i in found),
        tokenizer.id_of(SUMMARY),
        tokenizer.id_of(END),
    )


def with_controls(tokenizer: Tokenizer, tags: int = AUTHORS_TAGS) -> Tokenizer:
    """The tokenizer with whichever control tokens for paths 1 to `tags` it lacks, after its own; itself where it has them all.

    They are text, not special: decoding shows them.
    """
    wanted = [SUMMARY, END, *(form.format(i) for i in range(1, tags + 1) for form in (OPEN, CLOSE))]
    if missing := [t for t in wanted if tokenizer.backend.token_to_id(t) is None]:
        backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
        backend.add_tokens([AddedToken(t, special=False, normalized=False) for t in missing])
        spec = json.dumps(json.loads(backend.to_str()), indent=2, ensure_ascii=False).encode()
        return replace(tokenizer, files={**tokenizer.files, "tokenizer.json": spec})
    return tokenizer


def with_thoughts(decoder: Decoder, n: int = AUTHORS_TAGS, std: float = 0.0, generator: torch.Generator | None = None) -> Decoder:
    """The decoder with thought embeddings 0 to `n` in every block; those it has are kept, its other weights are shared, not copied.

    New ones are zero, which leaves the model what it was, or normal with deviation `std` (`AUTHORS_STD`), drawn on the CPU. Raises
    UserError for fewer than it has.
    """
    had = decoder.config.num_thoughts
    if n + 1 < had:
        raise UserError(f"thoughts: {n} asked for, but the model has {had - 1}; ask for as many or more")
    state: dict[str, Tensor] = decoder.state_dict()
    for layer in range(decoder.config.num_layers):
        name, like = f"layers.{layer}.self_attn.thought.weight", decoder.embed_tokens.weight
        new = torch.empty(n + 1 - had, decoder.config.head_dim).normal_(0.0, std, generator=generator).to(like)
        state[name] = torch.cat((state[name], new)) if had else new
    return _rebuilt(decoder, state, num_thoughts=n + 1)


def with_vocabulary(decoder: Decoder, size: int, std: float = 0.02, generator: torch.Generator | None = None) -> Decoder:
    """The decoder with rows for `size` tokens, its other weights shared; itself where it has so many.

    New rows are the mean of the old ones and noise of deviation `std`, drawn on the CPU: tokens to be learnt, at first like no other.
    """
    had = decoder.config.vocab_size
    if size <= had:
        return decoder
    state: dict[str, Tensor] = decoder.state_dict()
    for name in ("embed_tokens.weight", "lm_head.weight"):
        if name in state:
            old = state[name]
            noise = torch.empty(size - had, old.shape[1]).normal_(0.0, std, generator=generator)
            state[name] = torch.cat((old, old.mean(0) + noise.to(old.device, old.dtype)))
    return _rebuilt(decoder, state, vocab_size=size)


def equipped(decoder: Decoder, tokenizer: Tokenizer, tags: int = AUTHORS_TAGS, seed: int = 0) -> tuple[Decoder, Tokenizer]:
    """A model ready to be taught parallel thinking on paths numbered 1 to `tags` at least: control tokens, rows for them, and for each a
    thought embedding, at zero. What it has already is kept."""
    tokenizer = with_controls(tokenizer, tags)
    decoder = with_vocabulary(decoder, tokenizer.vocab_size, generator=torch.Generator().manual_seed(seed))
    return with_thoughts(decoder, max(controls(tokenizer).tags, decoder.config.num_thoughts - 1)), tokenizer


def _rebuilt(decoder: Decoder, state: dict[str, Tensor], **changes: int) -> Decoder:
    with torch.device("meta"):
        made = Decoder(replace(decoder.config, **changes))
    made.load_state_dict(state, assign=True)
    return made.train(decoder.training)
