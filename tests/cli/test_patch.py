"""`reasonry train` with a patch: the cells alone are saved, a killed run goes on, `compare` takes them, mistakes are one sentence."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from calling import call
from safetensors.torch import load_file
from tiny_run import prepare

from reasonry.accel import SHIPPED
from reasonry.accel.ahn.settings import PatchSettings
from reasonry.cli import patch
from reasonry.train.settings import read

SMALL = [
    "train", "--recipe", "ahn-pocket", "--steps", "6", "--validation", "2", "--set", "tokens=32", "--set", "rows=2", "--set",
    "totals=[12,16]", "--set", "sinks=[0,2]", "--set", "save_every=2", "--set", "full=[1]",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny model, its questions, a file of long texts, and a run."""
    made = tmp_path_factory.mktemp("ahn")
    prepare(made)
    rows = [{"text": " ".join(f"{a} and {b} are {a + b};" for a in range(12))} for b in range(12)]
    (made / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as monkeypatch:
        torch.set_num_threads(1)
        assert call(monkeypatch, *arguments(made), "--out", str(made / "run")) in (0, None)
    return made


def arguments(folder: Path) -> list[str]:
    return [*SMALL, "--model", str(folder / "tiny"), "--sft", str(folder / "texts.jsonl")]


def test_the_cells_alone_are_saved_and_their_worth_is_told(folder: Path) -> None:
    """Block 1 keeps full attention; the page sets the memory beside the plain window and a wrong memory."""
    assert {p.name for p in (folder / "run" / "adapter").iterdir()} == {"ahn.json", "ahn.safetensors"}
    assert all(name.startswith("cells.0.") for name in load_file(folder / "run" / "adapter" / "ahn.safetensors"))
    page = (folder / "run" / "report.html").read_text()
    assert "with another text&#39;s" in page
    assert tomllib.loads((folder / "run" / "recipe.toml").read_text())["totals"] == [12, 16]
    steps = [json.loads(line) for line in (folder / "run" / "steps.jsonl").read_text().splitlines()]
    assert [r["step"] for r in steps] == [1, 2, 3, 4, 5, 6]


def test_a_killed_run_goes_on_bit_for_bit(folder: Path, monkeypatch, tmp_path: Path) -> None:
    """Stopped while the second checkpoint is written: the steps since the first are made again, and the cells are the same."""
    real, saves = patch.save_whole, []

    def dies(path, state):
        saves.append(path)
        if len(saves) == 2:
            raise KeyboardInterrupt
        real(path, state)

    monkeypatch.setattr(patch, "save_whole", dies)
    assert call(monkeypatch, *arguments(folder), "--out", str(tmp_path / "run")) == 130
    monkeypatch.setattr(patch, "save_whole", real)
    assert call(monkeypatch, "train", "--out", str(tmp_path / "run"), "--resume") in (0, None)
    for name in ("adapter/ahn.safetensors", "steps.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (folder / "run" / name).read_bytes()


def test_compare_takes_the_cells(folder: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    """Beside the model itself, at the same budget; the cheaper form keeps less."""
    spec = f"ahn?adapter={folder / 'run' / 'adapter'}&window=6&sinks=1&of=self-consistency?k=2"
    more = ["--task", str(folder / "sums.jsonl"), "--split", "train", "-n", "4", "--budget", "16", "--out", str(tmp_path / "c")]
    code = call(monkeypatch, "compare", "--model", str(folder / "tiny"), "--solver", "self-consistency?k=2", "--solver", spec, *more)
    assert code in (0, None)
    lines = [json.loads(line) for line in (tmp_path / "c" / "attempts.jsonl").read_text().splitlines()]
    kept = {
        name: max(r["trajectory"]["cost"]["peak_kv_bytes"] for r in lines if r["solver"] == name) for name in {r["solver"] for r in lines}
    }
    assert len(lines) == 8
    assert kept[spec] < kept["self-consistency?k=2"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "tokens=4000"], "none of totals"),
        (["--set", "tokens=4000", "--set", "totals=[600]"], "context holds 128"),
        (["--set", "cell=LSTM"], "use one of GatedDeltaNet, DeltaNet, Mamba2"),
        (["--validation", "3"], "use an even number"),
        (["--set", "rows=4000"], "give more, or lower tokens"),
        (["--set", "full=[2]"], "the model.s are 0 to 1"),
        (["--set", "sinks=[30]"], "more than half of a total of 12"),
        (["--model", "http://host/v1#m"], "out of reach"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, monkeypatch, tmp_path: Path, capsys, more: list[str], said: str) -> None:
    """Naming the key, before a run's directory is made."""
    assert call(monkeypatch, *arguments(folder), *more, "--out", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error)
    assert not (tmp_path / "run").exists()


def test_rows_with_paths_are_refused(folder: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    """Such a row is several texts, which cells cannot be distilled on; a sentence says so."""
    row = {"prompt": "what is 1+1?", "paths": ["1+1=2", "it is 2"], "summary": "2"}
    (tmp_path / "paths.jsonl").write_text((json.dumps(row) + "\n") * 8)
    asked = [*SMALL, "--model", str(folder / "tiny"), "--sft", str(tmp_path / "paths.jsonl"), "--out", str(tmp_path / "run")]
    assert call(monkeypatch, *asked) == 2
    assert "has a row with paths" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("ahn*.toml")), ids=lambda p: p.stem)
def test_a_shipped_recipe_is_complete(path: Path) -> None:
    """But for model and data where they are the user's own."""
    values = tomllib.loads(path.read_text())
    assert read(PatchSettings, {"model": "pocket", "data": "x.jsonl"} | values).patch == "ahn"  # type: ignore[type-var]
    assert "arXiv" in path.read_text().splitlines()[0]
