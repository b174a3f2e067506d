"""The memory of keys and values: one flat pool of token slots.

A slot holds one token's keys and values at every site; a row of the batch is a list of slot ids. So sharing a prefix is counting a
reference, joining is concatenating lists, truncating is dropping a tail, and no key is ever moved.

Invariants: every slot is either free or has as many references as rows and cache entries that list it; `free + used == size` always,
and no tensor ever grows. Slot 0 is nobody's: padding reads and writes there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reasonry.lm.decoder import DecoderConfig
from reasonry.nn.attention import Site

Slots = np.ndarray
"""Slot ids, int64 [n]."""


class Pool:
    """`size` slots with reference counts. Not thread-safe: its engine's lock guards it."""

    def __init__(self, config: DecoderConfig, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.size = size
        self.heads = config.num_kv_heads
        """Hkv."""
        self._shape = (2 * config.num_kv_heads, size + 1, config.head_dim)
        self._dtype, self._device = dtype, device
        self._stores: dict[Site, Tensor] = {}
        self._references = np.zeros(size + 1, dtype=np.int32)
        self._stack = np.arange(size, 0, -1, dtype=np.int64)  # free slots; the top is the end, so low ones are used first
        self.free = size

    @property
    def used(self) -> int:
        """Slots with at least one reference."""
        return self.size - self.free

    def site_bytes(self) -> int:
        """Bytes one token takes at one site."""
        return self._shape[0] * self._shape[2] * self._dtype.itemsize

    def store(self, site: Site) -> Tensor:
        """Keys, then values, of a site: [2 · Hkv, size + 1, K]. Made at first use, so a layer run twice costs memory only then."""
        if site not in self._stores:
            self._stores[site] = torch.zeros(self._shape, dtype=self._dtype, device=self._device)
        return self._stores[site]

    def take(self, n: int) -> Slots:
        """`n` free slots, each with one reference. The caller has made sure that there are so many."""
        assert n <= self.free, (n, self.free)
        slots = self._stack[self.free - n : self.free].copy()
        self.free -= n
        self._references[slots] = 1
        return slots

    def take_one(self) -> int:
        """One free slot with one reference, by the short way: every row of every decoding step takes one."""
        self.free -= 1
        slot = int(self._stack[self.free])
        self._references[slot] = 1
        return slot

    def share(self, slots: Slots) -> None:
        """One more reference to each of `slots`, all different and in use."""
        assert (self._references[slots] > 0).all()
        self._references[slots] += 1

    def release(self, slots: Slots) -> None:
        """One reference less to each of `slots`, all different; those left with none are free."""
        assert (self._references[slots] > 0).all()
        self._references[slots] -= 1
        freed = slots[self._references[slots] == 0]
        self._stack[self.free : self.free + len(freed)] = freed
        self.free += len(freed)

    def references(self, slots: Slots | slice) -> np.ndarray:
        """How many hold each of `slots`."""
        return self._references[slots]
