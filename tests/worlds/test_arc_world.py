"""ARC on a canvas: grids come back as they were, and only what may be known is learnt."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.tasks.arc import arc, read_tasks
from reasonry.worlds.arc_world import CANVAS, COLOUR, EDGE, ArcWorld, Embedded, arc_draw, crop, lay

FLIP = {
    "train": [{"input": [[1, 2, 0]], "output": [[0, 2, 1]]}, {"input": [[3, 4]], "output": [[4, 3]]}],
    "test": [{"input": [[5, 6]], "output": [[6, 5]]}],
}
DARK = {"train": [{"input": [[0]], "output": [[0]]}], "test": [{"input": [[0, 0]], "output": [[0, 0]]}]}
TASKS = {"flip": FLIP, "dark": DARK}


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "arc.json").write_text(json.dumps(TASKS))
    return read_tasks(tmp_path / "arc.json")


def cropped(canvas: np.ndarray) -> np.ndarray:
    grid = crop(canvas)
    assert grid is not None
    return grid


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_cropping_undoes_laying(rows, columns, seed):
    grid = np.random.default_rng(seed).integers(0, 10, (rows, columns))
    canvas = lay(grid)
    assert np.array_equal(cropped(canvas), grid)
    assert (canvas == EDGE).sum() == (columns if rows < CANVAS else 0) + (rows if columns < CANVAS else 0)


def test_the_largest_rectangle_at_the_corner_is_taken():
    canvas = np.zeros((CANVAS, CANVAS), dtype=np.int64)
    canvas[0, :6] = canvas[1:4, :2] = COLOUR + 7
    assert cropped(canvas).shape == (4, 2), "8 cells beat the first row's 6"
    canvas[0, 0] = EDGE
    assert crop(canvas) is None


def test_each_copy_of_a_task_is_another_puzzle_and_the_first_is_unchanged(tasks):
    embedded = Embedded.draw(tasks, 20, 0)
    assert len(embedded.of["flip"]) == 20
    assert len(embedded.of["dark"]) == 1, "one black cell looks the same under every change"
    assert embedded.count == 21
    assert [i for copies in embedded.of.values() for i, _ in copies] == list(range(21))
    first = embedded.of["flip"][0][1]
    assert (first.turn, first.colours) == (0, tuple(range(10)))


def test_training_shows_demonstrations_alone_moved_alike_with_the_copy_s_id(tasks):
    embedded = Embedded.draw(tasks[:1], 6, 0)
    made = arc_draw(tasks[:1], embedded)(200, torch.Generator().manual_seed(0))
    changes, shown = dict(embedded.of["flip"]), set()
    for cells, solution, id in zip(made.cells.tolist(), made.solutions.tolist(), made.ids.tolist(), strict=True):
        x, y = (np.asarray(side).reshape(CANVAS, CANVAS) for side in (cells, solution))
        top, left = (int(axis.min()) for axis in np.nonzero(x >= COLOUR))
        x, y = (cropped(np.pad(side[top:, left:], ((0, top), (0, left)))) for side in (x, y))
        change = changes[id]
        assert np.array_equal(change.undo(y), np.fliplr(change.undo(x))), "input and output moved and changed alike"
        shown.add(change.undo(x).tobytes())
    assert len(shown) == 2, "both demonstrations, and never the test input"
    assert np.asarray([[5, 6]]).tobytes() not in shown


def test_copies_of_a_question_are_undone_and_unknown_tasks_are_refused(tasks, tmp_path):
    world = ArcWorld(Embedded.draw(tasks, 5, 0))
    flip, _ = arc(str(tmp_path / "arc.json")).problems("test")
    copies = world.copies(flip, 5, torch.Generator())
    assert copies.cells.shape == (5, 900)
    assert copies.ids is not None
    assert copies.ids.tolist() == [0, 1, 2, 3, 4]
    back = copies.undo(copies.cells)
    assert all(world.answer([], row) == "#### 56" for row in back.tolist())
    assert world.draw(world.read(flip)) == "56"
    assert world.answer([], [0] * 900) == ""
    with pytest.raises(UserError, match="not trained on"):
        world.read(Problem("x", "?", None, {"task": "new", "input": [[1]]}))
