"""Search without a model: trees whose steps are right or wrong by a coin, with an entropy that tells them apart, or does not.

A step is right with probability `RIGHT`, decided by the chunk's seed; an end is right if all its steps are. The very search that is
trained with (`solve.deepsearch`) runs over a stand-in for a model, so what is measured is its selectors and nothing else. All kinds may
make as many chunks; plain tries spend them on independent ways from the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from reasonry.core import Budget, Completion, Cost, Ids, Problem, Prompt, Sampling, Stop, Verdict
from reasonry.core.seeds import inner_seed
from reasonry.solve.deepsearch import END, DeepSearch
from reasonry.solve.tree import Frontier

DEPTH, WIDTH, CHUNKS, RIGHT = 6, 4, 192, 0.5
GOOD, BAD = 1, 0
SOLVED = 1 - (1 - RIGHT**DEPTH) ** (CHUNKS // DEPTH)
"""Chance that plain tries with as many chunks have a right end among them, exactly."""
ENDS = CHUNKS // DEPTH * RIGHT**DEPTH
"""Right ends they have on average."""
PLAIN, INFORMED, WRONG = "no signal, λ2 = 0", "telling entropy, λ2 = −.4", "telling entropy, λ2 = +.4"
KINDS: dict[str, tuple[bool, float]] = {PLAIN: (False, 0.0), INFORMED: (True, -0.4), WRONG: (True, 0.4)}
"""Whether entropy tells right steps, and λ2."""


@dataclass(frozen=True)
class Steps:
    """A model whose chunk is one token, right or wrong; its surprise is lower for right ones where it tells."""

    tells: bool
    name: str = "steps"

    async def encode(self, prompt: Prompt) -> Ids:
        """The prompt is one token."""
        return prompt if isinstance(prompt, tuple) and all(isinstance(i, int) for i in prompt) else (2,)  # type: ignore[return-value]

    async def decode(self, ids: Ids) -> str:
        """A letter a step."""
        return "".join("gb"[i == BAD] for i in ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """One step; the last one ends the answer."""
        ids = await self.encode(prompt)
        rng = Random(f"steps/{sampling.seed}")
        step = GOOD if rng.random() < RIGHT else BAD
        surprise = rng.gauss((0.5 if step == GOOD else 1.5) if self.tells else 1.0, 0.35)
        stop = Stop.EOS if len(ids) == DEPTH else Stop.LENGTH
        return Completion("g" if step else "b", stop, Cost(len(ids), 1, len(ids), 1), ids, (step,), (-abs(surprise),), (-abs(surprise),))


@dataclass(frozen=True)
class AllRight:
    """Judges an answer by its steps."""

    name: str = "all right"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """All alike."""
        return [Problem(f"{seed}/{i}", "?") for i in range(n or 1)]

    def extract(self, text: str) -> str | None:
        """The steps."""
        return text

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Passed if no step is wrong."""
        right = answer == "g" * DEPTH
        return Verdict(float(right), right)


async def searched(kind: str, problem: Problem, seed: int) -> int:
    """Right ends that one search finds with `CHUNKS` chunks."""
    tells, entropy = KINDS[kind]
    search = DeepSearch(Steps(tells), AllRight(), n=WIDTH, chunk=1, depth=DEPTH, frontier=Frontier(DEPTH, entropy=entropy))

    async def judge(text: str) -> bool:
        return text == "g" * DEPTH

    tree = await search.search(problem, judge, Budget(calls=CHUNKS), 10**9, seed, partial(inner_seed, seed))
    return sum(end.memo.get(END, -1.0) > 0 for end in tree.ends)


async def measured(kind: str, trees: int, seed: int) -> list[int]:
    """Right ends of each of so many trees."""
    problems = AllRight().problems("test", trees, seed)
    return [await searched(kind, p, inner_seed(seed, i)) for i, p in enumerate(problems)]
