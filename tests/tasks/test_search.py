"""The local search tool: BM25 by hand, files and folders, and what it refuses."""

import math
from pathlib import Path

import pytest

from reasonry.core import ToolCall, UserError
from reasonry.tasks.search import NOTHING, Index, read_passages, search_tool, words
from reasonry.tasks.tools import run_call

TEXTS = ["the cat sat on the mat", "a dog sat", "the dog chased the cat and the other cat", "nothing of it"]


def test_scores_are_the_formula_by_hand():
    index = Index(TEXTS)
    mean = sum(len(words(t)) for t in TEXTS) / 4
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    expected = {i: idf * f * 2.5 / (f + 1.5 * (0.25 + 0.75 * n / mean)) for i, f, n in ((0, 1, 6), (2, 2, 9))}
    assert index.scores("Cat") == pytest.approx(expected)
    assert index.scores("unheard") == {}


def test_the_best_come_first_and_equals_in_their_order():
    assert Index(TEXTS).best("dog cat", 1) == [TEXTS[2]]
    assert Index(["same words", "other", "words same"]).best("same words", 5) == ["same words", "words same"]
    assert Index([]).best("x", 3) == []


def test_files_become_passages(tmp_path: Path):
    (tmp_path / "b.md").write_text("First paragraph\non two lines.\n\nSecond paragraph.\n")
    (tmp_path / "a.jsonl").write_text('{"title": "Ben Nevis", "text": "1345 metres high"}\n{"text": "untitled"}\n')
    (tmp_path / "ignored.bin").write_bytes(b"\xff")
    found = ["Ben Nevis: 1345 metres high", "untitled", "First paragraph on two lines.", "Second paragraph."]
    assert read_passages([tmp_path]) == found
    assert read_passages([tmp_path, tmp_path / "b.md"]) == found
    tool = search_tool([tmp_path], results=1, longest=9)
    assert run_call(ToolCall("search", {"query": "how high is ben nevis"}), {"search": tool}).result == "1. Ben Nevis"
    assert run_call(ToolCall("search", {"query": "zebra"}), {"search": tool}).result == NOTHING


def test_a_place_without_text_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="is not there"):
        search_tool([tmp_path / "none"])
    with pytest.raises(UserError, match="holds no text"):
        search_tool([tmp_path])
    (tmp_path / "a.jsonl").write_text('{"title": "x"}\n')
    with pytest.raises(UserError, match="line 1: has no text"):
        search_tool([tmp_path])
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        search_tool([tmp_path])
