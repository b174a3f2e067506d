"""A task is found by one line, and a wrong line is answered with the right ones."""

import pytest

from reasonry.core import Task, UserError
from reasonry.tasks import TASKS, load_task


@pytest.mark.parametrize("name", TASKS)
def test_every_built_in_task_answers_to_its_name(name):
    task = load_task(name)
    assert isinstance(task, Task)
    assert task.name == name
    problems = task.problems("test", 2, seed=1)
    assert len({p.id for p in problems}) == 2
    assert problems == load_task(name).problems("test", 2, seed=1)


def test_options_reach_the_maker_with_their_types():
    assert load_task("arithmetic?steps=5").problems("test", 1)[0].meta["steps"] == 5
    problem = load_task("registers?registers=3&loops=20&restate=1.0").problems("test", 1)[0]
    assert (problem.meta["registers"], problem.meta["loops"]) == (3, 20)
    assert load_task("sudoku6?clues=15").problems("test", 1)[0].meta["clues"] == 15
    assert load_task("maze?size=2&loops=1").problems("train", 1)[0].meta["size"] == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nope", "use one of arithmetic, registers"), ("", "is unknown"), ("arithmetic?stepz=3", "use one of steps"),
        ("arithmetic?steps=three", "must be a whole number"), ("arithmetic?steps=", "must be a whole number"),
        ("registers?restate=x", "must be a number"), ("arithmetic?steps=0", "at least 1"), ("arithmetic?steps", "option=value"),
        ("arithmetic?steps=1&steps=2", "given twice"), ("style?x=1", "it has none"), ("sudoku6?size=9", "not an option"),
        ("gone.jsonl", "cannot be read"), ("gone.jsonl?judge=kind", "exact, numeric, math"), ("gone.jsonl?path=x", "not an option"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_one_sentence_with_the_mend(spec, says):
    with pytest.raises(UserError, match=says):
        load_task(spec)


def test_a_file_with_options(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"q": "capital of France?", "a": "Paris"}\n')
    task = load_task(f"{file}?prompt=q&answer=a&judge=exact&split=test")
    assert task.name == "mine"
    assert task.judge(task.problems("test")[0], "The answer is Paris.").passed
