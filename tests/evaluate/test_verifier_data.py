"""Fresh answers for the check of a verifier: cut at line ends, scored short of the whole, judged, and written for later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from reasonry.core import Completion, Cost, Message, Problem, Sampling, Stop, UserError, Verdict
from reasonry.evaluate import verifier_data
from reasonry.evaluate.verifier_data import sampled, write_answers
from reasonry.lm.scorer import Scores
from reasonry.probe.verifier import expanded, read_prefixes


class Lines:
    """A model of three lines, a judge that likes seeds that are even, a scorer of lengths."""

    name = "lines"

    async def complete(self, prompt: object, sampling: Sampling) -> Completion:
        assert sampling.seed is not None
        return Completion("a\nbb\n" + "right"[: 5 * (sampling.seed % 2 == 0)], Stop.EOS, Cost())

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(f"p{i}", "?") for i in range(n or 1)]

    def judge(self, problem: Problem, answer: str) -> Verdict:
        return Verdict(None if problem.id == "p3" else float("right" in answer), None)

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        return Scores(tuple(float(len(a)) - 3 for a in answers), Cost())


async def test_fresh_answers_are_cut_scored_and_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value is the link of a score; what is not judged is left out; the file reads back the same."""
    for name in ("load_lm", "load_task", "load_scorer"):
        monkeypatch.setattr(verifier_data, name, lambda spec: Lines())
    rows = await sampled("m", "t", "v", "sigmoid", 4, 5, 64, "test", 0)
    assert [r.problem for r in rows] == [f"p{i}" for i in range(3) for _ in range(5)]
    assert {r.outcome for r in rows} == {0.0, 1.0}
    for r in rows:
        wanted = [1 / (1 + math.exp(-x)) for x in (-1.0, 2.0)][: 2 if r.outcome else 1]
        assert list(r.scores) == pytest.approx(wanted)
    write_answers(tmp_path / "x.jsonl", rows)
    assert read_prefixes(tmp_path / "x.jsonl") == expanded(rows)
    assert await sampled("m", "t", "v", "sigmoid", 1, 5, 64, "test", 0) == rows[:5]
    monkeypatch.setattr(Lines, "judge", lambda self, problem, answer: SimpleNamespace(score=None))
    with pytest.raises(UserError, match="judged none of 5 answers"):
        await sampled("m", "t", "v", "sigmoid", 1, 5, 64, "test", 0)
