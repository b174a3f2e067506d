"""Supervised training on token ids: examples with a mask, batches without waste, one loop.

Invariants. Only masked-in tokens carry loss, each scored on exactly the ids the engine would show it. Rows of a batch never see one
another. The order of the data is a function of the seed alone, so a resumed run sees what an unkilled one would have seen.

Two ways to a batch, equal in value and gradient: `batches` pads rows of like length, `packed` lays whole examples end to end, each with
its own positions and its own attention (`train.rows`), and computes a common beginning once. An example may hold parallel paths: padded,
it has a mask of T × T.

Letters: B rows, T tokens of the longest row, N masked-in tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.core import Ids, Message
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal, masked
from reasonry.nn.masks import PAD, PROMPT, thoughts, two_stage
from reasonry.train.muon import Muon
from reasonry.train.rows import Layout, Row, lay_out, predecessors, read


@dataclass(frozen=True, slots=True)
class Example:
    """One training row: token ids and which of them are to be predicted."""

    ids: Ids
    mask: tuple[bool, ...]
    """Same length as `ids`; the first is never true (nothing predicts it)."""
    positions: Ids | None = None
    """Where they are not simply 0, 1, 2, … (parallel paths)."""
    groups: Ids | None = None
    """Attention group of each token, as in `core.Segment`; `None` is a plain causal prefix."""


@dataclass(frozen=True, slots=True)
class Paths:
    """What a batch with parallel paths has beside its ids, each [B, T] int64."""

    positions: Tensor
    groups: Tensor
    """For `nn.masks.two_stage`; `PAD` behind a row's end."""
    before: Tensor
    """The place of the token that predicts this one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right; attention never reaches the padding."""

    ids: Tensor
    """[B, T] int64."""
    mask: Tensor
    """[B, T] bool."""
    paths: Paths | None = None
    """`None`: every row is a plain causal one."""

    @property
    def size(self) -> int:
        """Tokens, padding included."""
        return self.ids.numel()


@dataclass(frozen=True, slots=True)
class Pack:
    """Whole examples end to end; none sees another, nothing is padded but inside attention."""

    layout: Layout
    size: int
    """Tokens of the examples."""


def chat_example(tokenizer: Tokenizer, messages: tuple[Message, ...]) -> Example:
    """A chat as one row: every assistant message and the token that ends it are predicted, nothing else is.

    Each turn's context is encoded as the engine will see it (rendered with the assistant's turn opened), the turn's own text by itself.
    """
    ids: list[int] = []
    mask: list[bool] = []
    for i, message in enumerate(messages):
        if message.role == "assistant":
            context = tokenizer.encode(tokenizer.render(messages[:i], add_generation_prompt=True))
            if list(context[: len(ids)]) != ids:
                raise ValueError(f"chat_example: the template renders turn {i} over a context that does not extend the turn before it")
            turn = (*tokenizer.encode(message.content), min(tokenizer.eos_ids))
            mask += [False] * (len(context) - len(ids)) + [True] * len(turn)
            ids = [*context, *turn]
    return Example(tuple(ids), tuple(mask))


def batches(examples: Iterable[Example], tokens: int, pool: int, generator: torch.Generator) -> Iterator[Batch]:
    """Batches of at most `tokens` padded tokens, rows of like length together.

    `pool` examples are sorted by length, cut, and the cuts shuffled with `generator`; so padding is small and order is random.
    """
    source = iter(examples)
    while chunk := sorted(islice(source, pool), key=lambda e: len(e.ids)):
        cuts: list[list[Example]] = [[]]
        for example in chunk:
            if cuts[-1] and len(example.ids) * (len(cuts[-1]) + 1) > tokens:
                cuts.append([])
            cuts[-1].append(example)
        for k in torch.randperm(len(cuts), generator=generator).tolist():
            yield collate(cuts[k])


def collate(rows: list[Example]) -> Batch:
    """Rows to right-padded tensors."""
    width = max(len(r.ids) for r in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for b, row in enumerate(rows):
        ids[b, : len(row.ids)] = torch.tensor(row.ids)
        mask[b, : len(row.mask)] = torch.tensor(row.mask)
    if all(r.positions is None and r.groups is None for r in rows):
        return Batch(ids, mask)
    paths = Paths(torch.zeros_like(ids), torch.full_like(ids, PAD), torch.zeros_like(ids))
    for b, row in enumerate(rows):
        n = len(row.ids)
        groups = row.groups or (PROMPT,) * n
        paths.positions[b, :n] = torch.tensor(row.positions or range(n))
        paths.groups[b, :n] = torch.tensor(groups)
        paths.before[b, :n] = torch.tensor(predecessors(groups, [i for i, on in enumerate(row.mask) if on], "train: an example"))
    return Batch(ids, mask, paths)


def nll(decoder: Decoder, batch: Batch) -> Tensor:
    """Negative log-likelihood of each masked-in token, [N]; logits are computed for those positions only."""
    if (p := batch.paths) is not None:
        hidden = decoder(batch.ids, p.positions, masked(two_stage(p.groups)), thoughts=thoughts(p.groups)).last
        rows, places = batch.mask.nonzero(as_tuple=True)
        logits = decoder.logits(hidden[rows, p.before[rows, places]])
        return F.cross_entropy(logits.float(), batch.ids[batch.mask], reduction="none")
    positions = torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)
    hidden = decoder(batch.ids, positions, causal()).last
    wanted = batch.mask[:, 1:]
    return F.cross_entropy(decoder.logits(hidden[:, :-1][wanted]).float(), batch.ids[:, 1:][wanted], reduction="none")


def cuts(lengths: Sequence[int], tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Which examples, by number, go into each pack of an epoch: all once, in an order drawn from (seed, epoch), at most `tokens` tokens a
    pack; a longer example stands alone."""
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(inner_seed(seed, epoch))).tolist()
    made: list[list[int]] = []
    room = 0
    for i in order:
        if not made or lengths[i] > room:
            made.append([])
            room = tokens
        made[-1].append(i)
        room -= lengths[i]
    return made


def packed(examples: Sequence[Example], device: torch.device | str = "cpu") -> Pack:
    """These examples as one pack."""
    rows = [Row(e.ids, e.positions or tuple(range(len(e.ids))), tuple(i for i, on in enumerate(e.mask) if on), e.groups) for e in examples]
    return Pack(lay_out(rows, torch.device(device)), sum(len(e.ids) for e in examples))


def packed_nll(decoder: Decoder, pack: Pack) -> Tensor:
    """What `nll` gives for the same examples, [N]; example after example."""
    return -read(decoder, pack.layout, 1.0)[0]


def warm_then_cosine(step: int, warmup: int, total: int, floor: float = 0.02) -> float:
    """Learning-rate factor: linear to 1 over `warmup` steps, then half a cosine down to `floor` at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def adamw(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW with β = (0.9, 0.95); decay on matrices only."""
    matrices = [p for p in decoder.parameters() if p.ndim >= 2]
    vectors = [p for p in decoder.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))]


def muon(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings (those of thoughts too) and norms: what training from scratch wants."""
    inner, outer = [], []
    for name, p in decoder.named_parameters():
        matrix = p.ndim == 2 and name.startswith("layers.") and not name.endswith("thought.weight")
        (inner if matrix else outer).append(p)
    return [Muon(inner, lr, weight_decay=weight_decay), torch.optim.AdamW(outer, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)]


def norms(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW over the norms' gains alone; all else is frozen. So few numbers hardly teach anything new, but they sharpen or soften what is
    known, from few noisy batches and without breaking it (norm tuning, arXiv 2312.11420)."""
    for p in decoder.parameters():
        p.requires_grad_(p.ndim < 2)
    gains = [p for p in decoder.parameters() if p.ndim < 2]
    return [torch.optim.AdamW(gains, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)]


@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop tells after every step."""

    step: int
    loss: float
    """Mean over the step's masked-in tokens, in nats."""
    grad_norm: float
    tokens: int
    """Tokens processed so far, prompts included."""


class Sized(Protocol):
    """A batch of any kind."""

    @property
    def size(self) -> int:
        """Tokens it costs."""
        ...


B = TypeVar("B", bound=Sized)


def fit(
    decoder: Decoder,
    optimizers: Sequence[torch.optim.Optimizer],
    stream: Iterator[B],
    lr_at: Callable[[int], float],
    steps: range,
    tokens: int = 0,
    clip: float = 1.0,
    losses: Callable[[Decoder, B], Tensor] = nll,
) -> Iterator[Progress]:
    """One optimiser step per batch of `stream`, yielding after each; gradients are clipped to norm `clip`. `losses`: `nll` for padded
    batches, `packed_nll` for packs.

    The caller owns the loop: it saves, logs, shows and stops. `tokens` is where the count begins when a run is resumed.
    """
    decoder.train()
    for step in steps:
        batch = next(stream)
        loss = losses(decoder, batch).mean()
        decoder.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(decoder.parameters(), clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr_at(step)
            optimizer.step()
        tokens += batch.size
        yield Progress(step, float(loss.detach()), float(grad_norm), tokens)
    decoder.eval()
