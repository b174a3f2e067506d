"""`reasonry train` on aggregation: over a file of candidates, and with the solver whose last call alone is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_run import command, prepare

from reasonry.core import Problem
from reasonry.tasks.pool import Candidate, Pool, write_pools

SIZES = ["--steps", "2", "--set", "prompts=2", "--set", "group=2", "--set", "max_tokens=6", "--set", 'keep="every"', "--lr", "1e-3"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model, its questions, and a pool of four candidates for each of some."""
    prepare(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "sums.jsonl").read_text().splitlines()][:12]
    pools = []
    for i, row in enumerate(rows):
        told = [row["answer"] if (i + j) % 3 else "99" for j in range(4)]
        made = tuple(Candidate(f"#### {answer}", answer, 4, correct=float(answer == row["answer"])) for answer in told)
        pools.append(Pool(Problem(f"q{i}", row["question"], row["answer"]), "train", made))
    write_pools(tmp_path / "pools.jsonl", pools)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def test_the_recipe_trains_on_sets_of_a_file(folder: Path):
    """AggLM's own recipe, made small: the task builds the mixture, the ordinary objective learns, the log says how much taught nothing."""
    task = "aggregate?file=pools.jsonl&m=2&p=50&words=bare&of=sums.jsonl?split=train"
    assert command(["train", "--recipe", "agglm", "--model", "tiny", "--task", task, *SIZES, "--out", "run"]) == 0
    log = records(folder / "run")
    assert len(log) == 2
    assert all(0 <= step["zero_variance"] <= 1 for step in log)
    assert (folder / "run" / "model" / "config.json").is_file()


def test_with_the_solver_only_the_aggregation_is_learned_from(folder: Path):
    """The candidates are sampled and paid for, but their tokens carry no loss."""
    words = ["--solver", "agglm?m=2&words=bare&max_tokens=6", "--set", 'roles=["aggregate"]', "--task", "sums.jsonl?split=train"]
    assert command(["train", "--model", "tiny", "--objective", "agglm", *words, *SIZES, "--set", "max_tokens=18", "--out", "run"]) == 0
    assert (folder / "run" / "model" / "config.json").is_file()
    assert 'roles = ["aggregate"]' in (folder / "run" / "recipe.toml").read_text()
