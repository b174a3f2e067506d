"""The command line: quick help, one-sentence errors with the mend, and what each command prints."""

import json
import subprocess
import sys

import msgspec
import pytest

from reasonry import cli
from reasonry.core import Budget, Claim, Evidence, Finding, Kind, Paper, Result
from reasonry.evaluate.command import parse_budgets
from reasonry.papers import PAPERS
from reasonry.papers.catalogue import FURTHER


def call(monkeypatch, *arguments: str) -> int | str | None:
    """Runs the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


@pytest.mark.parametrize("command", [(), ("compare",), ("train",), ("solve",), ("serve",), ("run",), ("papers",)])
def test_help_imports_nothing_heavy(command):
    """Help in under half a second means: no torch, numpy, matplotlib, HTTP or terminal library is imported for it."""
    code = f"""
import sys
sys.argv = ["reasonry", *{command!r}, "--help"]
from reasonry.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
heavy = {{"torch", "numpy", "scipy", "matplotlib", "httpx", "rich", "jinja2", "starlette", "msgspec", "tokenizers", "asyncio.runners"}}
print("HEAVY", sorted(heavy & set(sys.modules) - {{"asyncio.runners"}}))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout.rstrip().endswith("HEAVY []"), said.stdout[-300:] + said.stderr[-300:]
    assert "Usage: reasonry" in said.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compare", "--model", "pocket-1m", "--task", "arithmetic", "--budget", "12 apples"], "'12 apples' is not a number"),
        (["compare", "--model", "pocket-1m", "--task", "arithmetic", "--budget", "apples=3"], "'apples' is not a unit"),
        (["compare", "--model", "pocket-1m", "--task", "astrology"], "task: 'astrology' is unknown"),
        (["compare", "--model", "no-such-model", "--task", "arithmetic"], "'no-such-model'"),
        (["compare", "--model", "x", "--task", "nowhere.jsonl"], "nowhere.jsonl"),
        (["compare", "--model", "http://user:pass@host/v1#m", "--task", "arithmetic"], "password"),
        (["compare", "--task", "arithmetic"], "Missing option '--model'"),
        (["compare", "--model", "x", "--task", "arithmetic", "--attempts", "0"], "--attempts"),
        (["compare", "--model", "x", "--task", "arithmetic", "--resume"], "add --out"),
        (["compare", "--colour", "blue"], "--colour"),
        (["solve", "--model", "no-such-model", "2+2"], "'no-such-model'"),
        (["solve", "--model", "pocket-1m", "  "], "question: it is empty"),
        (["serve", "--model", "no-such-model"], "'no-such-model'"),
        (["serve", "--model", "x", "--port", "99999"], "--port"),
        (["serve", "--model", "no-such-model", "--host", "0.0.0.0"], "--host: 0.0.0.0 can be reached"),  # before any model is loaded
        (["run", "no-such-paper"], "'no-such-paper' is not on the list"),
        (["run", "dreamer4"], "not built yet"),
        (["run", "delethink", "--seeds", "one"], "--seeds: 'one'"),
        (["paint"], "No such command 'paint'"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("reasonry: ")
    assert len(said.err.strip().splitlines()) == 1
    assert says in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("texts", "budgets"),
    [
        (["64,128"], [Budget(completion_tokens=64), Budget(completion_tokens=128)]),
        (["64", "128"], [Budget(completion_tokens=64), Budget(completion_tokens=128)]),
        (["tokens=4096,calls=8", "32"], [Budget(tokens=4096, calls=8), Budget(completion_tokens=32)]),
    ],
)
def test_budgets_are_a_list_of_numbers_or_one_of_several_units(texts, budgets):
    assert parse_budgets(texts) == budgets


def test_papers_lists_all_44_with_their_state(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "papers", "--json") in (0, None)
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len({row["slug"] for row in rows}) == 44 + len(FURTHER)
    assert {row["slug"] for row in rows if row["state"] == "built"} == set(PAPERS)
    assert call(monkeypatch, "papers", "delethink") in (0, None)
    shown = capsys.readouterr().out
    assert all(claim.says in shown for claim in PAPERS["delethink"].claims)


def test_run_stores_the_evidence_and_says_how_each_claim_fared(monkeypatch, capsys, tmp_path):
    """With an experiment that takes no time in place of the real one."""
    claim = Claim("cheaper", Kind.COST, "Chunks are cheaper.", "they are not")
    finding = Finding("cheaper", Result.FAILS, "1.2 times dearer")
    evidence = Evidence("toy", "pocket-1m", "reasonry run toy", "abc", "2025-01-01", "2 cores", (0, 1), "64", (), (finding,))
    toy = Paper("toy", "A toy", "0000.00000", "reasonry.toy", "It plays.", (), "Always.", (claim,), lambda path, seeds: evidence)
    monkeypatch.setitem(PAPERS, "toy", toy)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "run", "toy", "--seeds", "0,1", "--store", "evidence") in (0, None)
    said = capsys.readouterr().out
    assert "fails    cheaper: Chunks are cheaper." in said
    assert "here: 1.2 times dearer" in said
    stored = (tmp_path / "evidence" / "toy.json").read_bytes()
    assert stored == (tmp_path / "runs" / "toy" / "evidence.json").read_bytes()
    assert msgspec.json.decode(stored, type=Evidence) == evidence
    assert call(monkeypatch, "run", "toy") == 2
    assert "add --resume" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "find_paper", lambda slug: {}["bug"])
    monkeypatch.setattr(sys, "argv", ["reasonry", "run", "delethink"])
    with pytest.raises(KeyError):
        cli.main()
