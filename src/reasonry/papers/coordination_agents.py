"""Simulated groups of the guessing game: explicit response models with every parameter in the open. None of them is a language model.

All hear the sign f of V = Σ x − M, unless said otherwise, and move x ← clip(round(x − f · step · u · a + noise)) within 0 … 50; a step
shrinks to 0.6 of itself whenever the feedback turns, down to `floor`. A group plays on after it has hit its target.

| arm | who they are |
|---|---|
| plain | alike: they begin near 25, step 8, u even in 0.5 … 1.5, noise of 1 |
| persona | each begins elsewhere (sd 6) and has a gain of its own (log-normal, 0.5) |
| complementary | as persona, but only some move (`movers` a round, likelier those with a large gain), without jitter or noise |
| … copies | the same, but hearing the feedback of another group of their kind: whatever they share is the common driver |
| oscillators | swing up and down by their own amplitude, deaf to the feedback |
| in sight | each holds a place of its own and moves all together by what the first half of the group stands above the second |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasonry.probe.coordination import Group, total
from reasonry.probe.coordination.tables import Floats

PLAIN, PERSONA, COMPLEMENTARY = "plain", "persona", "complementary"
KINDS = (PLAIN, PERSONA, COMPLEMENTARY)
COPIES = tuple(f"{kind} copies" for kind in KINDS)
OSCILLATORS, IN_SIGHT = "oscillators", "in sight"
ARMS = (*KINDS, *COPIES, OSCILLATORS, IN_SIGHT)


@dataclass(frozen=True)
class Behaviour:
    """The parameters of every simulated agent."""

    step: float = 8.0
    shrink: float = 0.6
    floor: float = 0.5
    noise: float = 1.0
    jitter: float = 0.5
    apart: float = 6.0
    gain: float = 0.5
    movers: float = 3.0
    swing: float = 6.0
    reach: float = 0.5
    """Of a group in sight: how far all move for each step that the first half stands above the second."""


def simulate(arm: str, rounds: int, agents: int, rng: np.random.Generator, b: Behaviour = Behaviour(), name: str = "") -> Group:
    """One game of an arm."""
    target = int(rng.integers(51, 101))
    if arm == OSCILLATORS:
        return Group(name, _oscillate(rounds, agents, rng, b), total, target, condition=arm)
    if arm == IN_SIGHT:
        return Group(name, _in_sight(rounds, agents, target, rng, b), total, target, condition=arm)
    heard = None
    kind = arm.removesuffix(" copies")
    if arm in COPIES:
        other = simulate(kind, rounds, agents, rng, b)
        heard = np.sign(other.signal)
    return Group(name, _respond(kind, rounds, agents, target, heard, rng, b), total, target, feedback=heard, condition=arm)


def _respond(kind: str, rounds: int, N: int, target: int, heard: Floats | None, rng: np.random.Generator, b: Behaviour) -> Floats:
    apart = kind != PLAIN
    gain = np.exp(rng.normal(0, b.gain, N)) if apart else np.ones(N)
    x = _guess(25 + rng.normal(0, b.apart if apart else b.noise, N))
    step, before, made = b.step * gain, 0.0, [x]
    for t in range(rounds - 1):
        f = float(np.sign(x.sum() - target)) if heard is None else float(heard[t])
        if f * before < 0:
            step = np.maximum(step * b.shrink, b.floor)
        before = f or before
        if kind == COMPLEMENTARY:
            x = _guess(x - f * step * (rng.random(N) < b.movers * gain / gain.sum()))
        else:
            x = _guess(x - f * step * rng.uniform(1 - b.jitter, 1 + b.jitter, N) + rng.normal(0, b.noise, N))
        made.append(x)
    return np.array(made)


def _oscillate(rounds: int, N: int, rng: np.random.Generator, b: Behaviour) -> Floats:
    amplitude = b.swing * rng.uniform(1 - b.jitter, 1 + b.jitter, N)
    turns = np.where(np.arange(rounds) % 2, -1.0, 1.0)[:, None]
    return _guess(25 + turns * amplitude + rng.normal(0, b.noise, (rounds, N)))


def _in_sight(rounds: int, N: int, target: int, rng: np.random.Generator, b: Behaviour) -> Floats:
    place = target / N + rng.normal(0, b.apart, N)
    side = np.where(np.arange(N) < N // 2, 1.0, -1.0)
    x, made = place + rng.normal(0, 2 * b.noise, N), []
    for _ in range(rounds):
        made.append(np.round(x))
        x = place + b.reach * float(side @ (made[-1] - place)) + rng.normal(0, 2 * b.noise, N)
    return np.array(made)


def _guess(x: Floats) -> Floats:
    return np.clip(np.round(x), 0, 50)


def exclusive_or(rounds: int, rng: np.random.Generator, resampled: float = 0.1, name: str = "") -> Group:
    """The planted pair: X_i' = X_i xor X_j but for a share of coin flips, X_j' a coin. Synergy tends to 1 − h(resampled / 2), redundancy
    to 0."""
    x = rng.integers(0, 2, (rounds, 2))
    for t in range(rounds - 1):
        if rng.random() >= resampled:
            x[t + 1, 0] = x[t, 0] ^ x[t, 1]
    return Group(name, x.astype(np.float64), total, states=2, condition="planted pair")


def persistent(rounds: int, agents: int, stays: float, rng: np.random.Generator, name: str = "") -> Group:
    """Agents that never interact: each keeps its state with probability `stays`. Synergy and redundancy tend to 1 − h(stays)."""
    flips = rng.random((rounds, agents)) >= stays
    flips[0] = rng.random(agents) < 0.5
    return Group(name, (flips.cumsum(0) % 2).astype(np.float64), total, states=2, condition="persistent")
