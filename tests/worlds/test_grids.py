"""Puzzles as tokens and back, and sets of puzzles that keep their splits apart."""

import random

import pytest
import torch

from reasonry.core import Problem, UserError
from reasonry.tasks import load_task
from reasonry.tasks.sudoku import solutions
from reasonry.worlds.grids import BLANK, PATH, MazeWorld, Puzzles, SudokuWorld, endless, guesses, make, minimal, plain_changes


def ask(text: str) -> Problem:
    return Problem("q", text)


@pytest.mark.parametrize("size", [6, 9])
def test_a_task_s_puzzle_is_read_from_its_prompt_and_its_solution_passes_the_judge(size):
    world, task = SudokuWorld(size), load_task(f"sudoku{size}")
    for problem in task.problems("test", 5, 0):
        cells = world.read(problem)
        assert world.draw(cells) == problem.meta["puzzle"].replace("/", "\n")
        solution = [int(d) + 1 for d in problem.answer.replace("/", "")]
        assert task.judge(problem, world.answer(cells, solution)).passed


def test_a_sudoku_may_be_written_in_several_ways():
    world = SudokuWorld(6)
    rows = ["..24.1", ".43..5", "2.41..", "31..42", "......", "526.1."]
    wanted = world.read(ask("\n".join(rows)))
    assert wanted[:4] == [BLANK, BLANK, 3, 5]
    for text in ("/".join(rows), "".join(rows), "solve\n" + "\n".join(" ".join(row) for row in rows), "\n".join(rows).replace(".", "0")):
        assert world.read(ask(text)) == wanted


@pytest.mark.parametrize("text", ["", "1234", "..24.1\n.43..5", "9" * 36, "." * 37])
def test_a_text_without_a_puzzle_is_refused_with_the_form_to_use(text):
    with pytest.raises(UserError, match="6 rows of 6 digits"):
        SudokuWorld(6).read(ask(text))


def test_a_maze_s_marked_path_is_the_task_s_answer():
    world, task = MazeWorld(4), load_task("maze?size=4")
    for problem in task.problems("test", 5, 0):
        cells = world.read(problem)
        assert world.draw(cells) == problem.meta["grid"]
        r, c = divmod(list(cells).index(3), world.side)
        filled = list(cells)
        for move in problem.answer[:-1]:
            r, c = {"U": (r - 1, c), "D": (r + 1, c), "L": (r, c - 1), "R": (r, c + 1)}[move]
            filled[r * world.side + c] = PATH
        assert task.judge(problem, world.answer(cells, filled)).signals == {"shortest": 1.0}
        assert not task.judge(problem, world.answer(cells, cells)).passed or len(problem.answer) == 1


def test_marks_on_walls_are_no_way():
    world = MazeWorld(2)
    cells = world.read(ask("#####\n#S#G#\n#.#.#\n#...#\n#####"))
    assert world.answer(cells, [PATH] * 25) == "#### DDRRUU"


def test_a_maze_of_another_size_is_refused():
    with pytest.raises(UserError, match="5 rows of 5"):
        MazeWorld(2).read(ask("###\n#S#\n###"))


@pytest.mark.parametrize("world", [SudokuWorld(6), MazeWorld(3)])
def test_splits_do_not_share_a_solution_and_a_seed_repeats_its_set(world):
    parts = {split: make(world, split, 30, 0) for split in ("train", "validation", "test")}
    keys = {split: _keys(world, p) for split, p in parts.items()}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert torch.equal(make(world, "test", 30, 0).cells, parts["test"].cells)
    assert not torch.equal(make(world, "test", 30, 1).cells, parts["test"].cells)
    with pytest.raises(UserError, match="is not a split"):
        make(world, "nope", 1, 0)


def _keys(world: SudokuWorld | MazeWorld, puzzles: Puzzles) -> set[str]:
    if isinstance(world, MazeWorld):
        return {world.draw(cells) for cells in puzzles.cells.tolist()}
    return {world.key([token - 1 for token in solution]) for solution in puzzles.solutions.tolist()}


def test_a_minimal_puzzle_loses_its_only_solution_with_any_clue():
    rng = random.Random(0)
    puzzle = SudokuWorld(6).puzzle(rng, "test")
    grid = [token - 1 for token in puzzle.cells]
    assert [list(found) for found in solutions(grid, 6)] == [[token - 1 for token in puzzle.solution]]
    for i, value in enumerate(grid):
        if value:
            without = [0 if j == i else v for j, v in enumerate(grid)]
            assert len(list(solutions(without, 6))) > 1
    assert minimal([token - 1 for token in puzzle.solution], 6, random.Random(1)) != grid


def test_difficulty_is_what_the_task_says_of_the_same_puzzle():
    world = SudokuWorld(9)
    problems = load_task("sudoku9").problems("test", 4, 0)
    cells = torch.tensor([world.read(problem) for problem in problems])
    assert guesses(Puzzles(cells, cells, cells[:, 0]), 9) == [problem.meta["guesses"] for problem in problems]


def test_endless_draws_are_changed_copies_and_repeat_with_the_generator_s_state():
    world = SudokuWorld(6)
    puzzles = make(world, "train", 3, 0, clues=20)
    draw, plain = endless(puzzles, world.changes), endless(puzzles, plain_changes(world))
    rng = torch.Generator().manual_seed(0)
    state = rng.get_state()
    a = draw(50, rng)
    rng.set_state(state)
    assert torch.equal(draw(50, rng).cells, a.cells)
    assert len({tuple(row) for row in a.cells.tolist()}) > 40
    known = {tuple(row) for row in puzzles.cells.tolist()}
    assert {tuple(row) for row in plain(50, rng).cells.tolist()} == known


def test_a_maze_has_no_clues_and_sudokus_have_two_sizes():
    with pytest.raises(UserError, match="a maze has none"):
        make(MazeWorld(3), "train", 1, 0, clues=3)
    with pytest.raises(UserError, match="6 or 9"):
        SudokuWorld(4)
