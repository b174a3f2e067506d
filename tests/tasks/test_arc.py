"""ARC's files are read whole or refused with the place, and its judge wants the very grid."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from reasonry.core import UserError
from reasonry.tasks import load_task
from reasonry.tasks.arc import arc, read_grid, read_tasks, write_grid

TASK = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]], "output": [[4, 3]]}, {"input": [[5, 6]]}]}


def stored(path: Path, held: object) -> Path:
    path.write_text(json.dumps(held))
    return path


def test_a_file_of_tasks_a_folder_and_a_single_task_read_alike(tmp_path):
    (tmp_path / "folder").mkdir()
    stored(tmp_path / "folder" / "abc.json", TASK)
    many = read_tasks(stored(tmp_path / "many.json", {"abc": TASK}))
    for source in (tmp_path / "folder", tmp_path / "folder" / "abc.json"):
        (task,) = read_tasks(source)
        assert task.id == many[0].id == "abc"
        assert np.array_equal(task.train[0].output, [[2, 1]])
        assert task.test[1].output is None


def test_the_challenge_s_solutions_are_taken_from_the_file_beside_it(tmp_path):
    blind = {**TASK, "test": [{"input": [[3, 4]]}, {"input": [[5, 6]]}]}
    path = stored(tmp_path / "x_challenges.json", {"abc": blind})
    assert [asked.output for asked in read_tasks(path)[0].test] == [None, None]
    stored(tmp_path / "x_solutions.json", {"abc": [[[4, 3]], [[6, 5]]]})
    assert np.array_equal(read_tasks(path)[0].test[1].output, [[6, 5]])  # type: ignore[arg-type]


def test_each_test_input_is_a_problem_judged_exactly(tmp_path):
    task = load_task(f"arc:{stored(tmp_path / 'few.json', {'abc': TASK})}")
    known, unknown = task.problems("test")
    assert "1 2" not in known.prompt
    assert "12\noutput\n21" in known.prompt
    assert "43" not in known.prompt, "the answer is not in the prompt"
    assert task.judge(known, "#### 43").passed
    assert task.judge(known, "#### 4 3").answer == "43"
    assert task.judge(known, "#### 44").signals == {"cells": 0.5}
    assert task.judge(known, "#### 4/3").why == "the grid is 2×1, not 1×2"
    assert task.judge(known, "no grid").passed is False
    assert task.judge(unknown, "#### 43").score is None
    assert [p.id for p in task.problems("test", 1, 3)] == [p.id for p in task.problems("test", 1, 3)]


@pytest.mark.parametrize("text", ["", "12/3", "1a", "1/22"])
def test_what_is_no_rectangle_is_no_grid(text):
    assert read_grid(text) is None


def test_a_grid_s_text_is_read_back():
    for text in (write_grid(np.array([[1, 2], [3, 4]])), "[1, 2]/[3, 4]", "1 2\n3 4\n"):
        assert np.array_equal(read_grid(text), [[1, 2], [3, 4]])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({}, "holds no tasks"), ({"a": {"train": []}}, "no lists train and test"), ([1], "holds no tasks"),
        ({"a": {**TASK, "train": [{"input": [[1], [2, 3]], "output": [[1]]}]}}, "task a train 0: input is no rectangle"),
        ({"a": {**TASK, "train": [{"input": [[1]], "output": [[11]]}]}}, "output is no rectangle of colours 0 to 9"),
        ({"a": {**TASK, "test": [{"input": [[0] * 31]}]}}, "1×31 but a grid has at most 30"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_place(tmp_path, held, says):
    with pytest.raises(UserError, match=says):
        read_tasks(stored(tmp_path / "x.json", held))


def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_tasks(tmp_path / "gone.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_tasks(tmp_path / "x.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no"):
        read_tasks(tmp_path / "empty")
    with pytest.raises(UserError, match="use that, or the option split=train"):
        arc(str(stored(tmp_path / "y.json", {"abc": TASK}))).problems("train")
    with pytest.raises(UserError, match="there are 2 test inputs"):
        arc(str(tmp_path / "y.json")).problems("test", 3)


@pytest.mark.skipif("REASONRY_DATA" not in os.environ, reason="REASONRY_DATA is not set")
@pytest.mark.parametrize(
    ("name", "tasks", "inputs"),
    [("arc1-training", 400, 416), ("arc1-evaluation", 400, 419), ("arc2-training", 1000, 1076), ("arc2-evaluation", 120, 167)],
)
def test_the_published_sets_load_whole(name, tasks, inputs):
    path = Path(os.environ["REASONRY_DATA"]) / "arc" / f"{name}.json"
    assert len(read_tasks(path)) == tasks
    problems = arc(str(path)).problems("test")
    assert len(problems) == inputs
    assert all(p.answer is not None for p in problems)
