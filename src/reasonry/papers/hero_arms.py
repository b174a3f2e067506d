"""HERO's second experiment: what a small language model is paid for, in which regime; how an arm is trained and tested."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import torch

from reasonry.core import Budget, Message, Problem, Sampling, Trajectory
from reasonry.core.run import open_run
from reasonry.evaluate import compare
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.likelihood import Likelihood
from reasonry.lm.local import LocalLM
from reasonry.lm.scorer import Scorer, Scores
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.hero_findings import (
    AMBIGUOUS_ONLY,
    BLEND,
    HERO,
    MIXED,
    MODEL,
    SHUFFLED,
    VERIFIABLE,
    VERIFIER,
    Learnt,
    Plan,
    Row,
)
from reasonry.papers.hero_start import CAREFUL, LONGEST, habit
from reasonry.papers.hero_task import AMBIGUOUS, KINDS, STRICT, sums, truth, verdict_of_truth
from reasonry.solve.single import Single
from reasonry.train.beside import Beside
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Lesson, every_group, only
from reasonry.train.health import Progress
from reasonry.train.hero import SCORE, Hero, VarianceWeight, hero_reward, scored_by
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward, Rewarded, Weighted, verdict
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

SAMPLING = Sampling(max_tokens=LONGEST)
DATA = {VERIFIABLE: (STRICT,), AMBIGUOUS_ONLY: (AMBIGUOUS,), MIXED: (STRICT, AMBIGUOUS)}
"""Regime -> kinds of training problems."""
WIDTH = {VERIFIABLE: 0.05, AMBIGUOUS_ONLY: 0.1, MIXED: 0.1}
"""α and β, the paper's."""
UNIT = 0.2
"""About the sd of the scores of a prompt's answers at the start, in nats a token: what the blend divides them by."""
BASE = replace(find("hero").objective, reshape=())
"""What every arm optimises: GRPO with a mean-only advantage; HERO adds its weight."""


@dataclass(frozen=True)
class Shuffled:
    """The placebo: a group's scores, each given to another of its answers, the same way whenever asked."""

    scorer: Scorer
    name: str = "shuffled"

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        """The same numbers in another order."""
        found = self.scorer.scores(messages, answers)
        values = list(found.values)
        random.Random(f"{messages}{answers}").shuffle(values)
        return Scores(tuple(values), found.cost)


def reward_of(arm: str, regime: str, scorer: Scorer) -> Reward:
    """What an arm is paid."""
    width = WIDTH[regime]
    rewards: dict[str, Callable[[], Reward]] = {
        VERIFIER: Reward,
        MODEL: lambda: Reward((verdict, scored_by(scorer)), Weighted({SCORE: 1.0})),
        BLEND: lambda: Reward((verdict, scored_by(scorer)), Weighted({"score": 0.5, SCORE: 0.5 / UNIT})),
        HERO: lambda: hero_reward(scorer, Hero(width, width, scale="relative")),
        SHUFFLED: lambda: hero_reward(Shuffled(scorer), Hero(width, width, scale="relative")),
    }
    return rewards[arm]()


@dataclass
class Watch:
    """Looks at every step's attempts for the step's record: `true`, the share that is right in any form. Learns nothing."""

    seen: dict[str, float] = field(default_factory=dict)

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens as they are."""
        of = {p.id: p for p in lesson.problems}
        self.seen = {"true": fmean(truth(of[r.trajectory.problem_id], r.trajectory.answer) for group in rewarded for r in group)}
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """What `prepare` saw."""
        return self.seen

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Lab:
    """What all arms and seeds share."""

    path: Path
    plan: Plan
    start: Path
    """The checkpoint that every arm begins from."""
    judge: Path
    """The reward model's folder."""

    def scorer(self) -> Likelihood:
        """The reward model, frozen."""
        return Likelihood(load_decoder(self.judge), Tokenizer.load(self.judge), "judge")

    def lm(self, state: Mapping[str, torch.Tensor] | None = None) -> LocalLM:
        """The start, or the same model with other weights."""
        decoder = load_decoder(self.start)
        if state is not None:
            decoder.load_state_dict(state)
        return LocalLM(decoder, Tokenizer.load(self.start), "policy", max_rows=64, kv_tokens=32_768)

    def problems(self, regime: str, seed: int) -> list[Problem]:
        """A regime's training problems, its kinds in turn; the same for every arm of a seed."""
        kinds = [sums(kind).problems("train", self.plan.train_problems, seed) for kind in DATA[regime]]
        return [p for together in zip(*kinds, strict=True) for p in together]

    async def train(self, regime: str, arm: str, seed: int, progress: Progress) -> tuple[dict[str, torch.Tensor], list[Learnt]]:
        """The weights after training, and the steps; goes on where an earlier run stopped."""
        plan, reward = self.plan, reward_of(arm, regime, self.scorer())
        objective = reward.combine.objective(BASE) if isinstance(reward.combine, Hero) else BASE
        recipe = Recipe(
            objective=objective, lr=plan.lr, steps=plan.steps, prompts=plan.prompts, group=plan.group, reward=reward, save_every=10,
            seed=seed, part_tokens=1 << 17,
        )  # fmt: skip
        config = {**describe(replace(recipe, reward=Reward())), **asdict(plan), "arm": arm, "regime": regime}
        run = open_run(self.path / f"{slug(regime)}-{slug(arm)}-seed{seed}", config, resume=True)
        weigh: list[Beside] = [VarianceWeight(reward.combine)] if isinstance(reward.combine, Hero) else []
        task, curriculum = sums(STRICT), replace(only(1, LONGEST), group_filter=every_group)
        async with self.lm() as lm:
            problems = {1: self.problems(regime, seed)}
            await train(lm, Single(lm, SAMPLING), task, curriculum, problems, recipe, run, beside=[*weigh, Watch()], progress=progress)
            records = [json.loads(line) for line in run.lines("steps")]
            told = [Learnt(seed, regime, arm, r["step"], r["true"], r["pass_rate"], r["tokens"], r.get("hero_auc")) for r in records]
            return lm.decoder.state_dict(), told

    async def test(self, regime: str, arm: str, seed: int, state: Mapping[str, torch.Tensor] | None) -> list[Row]:
        """One model on the seed's test problems of both kinds, judged by the truth."""
        rows: list[Row] = []
        for kind in KINDS:
            task = replace(sums(kind), check=verdict_of_truth)
            config = {**asdict(self.plan), "seed": seed, "kind": kind}
            run = open_run(self.path / f"{slug(regime)}-{slug(arm)}-seed{seed}-test-{kind}", config, resume=True)
            async with self.lm(state) as lm:
                problems = task.problems("test", self.plan.test_problems, seed)
                await compare([Single(lm, SAMPLING)], task, problems, [Budget(completion_tokens=LONGEST)], run, seed=seed)
            for line in run.lines("attempts"):
                found = msgspec.json.decode(line, type=_Line)
                right = found.trajectory.verdict is not None and found.trajectory.verdict.passed is True
                careful = float(habit(found.trajectory.answer) == CAREFUL)
                rows.append(Row(seed, regime, arm, kind, found.problem, float(right), careful))
        return rows


class _Line(msgspec.Struct):
    problem: str
    trajectory: Trajectory


def slug(text: str) -> str:
    """A name as part of a folder's."""
    return text.replace(" ", "-").replace(",", "").lower()
