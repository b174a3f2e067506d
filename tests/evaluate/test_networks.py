"""A trained network and a language model answer to the same names."""

import json
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from reasonry.core import Budget, Sampling, UserError
from reasonry.evaluate.networks import NETWORK_SOLVERS, bound, load_any, own_model
from reasonry.lm.load import load_lm
from reasonry.serve.app import build_app
from reasonry.tasks import load_task
from reasonry.worlds.grids import SudokuWorld
from reasonry.worlds.trm import TRM, Shape
from reasonry.worlds.trm_folder import save_trm

TASK = load_task("sudoku6")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    shape = Shape(vocab=8, cells=36, width=16, heads=2, prefix=1, round_to=1, T=2, n=1, N_sup=3)
    return save_trm(TRM(shape), SudokuWorld(6), tmp_path / "small-trm")


async def test_every_name_makes_a_solver_whose_name_is_its_spec(folder):
    specs = ["single", "single?steps=2", "self-consistency?k=2", "best-of-n?n=2&sigma=0.1&steps=1"]
    async with bound(str(folder), specs, TASK) as (name, solvers):
        assert name == "small-trm"
        assert [s.name for s in solvers] == specs
        made = [await s(TASK.problems("test", 1)[0], Budget(), 0) for s in solvers]
    assert [m.cost.calls for m in made] == [3, 2, 3, 1], "as many steps as the network was trained with, unless said otherwise"
    assert [m.cost.completion_tokens // 36 for m in made] == [3, 2, 6, 2]


async def test_a_network_stands_beside_a_language_model(folder):
    specs = ["single?max_tokens=4", f"single?model={folder}&steps=1"]
    async with bound("pocket-1m", specs, TASK) as (name, solvers):
        assert name == "pocket-1m"
        made = [await s(TASK.problems("test", 1)[0], Budget(), 0) for s in solvers]
    assert [s.name for s in solvers] == specs
    assert [m.cost.completion_tokens for m in made] == [4, 36]


def test_a_spec_s_own_model_is_its_first_option():
    assert own_model("single?model=a/b%20c&steps=2") == ("a/b c", "single?steps=2")
    assert own_model("single?model=x") == ("x", "single")
    assert own_model("agglm?of=single?model=x") == (None, "agglm?of=single?model=x")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("delethink", "for language models"),
        ("single?k=2", "k is not an option"),
        ("best-of-n?sigma=x", "sigma is 'x'"),
        ("single?steps=0", "steps is 0"),
    ],
)
async def test_a_wrong_spec_is_refused(folder, spec, says):
    with pytest.raises(UserError, match=says):
        async with bound(str(folder), [spec], TASK):
            pass


def test_the_names_are_those_of_language_models():
    from reasonry.solve import SOLVERS

    assert set(NETWORK_SOLVERS) <= set(SOLVERS)
    assert json.dumps(sorted(NETWORK_SOLVERS)) == '["best-of-n", "self-consistency", "single"]'


async def test_a_network_is_a_model_to_ask_too(folder):
    lm = load_any(str(folder))
    problem = TASK.problems("test", 1)[0]
    done = await lm.complete(problem.messages, Sampling())
    async with bound(str(folder), ["single"], TASK) as (name, solvers):
        trace = await solvers[0](problem, Budget(), 0)
    assert (lm.name, done.text, done.stop) == (name, trace.answer, trace.stop)
    assert done.cost.flops == trace.cost.flops
    with pytest.raises(UserError, match="no token ids"):
        await lm.encode("1")


def test_a_server_fills_a_grid_and_refuses_what_is_none(folder):
    app = build_app({"small": load_any(str(folder))})
    with TestClient(app) as client:

        def ask(text: str):
            return client.post("/v1/chat/completions", json={"model": "small", "messages": [{"role": "user", "content": text}]})

        filled = ask("..24.1/.43..5/2.41../31..42/....../526.1.").json()
        assert len(filled["choices"][0]["message"]["content"].splitlines()) == 7, "the grid, then #### and its rows"
        assert filled["usage"]["completion_tokens"] == 3 * 36
        refused = ask("fill this")
        assert refused.status_code == 400
        assert "no sudoku6 puzzle" in refused.json()["error"]["message"]


def test_where_a_language_model_is_needed_a_network_is_refused(folder):
    with pytest.raises(UserError, match="which solve and compare take"):
        load_lm(str(folder))
