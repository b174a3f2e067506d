"""`reasonry train` makes a network that `solve` and `compare` take; a killed run goes on; mistakes are one sentence."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from calling import call

from reasonry.worlds import trm_train

SMALL = [
    "train", "--recipe", "trm-sudoku6", "--steps", "6", "--validation", "3", "--evaluate", "4", "--set", "width=16", "--set", "puzzles=6",
    "--set", "save_every=2", "--set", "log_every=2", "--set", "clues=24", "--set", "N_sup=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trm") / "run"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, *SMALL, "--out", str(out)) in (0, None)
    return out


def test_a_trained_network_says_how_it_scored_and_on_what(run):
    about = json.loads((run / "model" / "config.json").read_text())["about"]
    assert len(about["test"]["exact"]) == 3
    assert about["test"]["puzzles"] == 4
    assert about["hardness"]["clues_min"] == about["hardness"]["clues_max"] == 24
    assert about["training"]["width"] == 16
    assert sum(row["puzzles"] for row in about["by_guesses"]) == 4
    assert tomllib.loads((run / "recipe.toml").read_text())["world"] == "sudoku6"
    assert "By hardness" in (run / "report.html").read_text()


def test_it_solves_in_as_many_steps_as_it_was_trained_with_and_draws_them(run, monkeypatch, capsys, tmp_path):
    puzzle = "..24.1/.43..5/2.41../31..42/....../526.1."
    assert call(monkeypatch, "solve", "--model", str(run / "model"), puzzle, "--out", str(tmp_path / "steps.html"), "--trace") in (0, None)
    out, err = capsys.readouterr()
    assert out.count("refine") == 3
    assert out.rstrip().splitlines()[-1].startswith("#### ")
    assert "3 calls" in err
    assert "Step by step" in (tmp_path / "steps.html").read_text()


def test_compare_takes_it_with_its_own_default_methods(run, monkeypatch, capsys, tmp_path):
    arguments = [
        "compare",
        "--model",
        str(run / "model"),
        "--task",
        "sudoku6",
        "-n",
        "2",
        "--budget",
        "calls=2",
        "--out",
        str(tmp_path / "c"),
    ]
    call(monkeypatch, *arguments)
    assert [name in capsys.readouterr().out for name in ("single",)] == [True]
    assert json.loads((tmp_path / "c" / "config.json").read_text())["solvers"] == ["single", "self-consistency", "best-of-n"]


def test_a_killed_run_ends_like_an_unkilled_one(run, monkeypatch, tmp_path):
    real, saves = trm_train.save_whole, []

    def dies(path, state):
        real(path, state)
        saves.append(path.name)
        if saves.count("checkpoint.pt") == 2:
            raise KeyboardInterrupt

    out = tmp_path / "killed"
    monkeypatch.setattr(trm_train, "save_whole", dies)
    assert call(monkeypatch, *SMALL, "--out", str(out)) == 130
    assert not (out / "model").exists()
    monkeypatch.setattr(trm_train, "save_whole", real)
    assert call(monkeypatch, "train", "--out", str(out), "--resume") in (0, None)
    a, b = (torch.load(folder / "checkpoint.pt", weights_only=True)["average"] for folder in (run, out))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (out / "steps.jsonl").read_text() == (run / "steps.jsonl").read_text()


def test_a_run_may_end_earlier_or_go_on_further_than_was_said(run, monkeypatch, tmp_path):
    out = tmp_path / "run"
    assert call(monkeypatch, *SMALL, "--steps", "4", "--out", str(out)) in (0, None)
    assert call(monkeypatch, "train", "--out", str(out), "--resume", "--steps", "6") in (0, None)
    assert (out / "steps.jsonl").read_text() == (run / "steps.jsonl").read_text(), "no rate depends on the number of steps"
    about = json.loads((out / "model" / "config.json").read_text())["about"]
    assert about["training"]["steps"] == 6
    assert about["command"].endswith(f"--steps 4 --out {out}"), "what began the run, whatever resumed it"
    weights = (out / "model" / "model.safetensors").read_bytes()
    assert call(monkeypatch, "train", "--out", str(out), "--resume", "--steps", "2") in (0, None)
    assert (out / "model" / "model.safetensors").read_bytes() == weights, "the best so far"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--set", "world=chess"], "use sudoku6"), (["--set", "widht=3"], "did you mean width"),
        (["--task", "sudoku6"], "'task' is not a key"),
        (["--set", "n=0"], "n is 0"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_one_sentence(monkeypatch, capsys, more, says):
    assert call(monkeypatch, "train", "--recipe", "trm-sudoku6", *more) == 2
    assert says in capsys.readouterr().err


def test_the_recipe_can_be_shown(monkeypatch, capsys):
    assert call(monkeypatch, "train", "--recipe", "trm-sudoku9", "--show") in (0, None)
    assert 'world = "sudoku9"' in capsys.readouterr().out
