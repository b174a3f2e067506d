"""TUMIX against our own server: all fifteen agents over HTTP, and as a model a client asks for; code only where the operator said so."""

from __future__ import annotations

from pathlib import Path

import httpx
from tiny_server import WINDOW, local, serving

from reasonry.core import Budget, Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Stop
from reasonry.lm.endpoint import Endpoint
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve.catalogue import AnyQuestion, named_choices
from reasonry.solve import build_solver
from reasonry.solve.tumix import AGENTS

ASK = {"messages": [{"role": "user", "content": "What is 6*7?"}]}


ASK_PLAIN = (Message("user", "What is 6*7?"),)


class Obedient:
    """A model behind the server: uses each tool it is offered once, then answers 42. Simulated."""

    name = "obedient"

    def __init__(self) -> None:
        self.costs: list[Cost] = []

    async def encode(self, prompt: Prompt) -> Ids:
        raise NotImplementedError

    async def decode(self, ids: Ids) -> str:
        raise NotImplementedError

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        messages = [m for m in prompt if isinstance(m, Message)]
        told, done = messages[0].content.rpartition("Answer the question anew.")[2], "".join(m.content for m in messages[1:])
        text = "It is <<<42>>>"
        if "you guide another model" in told:
            text = "Search, then compute."
        elif "Decide whether" in told:
            text = "<<<no>>>"
        elif "<search>" in told and "<search>" not in done:
            text = "<search>six</search>"
        elif "```python" in told and "```python" not in done:
            text = "```python\nprint(6*7)\n```\n"
        at = min((i for s in sampling.stop if (i := text.find(s)) >= 0), default=None)
        cost = Cost(sum(len(m.content) for m in messages), len(text), calls=1)
        self.costs.append(cost)
        return Completion(text if at is None else text[:at], Stop.EOS if at is None else Stop.STOP, cost)


async def test_all_fifteen_over_http_with_real_tools(tmp_path: Path):
    """Through an OpenAI-compatible server that gives no ids: three rounds, the sandbox, an index of files; the ledger is the server's."""
    (tmp_path / "numbers.md").write_text("Six times seven is the question.")
    model = Obedient()
    with serving({"m": model}) as url:
        async with Endpoint(f"{url}/v1", "m") as remote:
            await remote.complete(ASK_PLAIN, Sampling(max_tokens=9))  # the two agree on what this server cannot give
            model.costs.clear()
            solver = build_solver(f"tumix?tools=python&docs={tmp_path}&rounds=3", remote, AnyQuestion())
            trace = await solver(Problem("p", "What is 6*7?"), Budget(), 0)
    log = trace.meta["exchange"]
    assert log["agents"] == list(AGENTS)
    assert len(log["rounds"]) == 3
    assert [(said["agent"], said["answer"], said.get("error")) for said in log["rounds"][-1]] == [(a, "42", None) for a in AGENTS]
    assert AnyQuestion().extract(trace.answer) == "42"
    results = {s.tool.name: s.tool.result for s in trace.segments if s.tool is not None}
    assert results == {"python": "42", "search": "1. Six times seven is the question."}
    assert trace.cost.calls == len(model.costs) == len(trace.segments)
    for unit in ("prompt_tokens", "completion_tokens"):
        assert getattr(trace.cost, unit) == sum(getattr(c, unit) for c in model.costs)
    assert sum(s.role == "judge" for s in trace.segments) == 1


def test_a_client_asks_for_it_by_name_and_never_for_code(tmp_path: Path):
    """As `m:tumix` without tools; `tools` and `docs` are refused; under a name that the operator gave, with them."""
    (tmp_path / "numbers.md").write_text("six")
    model = Obedient()
    named = named_choices([f"mix=tumix?tools=python&docs={tmp_path}&agents=C,S&rounds=2"], ["m"])
    with serving({"m": model}, named=named) as url:

        def answer(name: str) -> httpx.Response:
            return httpx.post(f"{url}/v1/chat/completions", json=ASK | {"model": name, "seed": 1}, timeout=60)

        plain = answer("m:tumix?rounds=2")
        assert plain.json()["choices"][0]["message"]["content"].endswith("#### 42")
        assert len(model.costs) == 4  # Base and CoT, twice
        for options in ("tools=python", f"docs={tmp_path}", "designs=x.toml"):
            refused = answer(f"m:tumix?{options}")
            assert refused.status_code == 400
            assert "only who starts the server may" in refused.json()["error"]["message"]
        before = len(model.costs)
        whole = answer("m:mix")
        assert whole.json()["choices"][0]["message"]["content"].endswith("#### 42")
        assert whole.json()["usage"]["completion_tokens"] == sum(c.completion_tokens for c in model.costs[before:])


async def test_a_real_model_behind_the_server_gives_the_attempt_it_gives_in_process(tokenizer: Tokenizer):
    """Random weights, single-byte words, three rounds within a window: the same calls over HTTP, segment by segment."""
    spec = "tumix?words=bytes&agents=Base,CoT&rounds=3&max_tokens=4&shown=4&stop=fixed"
    problem = Problem("p", (Message("user", "2 + 3 ?"),))
    async with local(tokenizer) as twin:
        own = await build_solver(spec, twin, AnyQuestion())(problem, Budget(), 2)
    with serving({"tiny": local(tokenizer)}) as url:
        async with Endpoint(f"{url}/v1", "tiny") as remote:
            far = await build_solver(spec, remote, AnyQuestion())(problem, Budget(), 2)
    assert [s.ids for s in far.segments] == [s.ids for s in own.segments]
    assert len(own.segments) == 6
    assert all(s.context is not None and len(s.context) < WINDOW for s in own.segments)
    assert far.answer == own.answer
