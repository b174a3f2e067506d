"""Our own `Endpoint` against our own server: a model behind HTTP is the model, and can be served on."""

from __future__ import annotations

import httpx
import pytest
from tiny_server import serving

from reasonry.core import Budget, Message, Problem, Sampling, Stop, UserError
from reasonry.lm.endpoint import Endpoint
from reasonry.lm.local import LocalLM
from reasonry.serve.catalogue import AnyQuestion
from reasonry.solve import build_solver

ASK = (Message("user", "what is 2 + 3 ?"),)


@pytest.mark.parametrize("prompt", [ASK, "two plus", (5, 6, 7)])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=12, seed=3),
        Sampling(max_tokens=12, seed=3, temperature=0.7, top_p=0.9, top_k=20, min_p=0.01, top_logprobs=2),
        Sampling(max_tokens=20, seed=4, stop=("s", "5"), ignore_eos=True),
        Sampling(max_tokens=20, seed=4, stop_token_ids=(100, 101, 102), ignore_eos=True),
        Sampling(max_tokens=500, seed=1, ignore_eos=True),
    ],
)
async def test_the_caller_cannot_tell(address, twin: LocalLM, prompt, sampling):
    """Every field of a completion but seconds, FLOPs and memory is the local one, ids and log-probabilities to the last digit."""
    async with twin, Endpoint(f"{address}/v1", "tiny") as remote:
        own, far = await twin.complete(prompt, sampling), await remote.complete(prompt, sampling)
    for field in ("text", "stop", "prompt_ids", "ids", "logprobs", "top_logprobs"):
        assert getattr(far, field) == getattr(own, field), field
    assert (far.cost.prompt_tokens, far.cost.completion_tokens, far.cost.calls) == (own.cost.prompt_tokens, own.cost.completion_tokens, 1)
    assert 0 < far.cost.prefill_tokens <= own.cost.prompt_tokens
    assert far.stop is not Stop.CONTEXT or sampling.max_tokens == 500


async def test_ids_through_the_endpoint(address, twin: LocalLM):
    """encode and decode by HTTP are the tokenizer's own."""
    async with twin, Endpoint(f"{address}/v1", "tiny") as remote:
        for prompt in (ASK, "two plus three", (1, 2, 3)):
            assert await remote.encode(prompt) == await twin.encode(prompt)
        assert await remote.decode((100, 101, 102)) == await twin.decode((100, 101, 102))
        with pytest.raises(UserError, match="does not exist; use one of tiny"):
            await Endpoint(f"{address}/v1", "nobody").encode(ASK)


async def test_a_solver_over_the_endpoint(address, twin: LocalLM):
    """Delethink, which carries ids across calls, gives over HTTP the very attempt it gives in process."""
    spec, problem = "delethink?C=24&m=8&I=3", Problem("p", ASK)
    async with twin, Endpoint(f"{address}/v1", "tiny") as remote:
        own = await build_solver(spec, twin, AnyQuestion())(problem, Budget(), 2)
        far = await build_solver(spec, remote, AnyQuestion())(problem, Budget(), 2)
    assert [s.ids for s in far.segments] == [s.ids for s in own.segments]
    assert (far.answer, far.stop) == (own.answer, own.stop)


def test_an_endpoint_served_on(address):
    """A server whose model is another server: text, ids and log-probabilities by id pass through; what cannot pass is refused."""
    body = {"model": "far", "prompt": "two plus", "max_tokens": 6, "seed": 1, "return_token_ids": True}
    near = httpx.post(f"{address}/v1/completions", json=body | {"model": "tiny", "logprobs": 2, "return_tokens_as_token_ids": True}).json()
    with serving({"far": Endpoint(f"{address}/v1", "tiny")}) as url:
        far = httpx.post(f"{url}/v1/completions", json=body | {"logprobs": 2, "return_tokens_as_token_ids": True}).json()
        spelled = httpx.post(f"{url}/v1/completions", json=body | {"logprobs": 2})
        ids = [httpx.post(f"{u}/tokenize", json={"prompt": "two plus"}).json()["tokens"] for u in (url, address)]
    for field in ("text", "finish_reason", "token_ids", "prompt_token_ids"):
        assert far["choices"][0][field] == near["choices"][0][field], field
    for field in ("tokens", "token_logprobs", "top_logprobs"):
        assert far["choices"][0]["logprobs"][field] == near["choices"][0]["logprobs"][field], field
    assert far["usage"]["prompt_tokens"] == near["usage"]["prompt_tokens"]
    assert ids[0] == ids[1]
    assert (spelled.status_code, spelled.json()["error"]["param"]) == (400, "logprobs")
