"""`reasonry train` with routers, `probe layers`, and `routed` as a choice: end to end on a shipped model, and mistakes in one sentence."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from calling import call
from tiny_run import prepare

from reasonry.accel import SHIPPED
from reasonry.accel.drllm.settings import RouterSettings
from reasonry.cli import routers
from reasonry.train.settings import read

SMALL = [
    "train", "--recipe", "drllm-pocket", "--set", "examples=8", "--set", "simulations=4", "--validation", "3", "--set", "epochs=2",
    "--set", "save_every=2", "--set", "rows=2", "--set", "max_tokens=16", "--set", "knobs=[0.5]", "--set", "task=arithmetic?steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of the shipped recipe, small; and a file of questions with a tiny model that can do none of them."""
    made = tmp_path_factory.mktemp("drllm")
    prepare(made)
    with pytest.MonkeyPatch.context() as monkeypatch:
        torch.set_num_threads(1)
        assert call(monkeypatch, *SMALL, "--out", str(made / "run")) in (0, None)
    return made


def test_routers_alone_are_saved_and_measured_on_other_problems(folder: Path) -> None:
    run = folder / "run"
    assert {p.name for p in (run / "adapter").iterdir()} == {"drllm.json", "drllm.safetensors"}
    labels = [json.loads(line) for line in (run / "labels.jsonl").read_text().splitlines()]
    assert len(labels) == 8
    assert all(r["counts"] is None or set(r["counts"]) <= {0, 1, 2} for r in labels)
    assert all(1 <= r["evaluations"] <= 4 for r in labels)
    assert any(r["base"] == 1 for r in labels)
    page = (run / "report.html").read_text()
    assert "Accuracy against blocks" in page
    assert "What the search gave" in page
    assert "Consensus" in page


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_routers(folder: Path, monkeypatch, tmp_path: Path) -> None:
    """Killed while searching, then while a checkpoint is written."""
    real, once = routers.search_programs, []
    monkeypatch.setattr(routers, "TOGETHER", 4)

    async def dies(*given, **more):
        once.append(1)
        if len(once) == 2:
            raise KeyboardInterrupt
        return await real(*given, **more)

    monkeypatch.setattr(routers, "search_programs", dies)
    assert call(monkeypatch, *SMALL, "--out", str(tmp_path / "run")) == 130
    assert len((tmp_path / "run" / "labels.jsonl").read_text().splitlines()) == 4
    save, saves = routers.save_whole, []

    def breaks(path, state):
        saves.append(path)
        if len(saves) == 2:
            raise KeyboardInterrupt
        save(path, state)

    monkeypatch.setattr(routers, "save_whole", breaks)
    assert call(monkeypatch, "train", "--out", str(tmp_path / "run"), "--resume") == 130
    monkeypatch.setattr(routers, "save_whole", save)
    assert call(monkeypatch, "train", "--out", str(tmp_path / "run"), "--resume") in (0, None)
    for name in ("adapter/drllm.safetensors", "steps.jsonl", "labels.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (folder / "run" / name).read_bytes()


def test_compare_takes_the_routers(folder: Path, monkeypatch, tmp_path: Path) -> None:
    """At the knob's lower end nothing is run but the embedding and the head; at "run everything" it is the model."""
    adapter = folder / "run" / "adapter"
    specs = [f"routed?adapter={adapter}&p=0.5", f"routed?adapter={adapter}&p=-1", f"routed?adapter={adapter}&of=self-consistency?k=2"]
    chosen = [word for spec in ("single", *specs) for word in ("--solver", spec)]
    more = ["--task", "arithmetic?steps=1", "-n", "3", "--budget", "12", "--out", str(tmp_path / "c")]
    assert call(monkeypatch, "compare", "--model", "pocket-1m", *chosen, *more) in (0, None)
    lines = [json.loads(line) for line in (tmp_path / "c" / "attempts.jsonl").read_text().splitlines()]
    by = {name: [r["trajectory"] for r in lines if r["solver"] == name] for name in ("single", *specs)}
    assert [t["answer"] for t in by["single"]] == [t["answer"] for t in by[specs[0]]]
    assert {t["cost"]["layers_run"] for t in by[specs[1]]} == {0}
    assert len(by[specs[2]]) == 3


def test_the_map_of_routers_and_of_a_search(folder: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    base = ["probe", "layers", "--model", "pocket-1m", "--task", "arithmetic?steps=1", "-n", "3", "--max-tokens", "16"]
    page = tmp_path / "layers.html"
    code = call(monkeypatch, *base, "--adapter", str(folder / "run" / "adapter"), "--p", "-1", "--json", "--out", str(page))
    assert code in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert found["whole"]["depth"] == 0
    assert found["whole"]["skipped"] == [1, 1, 1, 1]
    assert "Skipped" in page.read_text()
    assert call(monkeypatch, *base, "--search", "edits", "--simulations", "4") in (0, None)
    text = capsys.readouterr().out
    assert "blocks are saved on average" in text
    assert re.search(r"consensus", text)


def test_inputs_without_answers_are_mapped_by_routers_alone(folder: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    rows = [{"prompt": f"what is {a} + 2?", "level": a % 2} for a in range(3)]
    rows.append({"messages": [{"role": "user", "content": "what is 1 + 2?"}], "level": 7})
    (tmp_path / "open.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = ["probe", "layers", "--model", "pocket-1m", "--data", str(tmp_path / "open.jsonl")]
    assert call(monkeypatch, *base, "--adapter", str(folder / "run" / "adapter"), "--json") in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert found["whole"]["right"] is None
    assert [(g["name"], g["n"]) for g in found["groups"]] == [("level 0", 2), ("level 1", 1), ("level 7", 1)]
    for more, said in (([], "no answers to search with"), (["--task", "arithmetic"], "name a task, or inputs alone")):
        assert call(monkeypatch, *base, *more) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "open.jsonl").write_text('{"text": "no"}\n')
    assert call(monkeypatch, *base, "--adapter", str(folder / "run" / "adapter")) == 2
    assert "line 1 has no prompt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "simulations=0"], "simulations: is 0"),
        (["--set", "beta=1.0"], "beta: is 1.0"),
        (["--set", "knobs=[2.0]"], "knobs: has 2.0"),
        (["--set", "search=beam"], "search"),
        (["--model", "http://host/v1#m"], "out of reach"),
    ],
)
def test_mistakes_are_one_sentence(monkeypatch, tmp_path: Path, capsys, more: list[str], said: str) -> None:
    """Naming the key, before a run's directory is made."""
    assert call(monkeypatch, *SMALL, *more, "--out", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error)
    assert not (tmp_path / "run").exists()


def test_a_model_that_can_do_nothing_is_said_so(folder: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    arguments = [*SMALL, "--model", str(folder / "tiny"), "--task", str(folder / "sums.jsonl"), "--out", str(tmp_path / "run")]
    assert call(monkeypatch, *arguments) == 2
    assert "no program answers any of 8 problems right" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("drllm*.toml")), ids=lambda p: p.stem)
def test_a_shipped_recipe_is_complete(path: Path) -> None:
    """But for model and task where they are the user's own."""
    values = tomllib.loads(path.read_text())
    assert read(RouterSettings, {"model": "pocket", "task": "arithmetic"} | values).patch == "drllm"  # type: ignore[type-var]
    assert "arXiv" in path.read_text().splitlines()[0]
