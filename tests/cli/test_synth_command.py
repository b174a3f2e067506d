"""`reasonry synth rsd`: it writes traces that train takes, goes on where it was stopped, and refuses what cannot be done in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from reasonry.cli import cli
from reasonry.core import UserError
from reasonry.lm.load import POCKET
from reasonry.lm.tokenizer import Tokenizer
from reasonry.synth.trace_set import Attempt
from reasonry.train.supervised import read_examples

COMMAND = [
    "synth", "rsd", "--teacher", "pocket", "--student", "pocket-1m", "--task", "arithmetic?steps=2", "-n", "2", "--trials", "2",
    "--max-tokens", "48", "--prefix", "8",
]  # fmt: skip


def call(*more: str) -> Result:
    return CliRunner().invoke(cli, [*COMMAND, *more])


def test_traces_are_written_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    said = call("--out", str(tmp_path / "run"))
    assert said.exit_code == 0, said.output
    run = tmp_path / "run"
    assert f"--sft {run / 'traces.jsonl'}" in said.output
    lines = (run / "attempts.jsonl").read_bytes().splitlines()
    made = [msgspec.json.decode(line, type=Attempt) for line in lines]
    assert len(made) == 4
    assert all(len(a.ids) == len(a.teachers) == len(a.log_teacher or ()) == len(a.log_student or ()) for a in made)
    card = json.loads((run / "card.json").read_text())
    assert (card["problems"], card["attempts"], card["whole"] + card["prefixes"]) == (2, 4, 2)
    rows = read_examples(run / "traces.jsonl", Tokenizer.load(POCKET / "pocket-1m"), 512)
    assert len(rows) == 2
    traces = (run / "traces.jsonl").read_text()
    (run / "attempts.jsonl").write_bytes(lines[0] + b"\n" + lines[2][:20])  # killed while it wrote the second line
    again = call("--out", str(run), "--resume")
    assert again.exit_code == 0, again.output
    assert len((run / "attempts.jsonl").read_bytes().splitlines()) == 4
    assert (run / "traces.jsonl").read_text() == traces


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--resume"], "are not named; add --out"),
        (["--teacher", "http://127.0.0.1:1/v1#m"], "one is an endpoint"),
        (["--special", "<think>"], "write TOKEN=TEXT"),
        (["--special", "<none>=x"], "special: '<none>'"),
        (["--p-th", "-1"], "p_th is -1"),
        (["--max-fallback", "2"], "max_fallback is 2"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, more: list[str], said: str) -> None:
    out = [] if "--resume" in more else ["--out", str(tmp_path / "run")]
    with pytest.raises(UserError, match=said):
        raise call(*out, *more).exception or AssertionError("not refused")
