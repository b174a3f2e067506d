"""The tools' page shows what the ladder prints, and its Python example runs."""

import re
from pathlib import Path

from click.testing import CliRunner

from reasonry.cli import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tools.md").read_text()


def test_the_page_shows_what_the_ladder_says_of_its_example(monkeypatch):
    monkeypatch.chdir(ROOT)
    said = CliRunner().invoke(cli, ["probe", "ladder", "docs/examples/ladder/candidates.jsonl"])
    assert said.exit_code == 0, said.output
    assert said.stdout.rstrip() in PAGE


def test_the_python_example_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    [code] = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "probe.ladder" in block]
    exec(code, {})
    assert "Estimate(mean=" in capsys.readouterr().out


def test_the_examples_candidates_are_what_its_script_makes(tmp_path):
    script = (ROOT / "docs/examples/ladder/make.py").read_text()
    exec(compile(script, "make.py", "exec"), {"__file__": str(tmp_path / "make.py")})
    assert (tmp_path / "candidates.jsonl").read_text() == (ROOT / "docs/examples/ladder/candidates.jsonl").read_text()
