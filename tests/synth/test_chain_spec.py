"""Chains by name: the spec says what `synth` is told, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonry.core import UserError
from reasonry.synth import LABEL_PRESERVING, RE_SOLVE, Chained
from reasonry.synth.chain import TERSE
from reasonry.synth.chained import shuffled
from reasonry.synth.spec import POOL, load
from reasonry.tasks import load_task


def test_a_chain_of_generated_problems() -> None:
    """Everything after `of=` is the source's own spec, its options included."""
    task = load("chain?h=3&pool=50&wording=terse&order=shuffled&of=arithmetic?steps=2")
    assert isinstance(task, Chained)
    assert (task.h, task.pool, task.form, task.wording, task.order) == (3, 50, RE_SOLVE, TERSE, shuffled)
    problem = task.problems("train", 1)[0]
    assert len(problem.meta["values"]) == 3
    assert str(problem.prompt).count("\n") == 3


def test_a_chain_of_a_files_problems_keeps_their_answers(tmp_path: Path) -> None:
    rows = [
        {"question": f"Ann has {n} apples and buys {n + 50}. How many?", "answer": f"{n}+{n + 50}={2 * n + 50}\n#### {2 * n + 50}"}
        for n in range(1, 40)
    ]
    (tmp_path / "apples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load(f"chain?of={tmp_path}/apples.jsonl")
    assert isinstance(task, Chained)
    assert (task.h, task.pool, task.form) == (2, None, LABEL_PRESERVING)
    assert task.problems("train", 2)


def test_any_other_spec_is_the_tasks_own() -> None:
    assert load("arithmetic?steps=2").problems("train", 3) == load_task("arithmetic?steps=2").problems("train", 3)
    endless = load("chain?of=word")
    assert isinstance(endless, Chained)
    assert endless.pool == POOL


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("chain?h=2", "names no source"),
        ("chain?of=", "names no source"),
        ("chain?h=two&of=word", "h is 'two' but must be a whole number"),
        ("chain?length=2&of=word", "'length' is not an option"),
        ("chain?wording=loud&of=word", "wording is 'loud' but must be one of plain, terse"),
        ("chain?form=new&of=word", "form is 'new' but must be one of"),
        ("chain?order=back&of=word", "order is 'back' but must be one of"),
        ("chain?h=0&of=word", "h is 0"),
        ("chain?of=astrology", "'astrology' is unknown"),
    ],
)
def test_a_bad_spec_is_refused(spec: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(spec)
