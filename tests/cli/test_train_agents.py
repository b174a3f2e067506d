"""Training agents through the command: the shipped recipe's log counts calls, and a difficulty profile decides what is trained on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.cli.training import draw, levels_of
from reasonry.core import Problem, UserError
from reasonry.probe.difficulty import Rated, line_of
from reasonry.tasks import load_task
from reasonry.train.compose import recipe_of
from reasonry.train.settings import Settings, open_toml, read
from reasonry.train.tool_reward import FORMS


def profile(path: Path, problems: list[Problem], passes: list[int]) -> str:
    path.write_text("".join(line_of(Rated(p, k, 4, "pocket-1m")) + "\n" for p, k in zip(problems, passes, strict=True)))
    return str(path)


def settings(**more: object) -> Settings:
    return read(Settings, {"model": "pocket-1m", "task": "arithmetic?steps=3", **more})


def test_a_profile_is_what_is_trained_on(tmp_path: Path) -> None:
    """Its problems that are sometimes passed, resampled; they are the task's to judge, and validation and test are other problems."""
    problems = load_task("arithmetic?steps=3").problems("train", 8, 0)
    path = profile(tmp_path / "p.jsonl", problems, [0, 4, 3, 3, 2, 2, 1, 1])
    s = settings(profile=path, difficulty={"medium": 1.0}, validation=3, evaluate=2)
    task = levels_of(s)
    drawn = draw(task, s)
    assert sorted(p.id.partition("#")[0] for p in drawn.train[1]) == sorted(2 * [p.id for p in problems[4:6]])
    assert len({p.id for p in drawn.train[1]}) == 4
    assert all(task.judge(p, f"#### {p.answer}").passed for p in (*drawn.train[1], *drawn.validation, *drawn.test))
    assert (len(drawn.validation), len(drawn.test)) == (3, 2)
    with pytest.raises(UserError, match="holds no problem that the model passes sometimes"):
        draw(task, settings(profile=profile(tmp_path / "q.jsonl", problems[:2], [0, 4])))
    with pytest.raises(UserError, match=r"difficulty: is .* it goes with a profile"):
        settings(difficulty={"easy": 1.0})


def test_validation_from_a_file_is_held_out_of_the_profile(tmp_path: Path) -> None:
    """A file has no validation split: some of the rated problems are taken out first, in all their uses."""
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i}+1", "answer": str(i + 1)}) + "\n" for i in range(9)))
    problems = load_task(str(rows)).problems("train")
    path = profile(tmp_path / "p.jsonl", problems, [2] * 6 + [3] * 3)
    s = settings(task=str(rows), profile=path, difficulty={"medium": 1.0, "easy": 3.0}, validation=2)
    drawn = draw(levels_of(s), s)
    assert len(drawn.validation) == 2
    assert not {p.id.partition("#")[0] for p in drawn.train[1]} & {p.id for p in drawn.validation}


def test_the_recipes_reward_is_the_papers() -> None:
    recipe = recipe_of(read(Settings, open_toml("grpo-tcr")))
    assert recipe.reward.signals[0] is FORMS["code"]
    assert recipe.minibatches == 4
    assert recipe.updates == 1


def test_the_recipe_runs_and_its_log_counts_calls(tmp_path: Path) -> None:
    """One small step; labels made with another model are called stale."""
    path = tmp_path / "p.jsonl"
    rated = [Rated(p, 2, 4, "another") for p in load_task("calc").problems("train", 4, 0)]
    path.write_text("".join(line_of(r) + "\n" for r in rated))
    sets = ["steps=1", "prompts=2", "group=2", "minibatches=2", "reference=false", f"profile={path}"]
    arguments = ["train", "--recipe", "grpo-tcr", "--out", str(tmp_path / "run"), *(w for s in sets for w in ("--set", s))]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "warning: the difficulties were measured with another" in result.output
    (record,) = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert record["tool_calls"] > 0.5
    assert record["tool_success"] > 0.5
    assert record["turns"] > 1
