"""Debate over the wire: as a served choice, with endpoints as its agents, and without a way to what the server does not have."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_server import local, serving

from reasonry.core import Budget, Message, Problem, Sampling
from reasonry.lm.endpoint import Endpoint
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve.catalogue import Catalogue
from reasonry.serve.errors import Refusal
from reasonry.serve.requests import Ask
from reasonry.solve import build_solver
from reasonry.tasks.spec import load_task

QUESTION = Problem("p", "what is 2 + 3 ?", "5")


def asked(spec: str) -> Any:
    ask = object.__new__(Ask)
    wishes = {"model": "a", "solver": spec, "budget": None, "said": frozenset[str](), "sampling": Sampling()}
    for field, value in wishes.items():
        object.__setattr__(ask, field, value)
    return ask


async def test_a_team_of_endpoints_debates(tokenizer: Tokenizer) -> None:
    """Each agent is another served model; the transcript and the cost are the attempt's."""
    with serving({"a": local(tokenizer), "b": local(tokenizer)}) as url:
        team = f"{url}/v1#a,{url}/v1#b,{url}/v1#b".replace("#", "%23")
        lm = Endpoint(f"{url}/v1", "a")
        try:
            task = load_task("arithmetic?steps=1")
            solver = build_solver(f"debate?team={team}&rounds=1&words=bare&max_tokens=6", lm, task)
            t = await solver(QUESTION, Budget(), 1)
            assert t.cost.calls == 6 == len(t.segments)
            assert [s.model for s in t.segments] == ["a", "b", "b"] * 2
            assert t.cost.completion_tokens == sum(s.cost.completion_tokens for s in t.segments) > 0
            served = Endpoint(f"{url}/v1", "a:debate?team=a,b&rounds=1&words=bare")
            y = await served.complete((Message("user", "what is 2 + 3 ?"),), Sampling(max_tokens=40, seed=1))
            assert y.cost.completion_tokens > 0
            await served.close()
        finally:
            await lm.close()


@pytest.mark.parametrize("team", ["pocket", "a,/etc", "http://elsewhere/v1%23x", "a%26of=x,b", "b%2F..%2Fx"])
def test_a_client_names_only_models_that_are_served(team: str, tokenizer: Tokenizer) -> None:
    """Nothing is opened, called or loaded for any other name."""
    a, b = local(tokenizer), local(tokenizer)
    catalogue = Catalogue({"a": a, "b": b})
    with pytest.raises(Refusal):
        catalogue.find(asked(f"debate?team={team}"))


def test_served_models_sit_together(tokenizer: Tokenizer) -> None:
    """By the names under which they are served."""
    a, b = local(tokenizer), local(tokenizer)
    _, solver = Catalogue({"a": a, "b": b}).find(asked("debate?team=a,b,b"))
    assert solver is not None
    assert [agent.solver.lm is m for agent, m in zip(solver.agents, (a, b, b), strict=True)] == [True] * 3  # type: ignore[attr-defined]
