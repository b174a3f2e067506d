"""DeepSearch: a tree of chunks, grown from the best node of its whole frontier (arXiv 2509.25454, ICLR 2026).

Symbols: n children an expansion makes, d depth, d_T the greatest, q and N value sum and visits of a node, H its mean −log p a token, λ of
UCT, λ1 λ2 λ3 of the frontier score, γ(i, l) the share of a result that the i-th node of a way of l gets, γ_min its floor.

One round: expand a node into n chunks; where none of them ends an answer, go on from the child with the best UCT; else judge the new ends,
back up one of them (a right one, else the wrong one the model was surest of, by the mean H of its way), and go on from the best node of the
frontier. The tree ends with `ends` answers, or when nothing can grow.

Departures. 1. A chunk ends at `chunk` tokens as in the paper, or at `delimiter` as well. 2. N counts expansions of a node and of nodes
below it. A child just made has N = 0 and the frontier has only nodes without children, so UCT only ever compares newcomers, which tie:
local selection is a random one, in the paper as here; `score` keeps it exchangeable. 3. `backup="all"` backs up every new end, right ones
first, in place of one: the constraint makes order matter. 4. Where the answer is not known (a solver at work, not training), an end is
right if the answers so far agree with it most: `DeepSearch.__call__` never asks the task's judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import fmean
from typing import Literal

from reasonry.core import LM, Budget, Completion, Cost, Ids, Problem, Sampling, Segment, Stop, Task, Trajectory, UserError
from reasonry.solve.calls import inner_seed, shortfall
from reasonry.solve.tree import UCT, Backup, Constrained, Frontier, Grow, Node, Score, best, grower

END = "end"
"""Where a node's `memo` keeps what its end was worth: +1 or −1."""
Judge = Callable[[str], Awaitable[bool]]
"""A finished answer -> whether it is right."""
Draws = Callable[[int, int], int]
"""(which child, which expansion) -> seed of its chunk."""
Negative = Literal["confident", "random", "unsure"]


@dataclass
class Tree:
    """A search under way, and what became of it."""

    prompt: Ids
    root: Node = field(default_factory=Node)
    ends: list[Node] = field(default_factory=list)
    """Terminal nodes, in the order they were reached."""
    segments: dict[Node, Segment] = field(default_factory=dict)
    """The call that made each node but the root."""
    cost: Cost = field(default_factory=Cost)
    spent: str | None = None
    """The unit of the budget that ended it."""
    expansions: int = 0
    backed: set[Node] = field(default_factory=set)
    """Ends that were backed up."""

    def ids(self, node: Node) -> Ids:
        """What was sampled from the prompt down to a node."""
        return tuple(i for n in node.path for i in n.payload)


@dataclass(frozen=True)
class DeepSearch:
    """As a solver: searches, and takes the answer that most ends agree on. In training `solve.explore` learns from its trees."""

    lm: LM
    task: Task
    """Reads the answers out of texts; `__call__` never asks its judge."""
    n: int = 8
    chunk: int = 256
    """Tokens of a chunk at most."""
    delimiter: str = ""
    """Text that ends a chunk too; a line where it is a line's end."""
    depth: int = 64
    """d_T."""
    ends: int = 8
    """Finished answers that end the search."""
    max_tokens: int = 16_384
    """Tokens an answer may have."""
    score: Score = UCT(2.0)  # noqa: RUF009 (a frozen value)
    """Among the children of one expansion."""
    frontier: Frontier | None = None
    """Over the whole tree; left out: λ1 = .4, λ2 = 0, λ3 = .01."""
    back: Backup = Constrained(0.1)  # noqa: RUF009
    backup: Literal["one", "all"] = "one"
    """How many ends of a round are backed up."""
    negative: Negative = "confident"
    """Which wrong end is, where none is right."""
    sampling: Sampling = Sampling()
    name: str = "deepsearch"

    def __post_init__(self) -> None:
        for name in ("n", "chunk", "depth", "ends", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"deepsearch: {name} is {getattr(self, name)} but must be at least 1")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt: every chunk is a segment that names its parent; `meta` has each one's `q`, `entropy` and `end`."""
        votes: Counter[str] = Counter()

        async def agree(text: str) -> bool:
            answer = self.task.extract(text)
            if answer is None:
                return False
            votes[answer] += 1
            return votes[answer] == max(votes.values())

        tree = await self.search(problem, agree, budget, self.ends, seed, lambda i, e: inner_seed(seed, e * self.n + i))
        nodes = list(tree.segments)
        at = {node: i for i, node in enumerate(nodes)}
        segments = tuple(replace(tree.segments[n], parent=at.get(n.parent) if n.parent else None) for n in nodes)
        q, H, ends = ([f(n) for n in nodes] for f in (lambda n: n.value, lambda n: n.entropy, lambda n: n.memo.get(END)))
        trace = replace(Trajectory(problem.id), segments=segments, cost=tree.cost)
        if not nodes:
            return trace.finish(Stop.BUDGET, "", tree.spent)
        taken = await self._taken(tree)
        text, stop = await self.lm.decode(tree.ids(taken)), tree.segments[taken].stop
        stop = Stop.BUDGET if tree.spent else stop if stop is Stop.EOS or stop is Stop.CONTEXT else Stop.LENGTH
        return trace.finish(stop, text, tree.spent, q=q, entropy=H, end=ends, taken=at[taken], expansions=tree.expansions)

    async def _taken(self, tree: Tree) -> Node:
        """The end most ends agree with, the first of them; where none has an answer, the first finished, else the longest."""
        ended = [n for n in tree.ends if tree.segments[n].stop is Stop.EOS]
        answers = [self.task.extract(await self.lm.decode(tree.ids(n))) for n in ended]
        votes = Counter(a for a in answers if a is not None)
        if votes:
            return ended[answers.index(votes.most_common(1)[0][0])]
        return ended[0] if ended else max(tree.segments, key=lambda n: len(tree.ids(n)))

    async def search(
        self, problem: Problem, judge: Judge, budget: Budget, ends: int, seed: int, draws: Draws, most: int | None = None
    ) -> Tree:
        """Grows a tree until it has `ends` answers, the budget is spent, or nothing can grow. `draws` seeds the chunks, `seed` the choices;
        `most`: tokens an answer may have, where fewer than `max_tokens`. Raises UserError for a model without ids or log-probabilities."""
        rng, grow = Random(f"deepsearch/{seed}"), grower(self.lm)
        tree = Tree(await self.lm.encode(problem.messages))
        most = min(self.max_tokens, most or self.max_tokens)
        F = self.frontier or Frontier(self.depth)
        node: Node | None = tree.root
        try:
            while node is not None and len(tree.ends) < ends:
                samplings, tree.spent = self._samplings(tree, node, budget, most, draws)
                if not samplings:
                    break
                children = await self._expand(tree, node, grow, samplings, most)
                new = [c for c in children if c.terminal]
                if new:
                    await self._back_up(tree, new, judge, rng)
                    open_ = tree.root.frontier(self.depth)
                    node = best(open_, F, rng) if open_ else None
                else:
                    node = best(children, self.score, rng)
        finally:
            for n in tree.root.walk():
                grow.close(n)
        return tree

    def _samplings(self, tree: Tree, node: Node, budget: Budget, most: int, draws: Draws) -> tuple[list[Sampling], str | None]:
        """How each child is sampled: n of them, or as many and as long as the budget pays for; and the unit that ran out, if one did."""
        so_far = tree.ids(node)
        prompt, tokens = len(tree.prompt) + len(so_far), min(self.chunk, most - len(so_far))

        def calls(width: int, tokens: int) -> Cost:
            return Cost(prompt_tokens=width * prompt, completion_tokens=width * tokens, calls=width)

        width = self.n
        while width > 1 and shortfall(budget, tree.cost, calls(width, tokens)):
            width -= 1
        while tokens and (unit := shortfall(budget, tree.cost, calls(width, tokens))):
            tokens -= 1
            if not tokens:
                return [], unit
        stop = (self.delimiter,) if self.delimiter else ()
        seeds = (draws(i, tree.expansions) for i in range(width))
        return [self.sampling.with_(max_tokens=tokens, stop=stop, seed=s) for s in seeds], None

    async def _expand(self, tree: Tree, node: Node, grow: Grow, samplings: Sequence[Sampling], most: int) -> list[Node]:
        prefix = tree.prompt + tree.ids(node)
        made = await grow.children(node, prefix, samplings)
        together: Cost | None = None
        for completion, child in made:
            self._read(child, completion, len(prefix) - len(tree.prompt), most)
            tree.segments[child] = Segment.of(completion, model=self.lm.name)
            together = completion.cost if together is None else together | completion.cost
            if child.terminal:
                tree.ends.append(child)
                grow.close(child)
        grow.close(node)
        tree.cost += together or Cost()
        tree.expansions += 1
        tree.root.visits += 1
        for n in node.path:
            n.visits += 1
        return [child for _, child in made]

    def _read(self, child: Node, c: Completion, before: int, most: int) -> None:
        """Fills in what the sampled tokens say of a child."""
        logprobs = c.sampler_logprobs if c.sampler_logprobs is not None else c.logprobs
        if c.ids is None or logprobs is None:
            raise UserError(f"deepsearch: {self.lm.name} gives no token ids or no log-probabilities; use a model that gives both")
        child.entropy = -fmean(logprobs) if logprobs else 0.0
        ended = c.stop in (Stop.EOS, Stop.CONTEXT) or not c.ids
        child.terminal = ended or child.depth == self.depth or before + len(c.ids) >= most

    async def _back_up(self, tree: Tree, new: Sequence[Node], judge: Judge, rng: Random) -> None:
        """Judges the new ends, and changes the values on the ways to one of them, or to all."""
        for node in new:
            finished = tree.segments[node].stop is Stop.EOS
            node.memo[END] = 1.0 if finished and await judge(await self.lm.decode(tree.ids(node))) else -1.0
        order = self._order(tree, new, rng)
        for node in order if self.backup == "all" else order[:1]:
            self.back(node.path, node.memo[END])
            tree.backed.add(node)

    def _order(self, tree: Tree, new: Sequence[Node], rng: Random) -> list[Node]:
        """Right ends first, then wrong ones, then those cut short; within each the lowest mean entropy first, or as `negative` says."""
        at = {node: i for i, node in enumerate(rng.sample(list(new), len(new)))}

        def key(node: Node) -> tuple[int, float, int]:
            kind = 0 if node.memo[END] > 0 else 1 if tree.segments[node].stop is Stop.EOS else 2
            H = fmean(n.entropy for n in node.path)
            return kind, {"confident": H, "random": 0.0, "unsure": -H}[self.negative] if kind else H, at[node]

        return sorted(new, key=key)
