"""Reductions over ragged data: sums, means and recurrences inside groups, without padding and without a loop over tokens.

Letters: X items, n groups, L items of the longest run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which of `n` groups each of X items belongs to."""

    of: Tensor
    """[X] int64, each in 0 … n−1. Groups may be empty."""
    n: int

    def count(self) -> Tensor:
        """Items in each group, [n] int64."""
        return torch.bincount(self.of, minlength=self.n)

    def sum(self, x: Tensor) -> Tensor:
        """Σ of x inside each group; x [X] -> [n]. Differentiable."""
        return x.new_zeros(self.n).index_add(0, self.of, x)

    def mean(self, x: Tensor) -> Tensor:
        """Mean of x inside each group; x [X] -> [n]; 0 for an empty group. Differentiable."""
        return self.sum(x) / self.count().clamp(min=1)

    def min(self, x: Tensor) -> Tensor:
        """Least x inside each group; x [X] -> [n]; +∞ for an empty group."""
        return x.new_full((self.n,), torch.inf).scatter_reduce(0, self.of, x, "amin")

    def max(self, x: Tensor) -> Tensor:
        """Greatest x inside each group; x [X] -> [n]; −∞ for an empty group."""
        return x.new_full((self.n,), -torch.inf).scatter_reduce(0, self.of, x, "amax")

    def level(self, x: Tensor) -> Tensor:
        """Mean of x inside each group, exactly the common value where all are equal; x [X] -> [n].

        A plain floating-point mean of equal numbers can miss them by an ulp, and a division by (sd + 1e-6) then makes a gradient of it.
        """
        least = torch.where(self.count() > 0, self.min(x), 0)
        return least + self.mean(x - self.spread(least))

    def std(self, x: Tensor, correction: int) -> Tensor:
        """Standard deviation inside each group with divisor (items − correction); x [X] -> [n]; 0 where that divisor is not positive."""
        squares = self.sum((x - self.spread(self.level(x))) ** 2)
        return (squares / (self.count() - correction).clamp(min=1)).sqrt()

    def spread(self, y: Tensor) -> Tensor:
        """Gives each item its group's value; y [n] -> [X]."""
        return y[self.of]

    def rank(self) -> Tensor:
        """Place of each item among its group's items, in order of appearance from 0; [X] int64."""
        order = torch.argsort(self.of, stable=True)
        count = self.count()
        start = count.cumsum(0) - count
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel(), device=order.device) - start[self.of[order]]
        return rank

    def first(self, mask: Tensor) -> Tensor:
        """Of the items where `mask` [X] holds, the first of each group in order of appearance; [X] bool."""
        place = torch.where(mask, self.rank(), mask.numel())
        least = place.new_full((self.n,), mask.numel()).scatter_reduce(0, self.of, place, "amin")
        return mask & (place == self.spread(least))

    def last(self) -> Tensor:
        """Which items are the last of their group in order of appearance; [X] bool."""
        return self.rank() == self.spread(self.count()) - 1


def discounted(x: Tensor, decay: Tensor, of: Tensor) -> Tensor:
    """y_t = x_t + decay_t · y_{t+1} inside each run of equal neighbours in `of`, with y = 0 past a run's end; all [X].

    A run is a group whose items stand next to one another. Doubling composes the recurrence with itself, so it takes log₂ L steps.
    """
    if x.numel() == 0:
        return x
    ends = torch.ones_like(of, dtype=torch.bool)
    ends[:-1] = of[:-1] != of[1:]
    longest = int(torch.unique_consecutive(of, return_counts=True)[1].max())
    y, a = x, torch.where(ends, 0, decay)
    step = 1
    while step < longest:
        y, a = y + a * _ahead(y, step), a * _ahead(a, step)
        step *= 2
    return y


def _ahead(x: Tensor, step: int) -> Tensor:
    return torch.cat([x[step:], x.new_zeros(min(step, x.numel()))])
