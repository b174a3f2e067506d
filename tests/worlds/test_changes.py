"""Every change keeps a puzzle a puzzle, and can be undone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.tasks.sudoku import units
from reasonry.worlds.changes import (
    INVERSE_TURN,
    TURNS,
    Change,
    Recolouring,
    identity,
    recolouring,
    square_changes,
    sudoku_changes,
    turned,
)
from reasonry.worlds.grids import MazeWorld, SudokuWorld, make


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_inverse_turn_undoes_each_of_the_eight():
    grid = np.arange(6).reshape(2, 3)
    looks = {turned(grid, k).tobytes() + bytes(turned(grid, k).shape) for k in range(TURNS)}
    assert len(looks) == 8 == len(INVERSE_TURN)
    for k in range(TURNS):
        assert np.array_equal(turned(turned(grid, k), INVERSE_TURN[k]), grid)
    assert np.array_equal(turned(grid, 4), np.fliplr(grid))
    assert np.array_equal(turned(grid, 5), np.flipud(grid))
    assert np.array_equal(turned(grid, 6), grid.T)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 5))
def test_an_arc_change_can_be_undone_and_keeps_black(seed, rows, columns):
    chance = np.random.default_rng(seed)
    change, grid = recolouring(chance), chance.integers(0, 10, (rows, columns))
    assert np.array_equal(change.undo(change(grid)), grid)
    assert change.colours[0] == 0
    assert sorted(change.colours) == list(range(10))


def test_all_eight_turns_and_a_renaming_undo_on_an_oblong_grid():
    grid = np.arange(10).reshape(2, 5)
    for turn in range(8):
        change = Recolouring(turn, (0, 3, 1, 2, 9, 8, 7, 6, 5, 4))
        assert np.array_equal(change.undo(change(grid)), grid)


@pytest.mark.parametrize(("size", "box"), [(6, (2, 3)), (9, (3, 3))])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_changed_sudoku_solution_is_one_and_undo_gives_it_back(size, box, seed):
    solutions = make(SudokuWorld(size), "train", 4, 0, clues=40 if size == 9 else 20).solutions
    change = sudoku_changes(4, size, box, rng(seed))
    made = change(solutions)
    for grid in made.tolist():
        for kind in range(3):
            for unit in range(size):
                held = {v for v, where in zip(grid, units(size), strict=True) if where[kind] == unit}
                assert held == set(range(2, size + 2))
    assert torch.equal(change.undo(made), solutions)
    assert torch.equal(change.undo.undo(solutions), made)


def test_sudokus_of_9_are_transposed_half_of_the_time_and_those_of_6_never():
    def rows_stay_rows(size: int, box: tuple[int, int]) -> float:
        cells = sudoku_changes(400, size, box, rng()).cells.reshape(400, size, size)
        return (cells // size == (cells // size)[:, :, :1]).all((1, 2)).float().mean().item()

    assert rows_stay_rows(6, (2, 3)) == 1
    assert 0.4 < rows_stay_rows(9, (3, 3)) < 0.6


def test_blank_and_padding_keep_their_tokens():
    assert sudoku_changes(9, 9, (3, 3), rng()).tokens[:, :2].tolist() == [[0, 1]] * 9


def test_a_turned_maze_is_a_maze_and_undo_gives_it_back():
    world = MazeWorld(3)
    puzzles = make(world, "train", 30, 0)
    change = world.changes(30, rng(1))
    cells, solutions = change(puzzles.cells), change(puzzles.solutions)
    assert torch.equal(change.undo(cells), puzzles.cells)
    assert not torch.equal(cells, puzzles.cells)
    for a, b in zip(cells.tolist(), solutions.tolist(), strict=True):
        moves = world.answer(a, b).removeprefix("#### ")
        assert len(moves) == b.count(5) + 1, "the marked squares join S and G after the change too"


def test_puzzle_and_solution_are_changed_alike():
    world = SudokuWorld(9)
    puzzles = make(world, "train", 3, 0, clues=40)
    change = world.changes(3, rng(2))
    given_ = puzzles.cells > 1
    cells, solutions = change(puzzles.cells), change(puzzles.solutions)
    assert torch.equal(cells[cells > 1], solutions[cells > 1])
    assert (cells > 1).sum() == given_.sum()


def test_the_eight_squares_are_all_drawn():
    drawn = square_changes(200, 3, 4, rng()).cells
    assert len({tuple(row) for row in drawn.tolist()}) == 8


def test_identity_changes_nothing_and_rows_can_be_picked():
    grids = torch.randint(0, 5, (3, 9))
    assert torch.equal(identity(3, 9, 5)(grids), grids)
    change = square_changes(3, 3, 5, rng())
    assert torch.equal(change[1:](grids[1:]), change(grids)[1:])
    assert isinstance(change[:1], Change)
