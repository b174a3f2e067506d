"""A cheaper form of a model is a choice like any solver: built from its spec, refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasonry.accel.ahn import adapt, save_adapter
from reasonry.core import Budget, UserError
from reasonry.evaluate.choices import build_choice, with_options
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.solve.opened import Opened
from reasonry.tasks import load_task


def save_cells(lm: LocalLM, folder: Path) -> None:
    """Cells as if they had learnt something."""
    adapter = adapt(lm.decoder)
    for name, p in adapter.named_parameters():
        if name.endswith("o_proj"):
            p.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    save_adapter(adapter, folder)


@pytest.fixture
def lm() -> LocalLM:
    found = load_lm("pocket-1m", dtype=torch.float32)
    assert isinstance(found, LocalLM)
    return found


async def test_a_window_that_covers_the_answer_changes_nothing(lm: LocalLM, tmp_path: Path) -> None:
    """The same spec with and without a wide window gives the same tokens; a narrow one costs less memory. The name is the spec."""
    save_cells(lm, tmp_path)
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


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("single", "single?top_k=3&top_p=0.5"),
        ("single?top_k=9", "single?top_k=9&top_p=0.5"),
        ("single?%74op_k=9", "single?%74op_k=9&top_p=0.5"),
        ("agglm?m=2&of=single?k=1", "agglm?m=2&top_k=3&top_p=0.5&of=single?k=1&top_k=3&top_p=0.5"),
        ("agglm?of=single", "agglm?top_k=3&top_p=0.5&of=single?top_k=3&top_p=0.5"),
        ("ahn?adapter=a", "ahn?adapter=a&of=single?top_k=3&top_p=0.5"),
        ("ahn?adapter=a&of=agglm?top_p=1&of=single", "ahn?adapter=a&of=agglm?top_p=1&top_k=3&of=single?top_k=3&top_p=0.5"),
    ],
)
def test_further_options_go_to_every_solver_that_does_not_have_them(spec: str, found: str) -> None:
    """Not to the last one alone, and never to a cheaper form, which would refuse them."""
    assert with_options(spec, {"top_k": "3", "top_p": "0.5"}) == found
    assert with_options(found, {"top_k": "4", "top_p": "0.4"}) == found


async def test_cheaper_forms_are_made_once_and_closed(lm: LocalLM, tmp_path: Path) -> None:
    """Two choices of one adapter and window share an engine, another window has its own; closing ends them, not the model behind."""
    save_cells(lm, tmp_path)
    task, opened = load_task("arithmetic?steps=3"), Opened()
    specs = (
        f"ahn?adapter={tmp_path}&window=8",
        f"ahn?adapter={tmp_path}&window=8&of=self-consistency?k=2",
        f"ahn?adapter={tmp_path}&window=9",
    )
    one, two, other = (build_choice(spec, lm, task, opened) for spec in specs)
    assert one.lm is two.lm is not other.lm  # type: ignore[attr-defined]
    await opened.close()
    problem = task.problems("test", 1, 0)[0]
    async with lm:
        with pytest.raises(UserError, match="is closed"):
            await one(problem, Budget(), 0)
        assert (await build_choice("single?max_tokens=4", lm, task)(problem, Budget(), 0)).segments


def test_an_option_given_twice_is_refused(lm: LocalLM) -> None:
    """As for solvers."""
    with pytest.raises(UserError, match="given twice"):
        build_choice("ahn?adapter=a&window=8&window=9", lm, load_task("arithmetic"))


async def test_cells_that_have_not_learnt_are_not_taken_for_a_memory(lm: LocalLM, tmp_path: Path) -> None:
    """They would be the plain window in silence; that is to be asked for by its name."""
    save_adapter(adapt(lm.decoder), tmp_path)
    async with lm:
        with pytest.raises(UserError, match="have not learnt anything yet; distil them, or add write=no"):
            build_choice(f"ahn?adapter={tmp_path}&window=8", lm, load_task("arithmetic"))
        assert build_choice(f"ahn?adapter={tmp_path}&window=8&write=no", lm, load_task("arithmetic"))
