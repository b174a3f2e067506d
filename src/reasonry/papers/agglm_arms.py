"""The arms of AggLM's experiment: candidates of the frozen start, aggregators trained on mixtures of them, and everything that is measured.

Invariant: a step of the experiment is its own file in the run directory and a function of (plan, seed, arm); what is there is not done
again, and training goes on from its last checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import torch

from reasonry.core import Problem, Sampling, Solver, open_run
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.pools import aggregate_pools, sample_pools
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.agglm_findings import (
    ALONE,
    AT9,
    AT16,
    EASY,
    FAMILIAR,
    FEATURES,
    FIRST,
    JUDGES,
    MAIN,
    OTHERS,
    SHARES,
    SOLVER,
    START,
    TRAINED,
    Fact,
    Plan,
    Row,
)  # fmt: skip
from reasonry.papers.agglm_reward import FIT, fitted, rival
from reasonry.papers.agglm_start import FORM
from reasonry.papers.agglm_task import Chains, noisy_check
from reasonry.probe.ladder import AGGREGATOR, RUNGS, Set, cut_up
from reasonry.probe.stats import maj_at_k
from reasonry.probe.votes import classes, tally
from reasonry.solve.single import Single
from reasonry.synth.aggregation import Aggregation, any_tied_wrong, mixture, sets, spread
from reasonry.tasks.pool import Pool, read_pools, with_checks, write_pools
from reasonry.train.catalogue import find
from reasonry.train.chooser import chooser, expected_score, practise
from reasonry.train.curriculum import every_group, only
from reasonry.train.health import Progress
from reasonry.train.loop import STEPS, frozen_copy, train
from reasonry.train.recipe import Recipe, describe

TASK = Chains()
PRACTISED, HELD_OUT = Chains("practised"), Chains("held out")
ANSWER = Sampling(max_tokens=12)
"""A solution has 9 tokens and its end."""
ROWS, KV = 128, 65_536
PROBLEMS = 3
"""Makes the third run's problems new ones (see what differs)."""


@dataclass(frozen=True)
class Seed:
    """What the arms of one seed share."""

    path: Path
    """The run directory of this seed."""
    plan: Plan
    seed: int
    start: Path
    """The start's checkpoint folder."""
    progress: Progress

    def lm(self, state: dict[str, torch.Tensor] | None = None) -> LocalLM:
        """The start, or the same model with other weights."""
        decoder = load_decoder(self.start, torch.float32)
        if state is not None:
            decoder.load_state_dict(state)
        return LocalLM(decoder, Tokenizer.load(self.start), "pocket", max_rows=ROWS, kv_tokens=KV)

    async def pools(
        self, name: str, of: Chains, split: str, n: int, state: dict[str, torch.Tensor] | None = None, each: int | None = None
    ) -> list[Pool]:
        """Candidates of a model at `n` problems of a kind, made once; checked by the noisy checker. `each`: left out, the plan's."""
        file = self.path / f"{name}.jsonl"
        if file.exists():
            return read_pools(file, TASK)
        problems = of.problems(split, n, inner_seed(self.seed, PROBLEMS))
        async with self.lm(state) as lm:
            solver = Single(lm, ANSWER.with_(temperature=self.plan.heat))
            made = await sample_pools(solver, TASK, problems, split, each or self.plan.each, inner_seed(self.seed, len(name)))
        checked = [with_checks(p, [self._check(p.problem.id, i, c.text) for i, c in enumerate(p.candidates)]) for p in made]
        write_pools(file, checked)
        return checked

    def _check(self, id: str, i: int, text: str) -> float:
        return noisy_check(text, self.plan.check_error, random.Random(f"check/{self.seed}/{id}/{i}"))

    def task(self, pools: Sequence[Pool], arm: str) -> Aggregation:
        """An arm's training problems."""
        return Aggregation(arm, TASK, pools, self.plan.m, None, SHARES.get(arm), any_tied_wrong, FORM, arm == EASY, self.seed)

    def recipe(self) -> Recipe:
        """The paper's objective; the same for every arm."""
        p = self.plan
        return Recipe(
            objective=find("agglm").objective, lr=p.lr, steps=p.steps, prompts=p.prompts, group=p.group, save_every=20, seed=self.seed,
            temperature=ANSWER.temperature, part_tokens=1 << 16,
        )  # fmt: skip

    async def trained(self, arm: str, pools: Sequence[Pool]) -> tuple[dict[str, torch.Tensor], list[Fact]]:
        """The weights after an arm's training, and its zero-advantage share, mean reward and sampled tokens."""
        recipe, folder = self.recipe(), self.path / slug(arm)
        run = open_run(folder, {**describe(recipe), **asdict(self.plan), "arm": arm, "seed": self.seed}, resume=True)
        task: Any = TASK if arm == SOLVER else self.task(pools, arm)
        problems: Sequence[Problem] = [p.problem for p in pools] if arm == SOLVER else task.problems("train")
        curriculum = replace(only(1, ANSWER.max_tokens), group_filter=every_group)
        async with self.lm() as lm:
            solver: Solver = Single(lm, ANSWER)
            reference = frozen_copy(lm.decoder)
            await train(lm, solver, task, curriculum, {1: problems}, recipe, run, reference, progress=self.progress)
            state = lm.decoder.state_dict()
        log = [msgspec.json.decode(line) for line in run.lines(STEPS)]
        told = {"zero-advantage share": fmean(r["zero_variance"] for r in log), "tokens trained on": log[-1]["tokens"]}
        told |= {"training problems": len(problems), "training reward, last ten steps": fmean(r["reward"] for r in log[-10:])}
        if arm != SOLVER:
            told["hard share of the training sets"] = fmean(float(p.meta["hard"]) for p in problems)
        return state, [Fact(self.seed, arm, metric, float(value)) for metric, value in told.items()]

    async def answered(self, arm: str, pools: Sequence[Pool], m: int, state: dict[str, torch.Tensor] | None, each: int) -> list[Pool]:
        """The pools with an arm's aggregations of every set, made once."""
        file = self.path / f"{slug(arm)}-test.jsonl"
        if file.exists():
            return read_pools(file, TASK)
        async with self.lm(state) as lm:
            made = await aggregate_pools(lm, TASK, pools, m, FORM, ANSWER, each, inner_seed(self.seed, 7))
        write_pools(file, made)
        return made

    def rows(self, arm: str, pools: Sequence[Pool], answered: Sequence[Pool], m: int) -> list[Row]:
        """An arm's rows, filed under the sets of the candidates in `pools`, whatever it was shown."""
        found: list[Row] = []
        for pool, own in zip(pools, answered, strict=True):
            for number, (s, shown) in enumerate(zip(cut_up(pool, m), cut_up(own, m), strict=True)):
                made = [float(a.correct or 0) for a in shown.aggregated]
                tokens = sum(c.tokens for c in shown.candidates) + fmean(a.tokens for a in shown.aggregated)
                found.append(self._row(arm, pool, number, s, fmean(made), tokens))
        return found

    def _row(self, arm: str, pool: Pool, number: int, s: Set, score: float, tokens: float) -> Row:
        return Row(self.seed, arm, pool.problem.id, number, s.size, s.minority_correct, score, tokens)

    def baselines(self, pools: Sequence[Pool]) -> list[Row]:
        """Every rung that needs no training, set by set; majorities of nine and sixteen, problem by problem."""
        found: list[Row] = []
        for pool in pools:
            for number, s in enumerate(cut_up(pool, self.plan.m)):
                each = [c.tokens for c in s.candidates]
                found.append(self._row(FIRST, pool, number, s, s.right[0], each[0]))
                for name, rule in RUNGS.items():
                    score = rule(s) if name != AGGREGATOR else None
                    if score is not None:
                        found.append(self._row(name, pool, number, s, score, fmean(each) if name == "pass@1" else sum(each)))
            found += [_majority(self.seed, name, pool, k) for name, k in ((AT9, 9), (AT16, 16))]
        return found

    def features(self, train_pools: Sequence[Pool], test_pools: Sequence[Pool]) -> tuple[list[Row], list[Fact]]:
        """The policy over features, trained on every mixture for equal updates."""
        every = sets(train_pools, self.plan.m, None, self.seed)
        rows: list[Row] = []
        facts: list[Fact] = []
        for arm in TRAINED:
            easy = spread([e for e in every if not any_tied_wrong(e)], self.seed)
            chosen = easy if arm == EASY else mixture(every, SHARES[arm], any_tied_wrong, self.seed)
            x, right = _tensors([e.candidates for e in chosen])
            policy = chooser(x.shape[-1], seed=self.seed)
            log = practise(policy, x, right, self.plan.feature_updates, seed=self.seed)
            facts.append(Fact(self.seed, FEATURES + arm, "zero-advantage share", fmean(p.zero_advantage for p in log)))
            for pool in test_pools:
                cut = cut_up(pool, self.plan.m)
                scores = expected_score(policy, *_tensors([s.candidates for s in cut])).tolist()
                for number, (s, score) in enumerate(zip(cut, scores, strict=True)):
                    rows.append(self._row(FEATURES + arm, pool, number, s, score, sum(c.tokens for c in s.candidates)))
        return rows, facts

    async def orders(self, arm: str, pools: Sequence[Pool], state: dict[str, torch.Tensor] | None) -> list[Fact]:
        """How far an aggregator's answers to one set move when its candidates are shuffled: total variation of the answer's distribution
        between two orders, and between two samples in one order, which is what sampling alone does."""
        file = self.path / f"{slug(arm)}-orders.json"
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=list[Fact])
        p = self.plan
        chosen = pools[: p.order_sets]
        async with self.lm(state) as lm:
            samples: list[list[list[str | None]]] = []
            for order in (0, 1, 1):
                made = [await self._sampled(lm, pool, order, len(samples)) for pool in chosen]
                samples.append(made)
        moved = fmean(distance(a, b) for a, b in zip(samples[0], samples[1], strict=True))
        noise = fmean(distance(a, b) for a, b in zip(samples[1], samples[2], strict=True))
        facts = [Fact(self.seed, arm, "total variation, shuffled", moved), Fact(self.seed, arm, "total variation, same order", noise)]
        write_whole(file, msgspec.json.encode(facts).decode())
        return facts

    async def _sampled(self, lm: LocalLM, pool: Pool, order: int, draw: int) -> list[str | None]:
        import asyncio

        from reasonry.tasks.pack import pack

        messages = pack(pool.problem.messages, pool.candidates[: self.plan.m], FORM, inner_seed(self.seed, order)).messages
        seeds = (inner_seed(self.seed, 31, draw, i) for i in range(self.plan.order_draws))
        done = await asyncio.gather(*(lm.complete(messages, ANSWER.with_(seed=s)) for s in seeds))
        return [TASK.extract(y.text) for y in done]


def distance(a: Sequence[str | None], b: Sequence[str | None]) -> float:
    """Total variation between two samples' distributions."""
    return 0.5 * sum(abs(list(a).count(x) / len(a) - list(b).count(x) / len(b)) for x in {*a, *b})


def swapped(pools: Sequence[Pool]) -> list[Pool]:
    """Every problem with the candidates of the next."""
    return [replace(pool, candidates=pools[(i + 1) % len(pools)].candidates) for i, pool in enumerate(pools)]


def slug(arm: str) -> str:
    """An arm's name as a file's."""
    return arm.replace(" %", "pc").replace(" ", "-").replace("'", "").replace(":", "")


def _tensors(candidates: Sequence[Sequence[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vote share, check and whether the vote is the largest, of each candidate; and whether it is right."""
    x: list[list[list[float]]] = []
    for own in candidates:
        keys = classes(own)
        votes = tally(keys)
        most = max(votes.values(), default=0)
        share = [votes.get(key, 0) / len(own) if key is not None else 0.0 for key in keys]
        x.append([[s, float(c.check or 0), float(s * len(own) == most)] for s, c in zip(share, own, strict=True)])
    return torch.tensor(x), torch.tensor([[float(c.correct or 0) for c in own] for own in candidates])


def _majority(seed: int, name: str, pool: Pool, k: int) -> Row:
    each = fmean(c.tokens for c in pool.candidates)
    score = maj_at_k([c.answer for c in pool.candidates], [float(c.correct or 0) for c in pool.candidates], k)
    return Row(seed, name, pool.problem.id, -1, 0, False, score, k * each)


async def examined(s: Seed) -> tuple[list[Row], list[Fact]]:
    """Everything of one seed: baselines, every arm trained and tested, and the main arm's controls."""
    p = s.plan
    practice = await s.pools("train", PRACTISED, "train", p.train_problems)
    test = await s.pools("test", HELD_OUT, "test", p.test_problems)
    familiar = await s.pools("familiar", PRACTISED, "test", p.test_problems)
    rows, facts = s.features(practice, test)
    rows = [*s.baselines(test), *rows, *_familiar(s.baselines(familiar))]
    for judge, facts_of in zip(JUDGES, (PRACTISED, TASK), strict=True):
        data = await s.pools(f"{slug(judge)}-data", facts_of, "train", FIT.problems, each=FIT.each)
        model = fitted(s.path / slug(judge), s.start, data, FIT, s.seed)
        (own, told), (of_familiar, also) = (rival(s.seed, judge, p.m, model, pools) for pools in (test, familiar))
        rows += [*own, *_familiar(of_familiar)]
        facts += [*told, *(replace(f, arm=FAMILIAR + f.arm) for f in also)]
    rows += s.rows(START, test, await s.answered(START, test, p.m, None, p.aggregations), p.m)
    rows += _familiar(s.rows(START, familiar, await s.answered(FAMILIAR + START, familiar, p.m, None, 2), p.m))
    facts += await s.orders(START, test, None)
    for arm in TRAINED:
        state, told = await s.trained(arm, practice)
        facts += told
        rows += s.rows(arm, test, await s.answered(arm, test, p.m, state, p.aggregations), p.m)
        if arm == MAIN:
            facts += await s.orders(arm, test, state)
            rows += await _controls(s, test, state)
            rows += _familiar(s.rows(MAIN, familiar, await s.answered(FAMILIAR + MAIN, familiar, p.m, state, 2), p.m))
            rows += _familiar(s.rows(ALONE, familiar, await s.answered(FAMILIAR + ALONE, _silent(familiar), p.m, state, 2), p.m))
    state, told = await s.trained(SOLVER, practice)
    own = await s.pools("solver", HELD_OUT, "test", p.test_problems, state)
    rows += [_majority(s.seed, SOLVER, pool, 9) for pool in own]
    own = await s.pools("solver-familiar", PRACTISED, "test", p.test_problems, state)
    rows += [_majority(s.seed, FAMILIAR + SOLVER, pool, 9) for pool in own]
    return rows, [*facts, *told]


def _familiar(rows: Sequence[Row]) -> list[Row]:
    """The same rows under names that say that their problems are of practised facts; without sets, for no claim is about them."""
    return [replace(r, arm=r.arm if r.arm.startswith(FAMILIAR) else FAMILIAR + r.arm, number=-1, size=0, minority=False) for r in rows]


def _silent(pools: Sequence[Pool]) -> list[Pool]:
    """Candidates that say nothing: none is shown."""
    return [replace(pool, candidates=tuple(replace(c, text="") for c in pool.candidates)) for pool in pools]


async def _controls(s: Seed, test: Sequence[Pool], state: dict[str, torch.Tensor]) -> list[Row]:
    """The main arm without candidates, with another problem's, and with other numbers of them."""
    p = s.plan
    others = swapped(test)
    rows = s.rows(OTHERS, test, await s.answered(OTHERS, others, p.m, state, p.aggregations), p.m)
    rows += s.rows(ALONE, test, await s.answered(ALONE, _silent(test), p.m, state, p.aggregations), p.m)
    for m in p.sizes:
        arm = f"{MAIN}, {m} candidates"
        made = await s.answered(arm, test, m, state, 1)
        rows += [replace(r, number=-1, size=0, minority=False) for r in s.rows(arm, test, made, m)]
    return rows
