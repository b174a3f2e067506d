"""Training the cells: the model teaches itself. One stream sees everything, the other a window and its memory; the second's predictions are
drawn to the first's beyond the window. Only the cells learn.

    L = mean over t ≥ W with a label of KL(p_full(·|x_≤t) ‖ p_window(·|x_≤t)),   W the window and the sinks together

Other losses: cross-entropy with the tokens themselves, and the squared distance of what attention gives in each patched block.

Departures: the window and the sinks are drawn anew for every batch (the paper: every sequence, which is the same for batches of one), so
that the memory does not fit one size alone; the distance of blocks is taken where the other losses are, not at every place beyond W.

Letters: B rows, T tokens, N places compared, V vocabulary, Hq heads, K head size.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.accel.ahn.adapter import Adapter
from reasonry.accel.ahn.memory import Edit, Memory, Window, as_they_are
from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import Attend, Site, causal

Windows = Callable[[int, random.Random], Window]
"""(tokens of the sequence, random numbers) -> the window of a batch."""
Streams = tuple[Tensor, Tensor, Tensor]
Loss = Callable[[Decoder, Adapter, "Sequences", Window], Tensor]
"""(model, its cells, batch, window) -> a scalar, with a gradient for the cells. Raises UserError where nothing lies beyond the window."""


def kl(decoder: Decoder, adapter: Adapter, batch: Sequences, window: Window) -> Tensor:
    """Mean KL(teacher ‖ student) over the whole vocabulary, in nats."""
    teacher, student, _ = streams(decoder, adapter, batch, window)
    return F.kl_div(student.float().log_softmax(-1), teacher.float().log_softmax(-1), log_target=True, reduction="batchmean")


def cross_entropy(decoder: Decoder, adapter: Adapter, batch: Sequences, window: Window) -> Tensor:
    """Of the tokens that follow, in nats; the teacher is not asked."""
    where = beyond(batch, window)
    student = decoder(batch.ids, _positions(batch), Memory(adapter, window, len(batch.ids), keeps=False)).last[where]
    return F.cross_entropy(decoder.logits(student).float(), batch.ids[:, 1:][where[:, :-1]])


def layerwise(scaled: Callable[[Tensor], Tensor] = Tensor.float) -> Loss:
    """The mean squared distance of what attention gives before its output matrix, over patched blocks, places and numbers.

    `scaled` [N, Hq K] -> [N, Hq K] is applied to both first; `unit` compares directions alone, as the paper's code does on request.
    """

    def loss(decoder: Decoder, adapter: Adapter, batch: Sequences, window: Window) -> Tensor:
        where, patched = beyond(batch, window), [i for i in range(decoder.config.num_layers) if i not in adapter.full]
        seen, made = _Watched(causal(), where), _Watched(Memory(adapter, window, len(batch.ids), keeps=False), where)
        with torch.no_grad():
            decoder(batch.ids, _positions(batch), seen)
        decoder(batch.ids, _positions(batch), made)
        return torch.stack([F.mse_loss(scaled(made.gave[i]), scaled(seen.gave[i])) for i in patched]).mean()

    return loss


def unit(x: Tensor) -> Tensor:
    """x [..., n] with length 1."""
    return F.normalize(x.float(), dim=-1)


LOSSES: Mapping[str, Loss] = {"kl": kl, "ce": cross_entropy, "distill": layerwise(), "distill-unit": layerwise(unit)}
"""By the names of the paper's `loss_type`."""


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

    totals: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    sinks: tuple[int, ...] = (0, 32, 64, 128, 512, 2048, 4096)

    def __call__(self, tokens: int, rng: random.Random) -> Window:
        """Raises UserError where no total fits the sequence's length, or no number of sinks the total."""
        total = rng.choice(self.fitting(tokens))
        sinks = rng.choice([s for s in self.sinks if s <= total / 2])
        return Window(total - sinks, sinks)

    def fitting(self, tokens: int) -> list[int]:
        """The totals that sequences of `tokens` tokens can be given, rising. Raises UserError where nothing fits."""
        found = sorted(W for W in self.totals if tokens / 8 < W < tokens)
        if not found:
            raise UserError(f"ahn: none of totals {list(self.totals)} lies between {tokens / 8:g} and {tokens} tokens; name others")
        if not any(s <= found[0] / 2 for s in self.sinks):
            raise UserError(f"ahn: all of sinks {list(self.sinks)} are more than half of a total of {found[0]}; name fewer")
        return found


@dataclass(frozen=True)
class Sequences:
    """A batch of whole sequences of one length."""

    ids: Tensor
    """[B, T] int64."""
    labelled: Tensor
    """[B, T] bool: tokens that are to be predicted; the first never is."""


def pieces(texts: Iterable[Sequence[int]], tokens: int, rows: int) -> Iterator[Sequences]:
    """Texts, as token ids, one after another, cut into sequences of `tokens` tokens, `rows` to a batch; the rest is dropped."""
    held, n = list[int](), tokens * rows
    for ids in texts:
        held += ids
        whole = len(held) // n * n
        for at in range(0, whole, n):
            batch = torch.tensor(held[at : at + n]).view(rows, tokens)
            yield Sequences(batch, torch.ones_like(batch, dtype=torch.bool))
        held = held[whole:]


def beyond(batch: Sequences, window: Window) -> Tensor:
    """[B, T] bool: where the next token is labelled and both streams differ. Raises UserError where that is nowhere."""
    places = torch.zeros_like(batch.labelled)
    places[:, window.rows : -1] = batch.labelled[:, window.rows + 1 :]
    if not bool(places.any()):
        T = batch.ids.shape[1]
        raise UserError(f"ahn: no token beyond the window of {window.rows} is labelled in sequences of {T}; use a smaller window")
    return places


def streams(decoder: Decoder, adapter: Adapter, batch: Sequences, window: Window, write: bool = True, edit: Edit = as_they_are) -> Streams:
    """The teacher's and the student's logits [N, V] at the places `beyond` the window, and the tokens [N] that follow them.

    `write` and `edit` are the memory's: for the plain window, and for controls.
    """
    where = beyond(batch, window)
    with torch.no_grad():
        taught = decoder.logits(decoder(batch.ids, _positions(batch), causal()).last[where])
    memory = Memory(adapter, window, len(batch.ids), write, keeps=False, edit=edit)
    student = decoder.logits(decoder(batch.ids, _positions(batch), memory).last[where])
    return taught, student, batch.ids[:, 1:][where[:, :-1]]


def optimizer_of(adapter: Adapter, weight_decay: float = 0.01) -> torch.optim.Optimizer:
    """AdamW over the cells."""
    return torch.optim.AdamW(adapter.parameters(), weight_decay=weight_decay)


def distil(
    decoder: Decoder,
    adapter: Adapter,
    batches: Iterable[Sequences],
    lr: float = 1e-4,
    warmup: int = 10,
    steps: int | None = None,
    windows: Windows = Drawn(),
    loss: Loss = kl,
    optimizer: torch.optim.Optimizer | None = None,
    done: int = 0,
    seed: int = 0,
) -> Generator[float]:
    """One step on the cells for every batch, wherever it is, and its loss; `lr` warms up, then falls by a cosine over `steps` if given.

    The decoder's weights take no gradient while this runs, and are what they were after it. To go on after a stop: the same batches again,
    the `optimizer` (left out: `optimizer_of(adapter)`) with what it held, and how many steps were `done`; their batches are passed over.
    """
    asked = [p.requires_grad for p in decoder.parameters()]
    decoder.requires_grad_(False)
    optimizer, rng = optimizer or optimizer_of(adapter), random.Random(seed)
    try:
        for step, batch in enumerate(batches):
            window = windows(batch.ids.shape[1], rng)
            if step < done:
                continue
            for group in optimizer.param_groups:
                group["lr"] = lr * _factor(step, warmup, steps)
            found = loss(decoder, adapter, Sequences(batch.ids.to(adapter.device), batch.labelled.to(adapter.device)), window)
            optimizer.zero_grad(set_to_none=True)
            found.backward()
            torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
            optimizer.step()
            yield float(found.detach())
    finally:
        for p, had in zip(decoder.parameters(), asked, strict=True):
            p.requires_grad_(had)


class _Watched:
    """An `Attend` that keeps what it gave, at some places: block -> [N, Hq K]."""

    def __init__(self, attend: Attend, where: Tensor) -> None:
        self.attend, self.where = attend, where
        self.gave: dict[int, Tensor] = {}

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = self.attend(site, x, q, k, v)
        self.gave[site.layer] = out[self.where].flatten(1)
        return out


def _positions(batch: Sequences) -> Tensor:
    return torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)


def _factor(step: int, warmup: int, steps: int | None) -> float:
    rise = min(1.0, (step + 1) / max(warmup, 1))
    done = 0.0 if steps is None else min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0)
    return rise * 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi))))
