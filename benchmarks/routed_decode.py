"""Routed decoding beside the unrouted model: same engine, weights and run (Dr.LLM, arXiv 2510.12773, reports 15.3 % less time).

    python benchmarks/routed_decode.py [--threads 1] [--tokens 32] [--repeats 8]

A decoder of twelve blocks with random weights: their work outweighs the engine's own. Routers are set to decide what a line says,
by biases; they still read the prompt and compute. Lines give milliseconds a token of 64-token prompts and their continuations (fastest;
ways take turns), blocks run, and `ratio`, the unrouted model's time over the routed one's. "programs of their own": every row of the batch
skips other blocks, and rows go through the blocks together, those at each that run it; "one program": all skip the same ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import torch

from reasonry.accel.drllm import Routers, fresh_routers, route
from reasonry.core import Ids, Sampling
from reasonry.core.run import machine
from reasonry.lm.decoder import Decoder, DecoderConfig, Program
from reasonry.lm.local import LocalLM
from reasonry.lm.program import whole
from reasonry.papers.taught import characters

SHAPE = DecoderConfig(259, 384, 12, 6, 2, 64, 1024, 1024, qk_norm=True)
L = SHAPE.num_layers
PROMPT, ROWS, SKIPPED = 64, 16, (2, 4)
Way = Callable[[], Awaitable[object]]


def set_to(decoder: Decoder, program: Program) -> Routers:
    """Routers that decide on one program whatever they read."""
    routers = fresh_routers(decoder)
    with torch.no_grad():
        for layer, block in enumerate(routers.blocks):
            last = block[2]  # type: ignore[index]
            last.bias[program.count(layer)] = 1e6
    return routers


def without(blocks: Sequence[int]) -> Program:
    """The whole network but these blocks."""
    return tuple(layer for layer in whole(L) if layer not in blocks)


async def timed(ways: Mapping[str, Way], repeats: int) -> dict[str, float]:
    """Way -> seconds of its fastest run, after one to warm up; they take turns, so that a busy machine is so for all."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(repeats + 1):
        for way, run in ways.items():
            began = time.perf_counter()
            await run()
            seconds[way] += [time.perf_counter() - began] * (i > 0)
    return {way: min(s) for way, s in seconds.items()}


async def main() -> None:
    """Prints a line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    decoder = Decoder(SHAPE).eval()
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    rng = random.Random(0)
    prompts: list[Ids] = [tuple(rng.randrange(3, 259) for _ in range(PROMPT)) for _ in range(ROWS * (given.repeats + 1) * 12)]
    sampling = Sampling(max_tokens=given.tokens, temperature=0.0, ignore_eos=True)
    base = LocalLM(decoder, characters(), "base")
    fresh = iter(prompts)  # nobody asks the same prompt twice: no prefix is reused

    def asked(lm: LocalLM, rows: int) -> Way:
        async def run() -> None:
            await asyncio.gather(*(lm.complete(next(fresh), sampling) for _ in range(rows)))

        return run

    def told(programs: Sequence[Program]) -> Way:
        async def one(program: Program) -> None:
            with await base.sequence(next(fresh), program) as s:
                await base.grow(s, sampling)

        async def run() -> None:
            await asyncio.gather(*map(one, programs))

        return run

    def tell(name: str, seconds: Mapping[str, float], way: str, against: str, rows: int, blocks: float) -> None:
        line = {
            "benchmark": "routed_decode", "name": name, "rows": rows, "blocks": blocks, "of": L,
            "ms_per_token": round(1000 * seconds[way] / (rows * given.tokens), 3),
            "base_ms_per_token": round(1000 * seconds[against] / (rows * given.tokens), 3),
            "ratio": round(seconds[against] / seconds[way], 3), "tokens": given.tokens, "prompt": PROMPT, "threads": given.threads,
            "torch": torch.__version__, "machine": machine(),
        }  # fmt: skip
        print(json.dumps(line), flush=True)

    routed = {n: route(base, set_to(decoder, without(range(4, 4 + n)))) for n in (0, *SKIPPED)}
    for rows in (1, ROWS):
        ways = {"base": asked(base, rows)} | {f"routed {n}": asked(lm, rows) for n, lm in routed.items()}
        seconds = await timed(ways, given.repeats)
        for n in routed:
            name = "decisions alone, nothing skipped" if n == 0 else f"{n} blocks skipped"
            tell(name, seconds, f"routed {n}", "base", rows, L - n)
    same = told([without((4, 5))] * ROWS)
    other = told([without(rng.sample(range(L), 2)) for _ in range(ROWS)])
    seconds = await timed({"base": told([whole(L)] * ROWS), "one program": same, "programs of their own": other}, given.repeats)
    for way in ("one program", "programs of their own"):
        tell(f"2 blocks skipped, {way}", seconds, way, "base", ROWS, L - 2)


if __name__ == "__main__":
    asyncio.run(main())
