"""Your data comes in whole or is refused with its place and the reason."""

import json
import os
from pathlib import Path

import pytest

from reasonry.core import Message, Task, UserError
from reasonry.tasks import from_path, from_rows, load_task
from reasonry.tasks.judges import exact
from reasonry.tasks.skill import split_of

ROWS = [{"prompt": f"what is {i}+{i}?", "answer": str(2 * i)} for i in range(200)]
GSM8K = os.environ.get("REASONRY_DATA")


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def held(task):
    return {split: [p.prompt for p in task.problems(split)] for split in task.splits}


def test_plain_rows_are_split_by_a_hash_and_nothing_is_lost():
    task = from_rows(ROWS, "sums")
    assert isinstance(task, Task)
    assert set(task.splits) == {"train", "validation", "test"}
    together = [prompt for prompts in held(task).values() for prompt in prompts]
    assert sorted(together) == sorted(r["prompt"] for r in ROWS)
    assert len(together) == len(set(together))
    assert all(split_of(f"user: {prompt}") == split for split, prompts in held(task).items() for prompt in prompts)


def test_order_of_rows_decides_neither_split_nor_id():
    ids = [
        {p.prompt: (p.id, split) for split in task.splits for p in task.problems(split)}
        for task in (from_rows(r, "s") for r in (ROWS, ROWS[::-1]))
    ]
    assert ids[0] == ids[1]


def test_all_problems_in_order_or_a_seeded_draw():
    task = from_rows(ROWS, "sums", split="test")
    assert [p.prompt for p in task.problems("test")] == [r["prompt"] for r in ROWS]
    drawn = task.problems("test", 30, seed=1)
    assert drawn == task.problems("test", 30, seed=1) != task.problems("test", 30, seed=2)
    assert len({p.id for p in drawn}) == 30


def test_numbers_are_judged_as_numbers_and_words_exactly():
    sums = from_rows(ROWS, "sums", split="test")
    problem = sums.problems("test")[21]
    assert sums.judge(problem, "so it must be $42.00").passed
    assert sums.extract("the answer is 42 apples") == "42"
    cities = from_rows([*ROWS, {"prompt": "where?", "answer": "Paris"}], "mixed", split="test")
    assert cities.judge(cities.problems("test")[-1], "#### Paris").passed
    assert not cities.judge(cities.problems("test")[21], "#### 42.00").passed


def test_columns_may_be_named_and_answers_may_be_numbers():
    task = from_rows([{"q": "2+2?", "a": 4, "prompt": "not me"}], "x", prompt="q", answer="a", split="test", judge=exact)
    problem = task.problems("test")[0]
    assert (problem.prompt, problem.answer) == ("2+2?", 4)
    assert task.judge(problem, "#### 4").passed


def test_chat_prompts():
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2+2?"}]
    for column in ("messages", "prompt"):
        problem = from_rows([{column: messages, "answer": "4"}], "chat", split="test").problems("test")[0]
        assert problem.prompt == (Message("system", "be brief"), Message("user", "2+2?"))


def test_a_mapping_of_splits_keeps_them_apart():
    """A prompt of the test part is left out of the training part: no model may be trained on what it is tested on."""
    parts = {"train": [*ROWS[:10], ROWS[20]], "test": ROWS[20:25]}
    task = from_rows(parts, "parts")
    assert [len(prompts) for prompts in held(task).values()] == [5, 10]
    assert not set(held(task)["train"]) & set(held(task)["test"])


def test_a_repeated_row_is_one_problem_and_the_same_prompt_stays_in_one_split():
    task = from_rows([ROWS[0], ROWS[0], {**ROWS[0], "answer": "1"}], "twice")
    assert [len(prompts) for prompts in held(task).values()] == [2]


def test_hugging_face_style_rows_come_in_without_the_library():
    class Dataset:
        """Iterates over dicts, like `datasets.Dataset`, and is no list."""

        def __iter__(self):
            return iter({"question": "2+2?", "answer": "two and two\n#### 4"} for _ in range(1))

    problem = from_rows(Dataset(), "hf", split="test").problems("test")[0]
    assert (problem.answer, problem.meta["solution"]) == ("4", "two and two")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{oops", "not JSON"), ("[1]", "is a list"), ('{"answer": 1}', "no column any of messages, prompt"),
        ('{"prompt": "x"}', "name the answer column"),
        ('{"prompt": "", "answer": 1}', "prompt is empty"), ('{"prompt": 3, "answer": 1}', "prompt is 3 but"),
        ('{"prompt": "x", "answer": null}', "answer is None"),
        ('{"prompt": "x", "answer": ""}', "answer is ''"), ('{"prompt": "x", "answer": true}', "answer is True"),
        ('{"prompt": [], "answer": 1}', "prompt is []"),
        ('{"prompt": [{"role": "me", "content": "x"}], "answer": 1}', "a message has a role"),
        ('{"prompt": [{"role": "user", "content": 1}], "answer": 1}', "a message has a role"),
        ('{"prompt": [{"role": "assistant", "content": "x"}], "answer": 1}', "ends with the assistant"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path, row, reason):
    file = write(tmp_path / "data.jsonl", ["" if row.startswith("{oops") else ROWS[0], ROWS[1], row])
    if '"prompt"' not in row:
        file = write(file, ["", "", row])
    with pytest.raises(UserError) as raised:
        from_path(file)
    assert f"{file} line 3: " in str(raised.value)
    assert reason in str(raised.value)


def test_a_row_that_lacks_the_first_row_s_columns_is_refused():
    with pytest.raises(UserError, match=r"x row 1: has no column 'prompt'"):
        from_rows([ROWS[0], {"question": "2+2?", "answer": "4"}], "x")


@pytest.mark.parametrize("name", ["gone.jsonl", "data.csv", "empty.jsonl", "folder", "latin.jsonl"])
def test_a_bad_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "data.csv").write_text("a,b")
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é", "answer": 1}'.encode("latin-1"))
    with pytest.raises(UserError, match=Path(name).stem):
        from_path(tmp_path / name)


def test_files_named_after_splits(tmp_path):
    write(tmp_path / "train.jsonl", [*ROWS[:5], ROWS[7]])
    write(tmp_path / "test.jsonl", ROWS[5:8])
    write(tmp_path / "notes.jsonl", ["not read"])
    write(tmp_path / "dev.jsonl", ROWS[8:10])
    assert {split: len(prompts) for split, prompts in held(from_path(tmp_path)).items()} == {"test": 3, "validation": 2, "train": 5}
    alone = from_path(tmp_path / "test.jsonl")
    assert set(alone.splits) == {"test"}
    with pytest.raises(UserError, match=r"'train' is not a split of test, which has test"):
        alone.problems("train")
    with pytest.raises(UserError, match="holds 3 problems"):
        alone.problems("test", 4)


def test_line_separators_inside_text_do_not_end_a_row(tmp_path):
    """U+2028 and a byte-order mark are text, not line ends."""
    file = write(tmp_path / "data.jsonl", [{"prompt": "a\u2028b\u0085c", "answer": "4"}])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes() + b"\r\n")
    assert from_path(file, split="test").problems("test")[0].prompt == "a\u2028b\u0085c"


def test_a_folder_s_place_changes_nothing(tmp_path):
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        found.append(from_path(write(tmp_path / folder / "data.jsonl", ROWS)).splits)
    assert found[0] == found[1]


@pytest.mark.skipif(GSM8K is None, reason="REASONRY_DATA is unset: no GSM8K at hand")
def test_gsm8k_comes_in_whole():
    """Every test problem, golds with thousands separators among them, and its own solution judged right."""
    task = load_task(f"{GSM8K}/gsm8k/test.jsonl")
    problems = task.problems("test")
    assert len(problems) == 1319
    assert all(task.judge(p, f"{p.meta['solution']}\n#### {p.answer}").passed for p in problems)
    assert all(task.judge(p, f"The answer is ${p.answer}.").passed for p in problems)
    assert not any(task.judge(p, f"#### {p.answer}1").passed for p in problems)
    both = load_task(f"{GSM8K}/gsm8k")
    assert len(both.problems("test")) == 1319
    assert len(both.problems("train")) > 7000
