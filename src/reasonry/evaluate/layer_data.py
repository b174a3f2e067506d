"""Programs of a user's own inputs: decided by routers, or searched with the answers at hand.

Answers are decoded greedily and judged by the task, so a reward is what an attempt would earn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reasonry.accel.drllm import Routers, route
from reasonry.core import Message, Problem, Sampling, Task, UserError
from reasonry.lm.decoder import Program
from reasonry.lm.engine.sequence import Sequence as Steered
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.lm.program import counts_of, whole
from reasonry.probe.layer_use import Use
from reasonry.solve.layer_search import Found, Rules, Search, chain, edited, together, tree
from reasonry.tasks.loaders import json_lines

Strategy = Callable[[int, Rules, random.Random], Search]
SEARCHES: Mapping[str, Strategy] = {"tree": tree, "edits": edited, "chain": chain}
"""By name: a real tree, every program one or two edits away, the released code's chain."""
LEVELS = ("level", "difficulty", "steps")
"""Columns by which inputs are told apart where the user names none; the first that the inputs have."""


def local_lm(spec: str) -> LocalLM:
    """A model whose blocks are in reach. Raises UserError for an endpoint."""
    lm = load_lm(spec)
    if not isinstance(lm, LocalLM):
        raise UserError(f"--model: {spec} is an endpoint, whose blocks are out of reach; name pocket or a checkpoint folder")
    return lm


def prompts_of(path: Path) -> list[Problem]:
    """Inputs without answers: rows of a .jsonl file with a `prompt` (or `question`) or `messages`; their other columns are kept. Raises
    UserError for a row that has none of them."""
    found = []
    for at, row in json_lines(path):
        text = row.get("prompt", row.get("question")) if isinstance(row, dict) else None
        messages = row.get("messages") if isinstance(row, dict) else None
        if isinstance(messages, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in messages):
            text = tuple(Message(str(m["role"]), str(m["content"])) for m in messages)
        if not text or not isinstance(text, str | tuple):
            raise UserError(f"--data: {at} has no prompt, question or messages; give each line one of them")
        found.append(Problem(at, text, meta={k: v for k, v in row.items() if k not in ("prompt", "question", "messages")}))
    return found


def group_of(problems: Sequence[Problem], by: str | None) -> Callable[[Problem], str]:
    """What tells inputs apart. Raises UserError for a column that an input lacks."""
    key = by or next((name for name in LEVELS if problems and all(name in p.meta for p in problems)), None)
    if key is None:
        return lambda problem: "all"
    if (lacking := next((p for p in problems if key not in p.meta), None)) is not None:
        raise UserError(f"--by: {lacking.id} has no {key!r}; name a column that every input has, or leave it out")
    return lambda problem: f"{key} {problem.meta[key]}"


async def score(lm: LocalLM, s: Steered, task: Task, problem: Problem, max_tokens: int) -> float:
    """What the greedy continuation of an open sequence earns, in [0, 1]; what cannot be scored earns 0."""
    made = await lm.grow(s, Sampling(max_tokens=max_tokens, temperature=0.0))
    return task.judge(problem, made.text).score or 0.0


async def search_programs(
    lm: LocalLM, task: Task, problems: Sequence[Problem], strategy: Strategy, rules: Rules, max_tokens: int, seed: int,
    common: bool = False,
) -> list[Found]:  # fmt: skip
    """A search for each problem, side by side; it depends on the seed and the problem alone, not on those beside it. `common`: all draw
    the same random numbers, so that they look at programs in the same order."""
    layers, prompts = lm.decoder.config.num_layers, [await lm.encode(p.messages) for p in problems]

    async def one(i: int, program: Program) -> float:
        with await lm.sequence(prompts[i], program) as s:
            return await score(lm, s, task, problems[i], max_tokens)

    async def evaluate(asked: Sequence[tuple[int, Program]]) -> list[float]:
        return list(await asyncio.gather(*(one(i, program) for i, program in asked)))

    return await together([strategy(layers, rules, random.Random(f"{seed}/{'' if common else p.id}")) for p in problems], evaluate)


def use_of(problem: Problem, found: Found, layers: int, group: str) -> Use:
    """What a search came to, as a use of blocks; where no program is right, the whole network's."""
    counts = counts_of(found.program or whole(layers), layers)
    return Use(problem.id, group, counts, found.base, 1.0 if found.program is not None else found.base)


async def routed_use(
    lm: LocalLM, routers: Routers, knob: float, task: Task | None, problems: Sequence[Problem], max_tokens: int, by: str | None
) -> list[Use]:
    """What routers decide for each problem, and what it does to the answers where there is a task to judge them."""
    group, layers = group_of(problems, by), lm.decoder.config.num_layers

    async with route(lm, routers, knob) as routed:

        async def one(p: Problem) -> Use:
            prompt = await lm.encode(p.messages)
            with await routed.sequence(prompt) as s:
                counts = counts_of(s.program or (), layers)
                if task is None:
                    return Use(p.id, group(p), counts)
                right = await score(routed, s, task, p, max_tokens)
            with await lm.sequence(prompt) as s:
                return Use(p.id, group(p), counts, await score(lm, s, task, p, max_tokens), right)

        return list(await asyncio.gather(*map(one, problems)))
