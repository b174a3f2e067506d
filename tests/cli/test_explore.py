"""`reasonry train` with a search in place of independent attempts: it runs, rates hard problems, goes on, and refuses what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_run import command, prepare

ARGUMENTS = {
    "objective": "deepsearch", "explore": "deepsearch?chunk=3&n=2&depth=4", "hard": "[2, 0.9, 2]", "problems": "6", "max_tokens": "8",
    "prompts": "2", "group": "3", "save_every": "1", "keep": "every",
}  # fmt: skip


def test_a_search_trains_in_rounds_and_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    """Both rounds rate before they train; resumed, nothing is done twice; evaluation asks the plain solver."""
    prepare(tmp_path)
    given = [word for key, value in ARGUMENTS.items() for word in ("--set", f"{key}={value}")]
    begin = ["train", "--model", str(tmp_path / "tiny"), "--task", f"{tmp_path}/sums.jsonl", "--steps", "2", "--lr", "1e-3"]
    assert command([*begin, "--evaluate", "3", *given, "--out", str(tmp_path / "run")]) == 0
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [0, 1]
    assert all(s["learned"] == 2 and s["mismatch_max"] < 1e-3 and "cached" in s for s in steps)
    rounds = [json.loads((tmp_path / "run" / f"hard-{i}.json").read_text()) for i in range(2)]
    assert set(rounds[1]["1"]) <= set(rounds[0]["1"])
    assert 0 < len(rounds[0]["1"]) <= 6
    assert (tmp_path / "run" / "model" / "config.json").exists()
    asked = [json.loads(line) for line in (tmp_path / "run" / "evaluation" / "attempts.jsonl").read_text().splitlines()]
    assert all(len(a["trajectory"]["segments"]) == 1 for a in asked)
    assert command(["train", "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert len((tmp_path / "run" / "steps.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"explore": None}, "explore"),
        ({"lag": "1"}, "lag: is 1; what is stored must not depend on timing"),
        ({"explore": "single"}, "explore: 'single' explores nothing"),
        ({"explore": "deepsearch?chonk=3"}, "deepsearch: chonk is not an option"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    changes: dict[str, str | None], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    given = [word for key, value in {**ARGUMENTS, **changes}.items() if value is not None for word in ("--set", f"{key}={value}")]
    begin = ["train", "--model", str(tmp_path / "tiny"), "--task", f"{tmp_path}/sums.jsonl", "--steps", "2"]
    assert command([*begin, *given, "--out", str(tmp_path / "run")]) != 0
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
