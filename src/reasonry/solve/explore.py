"""Groups of attempts to learn from that one search makes together: DeepSearch inside training (arXiv 2509.25454).

An explorer is not a solver. It is asked for a whole group of one problem (`train.rollout.Explorer`), it may ask the task's judge while it
searches, as the trainer will anyway, and nothing here can be called where answers are compared or served. Its attempts are the ways from
the root to the ends of the tree: a segment for every chunk, and in `meta` what the trainer needs (`train.nodes`):

    q            the value of each chunk's node at the end of the search; of the last one, what the end was worth, +1 or −1
    length       tokens of the way
    reused       those among them that an attempt before it in the group has paid for; costs are of what was newly sampled
    cached       whether it is a stored solution, its log-probabilities computed anew under the present policy

What was sampled on ways that reached no end is paid by the first attempt, so that a group's costs are all that was spent on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from reasonry.core import Budget, Cost, Ids, Problem, Segment, Stop, Task, Trajectory, UserError
from reasonry.lm.local import LocalLM
from reasonry.solve.calls import inner_seed
from reasonry.solve.deepsearch import END, DeepSearch, Tree
from reasonry.solve.single import Single
from reasonry.solve.tree import Node

Stored = Callable[[str], Sequence[Ids]]
"""A problem's id -> the verified solutions that are kept of it, each as the ids that were sampled."""


def nothing_stored(problem_id: str) -> Sequence[Ids]:
    """None."""
    return ()


Drop = Callable[[Ids], bool]
"""The ids of a wrong attempt -> whether nothing should be learned from it."""


def drop_none(ids: Ids) -> bool:
    """Never."""
    return False


def loops(ids: Ids, times: int = 4, least: int = 8) -> bool:
    """Whether an attempt ends in one block of tokens said at least `times` times over, `least` tokens or more together."""
    n = len(ids)
    return any(
        all(ids[n - i] == ids[n - i - p] for i in range(1, (max(times, -(-least // p)) - 1) * p + 1))
        for p in range(1, n // times + 1)
        if max(times, -(-least // p)) * p <= n
    )


@dataclass(frozen=True)
class Explore:
    """Searches a problem, or takes its stored solutions and samples the rest of the group directly."""

    search: DeepSearch
    stored: Stored = nothing_stored
    share: float = 0.5
    """Of a group, at most, may be stored solutions; one always may."""
    ways: Literal["all", "backed"] = "all"
    """Which ends become attempts: all, as in the authors' code, or those that were backed up, as the paper says."""
    drop: Drop = drop_none
    """Wrong attempts that are left out of the group; what they cost the others pay."""
    searches: bool = True
    """Whether problems without a stored solution are searched; else their attempts are independent too."""

    @property
    def name(self) -> str:
        """The search's."""
        return self.search.name

    async def group(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
        """About `G` attempts: a search may reach a few ends more in its last round, or fewer where its budget, G times that of one
        attempt, is spent."""
        stored = self.stored(problem.id)[: max(1, int(self.share * G))]
        if stored or not self.searches:
            return await self._replayed(problem, stored, budget, G, seed)
        return await self._searched(problem, budget, G, seed)

    async def _searched(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
        verdicts = 0

        async def judge(text: str) -> bool:
            nonlocal verdicts
            verdicts += 1
            return await judged(self.search.task, problem, text)

        whole = Budget(**{unit: limit * G for unit, limit in budget.limits()})  # type: ignore[arg-type]
        tree = await self.search.search(problem, judge, whole, G, seed, partial(inner_seed, seed), budget.completion_tokens)
        ends = [n for n in tree.ends if END in n.memo and (self.ways == "all" or n in tree.backed)]
        ends = [n for n in ends if n.memo[END] > 0 or not self.drop(tree.ids(n))]
        paid: set[Node] = set()
        attempts = [await self._attempt(problem, tree, end, paid) for end in ends]
        if attempts:
            rest = sum((s.cost for n, s in tree.segments.items() if n not in paid), Cost(verifier_calls=verdicts))
            first = attempts[0]
            attempts[0] = replace(first, cost=first.cost + rest, meta={**first.meta, "expansions": tree.expansions})
        return attempts

    async def _attempt(self, problem: Problem, tree: Tree, end: Node, paid: set[Node]) -> Trajectory:
        segments = tuple(tree.segments[n] if n not in paid else replace(tree.segments[n], cost=Cost()) for n in end.path)
        reused = sum(len(n.payload) for n in end.path if n in paid)
        paid |= set(end.path)
        last = tree.segments[end].stop
        stop = last if last in (Stop.EOS, Stop.CONTEXT) else Stop.LENGTH
        q = [n.value for n in end.path[:-1]] + [end.memo[END]]
        text = await self.search.lm.decode(tree.ids(end))
        return Trajectory(problem.id).add(*segments).finish(stop, text, q=q, length=len(tree.ids(end)), reused=reused, searched=True)

    async def _replayed(self, problem: Problem, stored: Sequence[Ids], budget: Budget, G: int, seed: int) -> list[Trajectory]:
        """No search: stored solutions first, then independent attempts, every one a way of a single node."""
        s = self.search
        limit = min(s.max_tokens, budget.completion_tokens or s.max_tokens)
        direct = Single(s.lm, s.sampling.with_(max_tokens=limit), s.name)
        again, new = await asyncio.gather(
            asyncio.gather(*(self._again(problem, ids) for ids in stored)),
            asyncio.gather(*(direct(problem, budget, inner_seed(seed, i)) for i in range(len(stored), G))),
        )
        right = [t.stop is Stop.EOS and await judged(s.task, problem, t.answer) for t in new]
        kept = [t.segments and (ok or not self.drop(t.segments[0].ids or ())) for t, ok in zip(new, right, strict=True)]
        ends = [replace(t, meta={**t.meta, "q": [1.0 if ok else -1.0]}) for t, ok, keep in zip(new, right, kept, strict=True) if keep]
        attempts, lost = [*again, *ends], sum((t.cost for t, keep in zip(new, kept, strict=True) if not keep), Cost())
        return [replace(t, cost=t.cost + lost) if i == 0 else t for i, t in enumerate(attempts)]

    async def _again(self, problem: Problem, ids: Ids) -> Trajectory:
        """A stored solution as an attempt of the present policy: nothing was sampled, its tokens were scored."""
        lm = self.search.lm
        if not isinstance(lm, LocalLM):
            raise UserError(f"deepsearch: stored solutions are scored again, which {lm.name} cannot; use a local model, or share=0")
        context = await lm.encode(problem.messages)
        logprobs = await lm.score(context, ids)
        text = await lm.decode(ids)
        cost = Cost(prompt_tokens=len(context) + len(ids), prefill_tokens=len(context) + len(ids), calls=1)
        segment = Segment(context, ids, text, logprobs, Stop.EOS, cost, model=lm.name)
        return Trajectory(problem.id).add(segment).finish(Stop.EOS, text, q=[1.0], length=len(ids), reused=len(ids), cached=True)


@dataclass(frozen=True)
class PrefixTree:
    """Independent attempts whose common beginnings are taken for nodes of a tree: node values without a search, to compare with one.

    An attempt is cut where a search would cut it; chunks with equal ids after equal beginnings are one node; all ends are backed up, right
    ones first.
    """

    search: DeepSearch

    @property
    def name(self) -> str:
        """The search's, said to be of plain attempts."""
        return f"{self.search.name} of plain attempts"

    async def group(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
        """`G` attempts, a segment a chunk."""
        s = self.search
        limit = min(s.max_tokens, budget.completion_tokens or s.max_tokens)
        direct = Single(s.lm, s.sampling.with_(max_tokens=limit), s.name)
        made = [t for t in await asyncio.gather(*(direct(problem, budget, inner_seed(seed, i)) for i in range(G))) if t.segments]
        root = Node()
        cuts = [await self._chunks(t.segments[0]) for t in made]
        ways = [_way(root, chunks) for chunks in cuts]
        worth = [1.0 if t.stop is Stop.EOS and await judged(s.task, problem, t.answer) else -1.0 for t in made]
        for i in sorted(range(len(made)), key=lambda i: -worth[i]):
            s.back(ways[i], worth[i])
        return [
            replace(
                t, segments=_cut(t.segments[0], chunks), meta={"q": [*(n.value for n in way[:-1]), end], "length": t.cost.completion_tokens}
            )
            for t, chunks, way, end in zip(made, cuts, ways, worth, strict=True)
        ]

    async def _chunks(self, call: Segment) -> list[Ids]:
        """A call's ids, cut after each token that completes the delimiter, or at the chunk's length."""
        chunks: list[Ids] = [()]
        for i in call.ids or ():
            last = chunks[-1]
            if last and (len(last) == self.search.chunk or await self._ends(last)):
                chunks.append(())
            chunks[-1] += (i,)
        return chunks

    async def _ends(self, ids: Ids) -> bool:
        d = self.search.delimiter
        return bool(d) and d in await self.search.lm.decode(ids)


def _way(root: Node, chunks: Sequence[Ids]) -> list[Node]:
    """The nodes of some chunks, one after another, made where they are missing."""
    way: list[Node] = []
    for ids in chunks:
        above = way[-1] if way else root
        way.append(next((c for c in above.children if c.payload == ids), None) or above.child(ids))
    return way


def _cut(call: Segment, chunks: Sequence[Ids]) -> tuple[Segment, ...]:
    """A call as one segment for each of its chunks; the first keeps its cost."""
    cut: list[Segment] = []
    at, context, logprobs = 0, call.context or (), call.logprobs or ()
    for i, ids in enumerate(chunks):
        cost = call.cost if i == 0 else Cost()
        cut.append(
            replace(call, context=context, ids=ids, text=call.text if i == 0 else "", logprobs=logprobs[at : at + len(ids)], cost=cost)
        )
        at, context = at + len(ids), context + ids
    return tuple(cut)


async def judged(task: Task, problem: Problem, text: str) -> bool:
    """The task's own verdict."""
    return bool((await asyncio.to_thread(task.judge, problem, text)).passed)
