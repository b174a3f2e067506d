"""From logits to tokens, all rows of a step at once.

Order: temperature, then top-k, then top-p within what top-k kept, then min-p. Each keeps the tokens above a *floor*, so tokens tied
with the last one kept are kept too, and the result depends on a row's logits alone. The chosen token is where the running sum of
probabilities passes a uniform number, which comes from a counter-based generator keyed by (seed, t): token t of a request gets the same
number in any company.

Letters: R rows, V vocabulary.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reasonry.core import Sampling

CANDIDATES = 256
"""How many of the likeliest tokens are sorted at first; rows whose top-p needs more are sorted whole."""


class Draws:
    """Uniform numbers in [0, 1), the t-th a function of (seed, t) alone (Philox). `None` takes a seed from the system."""

    BLOCK = 256

    def __init__(self, seed: int | None) -> None:
        self._key = secrets.randbits(64) if seed is None else seed % 2**128
        self._block = -1
        self._values: list[float] = []

    def __call__(self, t: int) -> float:
        """The t-th number."""
        block, at = divmod(t, self.BLOCK)
        if block != self._block:
            generator = np.random.Generator(np.random.Philox(key=self._key, counter=[0, block, 0, 0]))
            self._block, self._values = block, generator.random(self.BLOCK).tolist()
        return self._values[at]


@dataclass(frozen=True)
class Settings:
    """How each row of a batch samples; `None` where no row asks for it."""

    temperature: Tensor | None
    """[R, 1]; 1 for greedy rows. `None`: 1 everywhere."""
    greedy: Tensor | None
    """[R], true for rows at temperature 0."""
    all_greedy: bool
    top_k: Tensor | None
    """[R, 1]; V for rows without."""
    top_p: Tensor | None
    """[R, 1], 1 for rows without."""
    min_p: Tensor | None
    """[R, 1], 0 for rows without."""
    alternatives: int
    """The most top_logprobs any row asks for."""

    @classmethod
    def of(cls, rows: Seq[Sampling], vocabulary: int, device: torch.device) -> Settings:
        """Batches the rows' wishes."""

        def column(values: list[float] | list[int], none: float, dtype: torch.dtype) -> Tensor | None:
            return None if all(v == none for v in values) else torch.tensor(values, dtype=dtype, device=device)[:, None]

        greedy = [s.temperature == 0 for s in rows]
        free = [s for s, g in zip(rows, greedy, strict=True) if not g]
        wish = [Sampling() if g else s for s, g in zip(rows, greedy, strict=True)]
        return cls(
            temperature=column([s.temperature for s in wish], 1.0, torch.float32),
            greedy=torch.tensor(greedy, device=device) if any(greedy) else None,
            all_greedy=not free,
            top_k=column([min(s.top_k or vocabulary, vocabulary) for s in wish], vocabulary, torch.int64),
            top_p=column([s.top_p for s in wish], 1.0, torch.float32),
            min_p=column([s.min_p for s in wish], 0.0, torch.float32),
            alternatives=max(s.top_logprobs for s in rows),
        )


@dataclass(frozen=True)
class Drawn:
    """One token per row."""

    ids: list[int]
    logprobs: list[float]
    """Under the model's own distribution, before temperature and truncation."""
    sampler_logprobs: list[float]
    """Under the distribution it was drawn from; 0 for greedy rows, which had no choice."""
    top: list[tuple[list[int], list[float]]] | None
    """The likeliest ids of each row with their logprobs, when any row asked."""


def draw(logits: Tensor, settings: Settings, uniforms: Seq[float]) -> Drawn:
    """Samples each row of logits [R, V] with its uniform number in [0, 1)."""
    model = logits.float().log_softmax(dim=-1)
    sampler = truncate(model, settings)
    if settings.all_greedy:
        ids = model.argmax(dim=-1)
    else:
        running = sampler.exp().cumsum(dim=-1, dtype=torch.float64)
        total = running[:, -1:]
        goal = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None] * total
        goal = torch.minimum(goal, total.nextafter(torch.zeros_like(total)))
        ids = torch.searchsorted(running, goal, right=True)[:, 0]
        if settings.greedy is not None:
            ids = torch.where(settings.greedy, model.argmax(dim=-1), ids)
    own = model.gather(1, ids[:, None])[:, 0]
    drawn = own if sampler is model else sampler.gather(1, ids[:, None])[:, 0]
    if settings.greedy is not None:
        drawn = torch.where(settings.greedy, 0.0, drawn)
    top = None
    if settings.alternatives:
        values, indices = model.topk(min(settings.alternatives, model.shape[-1]), dim=-1)
        top = list(zip(indices.tolist(), values.tolist(), strict=True))
    return Drawn(ids.tolist(), own.tolist(), drawn.tolist(), top)


def truncate(model: Tensor, settings: Settings) -> Tensor:
    """The log-probabilities [R, V] really sampled from, given the model's own; −∞ for tokens cut off. `model` itself where nothing is."""
    if settings.all_greedy:
        return model
    out = model if settings.temperature is None else (model / settings.temperature).log_softmax(dim=-1)
    floor = None
    if settings.min_p is not None:
        floor = out.amax(dim=-1, keepdim=True) + settings.min_p.log()
    if settings.top_k is not None or settings.top_p is not None:
        kept = _floor(out, settings.top_k, settings.top_p)
        floor = kept if floor is None else torch.maximum(floor, kept)
    if floor is None:
        return out
    return out.masked_fill(out < floor, float("-inf")).log_softmax(dim=-1)


def _floor(logp: Tensor, top_k: Tensor | None, top_p: Tensor | None) -> Tensor:
    """[R, 1]: the lowest log-probability that top-k, then top-p, keep; −∞ for rows that ask for neither."""
    R, V = logp.shape
    k = torch.full((R, 1), V, device=logp.device) if top_k is None else top_k
    p = torch.ones(R, 1, device=logp.device) if top_p is None else top_p
    ordered = logp.topk(min(CANDIDATES, V), dim=-1).values
    enough = (k <= ordered.shape[1]) | (k == V) & ((p == 1) | (ordered.double().exp().sum(dim=-1, keepdim=True) > p))
    if not bool(enough.all()):
        ordered = logp.sort(dim=-1, descending=True).values
    rank = torch.arange(ordered.shape[1], device=logp.device)
    mass = ordered.double().exp().masked_fill(rank >= k, 0.0)
    total = torch.where(k == V, 1.0, mass.sum(dim=-1, keepdim=True))
    before = mass.cumsum(dim=-1) - mass
    kept = torch.where(p == 1, k, ((before < p * total) & (rank < k)).sum(dim=-1, keepdim=True))
    last = ordered.gather(1, kept.clamp(1, ordered.shape[1]) - 1)
    return last.masked_fill((k == V) & (p == 1), float("-inf"))
