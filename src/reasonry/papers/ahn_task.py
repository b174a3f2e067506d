"""A stream of notes: values are set under keys, asked for later, set anew; filler between. What has to be remembered is small.

A note is one token, key and value together; a question is one token, its answer the next; the rest is filler. Only answers are labelled,
and only keys that have been set are asked. With many keys, each set once, it is a test of exact recall that a small state has no room for.
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
    """In use, of `names`."""
    names: int = 32
    values: int = 16
    filler: int = 8
    length: int = 96
    sets: float = 0.3
    """Share of events that set a key; `asks` is the share that asks one; the rest is a filler token."""
    asks: float = 0.3
    once: bool = False
    """Every key is set once, in random order, before anything is asked; then there is no filler."""

    @property
    def vocab(self) -> int:
        """Kinds of tokens: notes, questions, answers, filler."""
        return self.names * self.values + self.names + self.values + self.filler

    def stream(self, rng: random.Random) -> tuple[list[int], list[int]]:
        """Token ids, and for each how many tokens ago the value it repeats was set; 0 for what is not an answer."""
        held: dict[int, tuple[int, int]] = {}
        ids: list[int] = []
        far: list[int] = []
        questions = self.names * self.values
        answers = questions + self.names
        order = rng.sample(range(self.keys), self.keys) if self.once else []
        while len(ids) < self.length - 1:
            event = rng.random()
            sets = bool(order) if self.once else event < self.sets
            if sets:
                key, value = order.pop() if order else rng.randrange(self.keys), rng.randrange(self.values)
                held[key] = value, len(ids)
                ids.append(key * self.values + value)
                far.append(0)
            elif held and (self.once or event < self.sets + self.asks):
                key = rng.choice(list(held))
                value, at = held[key]
                ids += [questions + key, answers + value]
                far += [0, len(ids) - 1 - at]
            else:
                ids.append(answers + self.values + rng.randrange(self.filler))
                far.append(0)
        spare = self.length - len(ids)
        return ids + [answers + self.values] * spare, far + [0] * spare

    def batch(self, rows: int, rng: random.Random) -> tuple[Sequences, Tensor]:
        """`rows` streams, and the distances [B, T] of their answers."""
        made = [self.stream(rng) for _ in range(rows)]
        far = torch.tensor([f for _, f in made])
        return Sequences(torch.tensor([i for i, _ in made]), far > 0), far
