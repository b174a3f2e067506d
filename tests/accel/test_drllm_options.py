"""`routed` as a choice: what it needs, and what it refuses in one sentence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reasonry.accel.drllm import fresh_routers, save_routers
from reasonry.core import Budget, UserError
from reasonry.evaluate.choices import build_choice
from reasonry.lm import load_lm
from reasonry.lm.local import LocalLM
from reasonry.probe.layer_use import Use, layer_use
from reasonry.solve.opened import Opened
from reasonry.tasks import load_task


def test_a_routed_choice_answers_and_is_loaded_once(tmp_path: Path) -> None:
    """Two specs of the same folder and knob share one engine; its name says what it is."""
    task, opened = load_task("arithmetic?steps=1"), Opened()

    async def run() -> None:
        lm = load_lm("pocket-1m")
        assert isinstance(lm, LocalLM)
        async with lm:
            save_routers(fresh_routers(lm.decoder, 8), tmp_path)
            spec = f"routed?adapter={tmp_path}&p=0.5"
            solver, other = (build_choice(s, lm, task, opened) for s in (spec, f"{spec}&of=self-consistency?k=2"))
            assert solver.lm is other.lm  # type: ignore[attr-defined]
            assert solver.lm.name == "pocket-1m+routed@0.5"  # type: ignore[attr-defined]
            made = await solver(task.problems("test", 1, 0)[0], Budget(completion_tokens=8), 0)
            assert solver.name == spec
            assert made.cost.layers_run == 4 * made.cost.processed_tokens - 4
            await solver.lm.close()  # type: ignore[attr-defined]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("routed", "adapter is not given"),
        ("routed?adapter=nowhere", r"no drllm\.json"),
        ("routed?adapter=nowhere&window=3", "window"),
    ],
)
def test_mistakes_are_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_choice(spec, load_lm("pocket-1m"), load_task("arithmetic"), Opened())


def test_an_endpoint_has_no_blocks_in_reach(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="out of reach"):
        build_choice(f"routed?adapter={tmp_path}", load_lm("http://localhost:1/v1#m"), load_task("arithmetic"), Opened())


def test_a_map_counts_each_group_by_itself() -> None:
    uses = [
        Use("a", "easy", (1, 0, 0), 1.0, 1.0), Use("b", "easy", (1, 0, 1), 1.0, 0.0), Use("c", "hard", (1, 1, 2), 0.0, 1.0),
        Use("d", "hard", (1, 1, 1)),
    ]  # fmt: skip
    found = layer_use(uses)
    assert [g.name for g in found.groups] == ["easy", "hard"]
    easy, hard = found.groups
    assert (easy.skipped, easy.repeated, easy.consensus) == ((0, 1, 0.5), (0, 0, 0), (1, 1, 0.5))
    assert (easy.depth, easy.base, easy.right) == (1.5, 1.0, 0.5)
    assert (hard.depth, hard.base, hard.right) == (3.5, 0.0, 1.0)  # the one without a judge counts for the depth alone
    assert found.whole.depth == 2.5
    assert "Hardly ever skipped: block 0." in found.findings
    assert "easy runs 1.50 blocks, hard 3.50." in found.findings
    with pytest.raises(UserError, match="no input"):
        layer_use([])
