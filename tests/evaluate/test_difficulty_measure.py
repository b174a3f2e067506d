"""Measuring difficulty: what is written, that a stopped measurement goes on to the same file, and that files are not mixed."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.core import UserError
from reasonry.evaluate.difficulty import Measurement, difficulty_text, measure
from reasonry.probe.difficulty import histogram, read_profile

WANTED = Measurement("pocket-1m", "arithmetic?steps=3", n=5, attempts=3, max_tokens=48)


def unseen(done: int, n: int) -> None:
    """Shows nothing."""


def test_a_stopped_measurement_goes_on_to_the_same_file(tmp_path: Path) -> None:
    """Two lines of five, in any order, as a stop leaves them; what is measured is the same to the byte."""
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    profile = measure(WANTED, whole, unseen)
    lines = whole.read_text().splitlines(keepends=True)
    assert len(profile) == len(lines) == 5
    cut.write_text(lines[3] + lines[1])
    told: list[tuple[int, int]] = []
    assert measure(WANTED, cut, lambda done, n: told.append((done, n))) == profile
    assert cut.read_text() == whole.read_text()
    assert told == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert read_profile(cut) == profile
    assert sum(histogram(profile).values()) == 5
    assert difficulty_text(profile).startswith("5 problems of arithmetic?steps=3, 3 attempts each by pocket-1m with single\n")


def test_a_file_of_another_measurement_is_not_mixed_with_this_one(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "a", "prompt": "q", "answer": "1", "passes": 1, "attempts": 3, "model": "other", "task": "t"}\n')
    with pytest.raises(UserError, match="holds ratings with other"):
        measure(WANTED, path, unseen)


def test_the_command_names_a_file_it_cannot_write(tmp_path: Path) -> None:
    args = ["probe", "difficulty", "--model", "pocket-1m", "--task", "arithmetic", "--out"]
    for out, says in ((tmp_path / "p.txt", "does not end with .jsonl"), (tmp_path / "no" / "p.jsonl", "there is no folder")):
        result = CliRunner().invoke(cli, [*args, str(out)])
        assert isinstance(result.exception, UserError)
        assert says in str(result.exception)
