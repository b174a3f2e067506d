"""What one pass of a patched model attends to: the first `sinks` tokens and the last `size`, exactly, and a state that holds the others.

Invariant: of all tokens seen, each is in exactly one of three places. Token j < sinks is a sink. Token j ≥ sinks is in the window of query
t while t − j < size, and was written into the state, once and in order, before any query t ≥ j + size read it. So a context of at most
sinks + size tokens never touches the state, and attention is the base model's.

Keys stand where they were rotated, so the order of the rows that hold them is of no account: token j ≥ sinks stands in row
sinks + (j − sinks) mod size, and is written over by token j + size, at the very step that writes it into the state.

Blocks that the adapter leaves with full attention keep every token's keys, token j in row j.

Letters: B rows, T new tokens, R = sinks + size kept rows, Hq, Hkv, K head size, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.accel.ahn.adapter import Adapter
from reasonry.accel.ahn.cell import Hippocampus
from reasonry.accel.ahn.kernels import fastest
from reasonry.core import UserError
from reasonry.nn.attention import Site, attention

Edit = Callable[[Tensor], Tensor]
"""Values [B, Hkv, T, K] about to be written -> those that are. For controls: another row's, none."""


def as_they_are(v: Tensor) -> Tensor:
    """Nothing changed."""
    return v


@dataclass(frozen=True)
class Window:
    """How much is kept without loss."""

    size: int
    """Tokens of the sliding window, the query's own included, the sinks not."""
    sinks: int = 0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"window: size is {self.size} but must be at least 1")
        if self.sinks < 0:
            raise UserError(f"window: sinks is {self.sinks} but must be at least 0")

    @property
    def rows(self) -> int:
        """R."""
        return self.sinks + self.size

    def holds(self, seen: Tensor) -> Tensor:
        """The token that stands in each row after `seen` [B] tokens, −1 for none: [B, R]."""
        row = torch.arange(self.rows, device=seen.device)
        m = seen[:, None] - self.sinks
        late = self.sinks + m - 1 - (m - 1 - (row - self.sinks)) % self.size
        token = torch.where(row < self.sinks, row, late)
        return torch.where((token < torch.where(row < self.sinks, 0, self.sinks)) | (token >= seen[:, None]), -1, token)


@dataclass(frozen=True)
class Kept:
    """What one block keeps between passes."""

    kv: Tensor
    """Keys, then values: [2, B, R, Hkv, K]."""
    gates: Tensor
    """log a, then b, of the tokens in the window: [2, B, R, Hq]."""
    state: Tensor
    """[B, Hq, K, K], fp32."""

    def rows(self, which: Tensor) -> Kept:
        """Those rows, in that order; a row may come twice."""
        return Kept(self.kv[:, which], self.gates[:, which], self.state[which])

    def beside(self, other: Kept) -> Kept:
        """These rows, then the other's."""
        return Kept(*(torch.cat(pair, dim=d) for pair, d in zip(self._pairs(other), (1, 1, 0), strict=True)))

    def _pairs(self, other: Kept) -> list[tuple[Tensor, Tensor]]:
        return [(self.kv, other.kv), (self.gates, other.gates), (self.state, other.state)]


@dataclass(frozen=True)
class Whole:
    """What a block with full attention keeps between passes."""

    kv: Tensor
    """Keys, then values: [2, B, S, Hkv, K], token j in row j; S grows."""

    def rows(self, which: Tensor) -> Whole:
        """As `Kept.rows`."""
        return Whole(self.kv[:, which])

    def beside(self, other: Whole) -> Whole:
        """As `Kept.beside`."""
        S = max(self.kv.shape[2], other.kv.shape[2])
        return Whole(torch.cat((self.holding(S).kv, other.holding(S).kv), dim=1))

    def holding(self, rows: int) -> Whole:
        """With room for so many tokens at least; room is doubled, so that growing costs little."""
        S = self.kv.shape[2]
        return self if rows <= S else Whole(F.pad(self.kv, (0, 0, 0, 0, 0, max(rows, 2 * S) - S)))


@dataclass(frozen=True)
class Pass:
    """Where the tokens of one pass stand and what they look at: the same for every block, so worked out once."""

    new: Tensor
    """[B, T] their places in the text."""
    rows: Tensor
    """[B, 1] 0, 1, …"""
    where: Tensor
    """[B, T] the kept row that each takes."""
    place: Tensor
    """[B, T] where the token that leaves with each stands, among kept keys and then new ones; 0 where none does."""
    written: Tensor
    """[B, T] whether one leaves."""
    far: Tensor
    """[B, T] how many have left, over R."""
    near: Tensor | None
    """[B or 1, 1, T, S] the keys each looks at; `None`: all of them."""
    leaves: bool
    """Whether any leaves."""
    old: bool
    """Whether keys kept before are looked at."""
    own: bool
    """Whether the new tokens' stand by themselves after them; a single token's has taken its place among them already."""


class Memory:
    """An `Attend` that remembers: hand it to `Decoder.forward` for tokens that follow those it has `seen`, then call `advance`.

    `write` false leaves the state empty (a plain window with sinks). With `keeps` false nothing is stored, for one pass over whole
    sequences, as in training; otherwise a pass has at most `window.size` tokens.
    """

    def __init__(
        self, adapter: Adapter, window: Window, rows: int, write: bool = True, keeps: bool = True, edit: Edit = as_they_are
    ) -> None:
        self.adapter, self.window, self.write, self.keeps, self.edit = adapter, window, write, keeps, edit
        self.seen = torch.zeros(rows, dtype=torch.int64, device=adapter.device)
        """[B] tokens of each row so far."""
        self.evicted = 0
        """Tokens written into states so far, over rows, of one block: more than 0, or the memory was never used."""
        self._kept: dict[Site, Kept] = {}
        self._whole: dict[Site, Whole] = {}
        self._pass: Pass | None = None

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """x [B, T, D], q [B, T, Hq, K], k and v [B, T, Hkv, K] -> [B, T, Hq, K]."""
        if self._pass is None or self._pass.new.shape[1] != q.shape[1]:
            self._pass = self._places(q.shape[1])
        at, kv = self._pass, torch.stack((k, v))
        if (cell := self.adapter.cell(site.layer)) is None:
            return self._everything(site, q, kv, at.new)
        gates = torch.stack(cell.gates(x)).mT
        kept, new = None, (kv, gates)
        if self.keeps:
            kept = self._kept[site] if site in self._kept else self._empty(q, k)
            if at.old:
                kv = torch.cat((kept.kv, kv), dim=2) if at.own else kept.kv
                gates = torch.cat((kept.gates, gates), dim=2) if at.own else kept.gates
        gone = kv[:, at.rows, at.place], gates[:, at.rows, at.place]
        if kept is not None:
            kept.kv[:, at.rows, at.where], kept.gates[:, at.rows, at.where] = new
            self._kept[site] = kept
        out = attention(q, kv[0], kv[1], mask=at.near)
        if not at.leaves or not self.write:
            return out
        state = q.new_zeros(len(q), q.shape[2], q.shape[3], q.shape[3], dtype=torch.float32) if kept is None else kept.state
        read, state = self._recall(cell, x, q, *gone, at, state)
        if kept is not None:
            self._kept[site] = replace(kept, state=state)
        return out + read

    def advance(self, n: int) -> None:
        """`n` more tokens of every row have been through all blocks."""
        before = (self.seen - self.window.rows).clamp(min=0)
        self.seen, self._pass = self.seen + n, None
        self.evicted += self.write * int(((self.seen - self.window.rows).clamp(min=0) - before).sum())

    def take(self, rows: Tensor) -> Memory:
        """Those rows [n], in that order, as a memory of their own."""
        other = Memory(self.adapter, self.window, len(rows), self.write, self.keeps, self.edit)
        other.seen = self.seen[rows]
        other._kept = {site: kept.rows(rows) for site, kept in self._kept.items()}
        other._whole = {site: whole.rows(rows) for site, whole in self._whole.items()}
        return other

    def beside(self, other: Memory) -> Memory:
        """These rows, then the other's; both have been through the same blocks."""
        both = Memory(self.adapter, self.window, 0, self.write, self.keeps, self.edit)
        both.seen = torch.cat((self.seen, other.seen))
        both._kept = {site: kept.beside(other._kept[site]) for site, kept in self._kept.items()}
        both._whole = {site: whole.beside(other._whole[site]) for site, whole in self._whole.items()}
        return both

    def _everything(self, site: Site, q: Tensor, kv: Tensor, new: Tensor) -> Tensor:
        """Full attention for the tokens `new` [B, T], keys and values kv [2, B, T, Hkv, K]."""
        if not self.keeps:
            return attention(q, kv[0], kv[1], causal=True)
        S = int(new[:, -1].max()) + 1
        whole = (self._whole[site] if site in self._whole else Whole(kv[:, :, :0])).holding(S)
        whole.kv[:, torch.arange(len(new), device=new.device)[:, None], new] = kv
        self._whole[site] = whole
        seen = torch.arange(S, device=new.device) <= new[:, :, None]
        return attention(q, whole.kv[0, :, :S], whole.kv[1, :, :S], mask=seen[:, None])

    def _recall(self, cell: Hippocampus, x: Tensor, q: Tensor, kv: Tensor, gates: Tensor, at: Pass, state: Tensor) -> tuple[Tensor, Tensor]:
        """What every query reads from the state once the token that leaves with it is written, [B, T, Hq, K], and the state after.

        kv [2, B, T, Hkv, K] and gates [2, B, T, Hq] are of the tokens that leave.
        """
        groups = q.shape[2] // kv.shape[3]
        k, v = kv.transpose(2, 3).float()
        log_a, b = torch.where(at.written[None, :, None], gates.mT, 0.0)
        each = lambda y: y.repeat_interleave(groups, dim=1)  # noqa: E731
        query = F.normalize(q.transpose(1, 2).float(), dim=-1) * q.shape[-1] ** -0.5
        write = fastest(type(cell).write, q.device)
        read, state = write(query, each(F.normalize(k, dim=-1)), each(self.edit(v)), log_a, b, state)
        y = cell.read(x, read, at.far)
        return torch.where(at.written[:, :, None, None], y, torch.zeros_like(y)), state

    def _places(self, T: int) -> Pass:
        """Of the next T tokens."""
        w = self.window
        if self.keeps and w.size < T:
            raise ValueError(f"a pass of {T} tokens through a window of {w.size}; hand them over in pieces")
        device = self.seen.device
        new = self.seen[:, None] + torch.arange(T, device=device)
        old = self.keeps and bool(self.seen.any())
        own, held = T > 1 or not old, w.rows if old else 0
        tokens = new[:1]
        if old:
            tokens = torch.cat((w.holds(self.seen), new), dim=1) if own else w.holds(self.seen + 1)
        t, j = new[: len(tokens), :, None], tokens[:, None, :]
        near = (j >= 0) & (j <= t) & ((j < w.sinks) | (t - j < w.size))
        leaving = new - w.size
        written = leaving >= w.sinks
        row = w.sinks + (leaving - w.sinks) % w.size
        behind = leaving - self.seen[:, None]
        place = torch.where(written, torch.where(behind >= 0, held + behind, row), 0)
        where = torch.where(new < w.sinks, new, w.sinks + (new - w.sinks) % w.size)
        far = (leaving - w.sinks + 1).clamp(min=1) / w.rows
        rows = torch.arange(len(new), device=device)[:, None]
        return Pass(new, rows, where, place, written, far, None if bool(near.all()) else near[:, None], bool(written.any()), old, own)

    def _empty(self, q: Tensor, k: Tensor) -> Kept:
        B, K, R = len(q), q.shape[3], self.window.rows
        return Kept(
            k.new_zeros(2, B, R, k.shape[2], K), q.new_zeros(2, B, R, q.shape[2], dtype=torch.float32),
            q.new_zeros(B, q.shape[2], K, K, dtype=torch.float32),
        )  # fmt: skip
