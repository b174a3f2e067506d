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

from reasonry.lm.engine.lanes import Bank, Lanes
from reasonry.lm.engine.pool import Pool
from reasonry.lm.engine.row import Row
from reasonry.nn.attention import Site

LEAST = 4
KEYS = 16
SPAN = 128


@dataclass(frozen=True)
class Group:
    """Rows that attend together, their keys read by slot."""

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

    def attend(self, site: Site, store: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        """q [tokens, Hq, K] of the group's tokens -> [tokens, Hq, K]; `store` is the pool's, new tokens in it."""
        R, _, T, S = self.mask.shape
        Hq, K = q.shape[1:]
        Hkv = store.shape[0] // 2
        found = store.index_select(1, self.keys).view(2, Hkv, R, S, K).transpose(1, 2)
        placed = q[:, None] if self.spread is None else q[self.spread]
        out = attention(placed, found[0], found[1], self.mask).reshape(R * T, Hq, K)
        return out if self.gather is None else out[self.gather]


@dataclass(frozen=True)
class Lined:
    """Rows of a bank, one new token each, their keys read where they stand."""

    start: int
    tokens: int
    bank: Bank
    mask: Tensor
    """0 or −∞: [R, 1, 1, S]."""
    places: Tensor
    """Where the new tokens go in the bank's store: [R · Hkv]."""
    missing_places: Tensor
    missing_slots: Tensor
    """Tokens computed before that are not in the bank yet: where they go [Hkv · n], and their slots [n]."""

    def attend(self, site: Site, store: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        """q [R, Hq, K], kv [2, R, Hkv, K] -> [R, Hq, K]; the new tokens are added to the bank."""
        R, _, _, S = self.mask.shape
        Hkv, K = kv.shape[2:]
        lined = self.bank.store(site, store)
        if len(self.missing_slots):
            lined.index_copy_(1, self.missing_places, store.index_select(1, self.missing_slots).view(2, -1, K))
        lined.index_copy_(1, self.places, kv.reshape(2, R * Hkv, K))
        k, v = lined.view(2, self.bank.lanes, Hkv, self.bank.width, K)[:, :R, :, :S]
        return attention(q[:, None], k, v, self.mask)[:, 0]


@dataclass(frozen=True)
class Batch:
    """The new tokens of one step, and, as an `Attend`, what each may look at."""

    ids: Tensor
    """[1, N]."""
    positions: Tensor
    """[1, N]."""
    slots: Tensor
    """Where each token's keys and values go: [N]."""
    groups: tuple[Group | Lined, ...]
    pool: Pool
    thoughts: Tensor | None
    """[1, N]; `None` where the model has no thought embeddings."""

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Stores k and v, then attends: q [1, N, Hq, K], k and v [1, N, Hkv, K] -> [1, N, Hq, K]."""
        return self.attend(site, q[0], torch.cat((k, v)))[None]

    def attend(self, site: Site, q: Tensor, kv: Tensor) -> Tensor:
        """The same for q [N, Hq, K] and kv [2, N, Hkv, K] -> [N, Hq, K]."""
        store = self.pool.store(site)
        store.view(2, kv.shape[2], -1, kv.shape[3]).index_copy_(2, self.slots, kv.transpose(1, 2))
        if len(self.groups) == 1 and self.groups[0].tokens == len(q):
            return self.groups[0].attend(site, store, q, kv)
        parts = []
        for group in self.groups:
            here = slice(group.start, group.start + group.tokens)
            parts.append(group.attend(site, store, q[here], kv[:, here]))
        parts.append(q.new_zeros(len(q) - sum(group.tokens for group in self.groups), *q.shape[1:]))
        return torch.cat(parts)


def build(
    rows: Seq[tuple[Row, int]], pool: Pool, lanes: Lanes | None, device: torch.device, thinks: bool = False
) -> tuple[Batch, list[int]]:
    """The step that computes the next n ≥ 1 tokens of each (row, n), whose slots are taken already; and where in it each row's tokens end.

    `lanes` is None where rows are to be read by slot alone; `thinks`: the model has thought embeddings.
    """
    index = {id(row): i for i, (row, _) in enumerate(rows)}
    banks, loose = ([], []) if lanes is None else lanes.seat([row for row, n in rows if n == 1])
    order: list[tuple[Row, int]] = []
    groups: list[Group | Lined] = []
    for bank in banks:
        groups.append(_lined(bank, len(order), pool.heads, device))
        order += [(row, 1) for row in bank.rows]
    classes: dict[tuple[int, int], list[tuple[Row, int]]] = {}
    for row, n in rows if lanes is None else [*((row, 1) for row in loose), *(one for one in rows if one[1] > 1)]:
        classes.setdefault(_class(row.computed + n, n), []).append((row, n))
    at = len(order)
    for _, members in sorted(classes.items()):
        groups.append(_group(members, at, device))
        order += members
        at += groups[-1].tokens
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    ends = [0] * len(rows)
    for row, n in order:
        a = row.computed
        if n == 1:
            ids.append(row.ids[a])
            positions.append(row.positions[a])
            slots.append(int(row.slots[a]))
        else:
            ids += row.ids[a : a + n]
            positions += row.positions[a : a + n]
            slots += row.slots[a : a + n].tolist()
        ends[index[id(row)]] = len(ids) - 1
    padding = [0] * max(LEAST - at, 0)
    flat = torch.tensor([ids + padding, positions + padding, slots + padding], dtype=torch.int64, device=device)
    thoughts = None
    if thinks:
        each = [t for row, n in order for t in row.thoughts[row.computed : row.computed + n]]
        thoughts = torch.tensor([each + padding], dtype=torch.int64, device=device)
    return Batch(flat[0:1], flat[1:2], flat[2], tuple(groups), pool, thoughts), ends


def _class(keys: int, new: int) -> tuple[int, int]:
    """Rows of one class attend together. Sizes within a factor of two, so that at most half of a group's work is padding."""
    return (new - 1).bit_length(), max((keys - 1).bit_length(), 8)


def _mask(sees: np.ndarray, S: int, device: torch.device) -> Tensor:
    """0 for the first `sees` keys, −∞ for the others: sees [R, T] -> [R, 1, T, S]."""
    limit = torch.from_numpy(sees).to(device)[:, None, :, None]
    return torch.zeros(*limit.shape[:3], S, device=device).masked_fill_(torch.arange(S, device=device) >= limit, float("-inf"))


def _padded(keys: int) -> int:
    return -(-keys // KEYS) * KEYS


def _lined(bank: Bank, start: int, heads: int, device: torch.device) -> Lined:
    R, width = len(bank.rows), bank.width
    past = np.array([row.computed for row in bank.rows])
    head = np.arange(heads) * width
    lane = np.arange(R)[:, None] * heads * width + head
    lacking, slots = bank.missing()
    missing_places = head[:, None] + (lacking // width * heads * width + lacking % width)
    for row in bank.rows:
        row.filled += 1
    places = lane + past[:, None]
    return Lined(
        start, R, bank, _mask(past[:, None] + 1, _padded(int(past.max()) + 1), device), torch.from_numpy(places.reshape(-1)).to(device),
        torch.from_numpy(missing_places.reshape(-1)).to(device), torch.from_numpy(slots).to(device),
    )  # fmt: skip


def _group(rows: Seq[tuple[Row, int]], start: int, device: torch.device) -> Group:
    most = max(n for _, n in rows)
    T = 1 if most == 1 else max(most, LEAST)
    S = _padded(max(row.computed + n for row, n in rows))
    keys = np.zeros((len(rows), S), dtype=np.int64)
    for i, (row, n) in enumerate(rows):
        keys[i, : row.computed + n] = row.slots[: row.computed + n]
    past = np.array([row.computed for row, _ in rows])
    spread = gather = None
    if T > 1:
        lengths = np.array([n for _, n in rows])
        real = np.arange(T) < lengths[:, None]
        place = np.zeros((len(rows), T), dtype=np.int64)
        place[real] = np.arange(lengths.sum())
        spread = torch.from_numpy(place).to(device)
        gather = torch.from_numpy(np.flatnonzero(real)).to(device)
    mask = _mask(past[:, None] + np.arange(1, T + 1), S, device)
    return Group(start, sum(n for _, n in rows), torch.from_numpy(keys.reshape(-1)).to(device), mask, spread, gather)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q kᵀ / √K + mask) v: q [R, T, Hq, K], k and v [R, Hkv, S, K], mask [R, 1, T, S] -> [R, T, Hq, K]."""
    if q.dtype == torch.float32 and q.device.type == "cpu":
        return _exact(q, k, v, mask)
    grouped = q.shape[2] != k.shape[1]
    return F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=mask.to(q.dtype), enable_gqa=grouped).transpose(1, 2)


def _exact(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The same by the rules at the top of this file."""
    R, T, Hq, K = q.shape
    Hkv, S = k.shape[1:3]
    queries = q.unflatten(2, (Hkv, -1)).transpose(1, 2)
    G = queries.shape[3]
    if T * G < LEAST:
        queries = F.pad(queries, (0, 0, 0, LEAST - G))
    rows = queries.shape[3]
    k, v = k.reshape(R * Hkv, S, K), v.reshape(R * Hkv, S, K)
    hidden = mask.unsqueeze(3).expand(R, Hkv, T, rows if T > 1 else 1, S).reshape(R * Hkv, -1, S)
    scores = torch.baddbmm(hidden, queries.reshape(R * Hkv, T * rows, K), k.transpose(1, 2), alpha=K**-0.5)
    weights = scores.softmax(dim=-1)
    out = torch.bmm(weights[..., :SPAN], v[:, :SPAN])
    for s in range(SPAN, S, SPAN):
        out.baddbmm_(weights[..., s : s + SPAN], v[:, s : s + SPAN])
    return out.view(R, Hkv, T, -1, K)[..., :G, :].transpose(1, 2).reshape(R, T, Hq, K)
