"""Tokens per second of the engine beside transformers' `generate` and its continuous batching: same weights, prompts, lengths, run.

    python benchmarks/engine.py [--threads 1] [--shape pocket] [--requests 64] [--repeats 3] [--only ours]

A random Qwen3-shaped checkpoint is saved once and loaded by both. 64 prompts of 16 to 64 tokens want 8 to 256 new tokens each, sampled at
temperature 1 with the end token ignored, so that lengths are exact. *Useful* tokens are those requested: `generate` runs a left-padded
batch to its longest request, once with all requests in one batch and once in batches of 16 in order of submission; what it samples beyond a
request's own length is not counted, for nobody asked for it. One JSON line per measurement; `ratio` is our rate over the peer's. Each
way is warmed up with a short run, set-up included, and timed `--repeats` times, ways alternating; rates are medians. `cpu_ratio`
compares processor seconds instead of wall-clock ones: on a machine that others use too it is the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from reasonry.core import Sampling
from reasonry.core.run import machine
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer

SHAPES = {
    # the shipped pocket models' shapes, and one with real heads to see where the arithmetic dominates
    "pocket-1m": DecoderConfig(
        vocab_size=1024, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=2, head_dim=32, intermediate_size=384,
        max_position=2048, qk_norm=True,
    ),
    "pocket": DecoderConfig(
        vocab_size=1024, hidden_size=192, num_layers=10, num_heads=6, num_kv_heads=2, head_dim=32, intermediate_size=512,
        max_position=2048, qk_norm=True,
    ),
    "middle": DecoderConfig(
        vocab_size=8192, hidden_size=512, num_layers=8, num_heads=8, num_kv_heads=4, head_dim=64, intermediate_size=1536,
        max_position=2048, qk_norm=True,
    ),
}  # fmt: skip
PAD = 0
Request = tuple[list[int], int]
"""Prompt ids, and how many new tokens are wanted."""


def requests(n: int, vocabulary: int) -> list[Request]:
    """Prompts of 16 to 64 random tokens wanting 8 to 256 new ones, the lengths evenly spread and shuffled."""
    g = torch.Generator().manual_seed(0)
    wants = torch.linspace(8, 256, n).round().int()[torch.randperm(n, generator=g)].tolist()
    lengths = torch.randint(16, 65, (n,), generator=g).tolist()
    return [(torch.randint(3, vocabulary, (length,), generator=g).tolist(), want) for length, want in zip(lengths, wants, strict=True)]


def ours(lm: LocalLM, work: list[Request]) -> None:
    async def all_of_them() -> None:
        asked = [lm.complete(tuple(ids), Sampling(max_tokens=want, seed=i, ignore_eos=True)) for i, (ids, want) in enumerate(work)]
        done = await asyncio.gather(*asked)
        assert [len(c.ids or ()) for c in done] == [want for _, want in work]
        lm.engine.flush()

    asyncio.run(all_of_them())


def generate(model, work: list[Request], batch: int) -> None:
    for at in range(0, len(work), batch):
        part = work[at : at + batch]
        width = max(len(ids) for ids, _ in part)
        ids = torch.tensor([[PAD] * (width - len(ids)) + ids for ids, _ in part])
        longest = max(want for _, want in part)
        out = model.generate(
            ids, attention_mask=(torch.arange(width) >= width - torch.tensor([[len(ids)] for ids, _ in part])).long(),
            max_new_tokens=longest, min_new_tokens=longest, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=PAD,
        )  # fmt: skip
        assert out.shape[1] == width + longest


def continuous(manager, work: list[Request]) -> None:
    left = {manager.add_request(ids, max_new_tokens=want): want for ids, want in work}
    deadline = time.perf_counter() + 240
    while left:
        result = manager.get_result(timeout=1)
        if result is not None and result.is_finished():
            if result.error is not None:
                raise RuntimeError(result.error)
            assert len(result.generated_tokens) == left.pop(result.request_id)
        elif not manager.is_running() or time.perf_counter() > deadline:
            raise RuntimeError(f"{len(left)} of {len(work)} requests never came back")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", choices=SHAPES, default="pocket")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only ways whose name holds one of these, separated by |")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    torch.set_num_threads(args.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)

    import transformers

    decoder = Decoder(SHAPES[args.shape])
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer.train(["nothing"], 512, specials, "{{ messages[0].content }}")
    with tempfile.TemporaryDirectory() as folder:
        save_decoder(decoder, Path(folder), tokenizer)
        lm = LocalLM(load_decoder(folder), tokenizer, "ours", max_rows=args.requests)
        peer = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        paged = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    forever = transformers.GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=-1, pad_token_id=PAD, max_new_tokens=256
    )
    ways: dict[str, Callable[[list[Request]], None]] = {
        "reasonry engine": lambda work: ours(lm, work),
        f"transformers generate, one batch of {args.requests}": lambda work: generate(peer, work, args.requests),
        "transformers generate, batches of 16": lambda work: generate(peer, work, 16),
        "transformers continuous batching": lambda work: continuous(manager(), work),
    }

    @functools.cache
    def manager():
        made = paged.init_continuous_batching(generation_config=forever)
        made.warmup()
        made.start()
        stack.callback(made.stop, block=True, timeout=10)
        return made

    ways = {name: way for name, way in ways.items() if any(part in name for part in args.only.split("|"))}
    work = requests(args.requests, decoder.config.vocab_size)
    useful = sum(want for _, want in work)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    why_not: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for repeat in range(args.repeats + 1):
            for name, way in ways.items():
                if name not in why_not:
                    wall, cpu = time.perf_counter(), time.process_time()
                    try:
                        way([(ids, 8) for ids, _ in work] if repeat == 0 else work)
                    except Exception as error:
                        why_not[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                    if repeat:
                        seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    rates = {
        name: [useful / statistics.median(column) for column in zip(*taken, strict=True)]
        for name, taken in seconds.items()
        if name not in why_not
    }
    mine = rates.get("reasonry engine")
    for name in ways:
        line = {
            "benchmark": "engine", "way": name, "version": version("reasonry" if "reasonry" in name else "transformers"),
            "torch": torch.__version__, "machine": machine(), "threads": args.threads, "shape": args.shape, "requests": args.requests,
            "useful_tokens": useful,
        }  # fmt: skip
        if name in rates:
            wall, cpu = rates[name]
            line |= {"tokens_per_second": round(wall, 1), "tokens_per_cpu_second": round(cpu, 1)}
            line |= {"seconds": [round(s, 2) for s, _ in seconds[name]]}
            line |= {"ratio": round(mine[0] / wall, 2), "cpu_ratio": round(mine[1] / cpu, 2)} if mine is not None else {}
        else:
            line |= {"why_not": why_not[name]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
