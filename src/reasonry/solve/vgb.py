"""VGB: a walk over partial answers that goes back as readily as it goes on, where the verifier says so (arXiv 2510.03149, ICLR 2026).

Symbols: v = y_{1:h} a partial answer of h blocks, π(a|v) the model's chance of the next block, V̂(v) the verifier's value of it, τ(y) a
finished answer's exact value, H the depth. At v the walk goes back with weight V̂(v) and on to a block a with weight π(a|v)·V̂(va); lazy, it
first stays with chance ½. In the long run an answer has chance π(y)τ(y)/Z *exactly*, whatever V̂ says inside: errors cost only time.

Two modes, and two laws. `stationary`: T lazy steps from the beginning, the answer if the walk is then at one, else again from the
beginning: the law above, up to what T leaves (`enough`). `first_leaf`: the first finished answer the walk meets, an order of magnitude
sooner; its law is biased, though far less than that of decoding that never goes back (`vgb_law.first_leaf`).

Two ways of stepping, with the same law. `enumerated`, where all blocks can be listed. `retried`, where they cannot: propose to go back, or
a block drawn from π, with chance ½ each; accept with chance V̂(target)/M, M a bound (for going back the target's value is V̂(v), the edge's);
until one is accepted. A refused proposal is drawn again and is no stay: with stays the law would be π's.

Departures. 1. Walks do not share what they found; restarts within an attempt do, for a value is remembered. 2. `enough` is our own count
of steps, from a conductance of 1/(4H(1+ε)²); the paper has the same powers with unnamed factors. 3. The paper's walk with momentum is left
out: its transition was not available to us, and doubling the weight of the last direction, as one re-implementation does, is not
reversible and changes the law (there is a test). 4. Candidates drawn once and then treated as the alphabet are left out too: right only
in the limit of many.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NoReturn, Protocol

from reasonry.core import UserError
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import VALUE, chances

ROUNDING = 1e-9
"""How far above its bound a log value may be."""


class Ground(Protocol):
    """What is walked on: a tree of partial answers that grows as it is asked about. Every node it hands out was made once."""

    @property
    def root(self) -> Node:
        """Where answers begin; a node's `terminal` says that it is one."""
        ...

    async def children(self, node: Node) -> Sequence[Node]:
        """All that may follow a node, each with its π in `prior`; made at the first asking. Only where blocks can be listed."""
        ...

    async def draw(self, node: Node) -> Node:
        """A child drawn from π(·|node), afresh at each asking."""
        ...

    async def value(self, nodes: Sequence[Node]) -> Sequence[float]:
        """log V̂ of each, τ's at an answer; a node's is asked for once and remembered."""
        ...


Move = Callable[[Node, Random], Awaitable[Node | None]]
"""A step that moves, from a node; `None` where there is no way."""


def enumerated(ground: Ground) -> Move:
    """Steps over listed children."""

    async def move(node: Node, rng: Random) -> Node | None:
        below = () if node.terminal else await ground.children(node)
        await ground.value([c for c in (*below, *([node] if node.parent else [])) if VALUE not in c.memo])
        ways = chances(node, _unasked, _unasked)
        return rng.choices([n for n, _ in ways], [p for _, p in ways])[0] if ways else None

    return move


def _unasked(node: Node) -> NoReturn:
    raise AssertionError("children and values are there before a step")


Bound = Callable[[Ground, Node], Awaitable[float]]
"""log M at a node: at least log V̂ of it and of all its children."""


def at_most(M: float) -> Bound:
    """One bound everywhere."""

    async def bound(ground: Ground, node: Node) -> float:
        return math.log(M)

    return bound


def coverage(C: float) -> Bound:
    """M(v) = C·V̂(v), where no block makes a partial answer worth more than C times as much: fewer refusals where values are small. The
    value of the beginning is asked for too; it is in no weight."""

    async def bound(ground: Ground, node: Node) -> float:
        return math.log(C) + (await ground.value([node]))[0]

    return bound


def retried(ground: Ground, bound: Bound, tries: int = 1000) -> Move:
    """Steps by proposal and refusal; `None` after so many refusals. Raises UserError where a value is above its bound."""

    async def move(node: Node, rng: Random) -> Node | None:
        if node.terminal:
            return node.parent
        log_M = await bound(ground, node)
        for _ in range(tries):
            up = node.parent is not None and rng.random() < 0.5
            target = node if up else await ground.draw(node)
            log_v = (await ground.value([target]))[0]
            if log_v > log_M + ROUNDING:
                raise UserError(
                    f"vgb: a value is {math.exp(log_v):.4g} but its bound is {math.exp(log_M):.4g}, so the walk would have another law; "
                    "raise bound (or coverage)"
                )
            if rng.random() < math.exp(min(log_v - log_M, 0.0)):
                return node.parent if up else target
        return None

    return move


@dataclass
class Walked:
    """What a walk did. `leaf` is `None` where it found no answer in its steps."""

    leaf: Node | None = None
    node: Node | None = None
    """Where it ended."""
    steps: int = 0
    """Lazy stays included."""
    starts: int = 0
    depths: list[int] = field(default_factory=list)
    """After each step that moved."""

    def stand(self, node: Node) -> None:
        """Takes note of a move."""
        self.node = node
        self.depths.append(node.depth)


async def first_leaf(ground: Ground, move: Move, rng: Random, steps: int, walked: Walked) -> None:
    """To the first answer the walk meets within so many steps. Stays would only take time, so there are none."""
    node = ground.root
    walked.starts = 1
    for _ in range(steps):
        at = await move(node, rng)
        if at is None:
            return
        node = at
        walked.steps += 1
        walked.stand(node)
        if node.terminal:
            walked.leaf = node
            return


async def stationary(ground: Ground, move: Move, rng: Random, steps: int, starts: int, walked: Walked) -> None:
    """So many lazy steps from the beginning; again, at most `starts` times in all, until the walk ends at an answer."""
    for _ in range(starts):
        node = ground.root
        walked.starts += 1
        for _ in range(steps):
            walked.steps += 1
            if rng.random() < 0.5:
                continue
            at = await move(node, rng)
            if at is None:
                return
            node = at
            walked.stand(node)
        if node.terminal:
            walked.leaf = node
            return


def enough(H: int, error: float, delta: float) -> int:
    """Steps after which the law at answers is within δ of its limit, in total variation, where 1/(1+ε) ≤ V̂/V* ≤ 1+ε inside.

    T = 32 H²(1+ε)⁴ ln((2H)^{3/2}(1+ε)²/δ): every subtree's way out carries at least 1/(4H(1+ε)²) of its mass, so the lazy walk's gap is at
    least the half of that squared (Cheeger); it begins at a node of mass 1/(2H(1+ε)²) or more, and answers have 1/(2H(1+ε)) or more.
    """
    return math.ceil(32 * H**2 * (1 + error) ** 4 * math.log((2 * H) ** 1.5 * (1 + error) ** 2 / delta))


def starts_needed(H: int, error: float, delta: float) -> int:
    """Starts after which a walk of `enough` steps has ended at an answer, but for a chance δ: each does with 1/(4H(1+ε)) or more."""
    return math.ceil(math.log(1 / delta) / -math.log1p(-1 / (4 * H * (1 + error))))
