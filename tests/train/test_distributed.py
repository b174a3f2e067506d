"""Several processes: the weights of one, attempts made once, checkpoints that go on. Two real processes on the CPU, over gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_lm import TELLING, Digits, sample, toy_lm
from train_team import RECIPES, run_team

from reasonry.solve import build_solver
from reasonry.train.distributed import Team, share, team
from reasonry.train.recipe import every_segment
from reasonry.train.update import Batch, cut, make_batch

pytestmark = pytest.mark.timeout(900)
"""Two processes on a machine with one free core wait for each other at every exchange."""
HEALTH = ("reward", "failed", "length", "grad_norm", "entropy", "kl_ref", "kl_old", "ratio_mean", "ratio_max", "clip_share")
HERO_S = ("hero_sigma_mean", "hero_auc", "hero_weight_1", "hero_weight_4")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything trained by two processes; read-only afterwards."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("team")
    script = Path(__file__).parent / "train_team.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script), str(folder), *RECIPES]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=800, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return folder


def weights(folder: Path, rank: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"weights-{rank}.pt", weights_only=True)


@pytest.mark.parametrize("kind", RECIPES)
async def test_two_processes_end_with_the_weights_of_one(kind: str, two: Path, tmp_path: Path) -> None:
    """Three steps: weights within 1e-5, the same on both to the bit, and every record tells the same story."""
    with team(cpu=True) as alone:
        wanted, told = await run_team(alone, tmp_path / "run", RECIPES[kind])
    first, second = weights(two / kind, 0), weights(two / kind, 1)
    assert first.keys() == wanted.keys()
    for name in wanted:
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted[name], atol=1e-5, rtol=0.0)
    records: list[dict[str, Any]] = json.loads((two / kind / "records-0.json").read_text())
    assert [r["step"] for r in records] == [0, 1, 2]
    for ours, theirs in zip(records, told, strict=True):
        assert {k: ours.get(k) for k in HEALTH} == pytest.approx({k: theirs.get(k) for k in HEALTH}, rel=1e-3, abs=1e-5)
        assert ours["mismatch_max"] < 1e-4
    assert sum(r["failed"] for r in records) > 0, "no attempt failed, so nothing was learnt about failing ones"


async def test_hero_weighs_prompts_alike_in_two_processes_and_in_one(two: Path, tmp_path: Path) -> None:
    with team(cpu=True) as alone:
        _, told = await run_team(alone, tmp_path / "run", RECIPES["hero"])
    records: list[dict[str, Any]] = json.loads((two / "hero" / "records-0.json").read_text())
    for ours, theirs in zip(records, told, strict=True):
        assert {k: ours[k] for k in HERO_S} == pytest.approx({k: theirs[k] for k in HERO_S}, rel=1e-3, abs=1e-5)
    assert len({r["hero_sigma_mean"] for r in records}) == 3


def test_phrases_are_mined_once_for_all_processes(two: Path) -> None:
    """The first one's, although the second would find others; a rating is the first one's too."""
    first, second = (json.loads((two / f"grams-{rank}.json").read_text()) for rank in (0, 1))
    assert first["said"] != second["said"]
    assert first["grams"] == second["grams"]
    assert first["grams"]
    assert all(gram in first["said"] for gram in first["grams"])
    assert (first["rated"], second["rated"]) == (7, 7)


def test_only_the_first_process_writes_the_run(two: Path) -> None:
    """One line a step, one history, and nobody's progress but the first's."""
    for kind in RECIPES:
        lines = (two / kind / "run" / "steps.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]
        assert json.loads((two / kind / "records-1.json").read_text()) == []
        assert sorted(p.name for p in (two / kind / "run").iterdir() if not p.name.startswith("best-")) == [
            "checkpoint.pt", "config.json", "environment.json", "history.jsonl", "steps.jsonl",
        ]  # fmt: skip


def test_the_first_process_s_validation_counts(two: Path) -> None:
    """Each sees another checkpoint as the best; all go back to the first one's, or the test above would find their weights apart."""
    records = [json.loads(line) for line in (two / "one prompt" / "run" / "steps.jsonl").read_text().splitlines()]
    assert [r.get("validation") for r in records] == [None, -1.0, -2.0]
    assert (two / "one prompt" / "run" / "best-2.pt").exists()


def test_a_stopped_run_goes_on_to_the_same_weights(two: Path) -> None:
    """Weights and optimiser state come back from whole tensors, bit for bit; and so does what HERO remembers of its scores."""
    whole, resumed = weights(two / "hero", 0), weights(two / "stopped", 0)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


async def batch_of(prompts: int) -> Batch:
    async with toy_lm() as lm:
        groups = await sample(build_solver("self-consistency?k=2&max_tokens=4", lm, Digits()), TELLING, n=prompts)
    return make_batch(groups, RECIPES["parts"], every_segment, 0)


@pytest.mark.parametrize(("prompts", "n"), [(5, 2), (1, 3), (4, 4)])
async def test_shares_are_whole_prompts_and_cover_the_batch_once(prompts: int, n: int) -> None:
    batch = await batch_of(prompts)
    shares = torch.stack(share(batch, n))
    assert bool((shares.sum(0) == 1).all())
    for mask in cut(batch, 1):
        assert int((shares & mask).any(1).sum()) == 1
    counts = shares.sum(1).tolist()
    assert max(counts) - min(counts) <= 4, "a prompt has four attempts here"


def test_unlaunched_this_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team(cpu=True) as t:
        assert t == Team(0, 1, torch.device("cpu"))
