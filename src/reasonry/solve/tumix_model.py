"""TUMIX's groups as an explicit model: when different agents beat copies of the best one, and when it pays to stop.

No language model. Assumed: at question q a strategy s is right with chance p_qs, drawn from a bimodal Beta and *shared by its copies*;
strategies' chances are tied to one another by a Gaussian copula of correlation ρ (ρ = 1: different strategies fail where copies would); a
wrong answer is one of `options`, with chance `trap` the question's common one. A revision copies an answer of the round before, in
proportion to votes^power, right ones `tilt` times more often; else the agent keeps its own. Derived: averages, coverage, votes, and what
stops and costs come to.

Letters: Q questions, K agents, S strategies; answer 0 is the right one. The paper's symbols: Δ_r = E[A_{r+1} − A_r], λ the price of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr

from reasonry.core import UserError

Floats = NDArray[np.float64]
Answers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class World:
    """The assumptions. Two numbers are ours alone: how bimodal skills are, and how answers are copied."""

    skill: float = 0.5
    """Mean chance to be right, of every strategy."""
    sharpness: float = 0.4
    """a + b of the Beta: below 2 it is bimodal, towards 0 a strategy either can or cannot."""
    options: int = 20
    """Wrong answers there are to a question."""
    trap: float = 0.0
    """The chance that a wrong answer is the question's common one."""
    copy: float = 0.6
    """The chance that a revision copies."""
    power: float = 1.5
    tilt: float = 1.2
    """How many times more readily a right answer is copied; 1 is not at all."""


def chances(world: World, questions: int, strategies: int, rho: float, rng: np.random.Generator) -> Floats:
    """p_qs [Q, S]. Raises UserError for a correlation outside [0, 1]."""
    if not 0 <= rho <= 1:
        raise UserError(f"model: rho is {rho} but must be from 0 to 1")
    z = np.sqrt(rho) * rng.standard_normal((questions, 1)) + np.sqrt(1 - rho) * rng.standard_normal((questions, strategies))
    a = world.skill * world.sharpness
    return betaincinv(a, world.sharpness - a, np.clip(ndtr(z), 1e-12, 1 - 1e-12))


def first(world: World, p: Floats, agents: Sequence[int], rng: np.random.Generator) -> Answers:
    """First answers [Q, K]; `agents` names each agent's strategy, so copies of one are named alike."""
    mine = p[:, list(agents)]
    wrong = rng.integers(1, world.options + 1, mine.shape)
    wrong = np.where(rng.random(mine.shape) < world.trap, 1, wrong)
    return np.where(rng.random(mine.shape) < mine, 0, wrong)


def votes(answers: Answers, options: int) -> Floats:
    """How many agents gave each answer, [Q, options + 1]."""
    return (answers[:, :, None] == np.arange(options + 1)).sum(1).astype(float)


def revise(world: World, answers: Answers, rng: np.random.Generator) -> Answers:
    """The next round: copies or keeps, [Q, K]."""
    weight = votes(answers, world.options) ** world.power
    weight[:, 0] *= world.tilt
    edges = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    u = rng.random(answers.shape)
    taken = (u[:, :, None] > edges[:, None, :]).sum(2)
    return np.where(rng.random(answers.shape) < world.copy, taken, answers)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to, over all questions."""

    average: float
    coverage: float
    vote: float
    """Of the majority, ties shared evenly."""
    margin: Floats
    """Lead of the first answer over the second, as a share of K, [Q]."""
    right: Floats
    """Chance that the majority is right, [Q]."""


def measured(world: World, answers: Answers) -> Round:
    """The measures of one round."""
    cast = votes(answers, world.options)
    ordered = np.sort(cast, axis=1)
    winners = cast == ordered[:, -1:]
    right = winners[:, 0] / winners.sum(1)
    margin = (ordered[:, -1] - ordered[:, -2]) / answers.shape[1]
    hit = answers == 0
    return Round(float(hit.mean()), float(hit.any(1).mean()), float(right.mean()), margin, right)


def play(world: World, p: Floats, agents: Sequence[int], rounds: int, seed: int) -> list[Round]:
    """A group's rounds over the questions of `p`."""
    rng = np.random.default_rng(seed)
    answers = first(world, p, agents, rng)
    found = [measured(world, answers)]
    for _ in range(rounds - 1):
        answers = revise(world, answers, rng)
        found.append(measured(world, answers))
    return found


def advantage(world: World, rho: float, k: int, questions: int, seed: int, rounds: int = 1) -> float:
    """How much more often the vote of `k` different strategies is right than that of `k` copies of one, after so many rounds.

    All strategies are equally skilled, so nothing but their blind spots differs.
    """
    p = chances(world, questions, k, rho, np.random.default_rng(seed))
    return play(world, p, range(k), rounds, seed)[-1].vote - play(world, p, [0] * k, rounds, seed)[-1].vote


def stopped(rounds: Sequence[Round], least: float, min_rounds: int = 2) -> tuple[float, float]:
    """(vote, rounds used) of a margin stop that looks at each question by itself."""
    open_ = np.ones_like(rounds[0].margin, bool)
    right, used = np.zeros_like(rounds[0].right), np.zeros_like(rounds[0].right)
    for r, found in enumerate(rounds, 1):
        ends = open_ & ((found.margin >= least) if min_rounds <= r < len(rounds) else np.full_like(open_, r == len(rounds)))
        right, used = np.where(ends, found.right, right), np.where(ends, r, used)
        open_ &= ~ends
    return float(right.mean()), float(used.mean())


def stop_when_not_worth_it(gains: Sequence[float], costs: Sequence[float], price: float, min_rounds: int = 1) -> int:
    """How many rounds to make: the first r with Δ_r ≤ λ · cost_{r+1}, where `gains[r - 1]` is Δ_r and `costs[r - 1]` that of round r + 1.

    The best number of rounds where gains per cost only fall; where they can rise again it may stop too soon.
    """
    if len(gains) != len(costs):
        raise UserError(f"stop: {len(gains)} gains and {len(costs)} costs; give one of each for every further round")
    return next((r for r in range(min_rounds, len(gains) + 1) if gains[r - 1] <= price * costs[r - 1]), max(len(gains) + 1, min_rounds))
