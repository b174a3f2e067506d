"""Which blocks to skip or repeat for one input: search over a decoder's layer programs, shortest right one wanted (Dr.LLM, arXiv
2510.12773, section 3.3).

    node      a program π; the root is the whole network [0 … L − 1]
    edit      skip one or two neighbouring positions, or repeat one once; order kept, every block at most twice, so |π| ≤ 2 L
    select    argmax Q/v + c √(ln V / v) − λ |π| / L, with chance p_rand any child; V the parent's visits
    expand    one untried edit, at random; evaluate it; back up its reward, the length left out
    stop      N evaluations and visits, or a wrong default put right, or a right program `saving` blocks shorter

A search is a generator that asks for the reward of a program and is sent it, so that `together` can run many items' searches at once and
have what they ask for in one round evaluated together. Invariants: no program is evaluated twice for an item; what is found is right.

Departures. The released search is a chain (a node is expanded only when it has no children, so it never has two, and c and λ decide
nothing); it is kept as `chain`, with the cap on repeats that it lacks and without its edit that changes nothing. `tree` expands while a
node has untried edits and room by `width`, whose square root lets a search with few simulations go deeper than one edit where L is large.
`edited` looks at every program one or two edits away, shortest first: simpler, and often cheaper.

Symbols: L blocks, N simulations, v visits, Q summed reward, R reward of a program in [0, 1], right from 1.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from reasonry.lm.decoder import Program
from reasonry.lm.program import whole
from reasonry.solve.tree.backup import add, visit
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.select import best

UNTRIED = "untried"
"""Where a node's `memo` keeps programs one edit away that nobody has tried, in random order, the next one last."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    base: float
    """R of the whole network."""
    program: Program | None
    """The shortest right program met; `None`: none was."""
    evaluations: int
    """Programs evaluated, all different, the whole network among them."""
    root: Node
    """Of what was grown; its nodes' payloads are programs. `edited` grows a star."""


Search = Generator[Program, float, Found]
"""Asks for a program's reward; ends with what was found."""
Width = Callable[[int], float]
"""A node's visits -> the most children it may have by then."""


def every(visits: int) -> float:
    """No limit: every untried edit before any node is gone below."""
    return math.inf


def square_root(visits: int) -> float:
    """√v, rounded up: progressive widening."""
    return math.ceil(math.sqrt(visits))


@dataclass(frozen=True)
class Rules:
    """How much is looked at, and where first. The defaults are the paper's."""

    simulations: int = 50
    """N."""
    c: float = 1.8
    weight: float = 3.0
    """λ, of a program's length."""
    random_child: float = 0.1
    """p_rand."""
    longest_skip: int = 2
    """Neighbouring positions of one edit."""
    saving: int = 2
    """Blocks saved by a right program that end a search."""
    width: Width = every


@dataclass(frozen=True)
class Shorter:
    """Q/v + c √(ln V / v) − λ |π| / L."""

    layers: int
    c: float
    weight: float

    def __call__(self, node: Node) -> float:
        """The score of a child that was visited."""
        assert node.parent is not None
        explore = self.c * math.sqrt(math.log(node.parent.visits) / node.visits)
        return node.mean + explore - self.weight * len(node.payload) / self.layers


def edits(program: Program, longest_skip: int = 2) -> list[Program]:
    """All programs one edit away, each once; never the empty one."""
    skips = [program[:i] + program[i + n :] for n in range(1, longest_skip + 1) for i in range(len(program) - n + 1) if len(program) > n]
    repeats = [program[: i + 1] + program[i:] for i, layer in enumerate(program) if program.count(layer) < 2]
    return list(dict.fromkeys(skips + repeats))


def tree(layers: int, rules: Rules, rng: Random) -> Search:
    """Length-aware Monte-Carlo tree search."""
    root, known = Node(whole(layers)), _Known(layers, rules.saving)
    score = Shorter(layers, rules.c, rules.weight)
    for _ in range(rules.simulations):
        way = [root]
        while (node := way[-1]).visits and not _grows(node, known, rules, rng) and node.children:
            random = rng.random() < rules.random_child
            way.append(rng.choice(node.children) if random else best(node.children, score, rng))
        if node.visits and _grows(node, known, rules, rng):
            node = node.child(node.memo[UNTRIED].pop())
            known.met.add(node.payload)
            way.append(node)
        reward = yield from known.reward(node.payload)
        visit(way)
        add(way, reward)
        if known.done:
            break
    return known.found(root)


def chain(layers: int, rules: Rules, rng: Random) -> Search:
    """The released code's search: one random edit after another, each of the program before."""
    root = node = Node(whole(layers))
    known = _Known(layers, rules.saving)
    for _ in range(rules.simulations):
        if node.visits:
            fresh = [p for p in edits(node.payload, rules.longest_skip) if p not in known.rewards]
            if not fresh:
                break
            node = node.child(rng.choice(fresh))
        reward = yield from known.reward(node.payload)
        way = [root, *node.path]
        visit(way)
        add(way, reward)
        if known.done:
            break
    return known.found(root)


def edited(layers: int, rules: Rules, rng: Random) -> Search:
    """Every program one or two edits away, the shortest first and fewer edits first, until one is right or N have been tried."""
    root, known = Node(whole(layers)), _Known(layers, rules.saving)
    reward = yield from known.reward(root.payload)
    once = edits(root.payload, rules.longest_skip)
    twice = dict.fromkeys(p for one in once for p in edits(one, rules.longest_skip))
    others = [p for p in dict.fromkeys([*once, *twice]) if p != root.payload]
    rng.shuffle(others)
    for program in sorted(others, key=lambda p: (len(p), p not in once))[: rules.simulations - 1]:
        if known.shortest is not None and len(program) >= len(known.shortest):
            break
        reward = yield from known.reward(program)
        child = root.child(program)
        visit([root, child])
        add([root, child], reward)
    return known.found(root)


class _Known:
    """Rewards of one item's programs, each asked for once, and the shortest right one."""

    def __init__(self, layers: int, saving: int) -> None:
        self.whole, self.saving = whole(layers), saving
        self.rewards: dict[Program, float] = {}
        self.met = {self.whole}
        """Programs that have a node."""
        self.shortest: Program | None = None

    def reward(self, program: Program) -> Generator[Program, float, float]:
        """R, asked for where it is not known."""
        if program not in self.rewards:
            reward = self.rewards[program] = yield program
            if reward >= 1 and (self.shortest is None or len(program) < len(self.shortest)):
                self.shortest = program
        return self.rewards[program]

    @property
    def done(self) -> bool:
        """Whether a wrong default has been put right, or enough been saved."""
        if self.shortest is None:
            return False
        return self.rewards[self.whole] < 1 or len(self.shortest) <= len(self.whole) - self.saving

    def found(self, root: Node) -> Found:
        """What a search that ends here came to."""
        return Found(self.rewards[self.whole], self.shortest, len(self.rewards), root)


def _grows(node: Node, known: _Known, rules: Rules, rng: Random) -> bool:
    """Whether a node has room for a child and an edit that leads to a program nobody has met."""
    if UNTRIED not in node.memo:
        node.memo[UNTRIED] = rng.sample(found := edits(node.payload, rules.longest_skip), len(found))
    untried = node.memo[UNTRIED]
    while untried and untried[-1] in known.met:
        untried.pop()
    return bool(untried) and len(node.children) < rules.width(node.visits)


Evaluate = Callable[[Sequence[tuple[int, Program]]], Awaitable[Sequence[float]]]
"""(item's number, program) pairs, those of one program side by side -> their rewards."""


async def together(searches: Iterable[Search], evaluate: Evaluate) -> list[Found]:
    """Runs searches side by side, one program of each a round, and evaluates a round's programs together."""
    running = list(searches)
    found: dict[int, Found] = {}
    wanted = {i: next(search) for i, search in enumerate(running)}
    while wanted:
        asked = sorted(wanted.items(), key=lambda pair: (pair[1], pair[0]))
        rewards = await evaluate(asked)
        for (i, _), reward in zip(asked, rewards, strict=True):
            try:
                wanted[i] = running[i].send(reward)
            except StopIteration as end:
                found[i] = end.value
                del wanted[i]
    return [found[i] for i in range(len(running))]
