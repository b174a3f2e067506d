"""The arms of HICRA's experiment: one objective, one start, one budget of sampled tokens; only the boosted tokens differ.

Invariant: an arm is its own run directory and a function of (plan, seed, arm); it goes on from its last checkpoint. The grams are those of
the start's right answers, found once before any training and kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import msgspec
import torch

from reasonry.core import Budget, Run, Sampling, Trajectory, open_run
from reasonry.core.seeds import inner_seed
from reasonry.evaluate import compare
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.hicra_rows import ENTROPY, GRPO, HICRA, PLACEBO, Plan, Row, Step
from reasonry.probe.gram_metrics import error_kind
from reasonry.probe.strategic_grams import StrategicGrams, extract, load
from reasonry.solve.single import Single
from reasonry.tasks.puzzle import calculations, puzzle
from reasonry.train.advantage import PlanningBoost
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only
from reasonry.train.health import Progress
from reasonry.train.loop import STEPS, train
from reasonry.train.planning import EntropyTopK, Given, RandomTokens, Strategic, Watch, policy_entropy
from reasonry.train.recipe import Enrich, Recipe, as_it_is, describe
from reasonry.train.rollout import rollout

ROWS, KV = 64, 32_768
NEITHER = (GRPO, "α = 0", "no gram")
"""GRPO, and two ways to have no boost that must be it."""


@dataclass(frozen=True)
class Grams:
    """A seed's grams, with the answers they are from. Made by `mined`."""

    true: StrategicGrams
    answers: tuple[Trajectory, ...]
    """The start's answers, right or wrong."""


@dataclass(frozen=True)
class Experiment:
    """What all arms and seeds share. Made once the start exists."""

    path: Path
    plan: Plan
    folder: Path
    """The start's checkpoint."""
    split: str = "test"
    """Problems that arms are compared on; settings were chosen on `validation`."""

    def lm(self, state: Mapping[str, torch.Tensor] | None = None) -> LocalLM:
        """The start, or the same model with other weights."""
        decoder = load_decoder(self.folder, torch.float32)
        if state is not None:
            decoder.load_state_dict(state)
        return LocalLM(decoder, Tokenizer.load(self.folder), "policy", max_rows=ROWS, kv_tokens=KV)

    def solver(self, lm: LocalLM, name: str = "single") -> Single:
        """One plain answer."""
        return Single(lm, Sampling(max_tokens=self.plan.max_tokens), name)

    async def mined(self, seed: int) -> Grams:
        """The grams of a seed: what the start says when it is right. Found once."""
        run = open_run(self.path / f"grams-seed{seed}", {"plan": asdict(self.plan), "seed": seed}, resume=True)
        kept = run.path / "grams.json"
        if not kept.exists():
            task = puzzle()
            problems, budget = task.problems("train", self.plan.mined, seed), Budget(completion_tokens=self.plan.max_tokens)
            async with self.lm() as lm:
                groups = [g async for g in rollout(self.solver(lm), task, problems, budget, self.plan.group, inner_seed(seed, 1))]
            answers = [t for g in sorted(groups, key=lambda g: g.index) for t in g.trajectories]
            run.write("answers.jsonl", "".join(msgspec.json.encode(t).decode() + "\n" for t in answers))
            texts = right(answers)
            found = extract(texts, top=self.plan.top, seed=seed, min_documents=self.plan.min_documents)
            found.save(kept)
        answers = tuple(msgspec.json.decode(line, type=Trajectory) for line in run.lines("answers"))
        return Grams(load(kept), answers)

    def recipe(self, arm: str, seed: int, grams: Grams, lm: LocalLM) -> Recipe:
        """The catalogue's objective; only which tokens are planning, and whether they are boosted, is the arm's."""
        plan, objective = self.plan, find("hicra").objective
        boost = {GRPO: (), "α = 0": (PlanningBoost(0.0),)}.get(arm, (PlanningBoost(plan.alpha),))
        enrich: Enrich = {
            HICRA: Strategic(grams.true, lm.tokenizer),
            "α = 0": Strategic(grams.true, lm.tokenizer),
            PLACEBO: RandomTokens(Strategic(grams.true, lm.tokenizer)),
            ENTROPY: EntropyTopK(policy_entropy(lm.decoder)),
            "no gram": Given(lambda s: [False] * len(s.ids or ())),
        }.get(arm, as_it_is)
        return Recipe(
            objective=replace(objective, reshape=boost), lr=plan.lr, steps=plan.every, prompts=plan.prompts, group=plan.group,
            enrich=enrich, save_every=plan.every, seed=seed, part_tokens=1 << 17,
        )  # fmt: skip

    async def train(self, arm: str, seed: int, grams: Grams, progress: Progress) -> tuple[dict[str, torch.Tensor], list[Step]]:
        """The weights after the budget, and the steps."""
        task, plan = puzzle(), self.plan
        problems = {1: task.problems("train", plan.train_problems, inner_seed(seed, 2))}
        curriculum = replace(only(1, plan.max_tokens), group_filter=every_group)
        async with self.lm() as lm:
            recipe = self.recipe(arm, seed, grams, lm)
            told = {**describe(replace(recipe, enrich=as_it_is)), "plan": asdict(plan), "arm": arm}
            run = open_run(self.path / f"{slug(arm)}-seed{seed}", told, resume=True)
            watch = Watch(Strategic(grams.true, lm.tokenizer), policy_entropy(lm.decoder))
            stop = None
            while stop != (stop := next_stop(plan, records(run))):
                await train(
                    lm, self.solver(lm), task, curriculum, problems, replace(recipe, steps=stop), run, beside=[watch], progress=progress
                )
            return lm.decoder.state_dict(), [step_of(r, arm, seed) for r in records(run)]

    async def test(self, arm: str, seed: int, state: Mapping[str, torch.Tensor] | None) -> list[Row]:
        """One model on the seed's test problems, two attempts at each."""
        run = open_run(self.path / f"{slug(arm)}-seed{seed}-test", {"plan": asdict(self.plan), "seed": seed}, resume=True)
        problems = puzzle().problems(self.split, self.plan.test_problems, seed)
        async with self.lm(state) as lm:
            budget = Budget(completion_tokens=self.plan.max_tokens)
            await compare([self.solver(lm)], puzzle(), problems, [budget], run, attempts=2, seed=seed)
        made: dict[str, list[Trajectory]] = {}
        for line in run.lines("attempts"):
            stored = msgspec.json.decode(line, type=_Line)
            made.setdefault(stored.problem, []).append(stored.trajectory)
        return [row(arm, seed, problem, attempts) for problem, attempts in made.items()]

    async def same(self, seed: int, grams: Grams, path: Path) -> dict[str, bool]:
        """Ways to have no boost -> whether two small steps leave the very weights that GRPO's leave."""
        task, left = puzzle(), dict[str, list[torch.Tensor]]()
        for name in NEITHER:
            async with self.lm() as lm:
                recipe = replace(self.recipe(name, seed, grams, lm), steps=2, prompts=4, group=4)
                run = open_run(path / slug(name), {}, resume=True)
                curriculum = replace(only(1, self.plan.max_tokens), group_filter=every_group)
                await train(lm, self.solver(lm), task, curriculum, {1: task.problems("train", 20, seed)}, recipe, run)
                left[name] = list(lm.decoder.state_dict().values())
        return {name: all(torch.equal(a, b) for a, b in zip(left[GRPO], left[name], strict=True)) for name in NEITHER[1:]}


class _Line(msgspec.Struct):
    problem: str
    trajectory: Trajectory


def right(answers: Sequence[Trajectory]) -> list[str]:
    """The texts of those that passed."""
    return [t.answer for t in answers if t.verdict is not None and t.verdict.passed]


def row(arm: str, seed: int, problem: str, attempts: Sequence[Trajectory]) -> Row:
    """A test problem's attempts as the findings read them."""
    passed = [t.verdict is not None and t.verdict.passed is True for t in attempts]
    kinds = [None if ok else error_kind(t.answer, calculations) for t, ok in zip(attempts, passed, strict=True)]
    return Row(seed, arm, problem, fmean(passed), fmean(k == "planning" for k in kinds), fmean(k == "execution" for k in kinds))


def records(run: Run) -> list[dict[str, float]]:
    """A training run's stored steps."""
    return [json.loads(line) for line in run.lines(STEPS)]


def next_stop(plan: Plan, log: Sequence[Mapping[str, float]]) -> int:
    """The step to train up to next, a function of the log's whole slices; the same again where the budget is spent, to the nearest step."""
    whole = log[: len(log) // plan.every * plan.every]
    if not whole:
        return plan.every
    rate = fmean(r["length"] for r in whole[-plan.every :]) * plan.prompts * plan.group
    return len(whole) + min(max(round((plan.tokens - whole[-1]["tokens"]) / rate), 0), plan.every)


def step_of(r: Mapping[str, float], arm: str, seed: int) -> Step:
    """A stored step as the findings read it."""
    return Step(
        seed, arm, int(r["step"]), int(r["tokens"]), r["pass_rate"], r["entropy"], r["planning_token_ratio"],
        r.get("strategic_gram_entropy", 0.0), r["execution_perplexity"], r.get("planning_perplexity", 1.0),
    )  # fmt: skip


def slug(arm: str) -> str:
    """An arm's name as part of a folder's."""
    return arm.replace("α = 0", "alpha-0").replace("%", "").strip().replace(" ", "-").lower()
