"""A model's answers as a tree to walk on: blocks of text, drawn or listed, valued once, every call priced (a `vgb.Ground`).

A block is what the model writes up to `tokens` tokens or a delimiter, or, `listed`, one token, with all that may follow and their chances.
Top-k, top-p, min-p and temperature are part of π: what is drawn or listed is the law after them, so the walk's law is of that model.

Our own engine follows the walk with one open sequence (`tree.Trail`); any other model is asked to complete the whole prefix, the same
method in its slow form. Same seeds, same blocks.

Invariants. Call i is made with `inner_seed(seed, i)`; no call is made that could break a countable limit. Blocks drawn ahead wait at their
node for the next asking: drawn without a look at what came of the others, so each is as fresh as a later one.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from reasonry.core import LM, Budget, Completion, Cost, Ids, Problem, Sampling, Segment, Stop, UserError
from reasonry.lm.engine.sampler import Settings, truncate
from reasonry.lm.local import LocalLM
from reasonry.solve.best_of_n import MARKS
from reasonry.solve.calls import inner_seed, shortfall
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.trail import Trail
from reasonry.solve.tree.walk import VALUE
from reasonry.solve.vgb_verifier import Partial, Verifier

STOP, MADE, AHEAD = "stop", "segment", "ahead"
"""In a node's `memo`: why its block ended, the index of the segment that made it, blocks drawn ahead."""


@dataclass(frozen=True)
class Blocks:
    """What an action is, and how many an answer has."""

    tokens: int = 256
    """Of a block at most."""
    until: str = ""
    """Text that ends a block too."""
    depth: int = 16
    """H, blocks of an answer at most."""
    max_tokens: int = 1024
    """Tokens of an answer at most."""
    listed: bool = False
    """A block is one token, and all that may follow are listed."""

    def __post_init__(self) -> None:
        for name in ("tokens", "depth", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"vgb: {name} is {getattr(self, name)} but must be at least 1")


class Spent(Exception):  # noqa: N818 (no error: how an attempt ends)
    """The budget is used up. `node`: a last block, cut short by it."""

    def __init__(self, unit: str, node: Node | None = None) -> None:
        super().__init__(unit)
        self.unit, self.node = unit, node


class Answers:
    """One attempt's. Close it."""

    def __init__(
        self, lm: LM, problem: Problem, prompt: Ids, blocks: Blocks, sampling: Sampling, verifier: Verifier, budget: Budget, seed: int,
        ahead: int = 1,
    ) -> None:  # fmt: skip
        """`ahead`: blocks drawn together where one is asked for."""
        self.lm, self.problem, self.prompt, self.blocks, self.sampling = lm, problem, prompt, blocks, sampling
        self.verifier, self.budget, self.seed, self.ahead = verifier, budget, seed, ahead
        self.root = Node()
        self.segments: list[Segment] = []
        self.listing = Cost()
        """Of all calls that listed tokens."""
        self.checking = Cost()
        """Of the verifier."""
        self.cost = Cost()
        self._calls = 0
        self._trail = Trail(lm) if isinstance(lm, LocalLM) else None
        self._rng = Random(f"vgb/draw/{seed}")
        if blocks.listed and self._trail is None:
            raise UserError(f"vgb: {lm.name} cannot list what may follow; use a model on this machine, or blocks of text (block=16)")

    def close(self) -> None:
        """Gives the open sequence back."""
        if self._trail is not None:
            self._trail.close()

    def ids(self, node: Node) -> Ids:
        """The tokens from the prompt down to a node."""
        return tuple(i for n in node.path for i in n.payload)

    async def text(self, node: Node) -> str:
        """The same as text."""
        return await self.lm.decode(self.ids(node))

    async def children(self, node: Node) -> Sequence[Node]:
        """See `vgb.Ground`: the tokens that may follow."""
        if node.children or node.terminal:
            return node.children
        assert isinstance(self.lm, LocalLM)
        assert self._trail is not None
        prefix = self.prompt + self.ids(node)
        if unit := shortfall(self.budget, self.cost, Cost(len(prefix), 1, calls=1)):
            raise Spent(unit)
        logits, cost = await self._trail.logits(prefix)
        self.listing += cost
        self.cost += cost
        logp = logits.log_softmax(-1)[None]
        chances = truncate(logp, Settings.of([self.sampling], logp.shape[1], logp.device))[0].exp()
        for i in torch.nonzero(chances).flatten().tolist():
            stop = Stop.EOS if i in self.lm.tokenizer.eos_ids and not self.sampling.ignore_eos else Stop.LENGTH
            self._child(node, (i,), stop, float(chances[i]))
        return node.children

    async def draw(self, node: Node) -> Node:
        """See `vgb.Ground`."""
        if self.blocks.listed:
            below = await self.children(node)
            return self._rng.choices(below, [c.prior for c in below])[0]
        waiting: list[Node] = node.memo.setdefault(AHEAD, [])
        if not waiting:
            waiting += await self._drawn(node)
        return waiting.pop(0)

    async def _drawn(self, node: Node) -> list[Node]:
        """A few draws at once, as many as the budget pays for."""
        prefix = self.prompt + self.ids(node)
        whole = min(self.blocks.tokens, self.blocks.max_tokens - len(prefix) + len(self.prompt))
        width, tokens = self.ahead, whole

        def calls(width: int, tokens: int) -> Cost:
            return Cost(width * len(prefix), width * tokens, calls=width)

        while width > 1 and shortfall(self.budget, self.cost, calls(width, tokens)):
            width -= 1
        if unit := shortfall(self.budget, self.cost, calls(width, tokens)):
            tokens = bisect_left(range(1, whole + 1), True, key=lambda n: shortfall(self.budget, self.cost, calls(1, n)) is not None)
            if tokens == 0:
                raise Spent(unit)
        until = (self.blocks.until,) if self.blocks.until else ()
        seeds = [inner_seed(self.seed, self._calls + i) for i in range(width)]
        self._calls += width
        samplings = [self.sampling.with_(max_tokens=tokens, stop=until, seed=s) for s in seeds]
        made = (
            await self._trail.grow(prefix, samplings)
            if self._trail is not None
            else await asyncio.gather(*(self.lm.complete(prefix, s) for s in samplings))
        )
        together: Cost | None = None
        for c in made:
            together = c.cost if together is None else together | c.cost
        self.cost += together or Cost()
        drawn = [self._read(node, c) for c in made]
        if unit and made[0].stop is Stop.LENGTH:
            raise Spent(unit, drawn[0])
        return drawn

    def _read(self, node: Node, c: Completion) -> Node:
        """The child that a completion is, made at its first draw."""
        logprobs = c.sampler_logprobs if c.sampler_logprobs is not None else c.logprobs
        if c.ids is None:
            raise UserError(f"vgb: {self.lm.name} gives no token ids, so a walk cannot go back to a place in its text; use one that does")
        child = self._child(node, c.ids, c.stop, math.exp(sum(logprobs)) if logprobs else 1.0)
        child.memo.setdefault(MADE, len(self.segments))
        self.segments.append(Segment.of(c, role="draft", model=self.lm.name, parent=node.memo.get(MADE)))
        return child

    def _child(self, node: Node, ids: Ids, stop: Stop, prior: float) -> Node:
        known: dict[Ids, Node] = node.memo.setdefault("known", {})
        if ids in known:
            return known[ids]
        ended = stop in (Stop.EOS, Stop.CONTEXT) or not ids
        long = sum(len(n.payload) for n in node.path) + len(ids) >= self.blocks.max_tokens
        child = known[ids] = node.child(ids, prior=prior, terminal=ended or long or node.depth + 1 == self.blocks.depth)
        child.memo[STOP] = stop
        return child

    async def value(self, nodes: Sequence[Node]) -> Sequence[float]:
        """See `vgb.Ground`; those not known yet are asked for together."""
        new = [n for n in dict.fromkeys(nodes) if VALUE not in n.memo]
        if new:
            read = sum(len(self.prompt) + len(self.ids(n)) + MARKS for n in new) if self.verifier.reads else 0
            if unit := shortfall(self.budget, self.cost, Cost(read, verifier_calls=len(new))):
                raise Spent(unit)
            parts = [await self._part(n) for n in new]
            said = await self.verifier.of(self.problem, parts)
            self.checking += said.cost
            self.cost += said.cost
            for n, log in zip(new, said.logs, strict=True):
                n.memo[VALUE] = log
        return [n.memo[VALUE] for n in nodes]

    async def _part(self, node: Node) -> Partial:
        ended = node.memo.get(STOP) is Stop.EOS
        return Partial(await self.text(node), node.depth, self.blocks.depth, node.terminal, ended)
