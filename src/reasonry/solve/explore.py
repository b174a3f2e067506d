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


@dataclass(frozen=True)
class Explore:
    """Searches a problem, or takes its stored solutions and samples the rest of the group directly."""

    search: DeepSearch
    stored: Stored = nothing_stored
    share: float = 0.5
    """Of a group, at most, may be stored solutions; one always may."""
    ways: Literal["all", "backed"] = "all"
    """Which ends become attempts: all, as in the authors' code, or those that were backed up, as the paper says."""

    @property
    def name(self) -> str:
        """The search's."""
        return self.search.name

    async def group(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
        """About `G` attempts: a search may reach a few ends more in its last round, or fewer where its budget, G times that of one
        attempt, is spent."""
        stored = self.stored(problem.id)[: max(1, int(self.share * G))]
        return await self._replayed(problem, stored, budget, G, seed) if stored else await self._searched(problem, budget, G, seed)

    async def _searched(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
        verdicts = 0

        async def judge(text: str) -> bool:
            nonlocal verdicts
            verdicts += 1
            return await judged(self.search.task, problem, text)

        whole = Budget(**{unit: limit * G for unit, limit in budget.limits()})
        tree = await self.search.search(problem, judge, whole, G, seed, partial(inner_seed, seed), budget.completion_tokens)
        ends = [n for n in tree.ends if END in n.memo and (self.ways == "all" or n in tree.backed)]
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
        ends = [replace(t, meta={**t.meta, "q": [1.0 if ok else -1.0]}) for t, ok in zip(new, right, strict=True) if t.segments]
        return [*again, *ends]

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


async def judged(task: Task, problem: Problem, text: str) -> bool:
    """The task's own verdict."""
    return bool((await asyncio.to_thread(task.judge, problem, text)).passed)
