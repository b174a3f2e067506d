"""Groups as they would look without what is in question: row, column and block shuffles, and agents that never heard of one another.

Each null keeps some things and destroys others; only what stands above the right one is a finding.

| null | keeps | destroys |
|---|---|---|
| row | each round's set of states, so V | who did what: identity, persistence |
| column | each agent's own rhythm, and V | alignment of agents with each other and with V |
| column-sum | each agent's own rhythm; V is the sum of the shifted agents | alignment of agents with each other |
| block | each agent's rhythm within blocks, and V | alignment, and rhythms longer than a block |
| functional | each agent's response to the feedback, and its habits | whatever depends on what the others did |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonry.core import UserError
from reasonry.probe.coordination.group import Cut, Discrete, Group
from reasonry.probe.coordination.tables import Floats

PHASES = 3
"""Parts of a game within which an agent's response is taken to stay the same."""


@dataclass(frozen=True, eq=False)
class Surrogates:
    """Drawn by a null."""

    series: Discrete
    exact: bool = False
    """Every possible surrogate once, the observed series among them: a p-value is then a plain share."""

    def drawn(self, n: int, rng: np.random.Generator) -> Surrogates:
        """Exactly n of them: where all were made, so many drawn."""
        if not self.exact:
            return self
        d, at = self.series, rng.integers(0, len(self.series.agents), n)
        return Surrogates(Discrete(d.agents[at], d.macro if len(d.macro) == 1 else d.macro[at], d.K, d.macro_states))


Draw = Callable[[Group, Cut, int, np.random.Generator], Surrogates]


@dataclass(frozen=True)
class Null:
    """A way to make surrogates."""

    name: str
    draw: Draw
    keeps: str
    """In a few words, for reports."""


def _rows(group: Group, cut: Cut, n: int, rng: np.random.Generator) -> Surrogates:
    d, _ = cut(group)
    stack = np.broadcast_to(d.agents, (n, *d.agents.shape[1:]))
    return Surrogates(Discrete(rng.permuted(stack, axis=2), d.macro, d.K, d.macro_states))


def shifts(T: int, N: int, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
    """Circular shifts [S, N]: all T^N where these are no more than n, else n drawn ones. No shift is one of them."""
    if N * np.log(T) <= np.log(n) + 1e-9:
        return np.array(list(itertools.product(range(T), repeat=N))), True
    return rng.integers(0, T, size=(n, N)), False


def _shifted(x: NDArray, by: NDArray[np.int64]) -> NDArray:
    """[T, N] shifted agent by agent: [S, T, N]."""
    T, N = x.shape
    at = (np.arange(T)[None, :, None] - by[:, None, :]) % T
    return x[at, np.arange(N)]


def _columns(group: Group, cut: Cut, n: int, rng: np.random.Generator) -> Surrogates:
    d, _ = cut(group)
    by, exact = shifts(d.agents.shape[1], d.agents.shape[2], n, rng)
    return Surrogates(Discrete(_shifted(d.agents[0], by), d.macro, d.K, d.macro_states), exact)


def _column_sums(group: Group, cut: Cut, n: int, rng: np.random.Generator) -> Surrogates:
    if not callable(group.macro):
        raise UserError(f"group {group.name}: column-sum makes the macro signal anew, but this one was recorded; use the null column")
    d, kept = cut(group)
    by, exact = shifts(group.actions.shape[0], group.actions.shape[1], n, rng)
    macro = cut.macro(group.signal_of(_shifted(group.actions, by)))
    return Surrogates(Discrete(_shifted(d.agents[0], by[:, kept]), macro, d.K, d.macro_states), exact)


def block(length: int | None = None) -> Null:
    """Blocks of `length` rounds in random order, agent by agent, cut at a random place; `None`: the square root of the rounds."""

    def draw(group: Group, cut: Cut, n: int, rng: np.random.Generator) -> Surrogates:
        d, _ = cut(group)
        _, T, N = d.agents.shape
        size = length or max(2, round(T**0.5))
        blocks = -(-T // size)
        order = rng.permuted(np.broadcast_to(np.arange(blocks), (n, N, blocks)), axis=2)
        at = (order[..., None] * size + np.arange(size)).reshape(n, N, blocks * size)
        inside = np.argsort(at >= T, axis=-1, kind="stable")[..., :T]
        at = (np.take_along_axis(at, inside, -1) + rng.integers(0, T, size=(n, N, 1))) % T
        return Surrogates(Discrete(d.agents[0][np.swapaxes(at, 1, 2), np.arange(N)], d.macro, d.K, d.macro_states))

    return Null("block", draw, "each agent's own rhythm within blocks")


def _functional(group: Group, cut: Cut, n: int, rng: np.random.Generator) -> Surrogates:
    d, kept = cut(group)
    actions = simulated_alone(group, n, rng)
    agents = cut.agents(group, actions)[..., kept]
    return Surrogates(Discrete(agents, cut.macro(group.signal_of(actions)), d.K, d.macro_states))


def simulated_alone(group: Group, n: int, rng: np.random.Generator) -> Floats:
    """Agents that respond as these did, each alone, to the same kind of feedback: actions [S, T, N].

    An agent begins where it began. Each next change (for categories, the next state) is one of its own recorded ones, drawn among those
    after the same feedback, the same direction of its own last change (for categories, the same state) and in the same third of the game;
    where it has none such, the conditions are dropped from the last to the first. Where the feedback was the sign of the group's own V it
    is that of the simulated group's: a recorded one, which its V no longer answers to, would let it drift, and drift is predictable.
    """
    x, told = group.actions, group.told
    T, N = x.shape
    numeric = group.states is None
    change = np.diff(x, axis=0)
    replies = change if numeric else x[1:]
    own = np.vstack([np.zeros((1, N)), np.sign(change[:-1])]) if numeric else x[:-1]
    heard, contexts = np.unique(told), np.arange(-1.0, 2.0) if numeric else np.arange(float(group.states or 0))
    phase = np.arange(T - 1) * PHASES // max(T - 1, 1)
    pools = [
        [_matching(told[:-1] == f, own[:, i] == c, phase == h) for i in range(N)] for f in heard for c in contexts for h in range(PHASES)
    ]
    size = np.array([[len(pool) for pool in row] for row in pools])
    start = (np.cumsum(size) - size.ravel()).reshape(size.shape) if size.size else size
    flat = np.concatenate([replies[pool, i] for row in pools for i, pool in enumerate(row)])
    made = np.empty((n, T, N))
    made[:, 0] = x[0]
    context = np.zeros((n, N)) if numeric else made[:, 0]
    low, high, agents = x.min(), x.max(), np.arange(N)
    for t in range(T - 1):
        f = np.sign(group.signal_of(made[:, t])) if group.answers_itself else np.full(n, told[t])
        nearest = np.abs(f[:, None] - heard).argmin(1)[:, None]
        at = (nearest * len(contexts) + (context - contexts[0]).astype(np.int64)) * PHASES + phase[t]
        drawn = flat[start[at, agents] + (rng.random((n, N)) * size[at, agents]).astype(np.int64)]
        made[:, t + 1] = np.clip(made[:, t] + drawn, low, high) if numeric else drawn
        context = np.sign(drawn) if numeric else drawn
    return made


def _matching(feedback: NDArray[np.bool_], own: NDArray[np.bool_], phase: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The recorded rounds that meet most of the conditions."""
    for wanted in (feedback & own & phase, feedback & own, feedback):
        if wanted.any():
            return np.flatnonzero(wanted)
    return np.arange(len(feedback))


ROW = Null("row", _rows, "each round's set of states")
COLUMN = Null("column", _columns, "each agent's own rhythm")
COLUMN_SUM = Null("column-sum", _column_sums, "each agent's own rhythm, with a macro signal made of it")
BLOCK = block()
FUNCTIONAL = Null("functional", _functional, "each agent's own response to the feedback")
NULLS = {null.name: null for null in (ROW, COLUMN, COLUMN_SUM, BLOCK, FUNCTIONAL)}
