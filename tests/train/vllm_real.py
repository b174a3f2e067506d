"""Against a real vLLM, `vllm_real.py DIRECTORY`: a small model's weights are changed under a request, and log-probabilities follow."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import torch

from reasonry.core import Sampling
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.papers.taught import Teaching, characters, fresh, taught
from reasonry.train.pipeline.vllm import VLLM

SHAPE = DecoderConfig(
    vocab_size=259, hidden_size=128, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=64, intermediate_size=256, max_position=512,
    qk_norm=True,
)  # fmt: skip
PROMPT = tuple(range(40, 60))


async def check(lm: VLLM, ours: LocalLM, version: int) -> None:
    """The engine's log-probabilities of what it samples are ours, of the same weights."""
    done = await lm.complete(PROMPT, Sampling(max_tokens=16, seed=1, ignore_eos=True))
    assert done.ids is not None
    assert done.logprobs is not None
    assert set(done.versions or ()) == {version}
    assert max(abs(a - b) for a, b in zip(done.logprobs, await ours.score(PROMPT, done.ids), strict=True)) < 1e-2


async def main() -> None:
    """See the module."""
    tokenizer = characters()
    folder = taught(Path(sys.argv[1]) / "model", fresh(SHAPE, 0), tokenizer, [], Teaching(0))
    lm = VLLM.load(folder, 8, memory=0.1)
    old, new = (LocalLM(fresh(SHAPE, seed), tokenizer, "ours") for seed in (0, 1))
    await check(lm, old, 0)
    long = asyncio.create_task(lm.complete(PROMPT, Sampling(max_tokens=400, seed=2, ignore_eos=True)))
    await asyncio.sleep(1.0)
    await lm.take({name: p.detach().numpy() for name, p in new.decoder.named_parameters()}, 1)
    versions = list((await long).versions or ())
    assert versions[0] == 0
    assert versions == sorted(versions)
    await check(lm, new, 1)
    print("ok", versions[-1], torch.__version__)


if __name__ == "__main__":
    asyncio.run(main())
