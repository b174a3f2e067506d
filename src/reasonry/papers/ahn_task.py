"""A stream of notes: values are set under keys, asked for later, set anew; filler between. What has to be remembered is small.

Tokens: `keys` that set (the value follows), as many that ask (the answer follows), `values`, filler. Only answers are labelled; only keys
that have been set are asked. With many keys, each set once, it is a test of exact recall that a small state has no room for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from reasonry.accel.ahn.distil import Sequences


@dataclass(frozen=True)
class Notes:
    """One kind of stream."""

    keys: int = 8
    values: int = 16
    filler: int = 8
    length: int = 128
    sets: float = 0.25
    """Share of events that set a key; `asks` is the share that asks one; the rest is a filler token."""
    asks: float = 0.25
    once: bool = False
    """Every key is set once, in random order, before anything is asked."""
    vocab: int = 160

    def stream(self, rng: random.Random) -> tuple[list[int], list[int]]:
        """Token ids, and for each the distance in tokens to the value it repeats; 0 for what is not an answer."""
        held: dict[int, tuple[int, int]] = {}
        ids: list[int] = []
        far: list[int] = []
        order = rng.sample(range(self.keys), self.keys) if self.once else []
        while len(ids) < self.length - 1:
            event = rng.random()
            if self.once and order:
                event = 0.0
            elif self.once and event < self.sets:
                event = self.sets
            if event < self.sets:
                key, value = order.pop() if order else rng.randrange(self.keys), rng.randrange(self.values)
                held[key] = value, len(ids) + 1
                ids += [key, 2 * self.keys + value]
                far += [0, 0]
            elif event < self.sets + self.asks and held:
                key = rng.choice(list(held))
                value, at = held[key]
                ids += [self.keys + key, 2 * self.keys + value]
                far += [0, len(ids) - 1 - at]
            else:
                ids.append(2 * self.keys + self.values + rng.randrange(self.filler))
                far.append(0)
        return ids[: self.length] + [0] * (self.length - len(ids)), far[: self.length] + [0] * (self.length - len(far))

    def batch(self, rows: int, rng: random.Random) -> tuple[Sequences, Tensor]:
        """`rows` streams, and the distances [B, T] of their answers."""
        made = [self.stream(rng) for _ in range(rows)]
        far = torch.tensor([f for _, f in made])
        return Sequences(torch.tensor([i for i, _ in made]), far > 0), far
