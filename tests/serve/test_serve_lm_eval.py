"""lm-eval's `local-completions` against our server: its numbers are the model's own. It runs event loops itself, hence the threads."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from reasonry.core import Sampling
from reasonry.lm.local import LocalLM

pytest.importorskip("lm_eval", reason="lm-eval is not installed")

PAIRS = [("two plus three", " is five"), ("what is 2", " + 3 ?"), ("####", " 5")]


def harness(address: str, **options) -> Any:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    fixed = {"base_url": f"{address}/v1/completions", "model": "tiny", "max_length": 128, "max_gen_toks": 12, "max_retries": 1}
    return LocalCompletionsAPI(**fixed, **options)


def requests(*arguments: tuple):
    return [SimpleNamespace(args=a, arguments=a, request_type="any", cache_key=None) for a in arguments]


@pytest.mark.parametrize(
    "options", [{"tokenizer_backend": "auto", "batch_size": 2, "num_concurrent": 1}, {"tokenizer_backend": "remote", "num_concurrent": 2}]
)
async def test_loglikelihood(address, twin: LocalLM, options):
    """The sum over the continuation's tokens and whether each was the likeliest, through the server's own tokenizer."""
    found = await asyncio.to_thread(lambda: harness(address, **options).loglikelihood(requests(*PAIRS), disable_tqdm=True))
    async with twin:
        for (context, continuation), (value, greedy) in zip(PAIRS, found, strict=True):
            before, whole = await twin.encode(context), await twin.encode(context + continuation)
            ids = whole[len(before) :]
            scored = await twin.score_prompt(whole, 1)
            assert value == pytest.approx(math.fsum(scored.logprobs[-len(ids) :]), abs=1e-6)
            assert greedy == all(i in top for i, top in zip(ids, (scored.top_logprobs or ())[-len(ids) :], strict=True))


async def test_generate_until(address, twin: LocalLM):
    """Greedy text up to a stop string is the model's own."""
    ask = {"until": ["5"], "max_gen_toks": 12}
    prompts = ["two plus", "what is 2 + 3 ?"]
    found = await asyncio.to_thread(
        lambda: harness(address, tokenizer_backend="remote").generate_until(requests(*((p, dict(ask)) for p in prompts)), disable_tqdm=True)
    )
    async with twin:
        end = await twin.decode(twin.tokenizer.eos_ids)
        own = [await twin.complete(p, Sampling(max_tokens=12, temperature=0, stop=("5",))) for p in prompts]
    assert found == [c.text for c in own]
    assert end == ""
