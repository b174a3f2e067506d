"""A TRM's recipe: the shipped ones can be run, mistakes are one sentence, and the material of a run is made once."""

import json

import pytest
import torch

from reasonry.core import UserError
from reasonry.train.settings import open_toml, read, write
from reasonry.worlds import SHIPPED
from reasonry.worlds.arc_score import Submission, score, submit
from reasonry.worlds.optim import AdamATan2
from reasonry.worlds.trm import TRM, Shape
from reasonry.worlds.trm_settings import TRMSettings, material
from reasonry.worlds.trm_train import Recipe

RECIPES = sorted(SHIPPED.glob("*.toml"))


def settings(**values) -> TRMSettings:
    return read(TRMSettings, values)  # type: ignore[type-var]  # it reads any frozen dataclass


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_complete_and_names_its_paper(path):
    s = settings(**open_toml(str(path)))
    assert "arXiv 2510.04871" in path.read_text().splitlines()[0]
    assert settings(**open_toml_text(write(s))) == s  # type: ignore[arg-type]


def open_toml_text(text: str) -> dict:
    import tomllib

    return tomllib.loads(text)


def test_the_defaults_are_the_paper_s():
    s = settings(world="sudoku9")
    assert s.shape(11, 81, 0) == Shape()
    assert s.recipe("cpu") == Recipe(log_every=50, save_every=500)
    assert s.recipe("cuda").dtype is torch.bfloat16
    assert settings(world="sudoku9", optimizer="adam-atan2").recipe("cpu").optimizer is AdamATan2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"world": "chess"}, "use sudoku6"), ({"world": "arc"}, "goes with world"),
        ({"world": "sudoku6", "files": ("x.json",)}, "goes with world"),
        ({"world": "sudoku6", "hints": 2.0}, "from 0 to 1"), ({"world": "sudoku6", "n": 0}, "n is 0"),
        ({"world": "sudoku6", "mu": 2.0}, "mu is 2"),
        ({"world": "sudoku6", "puzzles": 0}, "at least 1"), ({"world": "sudoku6", "evaluate": -1}, "0 or more"),
        ({"world": "sudoku6", "width": 20, "heads": 4}, "even multiple"),
    ],
)  # fmt: skip
def test_an_impossible_recipe_is_one_sentence(values, says):
    with pytest.raises(UserError, match=says):
        settings(**values)


def test_material_is_made_once_and_its_parts_are_apart(tmp_path):
    s = settings(world="sudoku6", puzzles=5, validation=3, evaluate=4, clues=24)
    made = material(s, tmp_path, "cpu")
    assert made.validation is not None
    assert made.test is not None
    assert (len(made.validation), len(made.test), made.rows) == (3, 4, 0)
    stored = (tmp_path / "puzzles.pt").stat().st_mtime_ns
    again = material(s, tmp_path, "cpu")
    assert (tmp_path / "puzzles.pt").stat().st_mtime_ns == stored
    assert again.test is not None
    assert torch.equal(again.test.cells, made.test.cells)
    a, b = (m.draw(6, torch.Generator().manual_seed(0)) for m in (made, again))
    assert torch.equal(a.cells, b.cells)


def test_arc_s_material_has_a_row_for_each_copy(tmp_path):
    task = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[5, 6]], "output": [[6, 5]]}]}
    (tmp_path / "a.json").write_text(json.dumps({"t": task}))
    s = settings(world="arc", files=(str(tmp_path / "a.json"),), copies=4, puzzle_width=16)
    made = material(s, tmp_path, "cpu")
    assert made.rows == 4
    assert made.draw(3, torch.Generator().manual_seed(0)).cells.shape == (3, 900)
    twice = settings(world="arc", files=(str(tmp_path / "a.json"),) * 2)
    with pytest.raises(UserError, match="same id"):
        material(twice, tmp_path, "cpu")
    from reasonry.tasks.arc import problems_of

    small = TRM(Shape(vocab=12, cells=900, width=8, heads=2, prefix=2, round_to=1, T=1, n=1, N_sup=2, puzzles=4, puzzle_width=16))
    said = submit(small, made.world, problems_of(made.tasks[0])[0], 3, 2, rows=2)  # type: ignore[arg-type]
    assert said.gold == "65"
    assert 1 <= len(said.answers) <= 3


def test_arc_s_score_is_a_mean_over_tasks_of_a_mean_over_inputs():
    given = [Submission("a", ["1", "2"], "2"), Submission("a", ["1"], "1"), Submission("b", ["3"], "4"), Submission("c", ["3"], None)]
    assert score(given, 1) == pytest.approx((0.5 + 0) / 2)
    assert score(given, 2) == pytest.approx((1 + 0) / 2)
    with pytest.raises(ValueError, match="no test input"):
        score(given[3:], 1)
