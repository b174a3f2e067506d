"""`reasonry train`: what it leaves is loaded by everyone, a killed run ends like an unkilled one, mistakes are one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import command, prepare, progress

from reasonry.lm.checkpoint import load_decoder
from reasonry.nn.attention import causal

TIMED = {"tokens_per_second", "seconds_sampling", "seconds_learning", "seconds"}


def records(run: Path) -> list[dict[str, Any]]:
    """The step log, without what a clock measured."""
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in (run / "steps.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unkilled run's directory, its model and files beside it."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-secretsecretsecret")
        patch.setenv("WANDB_API_KEY", "wandbsecretsecret")
        assert command([*prepare(folder), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_result_is_loaded_by_transformers_with_the_same_logits(whole: Path) -> None:
    """Weights, tokenizer, chat template and end token, all from the folder alone; and the weights are not those it began with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(whole / "model")
    tokenizer = AutoTokenizer.from_pretrained(whole / "model")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "what is 3+4?"}], add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]
    decoder = load_decoder(whole / "model")
    with torch.no_grad():
        ours = decoder.logits(decoder(ids, torch.arange(ids.shape[1])[None], causal()).last)
        torch.testing.assert_close(ours, model(ids).logits, rtol=1e-4, atol=1e-5)
    assert tokenizer.eos_token_id in GenerationConfig.from_pretrained(whole / "model").eos_token_id
    start = load_decoder(whole.parent / "tiny")
    assert not torch.equal(start.embed_tokens.weight, decoder.embed_tokens.weight)


def test_compare_loads_the_result(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "compare",
        "--model",
        str(whole / "model"),
        "--task",
        str(whole.parent / "sums.jsonl"),
        "--solver",
        "single",
        "--budget",
        "8",
    ]
    assert command([*arguments, "-n", "2", "--out", str(tmp_path / "run")]) == 0
    assert "Report:" in capsys.readouterr().out


def test_what_a_run_leaves(whole: Path) -> None:
    """A log, a recipe, a page that stands alone, a card of this model and no other, an evaluation before and after."""
    told = records(whole)
    assert [r["step"] for r in told] == list(range(6))
    assert [r["step"] for r in told if "validation" in r] == [1, 3, 5]
    page = (whole / "report.html").read_text()
    assert "Right on" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<svg") >= 10
    assert sorted(p.name for p in (whole / "model").iterdir()) == [
        "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert "--objective dapo" in (whole / "model" / "README.md").read_text()
    report = json.loads((whole / "evaluation" / "report.json").read_text())
    assert [arm["solver"] for arm in report["arms"]] == ["before", "after"]


def test_no_secret_of_the_environment_is_in_any_file(whole: Path) -> None:
    for path in whole.rglob("*"):
        assert path.is_dir() or b"secretsecret" not in path.read_bytes(), path


def test_a_finished_run_resumed_is_left_as_it_is(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: (whole / p).read_bytes() for p in ("model/model.safetensors", "steps.jsonl", "report.html", "recipe.toml")}
    assert command(["train", "--out", str(whole), "--resume"]) == 0
    assert {p: (whole / p).read_bytes() for p in before} == before
    assert "Model:" in capsys.readouterr().out


def test_killed_at_ten_random_instants_it_ends_like_an_unkilled_one(whole: Path, tmp_path: Path) -> None:
    """SIGKILL while loading, sampling, learning, saving or evaluating: weights bit for bit, log and evaluation are the same."""
    script = Path(__file__).parent / "tiny_run.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path), "10", "1"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    struck, *began = map(int, done.stdout.split())
    assert struck == 10
    assert len(set(began)) > 4, f"the kills struck at too few places: {began}"
    killed = tmp_path / "run"
    assert (killed / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    assert records(killed) == records(whole)
    assert (killed / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    accuracies = [
        [arm["accuracy"] for arm in json.loads((run / "evaluation" / "report.json").read_text())["arms"]] for run in (killed, whole)
    ]
    assert accuracies[0] == accuracies[1]


def test_two_processes_train_what_one_does(whole: Path, tmp_path: Path) -> None:
    """Started by torchrun, the command writes one run, with the weights of one process up to rounding."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "reasonry.cli"]
    arguments = [*prepare(tmp_path), "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True, timeout=280, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model:") == 1
    mine, one = load_decoder(tmp_path / "run" / "model").state_dict(), load_decoder(whole / "model").state_dict()
    for name, weights in one.items():
        torch.testing.assert_close(mine[name], weights, rtol=0, atol=1e-4)
    ours, theirs = records(tmp_path / "run"), records(whole)
    assert [(r["step"], r["reward"], r["tokens"]) for r in ours] == [(r["step"], r["reward"], r["tokens"]) for r in theirs]


WAYS = {
    "critic": ["--objective", "ppo"],
    "greedy answers": ["--objective", "remax"],
    "process rewards": ["--objective", "prime"],
    "chunks": ["--objective", "delethink", "--solver", "delethink?C=4&m=2&I=3"],
    "adapters": ["--lora", "2", "--track", "tensorboard"],
    "sampling ahead": ["--set", "lag=1"],
    "sampling in flight": ["--lora", "2", "--set", "ahead=2"],
    "norms": ["--set", "optimizer=norms"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_leaves_a_model_that_moved(way: str, tmp_path: Path) -> None:
    """What an objective needs beside it comes by its name alone."""
    arguments = [*prepare(tmp_path), "--steps", "2", "--evaluate", "0", "--validation", "0", *WAYS[way], "--out", str(tmp_path / "run")]
    assert command(arguments) == 0
    before, after = load_decoder(tmp_path / "tiny").state_dict(), load_decoder(tmp_path / "run" / "model").state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert way != "norms" or all("norm" in name for name in moved)
    told = records(tmp_path / "run")
    assert all(record["learned"] for record in told)
    assert all(record["mismatch_max"] < 1e-3 for record in told[: 1 if way.startswith("sampling") else 2]), "only a lag makes them differ"


def test_ctrl_c_says_how_to_go_on_and_it_does(whole: Path, tmp_path: Path) -> None:
    """Interrupted in the middle of training: exit code 130, one line with the command, which ends in the same weights."""
    out = tmp_path / "run"
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; from tiny_run import *; "
    script += f"sys.exit(command([*prepare(Path({str(tmp_path)!r})), '--out', {str(out)!r}]))"
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores Ctrl-C, and so would its children
    command_line = [sys.executable, "-c", script]
    child = subprocess.Popen(command_line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=heard)
    while progress(out) < 6 and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert f"go on with: reasonry train --out {out} --resume" in said.splitlines()[-1]
    assert command(["train", "--out", str(out), "--resume"]) == 0
    assert (out / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()


def test_a_task_teaches_its_own_problems(tmp_path: Path) -> None:
    """`--sft` with a task: its demonstrations of training problems; evaluated on its test problems before and after."""
    prepare(tmp_path)
    arguments = ["train", "--model", str(tmp_path / "tiny"), "--sft", "arithmetic?steps=1", "--set", "examples=20", "--steps", "2"]
    assert command([*arguments, "--evaluate", "3", "--set", "max_tokens=8", "--out", str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run" / "evaluation" / "report.json").read_text())
    assert [(arm["solver"], arm["attempts"]) for arm in report["arms"]] == [("before", 3), ("after", 3)]


def test_answers_are_learnt_and_a_resumed_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Supervised: the loss on held-out examples falls, `--resume` needs only the directory, and the result is loaded."""
    prepare(tmp_path)
    arguments = ["train", "--model", str(tmp_path / "tiny"), "--sft", str(tmp_path / "sums.jsonl"), "--lr", "3e-3", "--steps", "30"]
    sets = ["--set", "batch_tokens=512", "--set", "save_every=10", "--validation", "10", "--out", str(tmp_path / "run")]
    assert command([*arguments, *sets]) == 0
    losses = [r["validation_loss"] for r in records(tmp_path / "run") if "validation_loss" in r]
    assert losses[-1] < 0.8 * losses[0]
    before = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert command(["train", "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == before
    assert load_decoder(tmp_path / "run" / "model").config.hidden_size == 32
    assert "Validation loss" in capsys.readouterr().out


def test_show_prints_a_recipe_that_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown, put in a file, shows the same; flags come after it."""
    assert command(["train", "--recipe", "h1", "--lr", "3e-4", "--show"]) == 0
    shown = capsys.readouterr().out
    assert "lr = 0.0003" in shown
    (tmp_path / "mine.toml").write_text(shown)
    assert command(["train", "--recipe", str(tmp_path / "mine.toml"), "--show"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "arithmetic"], "model is missing; set it with --model"),
        (["--model", "pocket-1m"], "task is missing"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--set", "lrr=1"], "'lrr' is not a key; did you mean lr"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--set", "lr"], "'lr' is not key=value"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--set", "lr=fast"], 'lr is "fast" but must be a number'),
        (["--model", "pocket-1m", "--task", "arithmetic", "--lr", "0"], "lr: is 0.0; use a number above 0"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--objective", "grop"], "'grop' is not in the catalogue; did you mean grpo"),
        (["--model", "pocket-1m", "--task", "astrology"], "task: 'astrology' is unknown"),
        (["--model", "no-such-model", "--task", "arithmetic"], "'no-such-model'"),
        (["--model", "http://user:hunter2@host/v1#m", "--task", "arithmetic"], "model: is an endpoint"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--solver", "guess"], "solver: 'guess'"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--solver", "single?temperature=0.5"], "temperature: is 1, but the solver"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--set", "levels=[1,2]"], 'set curriculum = "mix" or "ramp"'),
        (["--model", "pocket-1m", "--task", "arithmetic", "--set", 'functions=["nowhere:f"]'], "functions: 'nowhere' cannot be imported"),
        (["--model", "pocket-1m", "--task", "arithmetic", "--track", "paper"], "--track"),
        (["--model", "pocket-1m", "--sft", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--model", "pocket-1m", "--sft", "x.jsonl", "--evaluate", "5"], "evaluate: is 5; a file of answers is no task"),
        (["--model", "pocket-1m", "--sft", "sudoku6"], "data: 'sudoku6' is a task that does not demonstrate"),
        (["--recipe", "no-such-recipe"], "'no-such-recipe' is no file and none of agglm, cispo, dapo"),
        (["--resume"], "add --out"),
        (["--resume", "--out", "nowhere"], "nowhere holds no recipe.toml"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, nothing written, no secret repeated."""
    monkeypatch.chdir(tmp_path)
    assert command(["train", *arguments]) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == 1
    assert says in said.err
    assert "hunter2" not in said.err
    assert list(tmp_path.iterdir()) == []
