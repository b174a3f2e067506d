"""A row: tokens, their positions, and the slots of those already computed. And a job: what is asked of a row.

Invariant: `computed == number of slots ≤ len(ids)`; between jobs at most the tokens not yet attended to are pending.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from reasonry.core import Cost, Sampling, Stop
from reasonry.lm.decoder import DecoderConfig, Program
from reasonry.lm.engine.flops import forward_flops
from reasonry.lm.engine.pool import Slots
from reasonry.lm.engine.sampler import Draws
from reasonry.lm.engine.text import Text

if TYPE_CHECKING:
    from reasonry.lm.engine.lanes import Bank


class Row:
    """Mutable; belongs to one engine. `program` is which blocks its tokens run through, `None` for all."""

    def __init__(self, ids: list[int], program: Program | None = None) -> None:
        self.ids = ids
        self.positions = list(range(len(ids)))
        self.top = len(ids) - 1
        """The largest position; −1 for none."""
        self.thoughts = [0] * len(ids)
        """Which thought embedding each token's key and value get, where the model has such."""
        self.program = program
        self.computed = 0
        """Tokens whose keys and values are in the pool, counted from the front."""
        self.hidden: Tensor | None = None
        """[D], the final hidden state of the last computed token; `None` when it was not kept."""
        self.joined = False
        """Whether it attends to rows its tokens did not: then it cannot be computed again from `ids`."""
        self.moved = False
        """Whether a token has another position than its index."""
        self.tagged = False
        """Whether a token has another thought than 0."""
        self.whole = False
        """Whether the first tokens are computed in one step, for they decide `program` on the way; until then nobody shares a prefix."""
        self.fresh = 0
        """How many pending tokens were sampled (0 or 1): computing those is decoding, computing others is prefill."""
        self.version = 0
        """The cache's version when its first key was computed."""
        self.bank: Bank | None = None
        self.lane = 0
        """Where its keys and values also stand side by side, when `bank` is not None; see `lanes`."""
        self.filled = 0
        """How many of them, from the front."""
        self.job: Job | None = None
        """What is being done to it."""
        self._slots = np.empty(64, dtype=np.int64)
        self._held = 0

    @property
    def slots(self) -> Slots:
        """[held] slots, computed ones first; during a step also those its new tokens will fill."""
        return self._slots[: self._held]

    @property
    def pending(self) -> int:
        """Tokens not computed yet."""
        return len(self.ids) - self.computed

    @property
    def plain(self) -> bool:
        """Whether its keys are those any row with these ids and its program would compute: positions 0, 1, 2, …, thought 0, nothing
        joined."""
        return not (self.joined or self.moved or self.tagged or self.whole)

    def copy(self) -> Row:
        """A row with the same tokens and the same slots, whose references the caller counts."""
        other = Row(self.ids.copy(), self.program)
        other.positions, other.thoughts = self.positions.copy(), self.thoughts.copy()
        other.add_slots(self.slots)
        for name in ("top", "computed", "hidden", "joined", "moved", "tagged", "fresh", "version"):
            setattr(other, name, getattr(self, name))
        return other

    def add_slots(self, slots: Slots) -> None:
        """Lists more slots, after those it has."""
        held = self._held + len(slots)
        if held > len(self._slots):
            grown = np.empty(max(held, 2 * len(self._slots)), dtype=np.int64)
            grown[: self._held] = self.slots
            self._slots = grown
        self._slots[self._held : held] = slots
        self._held = held

    def add_slot(self, slot: int) -> None:
        """Lists one more slot."""
        if self._held == len(self._slots):
            self._slots = np.concatenate((self._slots, np.empty_like(self._slots)))
        self._slots[self._held] = slot
        self._held += 1

    def drop_slots(self, keep: int) -> Slots:
        """Forgets all slots but the first `keep` and gives them to the caller, who releases them."""
        dropped = self.slots[keep:].copy()
        self._held = min(self._held, keep)
        self.computed = min(self.computed, keep)
        self.filled = min(self.filled, keep)
        return dropped

    def add_sampled(self, id: int) -> None:
        """Appends a token sampled after the last, with its thought."""
        self.ids.append(id)
        self.thoughts.append(self.thoughts[-1])
        self.top += 1
        self.positions.append(self.top)
        self.fresh = 1

    def add_ids(self, ids: list[int], positions: list[int] | None = None, thought: int | None = None) -> None:
        """Appends tokens, by default at the positions after the largest so far, with the last token's thought (0 for a first one)."""
        if thought is None:
            thought = self.thoughts[-1] if self.thoughts else 0
        self.thoughts.extend([thought] * len(ids))
        self.tagged |= bool(ids) and thought != 0
        if positions is None:
            positions = list(range(self.top + 1, self.top + 1 + len(ids)))
        else:
            self.moved |= positions != list(range(len(self.ids), len(self.ids) + len(ids)))
        self.ids.extend(ids)
        self.positions.extend(positions)
        self.top = max(self.top, *positions) if positions else self.top


@dataclass(eq=False)
class Job:
    """Something asked of a row: compute what is pending, then sample, hand back logits, or score. Mutable; ends once."""

    row: Row
    steered: bool = False
    """Whether the row outlives the job (a `Sequence` handle): then its slots stay when the job ends."""
    sampling: Sampling | None = None
    """How to sample; `None`: nothing is sampled."""
    end_ids: frozenset[int] = frozenset()
    """Ids that end a completion as the model's own end of turn."""
    text: Text | None = None
    """Watches for stop strings and pieces of text; `None` where neither is asked for."""
    score_from: int | None = None
    """Log-probabilities of `ids[score_from:]` are wanted."""
    score_top: int = 0
    """How many alternatives to report beside each scored token."""
    wants_logits: bool = False
    streams: bool = False
    """Whether each step reports it, not only its end."""
    on_change: Callable[[Job], None] | None = None
    """Called in the driver's thread when it ended, or, if it streams, grew."""

    prompt: int = 0
    """Context tokens it is priced for: all in the row when asked, or what a handle has appended since."""
    calls: int = 1
    first_draw: int = 0
    """Number of the first token sampled, for its random number."""
    draws: Draws | None = None
    stop: Stop | None = None
    """`None` until it ends."""
    error: Exception | None = None
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    sampler_logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[dict[int, float]] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """The engine's `version` at each of `sampled`."""
    logits: Tensor | None = None
    """[V], when wanted."""

    prefilled: int = 0
    decoded: int = 0
    pairs: int = 0
    heads: int = 0
    peak: int = 0
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if not self.steered:
            self.prompt = len(self.row.ids)
        if self.sampling is not None:
            self.draws = Draws(self.sampling.seed)

    def cost(self, config: DecoderConfig, site_bytes: int) -> Cost:
        """What it spent so far. A shared prefix counts in the peak of each who holds it; only who computed it pays its operations."""
        layers = config.num_layers if self.row.program is None else len(self.row.program)
        computed = self.prefilled + self.decoded
        return Cost(
            prompt_tokens=self.prompt,
            completion_tokens=len(self.sampled),
            prefill_tokens=self.prefilled,
            calls=self.calls,
            flops=forward_flops(config, computed, self.pairs, self.heads, layers),
            peak_kv_bytes=self.peak * layers * site_bytes,
            layers_run=computed * layers,
            seconds=time.perf_counter() - self.began,
        )
