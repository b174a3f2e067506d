"""Logs of any origin become the same curve, and what cannot be read says what to do; the command on them."""

import csv
import json
import re
import shlex
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from reasonry import cli
from reasonry.core import UserError
from reasonry.probe.scale_fit import Law
from reasonry.probe.scale_log import read_logs

ROOT = Path(__file__).resolve().parents[2]
ROWS = [{"tokens": 100.0 * i, "eval/accuracy": 0.1 * i, "loss": 9.0 - i} for i in range(1, 5)]


def json_lines(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(path: Path, rows) -> Path:
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, list(dict.fromkeys(k for r in rows for k in r)))
        out.writeheader()
        out.writerows(rows)
    return path


def database(path: Path, rows) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)")
        connection.executemany(
            "INSERT INTO metrics (run_name, step, metrics) VALUES ('a', ?, ?)", [(i, json.dumps(r)) for i, r in enumerate(rows)]
        )
    connection.close()
    return path


def parquet(path: Path, rows) -> Path:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    return path


def trainer_state(path: Path, rows) -> Path:
    path.write_text(json.dumps({"global_step": 4, "log_history": rows}))
    return path


@pytest.mark.parametrize(
    ("write", "name"),
    [(json_lines, "a.jsonl"), (table, "a.csv"), (database, "a.db"), (parquet, "a.parquet"), (trainer_state, "trainer_state.json")],
)
def test_every_format_is_the_same_curve(tmp_path, write, name):
    """The format is not part of the measurement; columns are found by name."""
    (log,) = read_logs(write(tmp_path / name, ROWS))
    assert (log.x, log.y, log.held_out) == ("tokens", "eval/accuracy", True)
    assert log.compute.tolist() == [100, 200, 300, 400]
    assert log.metric == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_our_run_measures_before_the_update_and_validates_after_it(tmp_path):
    """A step's attempts were sampled by the policy that had seen the tokens of earlier steps only; its validation saw this step's too."""
    rows = [{"step": i, "pass_rate": 0.1 * i, "truncated": 0.0, "tokens": 50 * (i + 1), "seconds_sampling": 1.0} for i in range(4)]
    rows[1]["validation"], rows[3]["validation"] = 0.4, 0.5
    json_lines(tmp_path / "steps.jsonl", rows)
    (validated,) = read_logs(tmp_path)
    (sampled,) = read_logs(tmp_path, y="pass_rate")
    assert (validated.y, validated.compute.tolist(), validated.held_out) == ("validation", [100, 200], True)
    assert (sampled.compute.tolist(), sampled.held_out) == ([0, 50, 100, 150], False)
    assert validated.truncation is not None


def test_evaluations_in_records_of_their_own_stand_at_the_compute_so_far(tmp_path):
    """Trainers log an evaluation as its own record, without the tokens."""
    rows = [{"num_tokens": 10, "reward": 0.1}, {"eval_reward": 0.2}, {"num_tokens": 20, "reward": 0.1}, {"eval_reward": 0.3}]
    (log,) = read_logs(json_lines(tmp_path / "a.jsonl", rows))
    assert (log.compute.tolist(), log.metric.tolist()) == ([10, 20], [0.2, 0.3])


def test_wandbs_chart_export_holds_a_run_a_column(tmp_path):
    """`run - metric` with its __MIN and __MAX beside it; each run becomes a log."""
    rows = [
        {"Step": i, "fast - eval/acc": i / 10, "fast - eval/acc__MIN": 0, "slow - eval/acc": i / 20, "fast - _step": i} for i in range(3)
    ]
    logs = read_logs(table(tmp_path / "chart.csv", rows))
    assert [(log.name, log.metric.tolist()) for log in logs] == [("fast", [0, 0.1, 0.2]), ("slow", [0, 0.05, 0.1])]


def test_a_history_may_hold_several_runs(tmp_path):
    """A column `run_name` tells them apart."""
    rows = [{"run_name": run, "step": i, "accuracy": i / 10} for run in ("a", "b") for i in range(3)]
    assert [log.name for log in read_logs(json_lines(tmp_path / "h.jsonl", rows))] == ["a", "b"]


def test_a_log_that_is_being_written_may_end_in_half_a_line(tmp_path):
    """The torn last line is not data; a torn line elsewhere is an error."""
    path = json_lines(tmp_path / "a.jsonl", ROWS)
    path.write_text(path.read_text() + '{"tokens": 5')
    assert len(read_logs(path)[0].metric) == 4
    path.write_text('{"tokens"\n' + path.read_text())
    with pytest.raises(UserError, match="line 1: is not JSON; give one object a line"):
        read_logs(path)


def test_compute_of_single_records_is_added_up_when_told(tmp_path):
    """A compute that falls is refused with the mend, and the mend works."""
    rows = [{"tokens": t, "accuracy": 0.1} for t in (30, 20, 50)]
    path = json_lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match="--add-up"):
        read_logs(path)
    assert read_logs(path, add_up=True)[0].compute.tolist() == [30, 50, 100]


def test_trls_clip_ratio_of_the_policy_is_not_taken_for_truncation(tmp_path):
    """`clip_ratio` of the objective and `clipped_ratio` of the completions differ by what they clip."""
    rows = [{"num_tokens": i, "reward": 0.1, "clip_ratio/region_mean": 0.5, "completions/clipped_ratio": 0.02} for i in range(3)]
    (log,) = read_logs(json_lines(tmp_path / "a.jsonl", rows))
    assert log.truncation is not None
    assert log.truncation[1].tolist() == [0.02] * 3


@pytest.mark.parametrize(
    ("rows", "given", "said"),
    [
        ([], {}, "holds no record"),
        (ROWS, {"x": "flops"}, "--x: .* has no column 'flops'"),
        (ROWS, {"y": "acc"}, "--y: .* it has eval/accuracy, loss"),
        ([{"tokens": 1, "loss": 2}], {}, "known as a metric; name one of loss"),
        ([{"loss": 1, "accuracy": 2}], {}, "known as compute"),
        ([{"tokens": i, "eval/accuracy": 1, "eval/score": 1} for i in range(2)], {}, "several columns"),
        ([{"tokens": -1, "accuracy": 1}] * 2, {}, "must not be below 0"),
        ([{"accuracy": 1}, {"tokens": 1}], {"y": "accuracy"}, "no record has both"),
    ],
)
def test_what_cannot_be_read_names_the_column_and_the_mend(tmp_path, rows, given, said):
    """One sentence, with the columns there are."""
    with pytest.raises(UserError, match=said):
        read_logs(json_lines(tmp_path / "a.jsonl", rows), **given)


# The command.


def call(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["reasonry", "scale-fit", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def curve(path: Path, law: Law, seed=0, last=16_000.0) -> Path:
    C, rng = np.linspace(0, last, 31), np.random.default_rng(seed)
    return table(path, [{"flops": c, "eval/acc": r} for c, r in zip(C.tolist(), (law(C) + rng.normal(0, 0.006, 31)).tolist(), strict=True)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.csv",), "nowhere.csv: there is no such file"),
        (("a.csv", "--until", "2"), "--until: '2' is not a share"),
        (("a.csv", "--skip", "x"), "--skip: 'x' is neither"),
        (("a.csv", "--at", "0"), "--at: '0' is not a list"),
        (("a.csv", "--start", "1"), "--start: 1 is not below"),
        (("a.csv", "--max", "0.2"), "above the maximum 0.2"),
        (("a.csv", "--skip", "15000"), "a fit needs 6"),
        (("a.csv", "a.csv"), "two recipes are called 'a'"),
        (("b=",), "names no recipe or no log"),
        (("a.csv", "other.csv"), "--y: the logs hold different metrics (acc, score)"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(monkeypatch, tmp_path, capsys, arguments, said):
    """Nothing is printed as a result, and the sentence names the option."""
    monkeypatch.chdir(tmp_path)
    curve(tmp_path / "a.csv", Law(0.3, 0.6, 2.0, 2500.0))
    table(tmp_path / "other.csv", [{"flops": i, "eval/score": 0.5} for i in range(9)])
    assert call(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_the_command_chooses_and_writes_a_page_that_asks_the_network_for_nothing(monkeypatch, tmp_path, capsys):
    """JSON with open ends as null, a refused forecast as null, and a self-contained page."""
    monkeypatch.chdir(tmp_path)
    curve(tmp_path / "good.csv", Law(0.3, 0.61, 1.9, 2500.0))
    curve(tmp_path / "young.csv", Law(0.3, 0.61, 1.9, 90_000.0), seed=1)
    assert call(monkeypatch, "good.csv", "young.csv", "--json", "--at", "50000", "--out", "p/page.html", "--paper-grid") in (None, 0)
    told = json.loads(capsys.readouterr().out)
    good, young = told["recipes"]
    assert told["choice"] == "Only good has a known ceiling; young cannot be placed yet"
    assert good["A"]["low"] < 0.61 < good["A"]["high"]
    assert abs(good["forecasts"]["50000"]["value"] - 0.61) < 0.02
    assert young["forecasts"]["50000"] is None
    assert young["refused"]
    assert good["paper_grid"]["A"] == pytest.approx(0.61, abs=0.015)
    html = (tmp_path / "p" / "page.html").read_text()
    assert "refused" in html
    assert not re.search(r"(src|href)=\"https?:", html)
    assert "<script" not in html


def test_what_the_documentation_shows_is_what_the_commands_print(monkeypatch, capsys):
    """Every `$ reasonry scale-fit` of the page, run on the committed logs."""
    text = (ROOT / "docs" / "scale-fit.md").read_text()
    shown = re.findall(r"```console\n\$ reasonry scale-fit (.*?)\n(.*?)```", text, re.DOTALL)
    assert len(shown) >= 2
    monkeypatch.chdir(ROOT / "docs" / "examples" / "scale-fit")
    for command, output in shown:
        assert not call(monkeypatch, *shlex.split(command))
        assert capsys.readouterr().out.strip() == output.strip()


def test_the_committed_logs_are_what_their_script_draws(monkeypatch, tmp_path):
    """They are synthetic, with truths that the example states; its fits are run with the other examples."""
    monkeypatch.chdir(tmp_path)
    exec((ROOT / "docs" / "examples" / "scale_fit.py").read_text().split("\nrecipes = ")[0], {})
    for path in sorted((ROOT / "docs" / "examples" / "scale-fit").glob("*.csv")):
        assert (tmp_path / "scale-fit" / path.name).read_text() == path.read_text()
