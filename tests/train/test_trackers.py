"""Trackers: what is logged is what the record says, no credential leaves, a broken tracker stops nothing."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reasonry.core import Missing, UserError
from reasonry.train.trackers import HIDDEN, both, numbers, tracker, without_secrets

RECORDS: list[dict[str, Any]] = [
    {"step": 3, "stage": 0, "reward": 0.25, "pass_rate": None, "note": "text", "tokens": 80},
    {"step": 4, "stage": 1, "reward": 0.5, "pass_rate": 0.5, "tokens": 160},
]


class Fake(ModuleType):
    """As much of wandb and of trackio as is called."""

    def __init__(self, name: str, fails: bool = False) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []
        self.fails = fails

    def init(self, **settings: Any) -> Fake:
        self.calls.append(("init", settings))
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if self.fails:
            raise ConnectionError("no line")
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def test_tensorboard_files_hold_every_number_at_its_step(tmp_path: Path) -> None:
    """Read back with TensorBoard's own reader; a run opened again goes on in the same curves."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for record in RECORDS:
        with tracker("tensorboard", tmp_path, {"lr": 1, "api_key": "abc"}, "mine") as log:
            log(record)
    read = EventAccumulator(str(tmp_path / "tensorboard" / "mine"))
    read.Reload()
    found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    assert found == {
        "stage": [(3, 0.0), (4, 1.0)], "reward": [(3, 0.25), (4, 0.5)], "pass_rate": [(4, 0.5)], "tokens": [(3, 80.0), (4, 160.0)],
    }  # fmt: skip
    text = b"".join(e.tensor_proto.string_val[0] for e in read.Tensors("config/text_summary"))
    assert b"lr: 1" in text
    assert b"abc" not in text


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_modules_shaped_like_wandb_are_told_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(kind)
    monkeypatch.setitem(sys.modules, kind, fake)
    seen: list[Any] = []
    with tracker(kind, tmp_path / "run", {"lr": 0.1, "hf_token": "abc"}) as log:
        for record in RECORDS:
            both(log, seen.append)(record)
    (_, settings), first, second, last = fake.calls
    assert settings["name"] == "run"
    assert settings["resume"] == "allow"
    assert settings["config"] == {"lr": 0.1, "hf_token": HIDDEN}
    assert first == ("log", (3, {"stage": 0.0, "reward": 0.25, "tokens": 80.0}))
    assert second == ("log", (4, {"stage": 1.0, "reward": 0.5, "pass_rate": 0.5, "tokens": 160.0}))
    assert last == ("finish", None)
    assert seen == RECORDS


def test_a_failing_tracker_is_told_of_once_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake("wandb", fails=True)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with tracker("wandb", tmp_path, {}) as log:
        with pytest.warns(UserWarning, match="tracker wandb failed .* ConnectionError: no line"):
            log(RECORDS[0])
        with warnings.catch_warnings(action="error"):
            log(RECORDS[1])
    assert fake.calls[-1] == ("finish", None)


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_an_absent_package_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(UserError, match=f"pip install -U {kind}"), tracker(kind, tmp_path, {}):
        pass


def test_absent_tensorboard_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(Missing, match=r"reasonry\[track\]"), tracker("tensorboard", tmp_path, {}):
        pass


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use one of trackio, tensorboard, wandb"):
        tracker("mlflow", tmp_path, {})


def test_what_looks_like_a_credential_is_left_out() -> None:
    """By name and by look, at any depth; token counts and names of variables stay."""
    config = {
        "part_tokens": 16384, "max_tokens": "64", "key_variable": "OPENAI_API_KEY", "lr": 0.1, "tokenizer": "qwen", "token": "abc",
        "endpoint": {"api_key": "abc", "url": "http://user:word@host/v1", "plain": "http://host:8000/v1#m"},
        "headers": ["Bearer abcdef", "x"], "note": "sk-abcdefghijklmnopqrstuvwx",
    }  # fmt: skip
    assert without_secrets(config) == {
        "part_tokens": 16384, "max_tokens": "64", "key_variable": "OPENAI_API_KEY", "lr": 0.1, "tokenizer": "qwen", "token": HIDDEN,
        "endpoint": {"api_key": HIDDEN, "url": HIDDEN, "plain": "http://host:8000/v1#m"},
        "headers": [HIDDEN, "x"], "note": HIDDEN,
    }  # fmt: skip


def test_only_numbers_make_curves() -> None:
    assert numbers(RECORDS[0]) == {"stage": 0.0, "reward": 0.25, "tokens": 80.0}
