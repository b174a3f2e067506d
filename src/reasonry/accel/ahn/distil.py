"""Training the cells: the model teaches itself. One stream sees everything, the other a window and its memory; the second's predictions are
drawn to the first's beyond the window. Only the cells learn.

    L = mean over t ≥ W with a label of KL(p_full(·|x_≤t) ‖ p_window(·|x_≤t)),   W the window and the sinks together

The window and the sinks are drawn anew for every batch, so that the memory does not fit one size alone.

Letters: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.accel.ahn.adapter import Adapter
from reasonry.accel.ahn.memory import Memory, Window
from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import causal

Windows = Callable[[int, random.Random], Window]
"""(tokens of the sequence, random numbers) -> the window of a batch."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(teacher's logits [N, V], student's [N, V], the tokens that follow [N]) -> a scalar."""


def kl(teacher: Tensor, student: Tensor, following: Tensor) -> Tensor:
    """Mean KL(teacher ‖ student) over the whole vocabulary, in nats."""
    return F.kl_div(student.float().log_softmax(-1), teacher.float().log_softmax(-1), log_target=True, reduction="batchmean")


def cross_entropy(teacher: Tensor, student: Tensor, following: Tensor) -> Tensor:
    """Of the tokens that follow; the teacher is not asked."""
    return F.cross_entropy(student.float(), following)


@dataclass(frozen=True)
class Fixed:
    """The same window for every batch."""

    window: Window

    def __call__(self, tokens: int, rng: random.Random) -> Window:
        """It."""
        return self.window


@dataclass(frozen=True)
class Drawn:
    """A total W uniformly of those in (T/8, T), then sinks uniformly of those at most half of W; the window is the rest.

    The paper bounds sinks by half of the sequence, its code by half of W; this is the code's rule.
    """

    totals: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    sinks: Sequence[int] = (0, 32, 64, 128, 512, 2048, 4096)

    def __call__(self, tokens: int, rng: random.Random) -> Window:
        """Raises UserError where no total is below the sequence's length."""
        fitting = [W for W in self.totals if tokens / 8 < W < tokens]
        if not fitting:
            raise UserError(f"ahn: no window of {list(self.totals)} lies between {tokens / 8:g} and {tokens} tokens; name smaller ones")
        total = rng.choice(fitting)
        sinks = rng.choice([s for s in self.sinks if s <= total / 2])
        return Window(total - sinks, sinks)


@dataclass(frozen=True)
class Sequences:
    """A batch of whole sequences of one length."""

    ids: Tensor
    """[B, T] int64."""
    labelled: Tensor
    """[B, T] bool: tokens that are to be predicted; the first never is."""


def pieces(texts: Iterable[Sequence[int]], tokens: int, rows: int) -> Iterator[Sequences]:
    """Texts, as token ids, one after another, cut into sequences of `tokens` tokens, `rows` to a batch; the rest is dropped."""
    held: list[int] = []
    for ids in texts:
        held += ids
        while len(held) >= tokens * rows:
            batch, held = torch.tensor(held[: tokens * rows]).view(rows, tokens), held[tokens * rows :]
            yield Sequences(batch, torch.ones_like(batch, dtype=torch.bool))


def streams(decoder: Decoder, adapter: Adapter, batch: Sequences, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher's and the student's logits [N, V] where the next token is labelled and beyond the window, and that token [N].

    Raises UserError where there is no such place.
    """
    ids, (B, T) = batch.ids, batch.ids.shape
    places = torch.zeros_like(batch.labelled)
    places[:, window.rows : -1] = batch.labelled[:, window.rows + 1 :]
    if not bool(places.any()):
        raise UserError(f"ahn: no token beyond the window of {window.rows} is labelled in sequences of {T}; use a smaller window")
    positions = torch.arange(T, device=ids.device).expand(B, T)
    with torch.no_grad():
        taught = decoder.logits(decoder(ids, positions, causal()).last[places])
    memory = Memory(adapter, window, B, keeps=False)
    return taught, decoder.logits(decoder(ids, positions, memory).last[places]), ids[:, 1:][places[:, :-1]]


def distil(
    decoder: Decoder,
    adapter: Adapter,
    batches: Iterable[Sequences],
    lr: float = 1e-4,
    warmup: int = 10,
    steps: int | None = None,
    windows: Windows = Drawn(),
    loss: Loss = kl,
    weight_decay: float = 0.01,
    seed: int = 0,
) -> Iterator[float]:
    """One step of AdamW on the cells for every batch, and its loss; `lr` warms up, then falls by a cosine over `steps` where that is given.

    The decoder's weights take no gradient while this runs, and are what they were after it.
    """
    asked = [p.requires_grad for p in decoder.parameters()]
    decoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=lr, weight_decay=weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _factor(s, warmup, steps))
    rng = random.Random(seed)
    try:
        for batch in batches:
            found = loss(*streams(decoder, adapter, batch, windows(batch.ids.shape[1], rng)))
            optimizer.zero_grad(set_to_none=True)
            found.backward()
            torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
            optimizer.step()
            rate.step()
            yield float(found.detach())
    finally:
        for p, had in zip(decoder.parameters(), asked, strict=True):
            p.requires_grad_(had)


def _factor(step: int, warmup: int, steps: int | None) -> float:
    rise = min(1.0, (step + 1) / max(warmup, 1))
    done = 0.0 if steps is None else min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0)
    return rise * 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi))))
