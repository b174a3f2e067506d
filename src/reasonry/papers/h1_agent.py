"""h1's theory on a simulated agent: how much practice a chain of H steps costs, by order of practice (arXiv 2510.07312, sample complexity).

This is no language model. It is an explicit probabilistic agent with these assumptions: step j of a chain succeeds with chance q_j = p·σ_j,
independently of the other steps; σ_j = sigmoid(θ_j) is all that is learnt; p is fixed; a step costs the same at every depth and is
executed whether or not an earlier one failed; steps of one depth share θ_j whatever the chain's length.

Symbols: H longest chain, N attempts per update, A_ij advantage of attempt i at step j, s_h = Π_{j ≤ h} q_j. Learning is REINFORCE with the
mean over attempts of the same length as baseline: θ_j ← θ_j + η/N · Σ_i A_ij ∂log P(outcome_ij)/∂θ_j.

Departures: the paper argues with orders of magnitude; the agent's constants (p, θ, η, N, the gate) are ours and are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonry.core import UserError
from reasonry.train.curriculum import Curriculum, Measure, Standing, mix, only, ramp

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Credit = Callable[[Bools, NDArray[np.int64]], Floats]
"""(outcomes [N, H], lengths [N]) -> A [N, H]."""


@dataclass
class Agent:
    """One agent; `theta` changes as it learns."""

    p: float
    """Chance that one problem is solved where no horizon skill is missing."""
    theta: Floats
    """[H]."""

    @property
    def sigma(self) -> Floats:
        """σ_j, [H]."""
        return 1 / (1 + np.exp(-self.theta))

    @property
    def s(self) -> Floats:
        """s_1 … s_H, exactly, [H]."""
        return np.cumprod(self.p * self.sigma, dtype=np.float64)

    def attempt(self, n: int, rng: np.random.Generator) -> Bools:
        """Which steps of `n` attempts succeed, [n, H]."""
        return rng.random((n, len(self.theta))) < self.p * self.sigma

    def score(self, outcomes: Bools) -> Floats:
        """∂log P(outcome_ij)/∂θ_j, [n, H]: 1 − σ_j after a success, −q_j(1 − σ_j)/(1 − q_j) after a failure."""
        q = self.p * self.sigma
        return np.where(outcomes, 1 - self.sigma, -q * (1 - self.sigma) / (1 - q))


def final_only(outcomes: Bools, lengths: NDArray[np.int64]) -> Floats:
    """Outcome reward: A_ij = r_i − mean of r over attempts of the same length, r_i = all steps right; the same at every step."""
    steps = np.arange(outcomes.shape[1])
    r = np.all(outcomes | (steps >= lengths[:, None]), axis=1).astype(float)
    return np.broadcast_to(_centred(r[:, None], lengths), outcomes.shape)


def every_step(outcomes: Bools, lengths: NDArray[np.int64]) -> Floats:
    """Dense reward: A_ij = r_ij − its mean over attempts of the same length, r_ij = steps 1 … j all right."""
    return _centred(np.cumprod(outcomes, axis=1).astype(float), lengths)


def _centred(r: Floats, lengths: NDArray[np.int64]) -> Floats:
    count = np.bincount(lengths)
    sums = np.zeros((len(count), r.shape[1]))
    np.add.at(sums, lengths, r)
    return r - sums[lengths] / count[lengths][:, None]


def practice(
    agent: Agent,
    curriculum: Curriculum,
    rng: np.random.Generator,
    credit: Credit = final_only,
    N: int = 64,
    rate: float = 4.0,
    goal: float = 0.5,
    limit: int = 10**8,
) -> int:
    """Trains `agent` until s_H ≥ goal·p^H and returns the atoms executed. Raises UserError where that takes more than `limit`.

    The curriculum's levels are lengths. Its gate looks at the exact s of the stage's longest chains after every update.
    """
    H, atoms, stage = len(agent.theta), 0, 0
    steps = np.arange(H)
    while agent.s[-1] < goal * agent.p**H:
        stage = _gate(agent, curriculum, stage)
        levels = curriculum.stages[stage].levels
        weights = np.array(list(levels.values())) / sum(levels.values())
        lengths = rng.choice(np.array(list(levels)), N, p=weights)
        outcomes = agent.attempt(N, rng)
        practised = steps < lengths[:, None]
        agent.theta = agent.theta + rate / N * np.sum(credit(outcomes, lengths) * agent.score(outcomes) * practised, axis=0)
        atoms += int(lengths.sum())
        if atoms > limit:
            raise UserError(f"practice: {limit} atoms were not enough for chains of {H}; raise limit or shorten the chains")
    return atoms


def _gate(agent: Agent, curriculum: Curriculum, stage: int) -> int:
    while curriculum.gate is not None and stage + 1 < len(curriculum.stages):
        top = curriculum.stages[stage].top
        before = float(agent.s[top - 2]) if top > 1 else None
        if curriculum.measure(Standing(curriculum.stages[stage], float(agent.s[top - 1]), before)) < curriculum.gate:
            break
        stage += 1
    return stage


def of_ceiling(p: float) -> Measure:
    """A stage's pass rate as a share of p^h, the most that its chains of length h allow."""
    return lambda standing: (standing.rate or 0.0) / p**standing.stage.top


def arms(H: int, p: float, gate: float = 0.7) -> dict[str, tuple[Curriculum, Credit]]:
    """The orders of practice that are compared, each at chains of at most H."""
    return {
        "only-H": (only(H, 1), final_only),
        "uniform mix": (mix(dict.fromkeys(range(1, H + 1), 1.0), 1), final_only),
        "curriculum": (ramp(H, 0, 1, gate, None, measure=of_ceiling(p)), final_only),
        "dense reward": (only(H, 1), every_step),
    }


def costs(arm: str, lengths: Sequence[int], seeds: Sequence[int], p: float = 0.95, theta: float = -1.0) -> Floats:
    """Atoms executed, [lengths, seeds], by fresh agents that start with the same θ at every depth."""
    found = []
    for H in lengths:
        curriculum, credit = arms(H, p)[arm]
        runs = (practice(Agent(p, np.full(H, theta)), curriculum, np.random.default_rng([seed, H]), credit) for seed in seeds)
        found.append(list(runs))
    return np.array(found, dtype=float)


@dataclass(frozen=True, slots=True)
class Growth:
    """Two least-squares lines through log cost: against H (exponential) and against log H (polynomial). Made by `growth`."""

    factor: float
    """Cost per further step, exp of the slope against H."""
    power: float
    """Exponent of H, the slope against log H."""
    exponential_error: float
    """Residual sum of squares of the first line, in nats²."""
    polynomial_error: float

    @property
    def exponential(self) -> bool:
        """Whether the exponential line fits better; both have two parameters."""
        return self.exponential_error < self.polynomial_error


def growth(lengths: Sequence[int], cost: Sequence[float]) -> Growth:
    """Fits how cost grows with length. Raises UserError for fewer than three lengths, through which any line might go."""
    if len(set(lengths)) < 3 or len(lengths) != len(cost):
        raise UserError(f"growth: {len(lengths)} lengths and {len(cost)} costs, but a fit needs at least 3 different lengths, a cost each")
    H, y = np.asarray(lengths, float), np.log(np.asarray(cost, float))
    (slope, error), (power, power_error) = _line(H, y), _line(np.log(H), y)
    return Growth(float(np.exp(slope)), power, error, power_error)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    slope, constant = np.polyfit(x, y, 1)
    return float(slope), float(np.sum((y - slope * x - constant) ** 2))
