"""The command line: quick help, one-sentence errors with the mend, and what each command prints."""

import asyncio
import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from reasonry import cli
from reasonry.core import Budget, UserError
from reasonry.evaluate.command import Comparison, parse_budgets


def call(monkeypatch, *arguments: str) -> int | str | None:
    """Runs the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


@pytest.mark.parametrize("command", [(), ("compare",), ("solve",), ("serve",), ("run",), ("papers",)])
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
        (["run", "no-such-paper"], "'no-such-paper' is not on the list"),
        (["run", "trm"], "not built yet"),
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
