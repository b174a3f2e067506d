"""The pipeline in one process: lockstep is the ordinary loop; ahead nothing is older than k; what is killed costs little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_lm import TELLING, Digits, toy_lm

from reasonry.core import Problem, UserError, open_run
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Curriculum, every_group, informative, only, ramp
from reasonry.train.health import Record
from reasonry.train.loop import train
from reasonry.train.pipeline.driver import Pipeline
from reasonry.train.pipeline.local import Here
from reasonry.train.pipeline.worker import Ask, Lost
from reasonry.train.recipe import Recipe, describe
from reasonry.train.rollout import Attempts

TASK = Digits()
PROBLEMS = {1: TASK.problems()}
CURRICULUM = replace(only(1, 6), group_filter=every_group)
RECIPE = Recipe(objective=find("cispo").objective, lr=0.01, steps=8, prompts=3, group=4, reward=TELLING, save_every=3)
TIMED = {"seconds_sampling", "seconds_learning", "tokens_per_second", "trainer_idle", "sampler_idle", "samples_per_second"}
PIPELINE = {"staleness", "staleness_max", "versions", "trained_length", "asked_again"}


async def learnt(
    path: Path,
    k: int | None,
    recipe: Recipe = RECIPE,
    curriculum: Curriculum = CURRICULUM,
    problems: Mapping[int, list[Problem]] = PROBLEMS,
    host: Any = Here,
    workers: int = 1,
    **more: Any,
) -> tuple[Decoder, list[dict[str, Any]]]:
    """The decoder after training k ahead (`None`: by the loop without a sampler), and the log."""
    run = open_run(path, {}, resume=True)
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=6", lm, TASK)
        sampler = None if k is None else Pipeline(host(lm, solver, TASK), k, workers)
        await train(lm, solver, TASK, curriculum, problems, recipe, run, sampler=sampler, **more)
        assert lm.engine.decoder is lm.decoder
        assert not lm.engine.busy
        return lm.decoder, [json.loads(line) for line in run.lines("steps")]


def same(a: Decoder, b: Decoder) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("filtered", [every_group, informative])
async def test_lockstep_is_the_ordinary_loop(tmp_path: Path, filtered: Any) -> None:
    """k = 0: the same weights, the same history and the same log to the last digit, also where groups are dropped."""
    reward = TELLING if filtered is every_group else Recipe.reward
    recipe, curriculum = replace(RECIPE, reward=reward), replace(CURRICULUM, group_filter=filtered)
    plain, told = await learnt(tmp_path / "plain", None, recipe, curriculum)
    ahead, also = await learnt(tmp_path / "ahead", 0, recipe, curriculum)
    assert same(plain, ahead)
    assert (tmp_path / "plain/history.jsonl").read_bytes() == (tmp_path / "ahead/history.jsonl").read_bytes()
    assert [{n: v for n, v in r.items() if n not in TIMED} for r in told] == [
        {n: v for n, v in r.items() if n not in TIMED | PIPELINE} for r in also
    ]
    assert {r["staleness_max"] for r in also if r["learned"]} == {0}


@pytest.mark.parametrize("k", [1, 2, 5])
async def test_ahead_nothing_is_older_than_k_and_all_is_told(tmp_path: Path, k: int) -> None:
    _, told = await learnt(tmp_path / "run", k)
    assert len(told) == RECIPE.steps
    assert 1 <= max(r["staleness_max"] for r in told) <= k
    assert all(r["learned"] == 3 and r["grad_norm"] > 0 for r in told)
    assert max(r["mismatch_max"] for r in told) > 1e-3, "some tokens really are of older weights"
    assert all(0 <= r["trainer_idle"] <= 1 and 0 <= r["sampler_idle"] <= 1 and r["samples_per_second"] > 0 for r in told)
    history = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert [len(step) for step in history] == [3] * RECIPE.steps


async def test_a_killed_trainer_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """What is lost is the steps since the last checkpoint, and what was under way; the log and the history are whole."""

    class Killed(BaseException):
        pass

    def kill(record: Record) -> None:
        if record["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        await learnt(tmp_path / "run", 2, progress=kill)
    _, told = await learnt(tmp_path / "run", 2)
    assert [r["step"] for r in told] == list(range(RECIPE.steps))
    assert max(r["staleness_max"] for r in told) <= 2
    assert len((tmp_path / "run/history.jsonl").read_text().splitlines()) == RECIPE.steps


class Fragile(Here):
    """A host that loses a worker at its fourth group, with whatever else it has under way; its next ones live."""

    lives, asked = 1, 0

    async def group(self, ask: Ask) -> Attempts:
        Fragile.asked += 1
        if Fragile.lives and Fragile.asked == 4:
            Fragile.lives -= 1
            raise Lost("killed")
        return await super().group(ask)


async def test_a_lost_worker_costs_its_unfinished_groups_and_nothing_else(tmp_path: Path) -> None:
    Fragile.lives, Fragile.asked = 1, 0
    _, told = await learnt(tmp_path / "run", 2, host=Fragile)
    assert 1 <= told[-1]["asked_again"] <= 9
    assert [r["learned"] for r in told] == [3] * RECIPE.steps
    assert max(r["staleness_max"] for r in told) <= 2


async def test_workers_that_never_finish_anything_end_the_run(tmp_path: Path) -> None:
    class Doomed(Here):
        async def group(self, ask: Ask) -> Attempts:
            raise Lost("no memory")

    with pytest.raises(UserError, match="3 workers were lost one after another, none finished a group; the last: no memory"):
        await learnt(tmp_path / "run", 1, host=Doomed)


async def test_a_worker_s_mistake_ends_the_run_and_is_named(tmp_path: Path) -> None:
    class Wrong(Here):
        async def group(self, ask: Ask) -> Attempts:
            raise KeyError("lexicon")

    with pytest.raises(KeyError, match="lexicon"):
        await asyncio.wait_for(learnt(tmp_path / "run", 1, host=Wrong), 20)


async def test_few_problems_are_never_out_twice_and_still_do(tmp_path: Path) -> None:
    """Four problems, batches of three, five ahead: as many as there are may be out, and every batch is of different ones."""
    _, told = await learnt(tmp_path / "run", 5, problems={1: TASK.problems("train", 4)})
    history = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert all(len({group[0] for group in step}) == 3 for step in history)
    assert len(told) == RECIPE.steps


async def test_stages_best_weights_and_resampling_work_ahead(tmp_path: Path) -> None:
    """The next stage begins with the best weights of the one before; batches are filled with groups that are partly right."""
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    curriculum = ramp(2, 2, 1, steps_per_stage=6)
    ten = TASK.problems()

    async def validate() -> float:
        return next(scores)

    recipe = replace(RECIPE, steps=12, save_every=3, resample=2, reward=Recipe.reward, group=8)
    _, told = await learnt(tmp_path / "run", 2, recipe, curriculum, {1: ten[:5], 2: ten[5:]}, validate=validate)
    assert {r["stage"] for r in told} == {0, 1}
    assert all(r["learned"] <= 3 for r in told)
    assert max(r.get("staleness_max", 0) for r in told) <= 2


async def test_a_lag_and_a_sampler_exclude_one_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lag is 1"):
        await learnt(tmp_path / "run", 1, replace(RECIPE, lag=1))


async def test_a_host_of_another_model_is_refused(tmp_path: Path) -> None:
    async with toy_lm() as other:
        assert isinstance(other, LocalLM)

        def elsewhere(lm: LocalLM, solver: Any, task: Any) -> Here:
            return Here(other, solver, task)

        with pytest.raises(UserError, match="the engine of toy is not the trainer's"):
            await learnt(tmp_path / "run", 1, host=elsewhere)


def test_the_recipe_s_description_is_as_before() -> None:
    """So that a run goes on that was begun before there were samplers and mini-batches."""
    assert not {"sampler", "minibatches"} & describe(RECIPE).keys()
    assert describe(replace(RECIPE, minibatches=2))["minibatches"] == "2"
