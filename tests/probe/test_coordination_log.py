"""Anyone's multi-agent log: what is read, what stands in, what is refused; and the command on it."""

import json
import sys

import numpy as np
import pytest

from reasonry import cli
from reasonry.core import UserError
from reasonry.evaluate.coordination_page import coordination_html, coordination_json, coordination_text, look
from reasonry.papers.coordination_agents import IN_SIGHT, PLAIN, simulate
from reasonry.probe.coordination import COLUMN, COLUMN_SUM, Options, Verdict, read_groups
from reasonry.probe.coordination.log import SILENT, groups_of


def rows_of(actions, **more):
    """[T][N] as rows; `None` leaves a row out."""
    return [
        {"round": t + 1, "agent": f"a{i}", "action": a, **more} for t, row in enumerate(actions) for i, a in enumerate(row) if a is not None
    ]


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(rows, embed=None):
    return groups_of(enumerate(rows, 1), "log", embed)


def test_numbers_targets_and_feedback():
    """The sum less the target is the signal; feedback that is its sign is the group's own, another is kept."""
    rows = rows_of([[1, 2], [3, 4], [5, 1]], target=6, group="g", success=False)
    group = read(rows).groups[0]
    assert group.actions.tolist() == [[1, 2], [3, 4], [5, 1]]
    assert group.signal.tolist() == [-3, 1, 0]
    assert (group.feedback, group.success, group.name) == (None, False, "g")
    own = [{**r, "feedback": {1: -1, 2: 1, 3: 0}[r["round"]]} for r in rows]
    assert read(own).groups[0].feedback is None
    other = read([{**r, "feedback": 1} for r in rows]).groups[0]
    assert other.feedback is not None
    assert other.feedback.tolist() == [1, 1, 1]
    macro = read([{**r, "score": r["round"]} for r in rows]).groups[0]
    assert macro.signal.tolist() == [-5, -4, -3]


def test_other_names_and_groups_and_conditions():
    rows = [
        {"episode": e, "arm": c, "step": t, "speaker": s, "guess": t + e}
        for c in "xy" for e in (0, 1) for t in range(3) for s in ("ann", "bob")
    ]  # fmt: skip
    found = read(rows)
    assert [(g.condition, g.name) for g in found.groups] == [("x", "0"), ("x", "1"), ("y", "0"), ("y", "1")]
    assert found.actions == 24


def test_what_is_missing_stands_in_by_the_last_and_is_counted():
    """A gap, a null and an action marked as unread; rounds before all have acted are left out."""
    rows = rows_of([[1, None], [2, 7], [None, 8], [4, None], [5, 6]])
    rows.append({"round": 4, "agent": "a1", "action": None})
    rows[-2]["parsed"] = False
    group = read(rows).groups[0]
    assert group.actions.tolist() == [[2, 7], [2, 8], [4, 8], [5, 6]]
    assert group.filled == 3
    with pytest.raises(UserError, match="never acts"):
        read([*rows_of([[1], [2]]), {"round": 1, "agent": "z", "action": None}])


def test_tools_are_states_by_name_and_the_rarest_share_one():
    words = [["search", "code"], ["search", "think"], ["code", "ask"], ["search", "wait"], ["search", "code"]]
    rows = [{"round": t, "agent": f"a{i}", "tool": w} for t, row in enumerate(words) for i, w in enumerate(row)]
    found = read(rows)
    assert found.groups[0].states == 4
    assert "search, code, think, (other)" in found.how
    assert found.groups[0].actions[:, 0].tolist() == [0, 0, 1, 0, 0]
    quiet = read(rows[:-1])
    assert SILENT not in found.how
    assert "Doing nothing in a round is a state too" in quiet.how
    assert quiet.groups[0].states == 4
    assert found.groups[0].signal.tolist() == [0.5] * 5


def test_texts_are_clustered_by_the_embedding_given():
    """Two kinds of text, two states; without an embedding it is refused."""
    texts = [["yes", "no"], ["yes!", "no no"], ["nope", "yes"], ["yes", "no"]]
    rows = [{"round": t, "agent": f"a{i}", "message": w} for t, row in enumerate(texts) for i, w in enumerate(row)]
    found = read(rows, lambda told: np.array([[float(t.startswith("y")), 0.01 * len(t)] for t in told]))
    assert found.groups[0].states in (2, 3, 4)
    codes = found.groups[0].actions
    assert codes[0, 0] == codes[3, 0] != codes[0, 1] == codes[3, 1]
    assert "by k-means on their embeddings" in found.how
    with pytest.raises(UserError, match="give an embedding"):
        read(rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no line"),
        ("nonsense", "line 1: is not JSON"),
        ("[1]", "is a JSON list"),
        ('{"agent": "a", "action": 1}', "it needs a number as round"),
        ('{"round": 1, "action": 1}', "it needs agent"),
        ('{"round": 1, "agent": "a"}', "needs an action, a tool or a text"),
        ('{"round": 1, "agent": "a", "action": 1}\n{"round": 1, "agent": "a", "action": 2}', "acts twice in round 1"),
        ('{"round": 1, "agent": "a", "action": 1}', "two agents or more"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, text, says):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_groups(path)
    with pytest.raises(UserError, match="no such file"):
        read_groups(tmp_path / "other.jsonl")


def simulated(tmp_path, arms=(PLAIN, IN_SIGHT), n=3, rounds=30):
    rows = []
    for arm in arms:
        for i in range(n):
            g = simulate(arm, rounds, 5, np.random.default_rng(i))
            rows += rows_of(g.actions.tolist(), group=f"{arm}{i}", condition=arm, target=g.target, success=i % 2 == 0)
    return written(tmp_path / "log.jsonl", rows)


def test_a_report_in_words_as_json_and_as_a_page(tmp_path):
    """Every null's mean stands beside what was observed; conditions are compared; the page asks nothing of the network."""
    read_log = read_groups(simulated(tmp_path))
    seen = look("log", read_log, Options(surrogates=29, nulls=(COLUMN, COLUMN_SUM)), with_power=False)
    text = coordination_text(seen)
    assert "plain: 3 groups of 5 agents, 30 rounds" in text
    assert "null's mean" in text
    assert "I3, plain against in sight" in text
    held = coordination_json(seen)
    assert {c["verdict"] for c in held["conditions"].values()} <= {v.value for v in Verdict}
    assert {s["null"] for s in held["conditions"]["plain"]["scores"]} == {"column", "column-sum"}
    json.dumps(held, allow_nan=False)
    page = coordination_html(seen)
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    short = look("log", read_log, Options(surrogates=19), first=8)
    assert "Only 8 rounds in the shortest group for 16 cells" in coordination_text(short)


def call(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["reasonry", "probe", "coordination", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_the_command(tmp_path, monkeypatch, capsys):
    log, page = simulated(tmp_path, n=2, rounds=12), tmp_path / "page.html"
    quick = ["--surrogates", "19", "--max-triplets", "5"]
    assert call(monkeypatch, str(log), *quick, "--null", "column", "--null", "block", "--detrend", "--lag", "2", "--out", str(page)) in (
        0,
        None,
    )
    assert "differentiated aggregate" in capsys.readouterr().out.lower() or page.read_text()
    assert call(monkeypatch, str(log), *quick, "--json", "--pool", "--estimator", "plugin") in (0, None)
    assert set(json.loads(capsys.readouterr().out)["conditions"]) == {PLAIN, IN_SIGHT}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a file, or play games with both --model and --keep"),
        (["LOG", "--null", "shuffle"], "--null: 'shuffle' is unknown"),
        (["LOG", "--estimator", "best"], "--estimator: 'best' is unknown"),
        (["nowhere.jsonl"], "there is no such file"),
        (["--model", "pocket-1m", "--keep", "k.jsonl", "--condition", "shy"], "condition: 'shy' is unknown"),
    ],
)
def test_the_command_refuses(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = simulated(tmp_path, n=1, rounds=8)
    assert call(monkeypatch, *(str(log) if a == "LOG" else a for a in arguments)) == 2
    assert says in capsys.readouterr().err
