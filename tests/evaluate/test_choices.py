"""A cheaper form of a model is a choice like any solver: built from its spec, refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasonry.accel.ahn import adapt, save_adapter
from reasonry.core import Budget, UserError
from reasonry.evaluate.choices import build_choice
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.tasks import load_task


@pytest.fixture
def lm() -> LocalLM:
    found = load_lm("pocket-1m", dtype=torch.float32)
    assert isinstance(found, LocalLM)
    return found


async def test_a_window_that_covers_the_answer_changes_nothing(lm: LocalLM, tmp_path: Path) -> None:
    """The same spec with and without a wide window gives the same tokens; a narrow one costs less memory. The name is the spec."""
    save_adapter(adapt(lm.decoder), tmp_path)
    task = load_task("arithmetic?steps=3")
    problem = task.problems("test", 1, 0)[0]
    async with lm:
        wide = build_choice(f"ahn?adapter={tmp_path}&window=512&of=self-consistency?k=2&max_tokens=48", lm, task)
        narrow = build_choice(f"ahn?adapter={tmp_path}&window=8&sinks=2&of=single?max_tokens=48", lm, task)
        full = build_choice("self-consistency?k=2&max_tokens=48", lm, task)
        made, known, cheap = [await s(problem, Budget(), 3) for s in (wide, full, narrow)]
    assert [s.ids for s in made.segments] == [s.ids for s in known.segments]
    assert wide.name.startswith("ahn?adapter=")
    assert cheap.segments[0].cost.peak_kv_bytes < known.segments[0].cost.peak_kv_bytes


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ahn", "adapter is not given"),
        ("ahn?adapter=nowhere", r"has no ahn\.json"),
        ("ahn?adapter=x&window=0", "size is 0"),
        ("ahn?adapter=x&depth=3", "depth is not an option"),
        ("nothing?n=2", "not a solver"),
    ],
)
def test_a_bad_choice_is_refused_in_a_sentence(lm: LocalLM, spec: str, said: str) -> None:
    """Naming the field."""
    with pytest.raises(UserError, match=said):
        build_choice(spec, lm, load_task("arithmetic"))
