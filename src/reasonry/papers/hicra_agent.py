"""HICRA's idea on a simulated reasoner: one planning choice, then twelve execution choices, exact policies, seconds (arXiv 2509.03646).

This is no language model. It is an explicit probabilistic agent with these assumptions: a problem p has one right strategy among S; the
strategy is drawn from a softmax over θ_p; then E execution tokens are drawn, each from a softmax over K options with logits φ_{s,e} that
all problems share; the reward is 1 where every token is the right option and the strategy is the right one, or a wrong one that happens to
do (chance `leak`). Gradients of log-probabilities are in closed form; groups are sampled.

Symbols: P problems, S strategies, E tokens, K options, G attempts at a problem, α boost, Â = R − mean of the group, q chance that one
execution token is right. An update is plain ascent on mean Â^H·∇log π over a batch of all problems.

Departures: the sizes are the brief's, the chance of luck and the step size ours; every replicate is an agent of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Boost = Callable[[Floats, np.random.Generator], Floats]
"""(Â [R, P, G], random numbers) -> Â of each token [R, P, G, 1 + E], the planning choice first."""


@dataclass(frozen=True)
class World:
    """How large, how hard, how fast. Read by `learn`."""

    P: int = 64
    S: int = 6
    E: int = 12
    K: int = 4
    G: int = 8
    leak: float = 0.05
    rate: float = 150.0
    """Step size of the mean over all tokens of all answers."""
    q: float = 0.8
    """Chance at first that an execution token is right."""


def plain(A: Floats, tokens: int) -> Floats:
    """Â for every token."""
    return np.repeat(A[..., None], tokens, axis=-1)


def grpo(tokens: int) -> Boost:
    """No boost."""
    return lambda A, rng: plain(A, tokens)


def hicra(alpha: float, tokens: int) -> Boost:
    """Â + α|Â| on the planning choice."""

    def boost(A: Floats, rng: np.random.Generator) -> Floats:
        out = plain(A, tokens)
        out[..., 0] += alpha * np.abs(A)
        return out

    return boost


def anywhere(alpha: float, tokens: int) -> Boost:
    """The placebo: Â + α|Â| on one token of each answer, drawn at random."""

    def boost(A: Floats, rng: np.random.Generator) -> Floats:
        out = plain(A, tokens)
        at = rng.integers(0, tokens, A.shape)[..., None]
        np.put_along_axis(out, at, np.take_along_axis(out, at, -1) + alpha * np.abs(A)[..., None], -1)
        return out

    return boost


def louder(alpha: float, tokens: int) -> Boost:
    """(1 + α)Â on the planning choice, whatever the sign: a higher learning rate for planning, and no asymmetry."""

    def boost(A: Floats, rng: np.random.Generator) -> Floats:
        out = plain(A, tokens)
        out[..., 0] *= 1 + alpha
        return out

    return boost


def arms(world: World) -> dict[str, Boost]:
    """What is compared."""
    n = 1 + world.E
    return {
        "GRPO": grpo(n), "HICRA": hicra(0.2, n), "HICRA, α = .5": hicra(0.5, n), "placebo": anywhere(0.2, n),
        "planning × 1.2": louder(0.2, n),
    }  # fmt: skip


def softmax(x: Floats) -> Floats:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def accuracy(world: World, theta: Floats, phi: Floats) -> Floats:
    """The exact chance of a reward, mean over problems; [R]. θ is [R, P, S], φ [R, S, E, K], strategy p mod S and option 0 are right."""
    done = softmax(phi)[..., 0].prod(-1)[:, None, :]
    right = np.arange(world.P)[:, None] % world.S == np.arange(world.S)
    return (softmax(theta) * done * np.where(right, 1.0, world.leak)).sum(-1).mean(-1)


def learn(world: World, boost: Boost, updates: int, seeds: Sequence[int], marks: Sequence[int]) -> Mapping[int, Floats]:
    """Exact accuracy after each of `marks` updates, one value for each seed's agent; [R]."""
    R, P, S, E, K, G = len(seeds), world.P, world.S, world.E, world.K, world.G
    rng = np.random.default_rng(list(seeds))
    theta = np.zeros((R, P, S))
    phi = np.zeros((R, S, E, K))
    phi[..., 0] = np.log(world.q * (K - 1) / (1 - world.q))
    r, p = np.arange(R)[:, None, None], np.arange(P)[None, :, None]
    found = {0: accuracy(world, theta, phi)} if 0 in marks else {}
    scale = world.rate / (P * G * (1 + E))
    for update in range(1, updates + 1):
        pi, q = softmax(theta), softmax(phi)
        s = np.minimum((rng.random((R, P, G, 1)) > pi.cumsum(-1)[:, :, None]).sum(-1), S - 1)  # [R, P, G]
        options = q[r, s]  # [R, P, G, E, K]
        x = np.minimum((rng.random((R, P, G, E, 1)) > options.cumsum(-1)).sum(-1), K - 1)
        fits = (s == p % S) | (rng.random(s.shape) < world.leak)
        reward = ((x == 0).all(-1) & fits).astype(float)
        A = boost(reward - reward.mean(-1, keepdims=True), rng)
        chosen = s[..., None] == np.arange(S)  # [R, P, G, S]
        theta += scale * ((chosen - pi[:, :, None]) * A[..., :1]).sum(2)
        ahead = ((x[..., None] == np.arange(K)) - options) * A[..., 1:, None]
        flat = chosen.reshape(R, P * G, S).astype(float).transpose(0, 2, 1) @ ahead.reshape(R, P * G, E * K)
        phi += scale * flat.reshape(R, S, E, K)
        if update in marks:
            found[update] = accuracy(world, theta, phi)
    return found
