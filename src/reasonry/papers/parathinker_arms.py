"""All that one seed of ParaThinker's experiment measures: the method and what it is compared with, on the same test problems."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from reasonry.core import Budget, Problem, Sampling, Solver, Trajectory
from reasonry.core.seeds import inner_seed
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import controls
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.parathinker_findings import (
    AGAIN,
    BASE,
    BASES,
    CHAIN,
    DIFFERENCE,
    EMPTY,
    FIRST,
    FLAT,
    FORCED,
    HALF,
    NO_T,
    ONES,
    RELAY,
    RIGHT,
    SHARED,
    UNSEEN,
    VOTED,
    WRONG,
    Cell,
    Plan,
    arm,
    para,
    prefixed,
)
from reasonry.papers.parathinker_lab import FIND, by_tag, cell, cells, different, none_right, of_paths, off
from reasonry.papers.parathinker_start import models, opened, words
from reasonry.papers.parathinker_task import REGIONS, Find, filler, region, tried
from reasonry.solve.delethink_cost import R1_DISTILL_1_5B
from reasonry.solve.parathinker import first_finish, flattened, half_finish, last_finish
from reasonry.solve.parathinker_cost import decoding_step
from reasonry.solve.parathinker_solver import ParaThinker, reread
from reasonry.solve.parathinker_vote import Voted, vote_chances
from reasonry.solve.self_consistency import SelfConsistency
from reasonry.solve.single import Single

RELAYED = Find(relay=True)
TAGS_OF = {"late": (5, 6, 7, 8), "unseen": (9, 10, 11, 12)}
EXACT = -1
"""The seed of what has none."""


@asynccontextmanager
async def opened_lm(folder: Path, tokenizer: Tokenizer):
    """A model, for all its arms."""
    async with LocalLM(load_decoder(folder), tokenizer, folder.name, max_rows=256, kv_tokens=1 << 16) as lm:
        yield lm


async def attempts(solver: Solver, problems: Sequence[Problem], seed: int) -> list[Trajectory]:
    """One a problem, all at once."""
    return await asyncio.gather(*(solver(p, Budget(), inner_seed(seed, i)) for i, p in enumerate(problems)))


async def thinking(plan: Plan, seed: int, folder: Path, tokenizer: Tokenizer, problems: Sequence[Problem]) -> list[Cell]:
    """The arms of the model with thought embeddings."""
    async with opened_lm(folder, tokenizer) as lm:
        plain = ParaThinker(lm, FIND, 4, plan.B, last_finish, sampling=Sampling(max_tokens=2))
        found: list[Cell] = []

        async def run(name: str, solver: Solver) -> list[Trajectory]:
            made = await attempts(solver, problems, seed)
            found.extend(cells(seed, name, problems, made))
            return made

        for P in plan.widths:
            made = await run(para(P), replace(plain, P=P))
            found += of_paths(seed, P, problems, made)
            if plan.trained == P:
                found += [different(seed, para(P), problems, made), *none_right(seed, P, problems, made)]
                found.append(Cell(seed, para(P), DIFFERENCE, {"": off(lm.decoder, made[:20])}))
            if max(plan.widths) == P:
                found += by_tag(seed, made)
            if P > 1:
                await run(arm(AGAIN, P), replace(plain, P=P, fuse=reread))
                await run(arm(ONES, P), Voted(replace(plain, P=1), FIND, P))
        for P in (plan.trained, max(plan.widths)):
            made = await run(arm(SHARED, P), replace(plain, P=P, tags=(1,) * P))
            found += [different(seed, arm(SHARED, P), problems, made)] if plan.trained == P else []
            await run(arm(HALF, P), replace(plain, P=P, enough=half_finish))
            await run(arm(FIRST, P), replace(plain, P=P, enough=first_finish))
        await run(arm("tags 5 to 8", 4), replace(plain, tags=TAGS_OF["late"]))
        await run(arm(UNSEEN, 4), replace(plain, tags=TAGS_OF["unseen"]))
        made = await run(arm(FORCED, 4), replace(plain, leads=tuple(REGIONS)))
        found.append(different(seed, arm(FORCED, 4), problems, made))
        await run(arm(VOTED, 4), Voted(plain, FIND, 4))
        found += await closed_form(plan, seed, plain, problems)
        found += await relays(plan, seed, plain)
        return found


async def closed_form(plan: Plan, seed: int, plain: ParaThinker, problems: Sequence[Problem]) -> list[Cell]:
    """Votes of four paths on one problem, whose answer is where teachers like to look: how many it won, and should have won."""
    problem = min(problems, key=lambda p: p.meta["x"])
    made = await attempts(replace(plain, fuse=None), [problem] * plan.votes, inner_seed(seed, 1 << 20))
    answers = Counter(a for t in made for a in t.meta["answers"])
    total = 4 * plan.votes
    names = [a for a in answers if a is not None]
    chances = dict(zip(names, vote_chances([answers[a] / total for a in names], 4), strict=True))
    won = fmean(FIND.extract(t.answer) == problem.answer for t in made)
    return [Cell(seed, "closed form", m, {"": v}) for m, v in (("votes won", won), ("plug-in", chances.get(str(problem.answer), 0.0)))]


async def relays(plan: Plan, seed: int, plain: ParaThinker) -> list[Cell]:
    """The case where it fails: one path, four as long, four with the tokens of one in all."""
    problems = RELAYED.problems("test", plan.relays, seed)
    found: list[Cell] = []
    for k, P, B in ((1, 1, 14), (4, 4, 14), (0, 4, 3)):
        made = await attempts(replace(plain, P=P, B=B, task=RELAYED), problems, seed)
        found += cells(seed, arm(RELAY, k), problems, made, RELAYED)
    return found


async def ablated(plan: Plan, seed: int, name: str, folder: Path, tokenizer: Tokenizer, problems: Sequence[Problem]) -> list[Cell]:
    """The arms of a model without thought embeddings, or with flattened positions."""
    found: list[Cell] = []
    async with opened_lm(folder, tokenizer) as lm:
        plain = ParaThinker(lm, FIND, 4, plan.B, last_finish, sampling=Sampling(max_tokens=2))
        for P in (plan.trained, max(plan.widths)):
            solver = replace(plain, P=P, place=flattened) if name == FLAT else replace(plain, P=P)
            found += cells(seed, arm(name, P), problems, await attempts(solver, problems, seed))
    return found


def one_chain(tokenizer: Tokenizer, tokens: int) -> Sampling:
    """How a chain is sampled."""
    return Sampling(max_tokens=tokens, stop_token_ids=(controls(tokenizer).end,))


async def chained(plan: Plan, seed: int, name: str, folder: Path, tokenizer: Tokenizer, problems: Sequence[Problem]) -> list[Cell]:
    """Chains with the tokens of so many paths; of the base also votes of whole chains, and chains that begin with what they are given."""
    found: list[Cell] = []
    async with opened_lm(folder, tokenizer) as lm:
        for P in plan.widths:
            single = Single(lm, one_chain(tokenizer, P * plan.B + 4))
            found += cells(seed, arm(name, P), problems, await attempts(single, problems, seed))
            if name == BASE and P > 1:
                voted = SelfConsistency(lm, FIND, P, one_chain(tokenizer, 2 * plan.B))
                found += cells(seed, arm(BASES, P), problems, await attempts(voted, problems, seed))
        if name == BASE:
            for n in plan.prefixes:
                found += [await begun(plan, seed, lm, problems, kind, n) for kind in (WRONG, EMPTY)]
    return found


def wrong_prefix(problem: Problem, n: int, rng: random.Random) -> str:
    """The first n characters of a chain that looks in a region where the answer is not."""
    where = rng.choice([r for r in REGIONS if r != region(problem.meta["x"])])
    return (where + "".join(tried(problem, x) for x in rng.sample(REGIONS[where], len(REGIONS[where]))))[:n]


async def begun(plan: Plan, seed: int, lm: LocalLM, problems: Sequence[Problem], kind: str, n: int) -> Cell:
    """Chains made to begin with n characters: a wrong path's, or letters that mean nothing."""
    asked: list[Any] = []
    for i, p in enumerate(problems):
        rng = random.Random(f"parathinker/prefix/{seed}/{i}")
        text = wrong_prefix(p, n, rng) if kind == WRONG else filler(n, rng)
        sampling = one_chain(lm.tokenizer, plan.rest).with_(seed=inner_seed(seed, i))
        asked.append(lm.complete(opened(lm.tokenizer, p, text), sampling))
    made = await asyncio.gather(*asked)
    return cell(
        seed, prefixed(kind, n), RIGHT, problems, [float(FIND.judge(p, c.text).passed is True) for p, c in zip(problems, made, strict=True)]
    )


async def timed(plan: Plan, seed: int, folder: Path, tokenizer: Tokenizer, problems: Sequence[Problem]) -> list[Cell]:
    """Seconds of attempts by themselves: a step by width, and a chain of as many tokens as eight paths."""
    found: list[Cell] = []
    async with opened_lm(folder, tokenizer) as lm:
        seconds: dict[int, float] = {}
        for P in plan.widths:
            solver = ParaThinker(lm, FIND, P, plan.B, last_finish, fuse=None)
            took: list[tuple[float, int]] = []
            for i, p in enumerate(problems[: plan.timed]):
                began = time.perf_counter()
                t = await solver(p, Budget(), i)
                took.append((time.perf_counter() - began, t.meta["steps"]))
            seconds[P] = median(s for s, _ in took)
            found.append(Cell(seed, "clock", f"milliseconds a step, P = {P}", {"": 1000 * median(s / n for s, n in took)}))
        chains: list[float] = []
        tokens = max(plan.widths) * 17
        for i, p in enumerate(problems[: plan.timed]):
            began = time.perf_counter()
            await lm.complete(opened(tokenizer, p), Sampling(max_tokens=tokens, ignore_eos=True, seed=i))
            chains.append(time.perf_counter() - began)
        found.append(Cell(seed, "clock", "chain over eight paths", {"": median(chains) / seconds[max(plan.widths)]}))
    return found


def counted() -> list[Cell]:
    """What a step moves and computes at the paper's shape, by width, in times of one path's."""
    found: list[Cell] = []
    for tokens in (1024, 4096, 16_384):
        one = decoding_step(R1_DISTILL_1_5B, 1, 200, tokens)
        for P in (2, 4, 8, 16):
            step = decoding_step(R1_DISTILL_1_5B, P, 200, tokens)
            found.append(Cell(EXACT, f"counted, {tokens} tokens", f"bytes, {P} paths over one", {"": step.bytes / one.bytes}))
            found.append(Cell(EXACT, f"counted, {tokens} tokens", f"operations, {P} paths over one", {"": step.flops / one.flops}))
    return found


async def _one_seed(plan: Plan, seed: int, taught: dict[str, Path], split: str) -> list[Cell]:
    tokenizer, problems = words(plan.known), FIND.problems(split, plan.n, seed)
    return [
        *await thinking(plan, seed, taught["para"], tokenizer, problems),
        *await ablated(plan, seed, NO_T, taught["no-T"], tokenizer, problems),
        *await ablated(plan, seed, FLAT, taught["flat"], tokenizer, problems),
        *await chained(plan, seed, BASE, taught["base"], tokenizer, problems),
        *await chained(plan, seed, CHAIN, taught["chain"], tokenizer, problems),
        *await timed(plan, seed, taught["para"], tokenizer, problems),
    ]


def one_seed(plan: Plan, seed: int, folder: Path, split: str = "test") -> list[Cell]:
    """Everything of one seed."""
    return asyncio.run(_one_seed(plan, seed, models(folder, seed, plan), split))
