"""`reasonry papers rl-survey`: the whole catalogue and the whole map, in text and as JSON; the page made of the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.train.catalogue import CATALOGUE
from reasonry.train.taxonomy import TAXONOMY

TOOLS = Path(__file__).parents[2] / "tools"


def test_the_text_holds_every_objective_with_its_parts_and_every_leaf() -> None:
    done = CliRunner().invoke(cli, ["papers", "rl-survey"])
    assert done.exit_code == 0, done.output
    flat = " ".join(done.output.split())
    for slug, entry in CATALOGUE.items():
        assert f"{slug}: {entry.title}, " in done.output
        assert all(" ".join(part.what.split()) in flat for part in entry.parts)
    assert all(leaf.leaf in flat for leaf in TAXONOMY)
    assert "not built yet" in done.output
    assert all(len(line) <= 220 for line in done.output.splitlines())


def test_the_json_is_one_document_with_words_code_and_exports() -> None:
    shown = json.loads(CliRunner().invoke(cli, ["papers", "rl-survey", "--json"]).stdout)
    objectives = {o["slug"]: o for o in shown["objectives"]}
    assert set(objectives) == set(CATALOGUE)
    assert objectives["dapo"]["trl"]["args"]["loss_type"] == "dapo"
    assert objectives["ppo"]["missing"] == []
    assert objectives["sfr-deepresearch"]["missing"]
    assert len(shown["map"]) == len(TAXONOMY)


def test_the_page_links_every_part_that_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry has its section and a link to it; every part that is built has a link to its file."""
    monkeypatch.syspath_prepend(str(TOOLS))
    sys.modules.pop("objectives", None)
    from objectives import objectives_page  # pyright: ignore[reportMissingImports]

    page = objectives_page()
    for slug, entry in CATALOGUE.items():
        assert f"`{slug}`" in page
        assert all(f"[{p.where}](../src/reasonry/{p.where})" in page for p in entry.parts if p.where)
    anchors = {line.split('"')[1] for line in page.splitlines() if line.startswith("<a id=")}
    assert len(anchors) == len(CATALOGUE)
    assert all(f"](#{a})" in page for a in anchors)
