"""A network's card says what was measured, and nothing else."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from reasonry.core import Budget, Problem, UserError
from reasonry.evaluate.networks import bound
from reasonry.evaluate.trm_card import Sizes, main, measure, render, rollouts, row, steps_shown
from reasonry.tasks import sudoku
from reasonry.tasks.sudoku import Sudoku
from reasonry.worlds.grids import MazeWorld, SudokuWorld, make
from reasonry.worlds.trm import TRM
from reasonry.worlds.trm_folder import find_trm, load_trm, save_trm
from reasonry.worlds.trm_infer import Curve
from reasonry.worlds.trm_settings import TRMSettings

SETTINGS = TRMSettings(
    world="sudoku6", width=16, heads=2, prefix=1, round_to=1, T=2, n=1, N_sup=3, steps=7, batch=2, hints=0.5, loss="softmax"
)
SIZES = Sizes(hard=4, others=2, rollouts=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    about = {"training": asdict(SETTINGS), "command": "reasonry train …", "environment": {"commit": "abc"}}
    return save_trm(TRM(SETTINGS.shape(8, 36, 0)), SudokuWorld(6), tmp_path / "small", about=about)


def test_the_card_is_written_beside_the_weights_and_holds_every_figure_it_says(folder):
    before = load_trm(folder, "cpu")[0].state_dict()
    done = CliRunner().invoke(main, [str(folder), "--hard", "4", "--others", "2", "--rollouts", "3"], catch_exceptions=False)
    assert done.exit_code == 0
    card, text = json.loads((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert text == render("small", card)
    assert [(r["puzzles"], r["n"]) for r in card["rows"]] == [("minimal", 4), ("12 clues", 2), ("16 clues", 2), ("20 clues", 2)]
    assert [r["hardness"]["clues_max"] for r in card["rows"][1:]] == [12, 16, 20]
    assert [r["K"] for r in card["rollouts"]] == [1, 2, 4, 8]
    assert list(card["rows"][0]["exact"]) == ["1", "2", "3", "6"]
    assert "7 optimiser steps of 2 slots" in text
    assert "commit abc" in text
    after = load_trm(folder, "cpu")[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_row_counts_whole_grids_at_each_number_of_steps():
    puzzles = make(SudokuWorld(6), "test", 4, 0, clues=24)
    exact = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    found = row("some", puzzles, Curve(exact, torch.full((4, 4), 0.5), torch.where(exact, 1.0, -1.0)), 2, 6)
    assert {step: e[0] for step, e in found["exact"].items()} == {"1": 0.25, "2": 0.5, "4": 1.0}
    assert (found["blanks"], found["halting_right"]) == (0.5, 1.0)


def test_steps_go_to_twice_what_was_trained():
    assert steps_shown(8) == [1, 2, 4, 8, 16]
    assert steps_shown(1) == [1, 2]


def test_one_rollout_is_the_plain_answer_and_any_is_never_below_chosen(folder):
    model, _ = load_trm(folder, "cpu")
    found = rollouts(model, make(SudokuWorld(6), "test", 3, 0, clues=34), 2)
    assert found[0]["chosen"] == found[0]["any"]
    assert all(r["chosen"][0] <= r["any"][0] for r in found)


def test_another_network_has_no_such_card(tmp_path):
    other = save_trm(TRM(SETTINGS.shape(6, 121, 0)), MazeWorld(5), tmp_path / "maze")
    with pytest.raises(UserError, match="no sudoku network"):
        measure(other, SIZES)


def test_the_shipped_network_is_small_and_its_card_is_what_was_measured():
    folder = find_trm("trm-sudoku9")
    assert folder is not None
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    card = json.loads((folder / "card.json").read_text())
    assert (folder / "README.md").read_text() == render("trm-sudoku9", card)
    assert card["training"]["world"] == "sudoku9"
    assert {"minimal", "24 clues", "36 clues", "gym:sudoku (reasoning-gym)"} <= {r["puzzles"] for r in card["rows"]}


async def test_the_shipped_network_solves_the_puzzle_of_its_picture():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    puzzle = re.search(r"--model trm-sudoku9 .*'([\d./]+)'", makefile)
    assert puzzle is not None
    task = Sudoku(9)
    async with bound("trm-sudoku9", ["single"], task) as (_, solvers):
        trace = await solvers[0](Problem("picture", puzzle[1]), Budget(), 0)
    solved = next(sudoku.solutions([int(mark) for mark in puzzle[1].replace("/", "").replace(".", "0")], 9))
    assert task.extract(trace.answer) == sudoku.show(solved, 9, "/")
