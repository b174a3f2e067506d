"""The loop: a toy model learns, a killed run resumes to the same weights, mistakes are named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_lm import Digits, toy_lm
from train_toy import AHEAD, RECIPE, run_toy

from reasonry.core import Budget, Problem, Trajectory, UserError, open_run
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only, ramp
from reasonry.train.loop import frozen_copy, train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.reward import Reward

TASK = Digits()
TIMED = {"tokens_per_second", "seconds_sampling", "seconds_learning"}


def records(path: Path) -> list[dict[str, Any]]:
    """The step log, without what a clock measured."""
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in (path / "steps.jsonl").read_text().splitlines()]


async def learn_digits(path: Path, recipe: Recipe, digits: int = 4) -> list[dict[str, Any]]:
    run = open_run(path, describe(recipe), resume=True)
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=1", lm, TASK)
        reference = frozen_copy(lm.decoder)
        await train(lm, solver, TASK, only(1, 1), {1: TASK.problems("train", digits)}, recipe, run, reference)
    return records(path)


async def test_reward_rises(tmp_path: Path) -> None:
    """From guessing among thirteen tokens to mostly right in thirty-five steps, and the log tells the story."""
    recipe = Recipe(objective=find("dapo").objective, lr=1e-2, steps=35, prompts=4, group=8, save_every=50)
    told = await learn_digits(tmp_path / "run", recipe)
    assert [r["step"] for r in told] == list(range(35))
    first, last = told[:5], told[-5:]
    assert sum(r["reward"] for r in first) / 5 < 0.4
    assert sum(r["reward"] for r in last) / 5 > 0.7
    assert all(r["mismatch_max"] < 1e-4 for r in told if r["learned"])
    assert told[0]["kl_ref"] == pytest.approx(0.0, abs=1e-6) if told[0]["learned"] else True
    assert told[-1]["tokens"] == 35 * 4 * 8
    assert all(r["pass_rate"] == r["reward"] and r["failed"] == r["unscored"] == 0 and r["truncated"] > 0 for r in told[:1])


async def test_every_update_is_seen_by_the_next_rollout(tmp_path: Path) -> None:
    """The engine's cache is forgotten: were old keys reused, sampler and trainer would disagree after the first update."""
    recipe = Recipe(objective=find("reinforce").objective, lr=0.05, steps=3, prompts=2, group=4)
    run = open_run(tmp_path / "run", describe(recipe), resume=True)
    problems = [Problem(str(i), "123456789" * 2 + str(i), str(i)) for i in range(2)]
    async with toy_lm() as lm:
        curriculum = replace(only(1, 3), group_filter=every_group)
        await train(lm, build_solver("single?max_tokens=3", lm, TASK), TASK, curriculum, {1: problems}, _always_paid(recipe), run)
    told = records(tmp_path / "run")
    assert max(r["mismatch_max"] for r in told) < 1e-4
    assert all(r["grad_norm"] > 0 for r in told)


def _always_paid(recipe: Recipe) -> Recipe:
    return replace(recipe, reward=Reward((lambda problem, group: [{"score": 1.0 + i} for i in range(len(group))],)))


@pytest.mark.parametrize(("recipe", "kills", "seed"), [(RECIPE, "10", "3"), (AHEAD, "5", "6")], ids=["in turn", "ahead"])
async def test_killed_anywhere_and_resumed_ends_with_the_same_weights(tmp_path: Path, recipe: Recipe, kills: str, seed: str) -> None:
    """Random kills; two updates a batch, a random objective, two stages, a companion, validation. Log and history are equal too."""
    run = open_run(tmp_path / "whole", describe(recipe), resume=True)
    whole = await run_toy(run, recipe)
    script, where = Path(__file__).parent / "train_toy.py", str(tmp_path / "killed")
    done = subprocess.run([sys.executable, str(script), where, kills, seed, str(recipe.lag)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    digest, left, latest = done.stdout.split()
    assert digest == whole
    assert int(left) == 0
    assert int(latest) > 0, "no try began at a checkpoint"
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert (tmp_path / "killed" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()


async def test_the_best_checkpoint_of_a_stage_starts_the_next_and_the_last_ones_remains(tmp_path: Path) -> None:
    """Weights are followed by their digest: where a stage begins and what is left at the end are what validation liked best."""
    recipe = replace(RECIPE, steps=8, save_every=1, updates=1)
    seen: list[bytes] = []
    began: dict[int, bytes] = {}
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.8, 0.8, 0.1])
    run = open_run(tmp_path / "run", describe(recipe), resume=True)
    async with toy_lm() as lm:
        ten = TASK.problems()

        def digest() -> bytes:
            return b"".join(p.detach().numpy().tobytes() for p in lm.decoder.parameters())

        class Noting(Reward):
            def __call__(self, problem: Problem, group: Any) -> Any:
                began.setdefault(len(seen), digest())
                return super().__call__(problem, group)

        async def validate() -> float:
            seen.append(digest())
            return next(scores)

        curriculum = replace(ramp(2, 2, 1, steps_per_stage=4), group_filter=every_group)
        solver = build_solver("single?max_tokens=2", lm, TASK)
        noting = replace(recipe, reward=Noting((lambda problem, group: [{"score": float(i)} for i in range(len(group))],)))
        await train(lm, solver, TASK, curriculum, {1: ten[:5], 2: ten[5:]}, noting, run, None, (), validate)
        assert len(set(seen)) == 8
        assert began[4] == seen[1]
        assert began[5] == seen[4]
        assert digest() == seen[5], "the earlier of two equal ones"
    assert [r["validation"] for r in records(tmp_path / "run")] == [0.1, 0.9, 0.2, 0.3, 0.4, 0.8, 0.8, 0.1]
    assert [p.name for p in (tmp_path / "run").glob("best-*")] == ["best-6.pt"]


async def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    recipe = Recipe(objective=find("dapo").objective, lr=1e-2, steps=2, prompts=2, group=4)
    once = await learn_digits(tmp_path / "run", recipe)
    checkpoint = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert await learn_digits(tmp_path / "run", recipe) == once
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == checkpoint


class Dead:
    name = "dead"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        raise ConnectionError("no line")


async def test_a_step_without_a_single_attempt_says_why(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", describe(RECIPE), resume=True)
    async with toy_lm() as lm:
        with pytest.raises(UserError, match="every attempt of step 0 failed; the first said: ConnectionError: no line"):
            await train(lm, Dead(), TASK, only(1, 1), {1: TASK.problems()}, RECIPE, run)


async def test_a_group_of_one_under_the_informative_filter_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, group=1)
    run = open_run(tmp_path / "run", describe(recipe), resume=True)
    async with toy_lm() as lm:
        with pytest.raises(UserError, match="group is 1"):
            await train(lm, Dead(), TASK, only(1, 1), {1: TASK.problems()}, recipe, run)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"lr": 0.0}, "lr is 0.0 but must be above 0"), ({"group": 0}, "group is 0 but must be at least 1"), ({"temperature": 0.0}, "temper")],
)
def test_a_recipe_that_cannot_run_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        replace(RECIPE, **change)


def test_a_recipe_as_text_is_the_same_in_every_process() -> None:
    """A resumed run compares its configuration: no address of a function may be in it."""
    assert not [v for v in describe(RECIPE).values() if " at 0x" in v]
