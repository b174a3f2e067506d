"""What VGB is measured against, on the same ground and with the same verifier: decoding that goes forward only.

- `action_level`: each block with chance ∝ π(a|v)V̂(va), never taken back (ActionLevelRS; locally constrained decoding where V̂ is 0 or 1).
- `outcome_level`: whole answers by the model alone, accepted with chance τ/M (OutcomeLevelRS): exact, and costly where τ is rare.
- `block_best_of`: of n blocks the one of greatest V̂, ties drawn. `block_rejection`: each of n blocks accepted with chance V̂/M, the last
  one taken where none is.
- `beam`: the w of greatest log π + log V̂ after every block; w = 1 is greedy decoding under a verifier.

All are right with perfect values except `block_best_of`, `block_rejection` and `beam`, whose laws are others even then. Where every way is
closed an attempt is given up, as a walk is at the end of its steps; a caller who wants an answer begins again.
"""

from __future__ import annotations

import math
from random import Random

from reasonry.solve.tree.node import Node
from reasonry.solve.vgb import Bound, Ground, Move, Walked


def listed_on(ground: Ground) -> Move:
    """Down only, over all children that can be listed."""

    async def move(node: Node, rng: Random) -> Node | None:
        below = await ground.children(node)
        logs = await ground.value(below)
        top = max(logs)
        if top == -math.inf:
            return None
        return rng.choices(below, [c.prior * math.exp(log - top) for c, log in zip(below, logs, strict=True)])[0]

    return move


def retried_on(ground: Ground, bound: Bound, tries: int = 1000) -> Move:
    """Down only, by drawing blocks until one is accepted with chance V̂/M; `None` after so many refusals."""

    async def move(node: Node, rng: Random) -> Node | None:
        log_M = await bound(ground, node)
        for _ in range(tries):
            child = await ground.draw(node)
            if rng.random() < math.exp((await ground.value([child]))[0] - log_M):
                return child
        return None

    return move


def best_of(ground: Ground, n: int) -> Move:
    """Of n draws the one of greatest value."""

    async def move(node: Node, rng: Random) -> Node | None:
        drawn = [await ground.draw(node) for _ in range(n)]
        logs = await ground.value(drawn)
        return rng.choice([c for c, log in zip(drawn, logs, strict=True) if log == max(logs)])

    return move


def rejection(ground: Ground, bound: Bound, n: int) -> Move:
    """The first of n draws that is accepted, else the last."""

    async def move(node: Node, rng: Random) -> Node | None:
        log_M = await bound(ground, node)
        child = node
        for _ in range(n):
            child = await ground.draw(node)
            if rng.random() < math.exp((await ground.value([child]))[0] - log_M):
                break
        return child

    return move


async def forward(ground: Ground, move: Move, rng: Random, walked: Walked) -> None:
    """One way down, to an answer or to where it is given up."""
    node = ground.root
    walked.starts = 1
    while not node.terminal:
        at = await move(node, rng)
        if at is None:
            return
        node = at
        walked.steps += 1
        walked.stand(node)
    await ground.value([node])
    walked.leaf = node


async def outcome_level(ground: Ground, bound: Bound, tries: int, rng: Random, walked: Walked) -> None:
    """Whole answers until one is accepted, at most `tries`."""
    for _ in range(tries):
        node = ground.root
        walked.starts += 1
        log_M = await bound(ground, node)
        while not node.terminal:
            node = await ground.draw(node)
            walked.steps += 1
            walked.stand(node)
        if rng.random() < math.exp((await ground.value([node]))[0] - log_M):
            walked.leaf = node
            return


async def beam(ground: Ground, width: int, draws: int | None, rng: Random, walked: Walked) -> None:
    """Keeps the `width` best after every block; children are listed, or `draws` are drawn from each. Ends with the best answer."""
    kept, answers = [(0.0, ground.root)], list[tuple[float, Node]]()
    walked.starts = 1
    while kept:
        found: dict[Node, float] = {}
        for log_pi, node in kept:
            below = await ground.children(node) if draws is None else [await ground.draw(node) for _ in range(draws)]
            found |= {c: log_pi + math.log(c.prior) for c in below if c.prior > 0}
        logs = dict(zip(found, await ground.value(list(found)), strict=True))
        order = sorted((n for n in found if logs[n] > -math.inf), key=lambda n: found[n] + logs[n], reverse=True)[:width]
        walked.steps += 1
        for n in order[:1]:
            walked.stand(n)
        answers += [(found[n] + logs[n], n) for n in order if n.terminal]
        kept = [(found[n], n) for n in order if not n.terminal]
    if answers:
        walked.leaf = max(answers, key=lambda a: a[0])[1]
