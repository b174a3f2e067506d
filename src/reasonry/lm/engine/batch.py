"""One step's rows as tensors, and what they attend to.

A step is *flat*: the new tokens of all rows, one after another, as a single row of N tokens, so that nothing but attention is ever
padded. Rows with about as many new tokens and keys form a group; a group reads its keys from the pool by slot and attends with all its
rows at once.

Invariant (fp32, CPU, one thread): a token's numbers do not depend on the other rows, on how its context was cut into steps, or on
whether a cache held part of it. Matrix products are not row-invariant in general; they were measured to be so on x86-64 with MKL
under three rules, which this file keeps: never fewer than `LEAST` rows in a product; keys padded to a multiple of `KEYS` with scores
of −∞; weighted sums of values taken over `SPAN` keys at a time, in order. `tests/lm/test_engine_bits.py` fails where that is not so.

Letters: N tokens of the step, R rows of a group, T most new tokens of a row, S keys, Hq, Hkv, G = Hq/Hkv, K.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.lm.engine.pool import Pool
from reasonry.lm.engine.row import Row
from reasonry.nn.attention import Site

LEAST = 4
KEYS = 16
SPAN = 128


@dataclass(frozen=True)
class Group:
    """Rows that attend together."""

    start: int
    """Where the group's tokens begin in the flat step."""
    tokens: int
    """How many there are."""
    keys: Tensor
    """Slots of each row's keys, padded with slot 0: [R · S]."""
    mask: Tensor
    """0 or −∞: [R, 1, T, S]."""
    spread: Tensor | None
    """Flat token of each [R, T] place, from `start`; `None` where T is 1 and the tokens are the rows."""
    gather: Tensor | None
    """Place in [R · T] of each of the group's tokens; `None` likewise."""


@dataclass(frozen=True)
class Batch:
    """The new tokens of one step, and, as an `Attend`, what each may look at."""

    ids: Tensor
    """[1, N]."""
    positions: Tensor
    """[1, N]."""
    slots: Tensor
    """Where each token's keys and values go: [N]."""
    groups: tuple[Group, ...]
    pool: Pool

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Stores k and v, then attends: q [1, N, Hq, K], k and v [1, N, Hkv, K] -> [1, N, Hq, K]."""
        store = self.pool.store(site)
        store.index_copy_(1, self.slots, torch.cat((k[0], v[0]), dim=1).transpose(0, 1))
        parts = [_attend(group, store, q[0, group.start : group.start + group.tokens]) for group in self.groups]
        missing = q.shape[1] - sum(group.tokens for group in self.groups)
        if missing:
            parts.append(q.new_zeros(missing, *q.shape[2:]))
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[None]


def build(rows: Seq[tuple[Row, int]], pool: Pool, device: torch.device) -> tuple[Batch, list[int]]:
    """The step that computes the next n ≥ 1 tokens of each (row, n), whose slots are taken already; and the flat index of each row's last token."""
    classes: dict[tuple[int, int], list[int]] = {}
    for i, (row, n) in enumerate(rows):
        classes.setdefault(_class(row.computed + n, n), []).append(i)
    total = sum(n for _, n in rows)
    ids, positions, slots = flat = np.zeros((3, max(total, LEAST)), dtype=np.int64)
    last, groups, at = [0] * len(rows), [], 0
    for _, members in sorted(classes.items()):
        groups.append(_group([rows[i] for i in members], at, device))
        for i in members:
            row, n = rows[i]
            a, b = row.computed, row.computed + n
            ids[at : at + n] = row.ids[a:b]
            positions[at : at + n] = row.positions[a:b]
            slots[at : at + n] = row.slots[a:b]
            at += n
            last[i] = at - 1
    tensors = torch.from_numpy(flat).to(device)
    return Batch(tensors[0:1], tensors[1:2], tensors[2], tuple(groups), pool), last


def _class(keys: int, new: int) -> tuple[int, int]:
    """Rows of one class attend together. Sizes within a factor of two, so that at most half of a group's work is padding."""
    return (new - 1).bit_length(), max((keys - 1).bit_length(), 8)


def _group(rows: Seq[tuple[Row, int]], start: int, device: torch.device) -> Group:
    most = max(n for _, n in rows)
    T = 1 if most == 1 else max(most, LEAST)
    S = -(-max(row.computed + n for row, n in rows) // KEYS) * KEYS
    keys = np.zeros((len(rows), S), dtype=np.int64)
    for i, (row, n) in enumerate(rows):
        keys[i, : row.computed + n] = row.slots[: row.computed + n]
    past = np.array([row.computed for row, _ in rows])
    sees = torch.from_numpy(past[:, None] + np.arange(1, T + 1)).to(device)
    mask = torch.zeros(len(rows), 1, T, S, device=device)
    mask.masked_fill_(torch.arange(S, device=device) >= sees[:, None, :, None], float("-inf"))
    spread = gather = None
    if T > 1:
        lengths = np.array([n for _, n in rows])
        real = np.arange(T) < lengths[:, None]
        place = np.zeros((len(rows), T), dtype=np.int64)
        place[real] = np.arange(lengths.sum())
        spread = torch.from_numpy(place).to(device)
        gather = torch.from_numpy(np.flatnonzero(real)).to(device)
    return Group(start, sum(n for _, n in rows), torch.from_numpy(keys.reshape(-1)).to(device), mask, spread, gather)


def _attend(group: Group, store: Tensor, q: Tensor) -> Tensor:
    """q [tokens, Hq, K] of a group's tokens -> [tokens, Hq, K]."""
    R, _, T, S = group.mask.shape
    Hq, K = q.shape[1:]
    Hkv = store.shape[0] // 2
    found = store.index_select(1, group.keys).view(2, Hkv, R, S, K)
    placed = (q if group.spread is None else q[group.spread]).view(R, T, Hkv, Hq // Hkv, K)
    attend = _exact if q.dtype == torch.float32 and q.device.type == "cpu" else _fused
    out = attend(placed, found[0], found[1], group.mask).reshape(R * T, Hq, K)
    return out if group.gather is None else out[group.gather]


def _exact(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention by the rules above: q [R, T, Hkv, G, K], k and v [Hkv, R, S, K], mask [R, 1, T, S] -> [R, T, Hkv, G, K]."""
    R, T, Hkv, G, K = q.shape
    S = k.shape[2]
    queries = (q * K**-0.5).permute(2, 0, 3, 1, 4)
    if G * T < LEAST:
        queries = torch.cat((queries, queries.new_zeros(Hkv, R, LEAST - G * T, T, K)), dim=2)
    rows = queries.shape[2] * T
    k, v = k.reshape(Hkv * R, S, K), v.reshape(Hkv * R, S, K)
    scores = torch.bmm(queries.reshape(Hkv * R, rows, K), k.transpose(1, 2))
    scores.view(Hkv, R, rows // T, T, S).add_(mask)
    weights = scores.softmax(dim=-1)
    out = torch.bmm(weights[..., :SPAN], v[:, :SPAN])
    for s in range(SPAN, S, SPAN):
        out.baddbmm_(weights[..., s : s + SPAN], v[:, s : s + SPAN])
    return out.view(Hkv, R, rows // T, T, K)[:, :, :G].permute(1, 3, 0, 2, 4)


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The same by the device's fused kernel, for half precision and for CUDA, where no bits are promised."""
    R, T, Hkv, G, K = q.shape
    out = F.scaled_dot_product_attention(
        q.reshape(R, T, Hkv * G, K).transpose(1, 2),
        k.transpose(0, 1),
        v.transpose(0, 1),
        attn_mask=mask.to(q.dtype),
        enable_gqa=G > 1,
    )
    return out.transpose(1, 2).view(R, T, Hkv, G, K)
