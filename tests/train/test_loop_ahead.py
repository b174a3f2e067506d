"""Sampling ahead of learning: each batch is of one policy, the one from before the last update, and what is learned is what a loop that
does one thing after the other would learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_lm import TELLING, Digits, toy_decoder, toy_lm
from train_toy import RECIPE

from reasonry.core import Budget, UserError, open_run
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Course, every_group, only, ramp
from reasonry.train.history import Group, History
from reasonry.train.loop import frozen_copy, train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.rollout import rollout
from reasonry.train.update import learn, make_batch

TASK = Digits()
PROBLEMS = {1: TASK.problems()}
CURRICULUM = replace(only(1, 3), group_filter=every_group)
SPEC = "single?max_tokens=3"
LAGGED = Recipe(objective=find("dapo").objective, lr=0.02, steps=6, prompts=3, group=4, reward=TELLING, lag=1, save_every=4)


async def one_after_the_other(decoder: Decoder, recipe: Recipe, path: Path) -> tuple[list[int], Decoder]:
    """The naive twin: step k is sampled with the weights after k − 1 updates, after k where it is the first of the run or behind a
    checkpoint. Also returns the policy versions."""
    course, past, versions = Course(CURRICULUM, PROBLEMS, History(path, 0), recipe.seed), [frozen_copy(decoder)], []
    optimizers = recipe.optimizer(decoder, recipe.lr, recipe.weight_decay)
    for step in range(recipe.steps):
        version = step if step % recipe.save_every == 0 else step - 1
        async with toy_lm(past[version]) as lm:
            lesson, solver = course.ask(step, recipe.prompts), build_solver(SPEC, lm, TASK)
            budget, seed = Budget(completion_tokens=lesson.max_new_tokens), inner_seed(recipe.seed, step)
            done = [g async for g in rollout(solver, TASK, lesson.problems, budget, recipe.group, seed, version)]
        groups = [recipe.reward(g.problem, g.trajectories) for g in sorted(done, key=lambda g: g.index)]
        course.tell(step, [Group(p.id, 1, 0, recipe.group) for p in lesson.problems])
        learn(decoder, optimizers, recipe, make_batch(groups, recipe, lambda _: True, seed), recipe.lr, None)
        past.append(frozen_copy(decoder))
        versions.append(groups[0][0].trajectory.segments[0].policy_version)
    return versions, decoder


async def test_what_is_learned_is_what_one_thing_after_the_other_would_learn(tmp_path: Path) -> None:
    versions, twin = await one_after_the_other(toy_decoder(), LAGGED, tmp_path / "twin.jsonl")
    assert versions == [0, 0, 1, 2, 4, 4]
    async with toy_lm(toy_decoder()) as lm:
        run = open_run(tmp_path / "run", describe(LAGGED), resume=False)
        await train(lm, build_solver(SPEC, lm, TASK), TASK, CURRICULUM, PROBLEMS, LAGGED, run)
        for ours, theirs in zip(lm.decoder.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert lm.engine.decoder is lm.decoder


async def test_only_batches_sampled_ahead_are_of_other_weights(tmp_path: Path) -> None:
    """Sampler and trainer agree where nothing was sampled ahead: at the start, behind a checkpoint, behind the end of a stage."""
    recipe = replace(LAGGED, steps=8, save_every=5)
    curriculum = replace(ramp(2, 3, 0, steps_per_stage=3), group_filter=every_group)
    async with toy_lm() as lm:
        run = open_run(tmp_path / "run", describe(recipe), resume=False)
        levels = {1: PROBLEMS[1][:5], 2: PROBLEMS[1][5:]}
        await train(lm, build_solver(SPEC, lm, TASK), TASK, curriculum, levels, recipe, run)
    told = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert all(record["grad_norm"] > 0 for record in told)
    assert [record["mismatch_max"] < 1e-4 for record in told] == [step in (0, 3, 5) for step in range(8)]


async def test_a_failing_update_ends_what_is_sampled_ahead(tmp_path: Path) -> None:
    """The error is the one that is raised, no task is left, and the engine has its own decoder again and can be used."""

    class Broken:
        async def prepare(self, *_: object) -> object:
            raise ConnectionError("no critic")

    async with toy_lm() as lm:
        run = open_run(tmp_path / "run", describe(LAGGED), resume=False)
        with pytest.raises(ConnectionError, match="no critic"):
            await train(lm, build_solver(SPEC, lm, TASK), TASK, CURRICULUM, PROBLEMS, LAGGED, run, beside=[Broken()])  # type: ignore[list-item]
        assert lm.engine.decoder is lm.decoder
        assert await answer(lm)


async def answer(lm: LocalLM) -> str:
    return (await build_solver(SPEC, lm, TASK)(PROBLEMS[1][0], Budget(), 0)).answer


def test_a_lag_of_two_is_refused() -> None:
    with pytest.raises(UserError, match="lag is 2 but must be 0 or 1"):
        replace(RECIPE, lag=2)
