"""Monte-Carlo values: how well the policy fares from a state, found by letting it go on from there K times (VinePPO, arXiv 2410.01679).

An attempt is cut into steps, `Tokens.step`; the value of a step is the mean reward of K new endings from its first token on,
`Tokens.value`. With cuts at low-probability tokens it is segment-level SPO (arXiv 2505.23564). The endings are made by the solver itself
(`train.replay`), so chunks and votes are continued like plain answers; every model call begins a step. States that several attempts share,
the bare prompt above all, are continued once. What the endings cost is told as `beside_tokens`.

Symbols: K endings a state. Shapes: N trained tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reasonry.core import LM, Ids, Problem, Segment, Solver, Stop, Task, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.train.curriculum import Lesson
from reasonry.train.replay import Bind, Place, Replay, binder
from reasonry.train.reward import Reward, Rewarded
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

Cuts = Callable[[Segment, Sequence[str]], list[int]]
"""(model call, the text of each of its tokens) -> tokens that begin a step, rising; 0 need not be among them."""


def at_lines(call: Segment, texts: Sequence[str]) -> list[int]:
    """A step is a line: it begins after a token that ends one (VinePPO)."""
    return [i + 1 for i, text in enumerate(texts[:-1]) if text.endswith("\n")]


@dataclass(frozen=True)
class AtUnlikely:
    """A step begins at every `every`-th token whose probability, as it was sampled, was below `below` (SPO: .9 and 5)."""

    below: float = 0.9
    every: int = 5

    def __call__(self, call: Segment, texts: Sequence[str]) -> list[int]:
        """See `Cuts`."""
        unlikely = [i for i, logp in enumerate(call.logprobs or ()) if logp < torch.tensor(self.below).log().item()]
        return unlikely[self.every - 1 :: self.every]


@dataclass(frozen=True)
class EveryTokens:
    """A step is `n` tokens."""

    n: int

    def __call__(self, call: Segment, texts: Sequence[str]) -> list[int]:
        """See `Cuts`."""
        return list(range(self.n, len(texts), self.n))


_State = tuple[str, tuple[Ids, ...]]
"""A problem's id, the calls before with the ids each sampled, and last the beginning of the call under way."""


class MonteCarlo:
    """Brings `Tokens.step` and `Tokens.value` (a `train.beside.Beside`)."""

    def __init__(
        self, lm: LM, solver: Solver, task: Task, reward: Reward, trained: Callable[[Segment], bool], cuts: Cuts, K: int, seed: int = 0
    ) -> None:
        """`solver` is the one that is trained, and `trained` what makes its segments the batch's. Raises UserError where its attempts
        cannot be taken up again."""
        self.lm, self.task, self.reward, self.trained, self.cuts, self.K, self.seed = lm, task, reward, trained, cuts, K, seed
        self.bind: Bind = binder(solver)
        self._told: dict[str, float] = {}

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens with `step` and `value`. Raises UserError where a state's endings all failed or were not scored."""
        problems = {p.id: p for p in lesson.problems}
        asked: dict[_State, asyncio.Task[tuple[float, int]]] = {}
        steps: list[int] = []
        states: list[_State] = []
        async with asyncio.TaskGroup() as endings:
            for attempt in (r.trajectory for group in rewarded for r in group):
                for call, segment in enumerate(attempt.segments):
                    if not self.trained(segment):
                        continue
                    for token, size in await self._steps(segment):
                        state = (attempt.problem_id, (*(s.ids or () for s in attempt.segments[:call]), (segment.ids or ())[:token]))
                        if state not in asked:
                            seed = inner_seed(self.seed, step, len(asked))
                            work = self._value(problems[attempt.problem_id], attempt, Place(call, token), lesson, seed)
                            asked[state] = endings.create_task(work)
                        steps += [len(states)] * size
                        states.append(state)
        values = {state: done.result() for state, done in asked.items()}
        self._told = {
            "states": float(len(asked)), "steps_per_attempt": len(states) / max(sum(map(len, rewarded)), 1),
            "beside_tokens": float(sum(spent for _, spent in values.values())),
        }  # fmt: skip
        value = torch.tensor([values[states[i]][0] for i in steps], dtype=torch.float32)
        return replace(batch.tokens, step=torch.tensor(steps, dtype=torch.int64), value=value)

    async def _steps(self, call: Segment) -> list[tuple[int, int]]:
        """First token of each step of a call, and how many of its tokens are trained; steps without any are left out."""
        ids = call.ids or ()
        texts = [await self.lm.decode((i,)) for i in ids]
        starts = sorted({0, *(i for i in self.cuts(call, texts) if 0 < i < len(ids))})
        mask = call.mask if call.mask is not None else (True,) * len(ids)
        sized = ((start, sum(mask[start:end])) for start, end in zip(starts, [*starts[1:], len(ids)], strict=True))
        return [(start, size) for start, size in sized if size]

    async def _value(self, problem: Problem, attempt: Trajectory, place: Place, lesson: Lesson, seed: int) -> tuple[float, int]:
        """Mean reward of the endings, and the tokens they took."""
        replays = [Replay(self.lm, attempt, place, inner_seed(seed, k)) for k in range(self.K)]
        ended = await asyncio.gather(*(self.bind(r)(problem, lesson.budget, r.seed) for r in replays))
        judged = [
            replace(t, verdict=await asyncio.to_thread(self.task.judge, problem, t.answer)) for t in ended if t.stop is not Stop.ERROR
        ]
        scored = await asyncio.to_thread(self.reward, problem, judged)
        if not scored:
            raise UserError(f"Monte-Carlo values: no continuation of an attempt at {problem.id!r} could be scored; look at its reward")
        return sum(r.reward for r in scored) / len(scored), sum(r.spent for r in replays)

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Tells `states` that were continued, `steps_per_attempt` and `beside_tokens`."""
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it remembers nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
