"""VGB's experiment without a model's engine: exact laws under learned and wrong verifiers, and decoders at equal calls and tokens.

A decoder's law on a known tree is computed, not sampled. Where cost is the question decoders run for real, on `Grown`: the same decoders as
the solvers', on a ground that counts a token for every block drawn or list of blocks made, and a call for every value asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf, log
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from reasonry.papers.vgb_findings import ACTION, BEAM, BEST, FIRST, GREEDY, OUTCOME, REJECTION, STATIONARY, Plan, Row
from reasonry.papers.vgb_task import abc
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import VALUE
from reasonry.solve.vgb import Walked, at_most, enumerated, first_leaf, stationary
from reasonry.solve.vgb_baselines import beam, best_of, forward, listed_on, outcome_level, rejection
from reasonry.solve.vgb_law import Array, Known, after, kl, stepwise, tv
from reasonry.solve.vgb_law import first_leaf as first_leaf_law
from reasonry.solve.vgb_law import stationary as stationary_law


class Spent(Exception):  # noqa: N818 (no error: how a run ends)
    """The calls or the tokens are used up."""


class Grown:
    """A known tree as a ground, grown as it is asked about. Lives an attempt; the ledger outlives it."""

    def __init__(self, tree: Known, ledger: Ledger, rng: np.random.Generator) -> None:
        self.tree, self.ledger, self.rng = tree, ledger, rng
        self.root = Node(0)

    async def children(self, node: Node) -> Sequence[Node]:
        """All of them, for one token of the model."""
        if not node.children and not node.terminal:
            self.ledger.pay(tokens=1)
            self._grow(node)
        return node.children

    def _grow(self, node: Node) -> None:
        h, k = node.depth, self.tree.k
        for a in range(k):
            node.child(node.payload * k + a, prior=float(self.tree.pi[h][node.payload, a]), terminal=h + 1 == self.tree.depth)

    async def draw(self, node: Node) -> Node:
        """One of them, for one token."""
        self.ledger.pay(tokens=1)
        if not node.children:
            self._grow(node)
        reached = np.cumsum(self.tree.pi[node.depth][node.payload])
        return node.children[min(int(np.searchsorted(reached, self.rng.random())), self.tree.k - 1)]

    async def value(self, nodes: Sequence[Node]) -> Sequence[float]:
        """Remembered; a call for each that is new."""
        for n in nodes:
            if VALUE not in n.memo:
                self.ledger.pay(calls=1)
                v = float(self.tree.value[n.depth][n.payload])
                n.memo[VALUE] = log(v) if v > 0 else -inf
        return [n.memo[VALUE] for n in nodes]


@dataclass
class Ledger:
    """What may be spent and what was."""

    limit: int
    """Calls and, apart, tokens."""
    calls: int = 0
    tokens: int = 0

    def pay(self, calls: int = 0, tokens: int = 0) -> None:
        """Raises `Spent` where it cannot be paid."""
        if self.calls + calls > self.limit or self.tokens + tokens > self.limit:
            raise Spent
        self.calls, self.tokens = self.calls + calls, self.tokens + tokens


Way = Callable[[Grown, Random, Walked], Awaitable[None]]


def ways(plan: Plan, tree: Known) -> dict[str, Way]:
    """Every decoder; where a bound is needed it is the greatest value there is."""
    M = max(1.0, max(float(v.max()) for v in tree.value[1:]))
    T = settled(tree, plan.near)

    async def walk(g: Grown, rng: Random, w: Walked) -> None:
        await first_leaf(g, enumerated(g), rng, 100_000, w)

    async def lazy(g: Grown, rng: Random, w: Walked) -> None:
        await stationary(g, enumerated(g), rng, T, 1, w)

    async def action(g: Grown, rng: Random, w: Walked) -> None:
        await forward(g, listed_on(g), rng, w)

    async def outcome(g: Grown, rng: Random, w: Walked) -> None:
        await outcome_level(g, at_most(1.0), 1, rng, w)

    async def best(g: Grown, rng: Random, w: Walked) -> None:
        await forward(g, best_of(g, plan.candidates), rng, w)

    async def reject(g: Grown, rng: Random, w: Walked) -> None:
        await forward(g, rejection(g, at_most(M), plan.candidates), rng, w)

    def wide(width: int) -> Way:
        async def search(g: Grown, rng: Random, w: Walked) -> None:
            await beam(g, width, None, rng, w)

        return search

    return {
        FIRST: walk, STATIONARY: lazy, ACTION: action, OUTCOME: outcome, BEST: best, REJECTION: reject, BEAM: wide(plan.candidates),
        GREEDY: wide(1),
    }  # fmt: skip


def settled(tree: Known, near: float) -> int:
    """Steps after which the lazy walk's law at answers is within `near` of π*: twice as many again and again, computed exactly."""
    T, target, at = tree.depth**2, tree.target(), after(tree, tree.depth**2)
    while tv(at[-1] / at[-1].sum(), target) > near:
        at, T = after(tree, T, at), 2 * T
    return T


def at_equal_cost(plan: Plan, tree: Known, seed: int, verifier: str) -> list[Row]:
    """Every decoder again and again until its calls or its tokens are spent: answers, right and different ones, mass of π* found."""
    target, found = tree.target(), list[Row]()
    for name, way in ways(plan, tree).items():
        ledger, rng, draws = Ledger(plan.limit), Random(f"vgb/{seed}/{name}/{verifier}"), np.random.default_rng([seed, len(name)])
        answers: list[int] = []
        attempts = 0
        try:
            while True:
                attempts += 1
                walked = Walked()
                asyncio.run(_one(way, Grown(tree, ledger, draws), rng, walked))
                if walked.leaf is not None:
                    answers.append(walked.leaf.payload)
        except Spent:
            attempts -= 1
        right = [y for y in answers if tree.value[-1][y] > 0]
        values = {
            "answers": len(answers), "right": len(right), "share right": len(right) / max(attempts, 1), "different": len(set(right)),
            "mass of π* found": float(target[list(set(right))].sum()), "calls an answer": ledger.calls / max(len(right), 1),
            "tokens an answer": ledger.tokens / max(len(right), 1),
        }  # fmt: skip
        found += [Row(seed, name, f"brackets, {verifier}", metric, float(v)) for metric, v in values.items()]
    return found


async def _one(way: Way, ground: Grown, rng: Random, walked: Walked) -> None:
    await way(ground, rng, walked)


def laws(tree: Known, seed: int, where: str) -> list[Row]:
    """Distances of exact laws from π*; stepwise decoding's is of the attempts it does not give up."""
    target, found = tree.target(), list[Row]()
    law, steps = first_leaf_law(tree)
    forward_law = stepwise(tree)
    for arm, p in ((FIRST, law), (ACTION, forward_law)):
        mass = float(p.sum())
        q: Array = p / mass if mass > 0 else p
        found += [Row(seed, arm, where, m, v) for m, v in (("TV", tv(q, target)), ("KL", kl(q, target)), ("kept", mass))]
    mu = stationary_law(tree)[-1]
    found.append(Row(seed, STATIONARY, where, "leaf mass", float(mu.sum())))
    if all((v[t > 0] > 0).all() for v, t in zip(tree.value, tree.true(), strict=True)):
        found.append(Row(seed, STATIONARY, where, "stationary TV", tv(mu / mu.sum(), target)))
    return [*found, Row(seed, FIRST, where, "steps", steps / 2)]


def learned(H: int, N: int, seed: int, steps: int) -> Known:
    """ABC with V̂ an MLP on one-hot prefixes, fitted on the outcomes of N rollouts."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 3, (N, H), generator=generator)
    tau = (words != 2).all(1).float()
    shown = F.one_hot(words, 3).float()
    net = nn.Sequential(nn.Linear(3 * H, 64), nn.GELU(), nn.Linear(64, 1))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (p.shape[-1] ** -0.5 if p.dim() > 1 else 0.0))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(steps):
        rows = torch.randint(0, N, (256,), generator=generator)
        h = torch.randint(1, H, (256, 1), generator=generator)
        x = shown[rows] * (torch.arange(H) < h)[..., None]
        loss = F.binary_cross_entropy_with_logits(net(x.flatten(1))[:, 0], tau[rows])
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = [np.ones(1)]
    with torch.no_grad():
        for h in range(1, H):
            places = torch.arange(3**h)
            word = torch.stack([places // 3 ** (h - 1 - i) % 3 for i in range(h)], 1)
            x = F.pad(F.one_hot(word, 3).float(), (0, 0, 0, H - h))
            found.append(net(x.flatten(1))[:, 0].double().sigmoid().numpy())
    return abc(H).with_values(found)


def drawn_law(plan: Plan, tree: Known, seed: int) -> tuple[float, float]:
    """The stationary mode's own draws at answers against π*: their total variation, and what 99 of 100 exact samples stay below."""
    rng, target, answers = Random(f"vgb/law/{seed}"), tree.target(), list[int]()
    T = settled(tree, plan.near / 10)
    draws = np.random.default_rng(seed)
    ground = Grown(tree, Ledger(1 << 60), draws)
    move = enumerated(ground)

    async def go() -> None:
        while len(answers) < plan.draws:
            walked = Walked()
            await stationary(ground, move, rng, T, 10_000, walked)
            assert walked.leaf is not None
            answers.append(walked.leaf.payload)

    asyncio.run(go())
    seen = np.bincount(answers, minlength=len(target)) / len(answers)
    chance = [tv(draws.multinomial(len(answers), target) / len(answers), target) for _ in range(500)]
    return tv(seen, target), float(np.quantile(chance, 0.99))
