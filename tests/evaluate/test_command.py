"""`reasonry compare` and `reasonry solve` from the command line to the files and lines they leave, on a scripted model."""

import csv
import html
import io
import json
import shlex
import sys

import pytest
from scripted import ScriptedLM, Sums

from reasonry import cli
from reasonry.core import UserError
from reasonry.evaluate import command, networks
from reasonry.lm import load


def call(monkeypatch, *arguments: str) -> int | str | None:
    """Runs the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def scripted(monkeypatch) -> None:
    """A scripted model and task in place of real ones."""
    monkeypatch.setattr(networks, "load_lm", lambda spec, **options: ScriptedLM(name=spec))
    monkeypatch.setattr(load, "load_lm", lambda spec, **options: ScriptedLM(name=spec))
    monkeypatch.setattr(command, "load_task", lambda spec: Sums(spec))


COMPARE = ("compare", "--model", "scripted", "--task", "sums", "--solver", "single", "--solver", "self-consistency?k=3")


def test_compare_prints_the_numbers_of_its_csv_and_names_the_report(monkeypatch, tmp_path, capsys):
    """A key in the environment reaches no file of the run."""
    scripted(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    assert call(monkeypatch, *COMPARE, "--budget", "32,96", "--problems", "30") == 0
    said = capsys.readouterr()
    [out] = (tmp_path / "runs").iterdir()
    assert out.name.startswith("compare-20")
    rows = list(csv.DictReader((out / "report.csv").open()))
    assert [(r["solver"], r["budget"]) for r in rows] == [
        (s, f"completion_tokens={b}") for b in (32, 96) for s in ("single", "self-consistency?k=3")
    ]
    table = said.out.splitlines()[2:6]
    for row, line in zip(rows, table, strict=True):
        assert row["solver"] in line
        assert f"{100 * float(row['accuracy']):.1f} %" in line
    assert said.out.strip().endswith(f"Report: {out.relative_to(tmp_path)}/report.html")
    assert "120 of 120 attempts" in said.err
    assert not any(b"sk-secret" in file.read_bytes() for file in out.iterdir())


def test_the_command_in_the_report_repeats_the_run(monkeypatch, tmp_path):
    scripted(monkeypatch)
    assert call(monkeypatch, *COMPARE, "--budget", "32", "-n", "8", "--seed", "3", "--out", str(tmp_path / "one")) == 0
    page = (tmp_path / "one" / "report.html").read_text()
    command = html.unescape(page.split("How it was made")[1].split("<pre>")[1].split("</pre>")[0])
    again = shlex.split(command)[1:]
    again[again.index("--out") + 1] = str(tmp_path / "two")
    assert call(monkeypatch, *again) == 0
    assert (tmp_path / "two" / "report.json").read_text() == (tmp_path / "one" / "report.json").read_text()


def test_compare_refuses_a_directory_that_is_not_empty(monkeypatch, tmp_path, capsys):
    scripted(monkeypatch)
    (tmp_path / "thesis.txt").write_text("mine")
    assert call(monkeypatch, *COMPARE, "--out", str(tmp_path)) == 2
    assert "is not empty and holds no run" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_that_cannot_start_leaves_its_directory_free(monkeypatch, tmp_path, capsys):
    scripted(monkeypatch)

    async def refused(self, prompt, sampling):
        raise UserError("model: 'x' is not served; use another")

    monkeypatch.setattr(ScriptedLM, "complete", refused)
    assert call(monkeypatch, *COMPARE, "--out", str(tmp_path / "run")) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == "reasonry: model: 'x' is not served; use another"
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_which_nothing_was_scored_exits_with_1_and_says_why(monkeypatch, tmp_path, capsys):
    scripted(monkeypatch)

    async def broken(self, prompt, sampling):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ScriptedLM, "complete", broken)
    assert call(monkeypatch, *COMPARE, "--budget", "32", "-n", "4", "--out", str(tmp_path / "run")) == 1
    said = capsys.readouterr().out
    assert "8 attempts failed and are not scored" in said
    assert "First: ConnectionError: nobody answers" in said


def test_solve_prints_the_answer_alone_on_standard_output(monkeypatch, capsys):
    scripted(monkeypatch)
    assert call(monkeypatch, "solve", "--model", "scripted", "What is 20 + 22?") in (0, None)
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "I add 20 and 22"
    assert said.out.splitlines()[1].startswith("#### ")
    assert said.err.startswith("1 call, ")


def test_solve_shows_every_call_or_the_whole_trajectory(monkeypatch, capsys):
    scripted(monkeypatch)
    question = ("solve", "--model", "scripted", "--solver", "self-consistency?k=3", "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 20 + 22?\n"))
    assert call(monkeypatch, *question, "--trace") in (0, None)
    shown = capsys.readouterr().out
    assert [f"── {i} · answer" in shown for i in (1, 2, 3, 4)] == [True, True, True, False]
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 20 + 22?\n"))
    assert call(monkeypatch, *question, "--json") in (0, None)
    trajectory = json.loads(capsys.readouterr().out)
    assert len(trajectory["segments"]) == trajectory["cost"]["calls"] == 3
