"""Parallel thinking by its width: the engine's time for a step of P paths, and what the summary costs with their keys and without.

    python benchmarks/parallel_width.py [--shape qwen2.5-0.5b] [--widths 1,2,4,8,16] [--prompt 64] [--tokens 12] [--repeats 1] [--threads 1]
                                        [--device cpu] [--dtype float32]

A random model of the shape, with thought embeddings, computes a prompt once; P forks of it take up an opener each and then sample together,
step by step, as ParaThinker's paths do (arXiv 2509.04475). Widths take turns, step by step, so that a busy machine is so for all. One JSON
line per width: milliseconds a step (medians of wall-clock and processor time), tokens a second of all paths together, `ratio` and
`cpu_ratio`, the step's times over those of the first width, and beside them by formula (`solve.parathinker_cost`) the bytes a step moves
and its operations, with the rates they amount to. `products_ms` and `products_ratio` are the model's matrix products alone with exactly P
rows: on a CPU the engine, to be exact, never computes fewer than four, so its own steps of one and two paths are those of four.

Then the first token after `<summary>`, two ways in turn: `join` attends to the paths' own keys and values, `re-prefill` reads prompt and
paths again as one text, of which the engine's prefix cache holds the prompt. `computed` tokens, milliseconds, and `ratio` over `join`.

Where decoding is bound by memory, a step's time is that of its bytes, so it hardly grows with P. Nearest to that here is `qwen2.5-0.5b`,
whose 2 GB of float32 weights are read from memory at every step; the small shapes' weights stay in the caches. But a CPU's library has
another kernel for one row than for several, and it reads faster: look at `products_ratio` before calling a flat curve the paper's. The
stored results are a CPU's; `--device cuda --dtype bfloat16` is the same on a GPU, where nobody has measured it yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import cast

import torch

from engine import SHAPES
from reasonry.core import Sampling
from reasonry.core.run import environment, machine
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import AUTHORS_STD, with_thoughts
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve.parathinker_cost import decoding_step

QWEN = DecoderConfig(151936, 896, 24, 14, 2, 64, 4864, 32768, rope_theta=1e6, qkv_bias=True)
MODELS = {**SHAPES, "qwen2.5-0.5b": QWEN}
OPENER, CLOSER, SUMMARY = 5, 6, 7
"""Any ids will do."""


@torch.inference_mode()
def products(decoder: Decoder, widths: Seq[int], times: int = 7) -> dict[int, float]:
    """Width -> median seconds of all matrix products of a step with so many rows, the output layer included; widths take turns."""
    matrices = [m.weight for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    matrices += [decoder.embed_tokens.weight] if decoder.lm_head is None else []
    inputs = {width: {w.shape[1]: torch.randn(width, w.shape[1]).to(w) for w in matrices} for width in widths}
    seconds: dict[int, list[float]] = {width: [] for width in widths}
    for i in range(times + 1):
        for width, x in inputs.items():
            began = time.perf_counter()
            out = [torch.nn.functional.linear(x[w.shape[1]], w)[0, 0] for w in matrices]
            float(torch.stack(out).sum())  # waits for a GPU
            seconds[width] += [time.perf_counter() - began] * (i > 0)
    return {width: statistics.median(taken) for width, taken in seconds.items()}


@dataclass
class Width:
    """P paths being thought along, and what their steps took."""

    start: Sequence
    paths: list[Sequence]
    wall: list[float] = field(default_factory=list)
    """Seconds of each step."""
    cpu: list[float] = field(default_factory=list)

    async def step(self, number: int) -> None:
        """One token more on each path."""
        began = time.perf_counter(), time.process_time()
        await asyncio.gather(*(path.sample(Sampling(temperature=0.5, seed=number)) for path in self.paths))
        self.wall.append(time.perf_counter() - began[0])
        self.cpu.append(time.process_time() - began[1])


def model(args: argparse.Namespace) -> LocalLM:
    """A random one."""
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(MODELS[args.shape])
    decoder.reset_parameters(generator)
    decoder = with_thoughts(decoder, max(args.widths), AUTHORS_STD, generator).to(args.device, getattr(torch, args.dtype))
    tokens = 2 * sum(args.prompt + width * (args.tokens + 2) for width in args.widths)
    return LocalLM(decoder, cast("Tokenizer", None), args.shape, max_rows=sum(args.widths), kv_tokens=max(tokens, 4096))


async def think(lm: LocalLM, args: argparse.Namespace, repeat: int) -> dict[int, Width]:
    """All widths' paths, step by step in turn; the first step is for warming up."""
    rng, found = random.Random(repeat), {}
    for width in args.widths:
        start = await lm.sequence([rng.randrange(8, 500) for _ in range(args.prompt)])
        paths = [start.fork() for _ in range(width)]
        await asyncio.gather(*(path.append((OPENER,), thought=i + 1) for i, path in enumerate(paths)))
        found[width] = Width(start, paths)
    for number in range(args.tokens):
        for width in found.values():
            await width.step(number)
    return found


async def summarise(lm: LocalLM, width: Width) -> dict[str, tuple[float, int]]:
    """Way -> seconds until the summary's first token could be sampled, and tokens computed for it."""
    await asyncio.gather(*(path.append((CLOSER,)) for path in width.paths))  # computes what was sampled last, too
    taken = {}
    began = time.perf_counter()
    joined = width.start.fork()
    await joined.join(*width.paths)
    await joined.append((SUMMARY,), thought=0)
    taken["join"] = time.perf_counter() - began, joined.cost.prefill_tokens
    began = time.perf_counter()
    again = await lm.sequence((*joined.ids[:-1], SUMMARY))
    taken["re-prefill"] = time.perf_counter() - began, again.cost.prefill_tokens
    for row in (joined, again, width.start, *width.paths):
        row.close()
    return taken


async def measure(args: argparse.Namespace) -> None:
    """Prints all lines."""
    wall: dict[int, list[float]] = {width: [] for width in args.widths}
    cpu: dict[int, list[float]] = {width: [] for width in args.widths}
    summaries: dict[int, dict[str, list[tuple[float, int]]]] = {width: {"join": [], "re-prefill": []} for width in args.widths}
    async with model(args) as lm:
        for repeat in range(args.repeats):
            lm.engine.flush()
            found = await think(lm, args, repeat)
            for paths, width in found.items():
                wall[paths] += width.wall[1:]
                cpu[paths] += width.cpu[1:]
                for way, taken in (await summarise(lm, width)).items():
                    summaries[paths][way].append(taken)
        about = {
            "benchmark": "parallel_width", "machine": machine(), "device": args.device, "dtype": args.dtype, "threads": args.threads,
            "shape": args.shape, "prompt": args.prompt, "tokens": args.tokens,
        }  # fmt: skip
        size, narrowest = lm.engine.dtype.itemsize, [statistics.median(taken[args.widths[0]]) for taken in (wall, cpu)]
        alone = products(lm.decoder, args.widths)
        for paths in args.widths:
            seconds, cpu_seconds = statistics.median(wall[paths]), statistics.median(cpu[paths])
            cost = decoding_step(lm.decoder.config, paths, args.prompt, args.tokens // 2, size)
            line = {
                **about, "measure": "step", "paths": paths, "ms": round(1000 * seconds, 2), "cpu_ms": round(1000 * cpu_seconds, 2),
                "tokens_per_second": round(paths / seconds, 1), "ratio": round(seconds / narrowest[0], 2),
                "cpu_ratio": round(cpu_seconds / narrowest[1], 2), "bytes": round(cost.bytes),
                "flops": round(cost.flops), "products_ms": round(1000 * alone[paths], 2),
                "products_ratio": round(alone[paths] / alone[args.widths[0]], 2), "gb_per_second": round(cost.bytes / seconds / 1e9, 2),
                "gflop_per_second": round(cost.flops / seconds / 1e9, 2), "measured": environment(),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
        for paths in args.widths:
            medians = {way: statistics.median(s for s, _ in taken) for way, taken in summaries[paths].items()}
            for way, seconds in medians.items():
                line = {
                    **about, "measure": "summary", "paths": paths, "way": way, "computed": summaries[paths][way][0][1],
                    "ms": round(1000 * seconds, 2), "ratio": round(seconds / medians["join"], 2), "measured": environment(),
                }  # fmt: skip
                print(json.dumps(line), flush=True)


def numbers(text: str) -> Seq[int]:
    """`1,2,4` as numbers."""
    return tuple(int(part) for part in text.split(","))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="qwen2.5-0.5b", choices=MODELS)
    parser.add_argument("--widths", type=numbers, default=(1, 2, 4, 8, 16))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    for name, default in {"prompt": 64, "tokens": 12, "repeats": 1, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    asyncio.run(measure(args))


if __name__ == "__main__":
    main()
