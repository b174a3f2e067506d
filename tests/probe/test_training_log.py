"""Logs of other people's trainers become the same series as ours."""

import json
import re
from pathlib import Path

import pytest

from reasonry.core import UserError
from reasonry.probe.training_log import COLUMNS, MEANS, log_of, read_log


def test_every_column_of_every_trainer_lands_in_its_series():
    """Each name of the table alone, nested or prefixed as loggers do."""
    for series, names in COLUMNS.items():
        for name in names:
            column = name.replace("*", "aime/mean@8")
            for row in ({column: 2.5}, {f"train/{column}": 2.5}, {"data": {column: 2.5}}, {f"happy-run-3 - {column}": "2.5"}):
                log = log_of([{"step": 7, **row}])
                assert list(log.series) == [series]
                assert log.series[series].steps.tolist() == [7.0]
                assert log.series[series].values.tolist() == [0.25 if name == "num_turns/mean" else 2.5]
    assert set(MEANS) == set(COLUMNS)


def test_ours_wins_over_theirs_and_wildcards_are_averaged():
    log = log_of([{"step": 1, "kl": 9.0, "kl_ref": 0.5, "val-core/aime/acc/mean@8": 0.2, "val-core/gsm8k/acc/mean@8": 0.4}])
    assert log.series["kl_ref"].values.tolist() == [0.5]
    assert log.series["validation"].values.tolist() == pytest.approx([0.3])
    assert log.columns["kl_ref"] == "kl_ref"


def test_rows_that_lack_a_column_are_no_points_and_a_resumed_step_counts_as_logged_last():
    log = log_of([{"step": 1, "reward": 1.0}, {"step": 1, "eval_reward": 0.1}, {"step": 2, "reward": None}, {"step": 1, "reward": 3.0}])
    assert log.series["reward"].values.tolist() == [3.0]
    assert log.series["validation"].steps.tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps.jsonl", '{"step": 1, "reward": 0.5}\n{"step": 2, "reward": 0.75}\n{"step": 3, "rew'),
        ("trainer_state.json", json.dumps({"log_history": [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.75}, {"train_loss": 0}]})),
        ("rows.json", json.dumps([{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.75}])),
        ("wandb.csv", '"Step","run - train/reward","run - train/reward__MIN"\n1,0.5,0.1\n2,0.75,0.1\n3,,\n'),
        ("trackio.tsv", "step\treward\n1\t0.5\n2\t0.75\n"),
        ("verl.log", "(pid=9) step:1 - critic/rewards/mean:0.5 - actor/kl_loss:np.float64(0.1)\nstep:2 - critic/rewards/mean:7.5e-01"),
        ("verl.jsonl", '{"step": 1, "data": {"critic/rewards/mean": 0.5}}\n{"step": 2, "data": {"critic/rewards/mean": 0.75}}\n'),
    ],
)  # fmt: skip
def test_each_format_is_read(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    log = read_log(path)
    assert log.series["reward"].steps.tolist() == [1.0, 2.0]
    assert log.series["reward"].values.tolist() == [0.5, 0.75]
    if name in ("steps.jsonl", "trainer_state.json"):
        assert read_log(tmp_path).series["reward"].values.tolist() == [0.5, 0.75]


def test_a_trl_folder_is_read_at_its_last_checkpoint_and_panels_join_into_one_run(tmp_path):
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps([{"step": step, "reward": 1.0}]))
    assert read_log(tmp_path).series["reward"].steps.tolist() == [10.0]
    (tmp_path / "a.csv").write_text("Step,reward\n1,2\n")
    (tmp_path / "b.csv").write_text("Step,entropy\n1,3\n")
    assert set(read_log([tmp_path / "a.csv", tmp_path / "b.csv"]).series) == {"reward", "entropy"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", "", "holds no step"),
        ("a.jsonl", "{}\nnot json\n{}\n", "line 2: is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: is a JSON list"),
        ("a.json", '{"a": 1}', "holds no log_history"),
        ("a.csv", "step,colour\n1,2\n", "its columns are step, colour"),
        ("a.csv", "step,one - reward,two - reward\n1,2,3\n", "stands in 2 columns"),
        ("a.log", "hello\n", "holds no step"),
    ],
)
def test_bad_logs_are_one_sentence(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(says)):
        read_log(tmp_path / name)
    with pytest.raises(UserError, match="holds neither"):
        read_log(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_log(Path(tmp_path / "nowhere.csv"))
