"""What ScaleRL's experiment is and measures, as values: its plan, its runs, and the shares that are read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasonry.papers.scalerl_law import Drawn
from reasonry.probe.head_precision import Disagreement
from reasonry.probe.scale_recipe import HeldOut
from reasonry.probe.stats import Estimate, clustered_mean, wilson

SCALERL, DAPO, GRPO, NO_FILTER = "ScaleRL", "DAPO's clip", "mean over answers", "no zero-variance filter"
ARMS = (SCALERL, DAPO, GRPO, NO_FILTER)
"""The recipe, and the recipe with one part exchanged."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    arms: tuple[str, ...] = ARMS
    teaching: int = 400
    """Supervised steps of the model that all arms and seeds start from."""
    updates: int = 100
    """Batches of every arm."""
    every: int = 3
    """Batches between two evaluations."""
    prompts: int = 16
    group: int = 8
    passes: int = 4
    """Optimiser steps on each batch: with one, every ratio is 1 and all losses are the same."""
    lr: float = 3e-4
    drop_above: float = 0.9
    train_problems: int = 1500
    problems: int = 150
    """Held-out problems of an evaluation."""
    attempts: int = 6
    """At each of them."""
    until: float = 0.4
    """Share of the compute that the forecast is made from."""
    split: str = "test"
    curves: int = 20
    """Synthetic curves a seed."""
    staleness: tuple[int, ...] = (1, 4, 8, 32)
    stale_updates: int = 60
    stale_lr: float = 5e-4
    texts: int = 64
    """Answers of the shipped model whose tokens the two heads score."""
    thoughts: int = 100
    """Problems of the interruption experiment."""

    @property
    def stale_arms(self) -> tuple[tuple[int, bool], ...]:
        """(k, whether ρ is used): every k with it; the least and the largest also without."""
        return (*((k, True) for k in self.staleness), *((k, False) for k in dict.fromkeys((self.staleness[0], self.staleness[-1]))))


@dataclass(frozen=True)
class Curve:
    """One arm's run: held-out pass rate against sampled tokens, the start first."""

    arm: str
    seed: int
    tokens: tuple[float, ...]
    rates: tuple[float, ...]
    truncated: float
    """Share of training answers cut short, over the run; likewise the next two."""
    zero_variance: float
    """Share of groups in which all answers got the same reward."""
    learned: float
    """Groups an update learned from."""
    flops: float
    """Of sampling and of learning, over the run."""


@dataclass(frozen=True)
class Stale:
    """One run of the staleness experiment."""

    k: int
    corrected: bool
    """Whether ρ is over the sampler's probabilities; otherwise it is 1."""
    seed: int
    rates: Mapping[str, float]
    """Held-out problem -> share of right answers at the end."""
    mean_lag: float
    """Updates between the weights that sampled a token and those that learned from it."""
    max_lag: int
    versions: float
    """How many different weights an answer came from, on average."""
    largest_ratio: float
    """Of any token."""


@dataclass(frozen=True)
class Thought:
    """One attempt of the interruption experiment."""

    solver: str
    problem: str
    seed: int
    passed: float
    truncated: float
    interrupted: float
    tokens: int


@dataclass(frozen=True)
class Found:
    """Everything measured. Made by the experiment, read by the findings and the page."""

    drawn: Sequence[Drawn]
    curves: Sequence[Curve]
    forecasts: Mapping[tuple[str, int], HeldOut]
    """(arm, seed) -> the tested forecast; absent where too few points could be fitted."""
    stale: Sequence[Stale]
    heads: Sequence[Disagreement]
    thoughts: Sequence[Thought]


def stale_rates(found: Found, k: int, corrected: bool = True) -> dict[int, Mapping[str, float]]:
    """Seed -> problem -> final share of right answers."""
    return {s.seed: s.rates for s in found.stale if s.k == k and s.corrected is corrected}


def truncated(found: Found, solver: str) -> Estimate | None:
    """Share of attempts that a limit cut short."""
    cells = [t.truncated for t in found.thoughts if t.solver == solver]
    return wilson(round(sum(cells)), len(cells)) if cells else None


def passed(found: Found, solver: str) -> Estimate | None:
    """Share of right attempts."""
    by: dict[str, list[float]] = {}
    for t in found.thoughts:
        if t.solver == solver:
            by.setdefault(t.problem, []).append(t.passed)
    return clustered_mean(list(by.values())) if by else None
