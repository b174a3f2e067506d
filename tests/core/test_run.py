"""A run directory survives a kill and refuses what would mix two runs."""

from pathlib import Path

import pytest

from reasonry.core import UserError, open_run


def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    """Whole lines survive a kill in the middle of a write; appending goes on cleanly after it."""
    run = open_run(tmp_path / "r", {"a": 1}, resume=False)
    run.append("log", {"n": 1})
    run.append("log", {"n": 2})
    with open(run.path / "log.jsonl", "ab") as file:
        file.write(b'{"n": 3, "te')
    again = open_run(tmp_path / "r", {"a": 1}, resume=True)
    again.append("log", {"n": 4})
    assert list(again.lines("log")) == [b'{"n": 1}', b'{"n": 2}', b'{"n": 4}']


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    """Without --resume an existing run is refused, and nothing in it changes."""
    open_run(tmp_path / "r", {"a": 1}, resume=False).append("log", {"n": 1})
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    with pytest.raises(UserError, match="--resume"):
        open_run(tmp_path / "r", {"a": 1}, resume=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()} == before


def test_resume_refuses_another_configuration(tmp_path: Path) -> None:
    """The sentence names the field and both values."""
    open_run(tmp_path / "r", {"seed": 1}, resume=False)
    with pytest.raises(UserError, match="seed was 1 and is now 2"):
        open_run(tmp_path / "r", {"seed": 2}, resume=True)


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory with something else in it is not a run."""
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(UserError, match="not empty"):
        open_run(tmp_path, {}, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
