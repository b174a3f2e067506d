"""`load_lm`: each kind of spec finds its model, each kind of mistake has its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonry.core import UserError
from reasonry.lm import load
from reasonry.lm.load import load_lm, model_folder


def test_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    assert model_folder(str(tmp_path / "m" / ".." / "m")) == tmp_path / "m"


def test_an_endpoint_is_named_by_address_and_model() -> None:
    assert load_lm("http://127.0.0.1:9/v1#some/model").name == "some/model"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("Qwen/Qwen3-0.6B", "hub, download it first"),
        ("nonsense", "none of pocket, pocket-1m, a checkpoint folder"),
        ("./no/such", "none of pocket"),
        ("http://127.0.0.1:9/v1", "names no model"),
        ("{tmp}", r"folder without config\.json"),
        ("{tmp}/file.safetensors", "is a file"),
    ],
)
def test_each_mistake_has_its_sentence(spec: str, says: str, tmp_path: Path) -> None:
    """A hub name, a typing error, a folder of something else and a file each say what to give instead."""
    (tmp_path / "file.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=says):
        load_lm(spec.format(tmp=tmp_path))


def test_a_missing_pocket_model_names_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "POCKET", tmp_path)
    with pytest.raises(UserError, match=r"pocket/pocket-1m is missing; make it: python -m reasonry\.train\.pocket pocket-1m"):
        load_lm("pocket-1m")
