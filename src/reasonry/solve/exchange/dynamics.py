"""What talking does under explicit rules, for many questions at once: the arithmetic of conformity, without any model.

Two answers, right and wrong; agent i is right alone with chance p_i, independently. `right` [T + 1, Q, n]: who is right after each of T
rounds, on Q questions, for n agents.

    voter(λ, s)     draw a peer; copy it with chance λ (1 + s) where it is right, λ (1 − s) where it is wrong
    conformist(λ, a)  go over to the other answer with chance λ (k / (n − 1))^a, k the peers that give it
    outnumbered     go over where all peers give the other answer
    dcm(α)          answers drawn from counts that begin at α (p_i, 1 − p_i) and to which each round adds what the peers said

What follows without a simulation. For `voter` with s = 0 the mean accuracy is a martingale and E[CI] = E[IC] in every round; talk tends to
consensus, whose accuracy is the mean individual one, so all that a vote had gained over one agent is lost. In the first round
CI / IC = (1 − s) / (1 + s). For `dcm` with equal α the mean chance to be right is a martingale too (arXiv 2508.17536).

Nothing here is evidence about language models: rules are assumed, and only what follows from them is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Right = NDArray[np.bool_]
Step = Callable[[Right, np.random.Generator], Right]
"""[Q, n] who is right -> [Q, n] after a round in which all answer at once."""


def voter(chance: float, tilt: float = 0.0) -> Step:
    """The voter model, with `tilt` s for truth (above 0) or error (below) being the more persuasive."""

    def step(right: Right, rng: np.random.Generator) -> Right:
        Q, n = right.shape
        peer = (np.arange(n) + rng.integers(1, n, (Q, n))) % n
        said = np.take_along_axis(right, peer, 1)
        return np.where(rng.random((Q, n)) < chance * np.where(said, 1 + tilt, 1 - tilt), said, right)

    return step


def conformist(chance: float, power: float) -> Step:
    """Imitation by the share of peers against one; a power above 1 makes majorities pull more than their share."""

    def step(right: Right, rng: np.random.Generator) -> Right:
        n = right.shape[1]
        others = right.sum(1, keepdims=True) - right
        against = np.where(right, n - 1 - others, others)
        return right ^ (rng.random(right.shape) < chance * (against / (n - 1)) ** power)

    return step


def outnumbered(right: Right, rng: np.random.Generator) -> Right:
    """Goes over where all peers say otherwise."""
    others = right.sum(1, keepdims=True) - right
    return np.where(others == 0, False, np.where(others == right.shape[1] - 1, True, right))


def run(chances: Sequence[float], step: Step, rounds: int, questions: int, seed: int = 0) -> Right:
    """Who is right [T + 1, Q, n], from independent first answers on."""
    rng = np.random.default_rng(seed)
    made = [rng.random((questions, len(chances))) < np.asarray(chances)]
    for _ in range(rounds):
        made.append(step(made[-1], rng))
    return np.stack(made)


def dcm(chances: Sequence[float], weight: float, rounds: int, questions: int, seed: int = 0) -> Right:
    """Agents whose answers are draws from their counts (Dirichlet-compound-multinomial), with `weight` α counts to begin with."""
    rng, n = np.random.default_rng(seed), len(chances)
    for_right = np.tile(weight * np.asarray(chances, float), (questions, 1))
    total, made = weight, list[Right]()
    for _ in range(rounds + 1):
        made.append(rng.random((questions, n)) < for_right / total)
        for_right = for_right + made[-1].sum(1, keepdims=True) - made[-1]
        total += n - 1
    return np.stack(made)


@dataclass(frozen=True, slots=True)
class Course:
    """What a run came to, round by round."""

    mean: tuple[float, ...]
    """Accuracy of individuals."""
    vote: tuple[float, ...]
    """Of the majority, half for a tie."""
    ci: tuple[float, ...]
    """CI a turn, for each transition."""
    ic: tuple[float, ...]


def course(right: Right) -> Course:
    """The means of a run."""
    share = right.mean(2)
    vote = np.where(share > 0.5, 1.0, np.where(share < 0.5, 0.0, 0.5)).mean(1)
    ci, ic = right[:-1] & ~right[1:], ~right[:-1] & right[1:]
    told = (right.mean((1, 2)), vote, ci.mean((1, 2)), ic.mean((1, 2)))
    return Course(*(tuple(map(float, values)) for values in told))


def talk_pays(
    chances: Sequence[float], conformity: Sequence[float], tilts: Sequence[float], rounds: int, questions: int, seed: int = 0
) -> NDArray[np.float64]:
    """[conformity, tilt] how `rounds` of the voter model change the vote's accuracy: above zero, talk is worth something."""
    found = [[course(run(chances, voter(c, s), rounds, questions, seed)).vote for s in tilts] for c in conformity]
    return np.array([[vote[-1] - vote[0] for vote in row] for row in found])
