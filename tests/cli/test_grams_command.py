"""`reasonry probe grams` and `planning` in a recipe: what is printed, written, refused, and kept in a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest
from tiny_run import command, prepare

from reasonry import cli
from reasonry.core import Cost, Segment, Stop, Trajectory, UserError, Verdict
from reasonry.lm.load import model_folder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.gram_metrics import measure
from reasonry.probe.strategic_grams import listed, load
from reasonry.probe.trace_log import read_traces, solutions

ROOT = Path(__file__).parents[2]
LOG = "docs/examples/grams/log.jsonl"
PLAN = "work backwards from the goal"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Runs the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", "probe", "grams", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_the_pages_example_prints_what_the_page_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "tools.md").read_text()
    shown = page.split("--check reasonry.tasks.puzzle:calculations\n")[1].split("\n```")[0].split("\n…\n")
    assert call(monkeypatch, LOG, "--top", "0.4", "--check", "reasonry.tasks.puzzle:calculations") in (0, None)
    said = capsys.readouterr().out
    assert all(part in said for part in shown)


def test_what_is_saved_measures_alike_and_the_page_has_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    kept, page = tmp_path / "grams.json", tmp_path / "page.html"
    assert call(monkeypatch, LOG, "--top", "0.4", "--save", str(kept), "--out", str(page), "--json") in (0, None)
    made = json.loads(capsys.readouterr().out)
    assert list(made["batches"]) == ["step 0", "step 50", "step 100", "all"]
    assert made["relative_execution_perplexity"]["0"] == 1.0
    assert page.read_text().count("<svg") == 3
    assert call(monkeypatch, LOG, "--grams", str(kept), "--json") in (0, None)
    again = json.loads(capsys.readouterr().out)
    assert again["batches"] == made["batches"]
    assert len(load(kept).index) == len([g for c in made["grams"]["clusters"] for g in c["grams"]])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (None, "no such file"),
        ("", "holds no line"),
        ("[1]", "not an object"),
        ('{"question": 1}', "it needs a text"),
        ('{"text": "ab", "tokens": ["a"]}', "tokens joined are not the text"),
        ('{"text": "ab", "tokens": ["a", "b"], "logprobs": [1]}', "one number for each of tokens"),
        ('{"text": "ab", "passed": false}', "none of the 1 attempts passed"),
        ('{"text": "we go on now"}', "lower min_documents"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: str | None, says: str
) -> None:
    path = tmp_path / "log.jsonl"
    if rows is not None:
        path.write_text(rows)
    assert call(monkeypatch, str(path)) == 2
    assert says in capsys.readouterr().err


def test_openais_logprobs_bring_their_tokens_also_inside_a_character(tmp_path: Path) -> None:
    parts = [b"caf\xc3", b"\xa9 ", b"x"]
    content = [{"token": "?", "bytes": list(p), "logprob": -0.1 * i} for i, p in enumerate(parts)]
    (tmp_path / "log.jsonl").write_text(json.dumps({"response": "café x", "logprobs": {"content": content}}))
    (trace,) = read_traces(tmp_path / "log.jsonl")
    assert trace.tokens == ((0, 4), (3, 5), (5, 6))
    assert trace.logprobs == pytest.approx((0, -0.1, -0.2))


def test_a_run_directorys_ids_are_read_by_its_models_tokenizer(tmp_path: Path) -> None:
    """Perplexities need tokens: they come from the ids, by the model that the run names; failed calls are left out."""
    tokenizer = Tokenizer.load(model_folder("pocket-1m"))
    ids = tokenizer.encode(f"{PLAN}\n3-2=1")
    made = Segment((1,), ids, "said otherwise", (-0.5,) * len(ids), Stop.EOS, Cost())
    t = Trajectory("p", (made,), "x", Stop.EOS, verdict=Verdict(1.0, True))
    lines = [{"solver": "before", "trajectory": t}, {"solver": "after", "trajectory": Trajectory("p", stop=Stop.ERROR)}]
    (tmp_path / "config.json").write_text(json.dumps({"model": "pocket-1m"}))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "attempts.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    (trace,) = read_traces(tmp_path)
    assert (trace.arm, trace.passed) == ("before", True)
    found = measure([trace], listed([PLAN]))
    assert found.planning_token_ratio is not None
    assert 0.3 < found.planning_token_ratio < 0.9
    assert found.execution_perplexity == found.planning_perplexity == pytest.approx(2.718281828**0.5)
    with pytest.raises(UserError, match=r"no attempts\.jsonl"):
        read_traces(ROOT / "docs")


def test_grams_come_from_what_passed_in_the_first_step() -> None:
    traces = read_traces(ROOT / LOG)
    texts, said = solutions(traces)
    assert len(texts) == sum(bool(t.passed) for t in traces if t.step == 0)
    assert "that passed of step 0" in said


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A run of two steps."""
    made = prepare(tmp_path)
    keep = made[: made.index("--steps")]
    more = ["--steps", "2", "--lr", "1e-3", "--set", "max_tokens=8", "--set", "prompts=2", "--set", "group=4", "--set", 'keep="every"']
    reward = ["--set", f'functions=["{tmp_path}/reward.py:early"]', "--set", "weights={early=1.0}"]
    return [*keep, *more, *reward, "--out", str(tmp_path / "run")]


def test_a_recipe_boosts_a_users_phrases_and_records_the_probes(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "phrases.txt").write_text("/[a-e]+/\n")
    assert command([*arguments, "--objective", "hicra", "--set", f"planning={tmp_path}/phrases.txt", "--set", "alpha=0.5"]) == 0
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert all(s["execution_perplexity"] > 1 and 0 <= s["planning_token_ratio"] <= 1 for s in steps)
    assert load(tmp_path / "run" / "grams.json").patterns == ("[a-e]+",)
    assert "Execution perplexity" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("planning", ["entropy", "entropy-long", "random:"])
def test_the_controls_run_too(arguments: list[str], tmp_path: Path, planning: str) -> None:
    (tmp_path / "phrases.txt").write_text("/[a-e]+/\n")
    which = f"{planning}{tmp_path}/phrases.txt" if planning.endswith(":") else planning
    assert command([*arguments, "--objective", "hicra", "--set", f"planning={which}"]) == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--objective", "hicra"], "planning: is left out"),
        (["--objective", "grpo", "--set", "alpha=0.2"], "boosts no planning tokens"),
        (["--objective", "hicra", "--set", "planning=entropy", "--set", "alpha=1.5"], "must be in [0, 1)"),
        (["--objective", "hicra", "--set", "planning=extract"], "hold no phrases"),
        (["--objective", "hicra", "--set", "planning=nowhere.json"], "cannot be read"),
    ],
)
def test_a_recipe_that_cannot_plan_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    assert command([*arguments, *more]) == 2
    assert says in capsys.readouterr().err
