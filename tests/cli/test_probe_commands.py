"""`reasonry probe`: what the commands print, write and refuse."""

import json
import sys

import numpy as np
import pytest

from reasonry import cli


def call(monkeypatch, *arguments: str) -> int | str | None:
    """Runs the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", "probe", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def ill_log(path, n: int = 100):
    """A TRL-style log whose entropy collapses half way; a value that is no number in the middle."""
    rows = [{"step": i, "reward": 0.1 + 0.001 * i, "entropy": 0.5 if i < n // 2 else 0.01, "kl": 0.1} for i in range(n)]
    rows[3]["reward"] = np.nan
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_health_says_what_it_found_and_ends_with_0(tmp_path, monkeypatch, capsys):
    path, page = ill_log(tmp_path / "log.jsonl"), tmp_path / "health.html"
    assert call(monkeypatch, "health", str(path), "--out", str(page)) in (0, None)
    said = capsys.readouterr().out
    assert "ALARM entropy, from step 50 to the end: Entropy fell from 0.5 to 0.01" in said
    assert "not judged: mismatch (no mismatch or mismatch_prob in the log)" in said
    html = page.read_text()
    assert html.count("<svg") == 3
    assert "2 alarms" in html


def test_health_as_json_is_valid_and_complete(tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, "health", str(ill_log(tmp_path / "log.jsonl")), "--json") in (0, None)
    (held,) = json.loads(capsys.readouterr().out)
    assert [(f["monitor"], f["step"], f["value"]) for f in held["findings"]] == [("numbers", 3.0, None), ("entropy", 50.0, 0.01)]
    assert held["columns"]["kl_ref"] == "kl"
    assert held["quiet"] == ["KL"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["health", "nowhere.csv"], "nowhere.csv"),
        (["health"], "LOG"),
        (["thinking-cost", "--model", "pocket", "--layers", "3"], "--layers: the shape is --model's already"),
        (["thinking-cost", "--layers", "3"], "--width: it is missing"),
        (["thinking-cost", "--carry", "8k"], "m is 8192 but must be smaller"),
        (["thinking-cost", "--thinking", "long"], "'long' is not a length"),
        (["window-cost", "--model", "pocket", "--window", "wide"], "--window: 'wide' is not a length"),
        (["window-cost", "--model", "pocket", "--window", "0"], "size is 0"),
        (["window-cost", "--model", "pocket", "--contexts", "0"], "--contexts: 0 is not between"),
        (["reward", "--reward", "a:b"], "DATA: name a file or run directory, or sample"),
        (["reward", "nowhere.jsonl", "--reward", "json:loads"], "--reward: json:loads takes"),
        (["reward", "nowhere.jsonl", "--reward", "reasonry.train.reward:verdict"], "nowhere.jsonl: there is no such file"),
        (["reward", "--model", "pocket-1m", "--task", "astrology", "--reward", "reasonry.train.reward:verdict"], "'astrology' is unknown"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("reasonry: ")
    assert len(said.err.strip().splitlines()) == 1
    assert says in said.err
    assert said.out == ""


def test_thinking_cost_prints_the_comparison_and_takes_a_shape_by_numbers(tmp_path, monkeypatch, capsys):
    numbers = ["--layers", "28", "--width", "1536", "--heads", "12", "--kv-heads", "2", "--ff", "8960", "--vocab", "151936"]
    said = []
    for more in ([], numbers):
        wanted = ["--json", "--query", "1", "--thinking", "24k", "--out", str(tmp_path / "a.html")]
        assert call(monkeypatch, "thinking-cost", *more, *wanted) in (0, None)
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["rows"] == said[1]["rows"]
    assert said[0]["rows"][0]["ratio_causal"] == pytest.approx(0.87, rel=0.006)
    assert "<svg" in (tmp_path / "a.html").read_text()
    assert call(monkeypatch, "thinking-cost", "--model", "pocket-1m", "--chunk", "64", "--carry", "32", "--thinking", "1k") in (0, None)
    assert "Chunks take fewer FLOPs from" in capsys.readouterr().out


def test_reward_lints_a_file_and_a_run_directory(tmp_path, monkeypatch, capsys):
    source, data = tmp_path / "mine.py", tmp_path / "data.jsonl"
    source.write_text("def anywhere(completions, answer, **columns):\n    return [float(a in c) for c, a in zip(completions, answer)]\n")
    row = {"prompt": "40+2?", "completions": ["40 and 2\n#### 42", "40 and 2\n#### 43"], "answer": "42", "correct": [1, 0]}
    data.write_text("\n".join(json.dumps({**row, "id": i}) for i in range(4)))
    page = tmp_path / "page.html"
    assert call(monkeypatch, "reward", str(data), "--reward", f"{source}:anywhere", "--out", str(page)) in (0, None)
    said = capsys.readouterr().out
    assert "'11 answers in one' earns as much as the right answer on 100 % of 4 problems" in said
    assert "the right answer           right" in said
    assert "What each scenario earns" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["reasonry", "compare", "--model", "pocket-1m", "--task", "arithmetic?steps=1", "--solver", "single"])
    sys.argv += ["--budget", "32", "-n", "3", "--attempts", "4", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        cli.main()
    capsys.readouterr()
    assert call(monkeypatch, "reward", str(tmp_path / "run"), "--reward", "reasonry.train.reward:verdict", "--json") in (0, None)
    held = json.loads(capsys.readouterr().out)
    assert (held["groups"], held["answers"], held["low"] >= 0, held["high"] <= 1) == (3, 12, True, True)
