"""Log files as rows: a line ends at a line feed alone, half a last line is not data, tables keep their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonry.core import UserError
from reasonry.evaluate.reward_data import read_groups
from reasonry.probe.log_rows import flat, json_rows, table_rows
from reasonry.probe.trace_log import read_traces

ODD = "one\u2028two\u0085three"
"""Separators at which `str.splitlines` would cut, as models write them and JSON may hold them unescaped."""


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_text_may_hold_any_separator(tmp_path: Path) -> None:
    """In every probe that reads attempts: one line is one row."""
    path = write(tmp_path / "a.jsonl", f'{{"prompt": "p", "completion": "{ODD}"}}\n' * 2)
    assert [trace.text for trace in read_traces(path)] == [ODD] * 2
    groups, _ = read_groups(path, None)
    assert sum(len(g.completions) for g in groups) == 2


def test_rows_carry_their_place_and_a_growing_file_may_end_in_half_a_line(tmp_path: Path) -> None:
    """A byte-order mark and empty lines are passed over; line ends may be those of Windows."""
    path = write(tmp_path / "a.jsonl", '\ufeff{"a": 1}\r\n\r\n{"a": 2}\r\n{"a"')
    assert list(json_rows(path, growing=True)) == [(f"{path} line 1", {"a": 1}), (f"{path} line 3", {"a": 2})]
    with pytest.raises(UserError, match="line 4: is not JSON; give one object a line"):
        list(json_rows(path))
    with pytest.raises(UserError, match="line 1: is a JSON int, not an object; give a text"):
        list(json_rows(write(path, "1"), "give a text"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not text"):
        list(json_rows(path))
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        list(json_rows(tmp_path / "nowhere"))


def test_tables_keep_their_cells(tmp_path: Path) -> None:
    """A quoted cell may hold the separator and line ends; rows may be short, long or empty."""
    path = write(tmp_path / "a.csv", 'a,b\n1,"x, y\nz"\n\n2\n3,4,5\n')
    assert table_rows(path) == [{"a": "1", "b": "x, y\nz"}, {"a": "2", "b": ""}, {"a": "3", "b": "4"}]
    assert table_rows(write(tmp_path / "a.tsv", "a\tb\n1\t2,3\n")) == [{"a": "1", "b": "2,3"}]
    with pytest.raises(UserError, match="cannot be read as csv"):
        table_rows(write(path, 'a,b\n"1,2\n'))


def test_nested_names_are_joined() -> None:
    """By slashes, as wandb does."""
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a/b": 1, "a/c/d": 2, "e": [3]}
