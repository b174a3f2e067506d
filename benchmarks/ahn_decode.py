"""Decoding one token after a long context: a window with an AHN memory beside full attention in transformers, same weights, same run.

    python benchmarks/ahn_decode.py [--threads 1] [--contexts 2048,8192,32768,65536] [--tokens 16]

Two blocks of Qwen2.5-0.5B's shape with random weights and a small vocabulary. The context is not computed: transformers' cache is filled
with random keys and values of that length, and the memory (128 sinks, a window of 1,920 tokens) is full anyway, its time being the same at
every length beyond it. Lines give milliseconds a token (median), `ratio` is their time over ours, and the bytes each keeps per block.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from reasonry.accel.ahn import CELLS, Window, adapt
from reasonry.accel.ahn.engine import take_up
from reasonry.accel.ahn.ledger import cache_bytes
from reasonry.accel.ahn.memory import Memory
from reasonry.core.run import machine
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig

SHAPE = DecoderConfig(1024, 896, 2, 14, 2, 64, 4864, 131072, rope_theta=1e6, qkv_bias=True)
WINDOW = Window(1920, 128)


def timed(step: Callable[[], object], tokens: int) -> float:
    """Median milliseconds of a step, after two to warm up."""
    seconds: list[float] = []
    for i in range(tokens + 2):
        began = time.perf_counter()
        step()
        seconds += [time.perf_counter() - began] * (i > 1)
    return 1000 * statistics.median(seconds)


@torch.inference_mode()
def full(folder: Path, context: int, tokens: int) -> float:
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    cache = DynamicCache()
    for layer in range(SHAPE.num_layers):
        kv = torch.randn(2, 1, SHAPE.num_kv_heads, context, SHAPE.head_dim)
        cache.update(kv[0], kv[1], layer)
    ids = torch.ones(1, 1, dtype=torch.int64)
    return timed(lambda: model(ids, past_key_values=cache, use_cache=True).logits, tokens)


@torch.inference_mode()
def ours(decoder: Decoder, cell: str, context: int, tokens: int) -> float:
    memory = Memory(adapt(decoder, cell), WINDOW, 1)
    for piece in torch.ones(1, WINDOW.rows + 64, dtype=torch.int64).split(512, dim=1):
        take_up(decoder, piece, memory)
    memory.seen += context - int(memory.seen)
    ids = torch.ones(1, 1, dtype=torch.int64)
    return timed(lambda: decoder.logits(take_up(decoder, ids, memory)), tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description="Decoding after a long context, a window with a memory beside full attention.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contexts", default="2048,8192,32768,65536")
    parser.add_argument("--tokens", type=int, default=16)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    decoder = Decoder(SHAPE)
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        save_decoder(decoder, folder)
        decoder = load_decoder(folder)
        for context in map(int, a.contexts.split(",")):
            peer = full(Path(folder), context, a.tokens)
            common = {"benchmark": "ahn_decode", "context": context, "threads": a.threads, "torch": torch.__version__, "machine": machine()}
            kept = 4 * context * 2 * SHAPE.num_kv_heads * SHAPE.head_dim
            line = {
                **common,
                "way": "transformers, full attention",
                "version": version("transformers"),
                "ms": round(peer, 2),
                "bytes_per_block": kept,
            }
            print(json.dumps(line), flush=True)
            for cell in CELLS:
                ms = ours(decoder, cell, context, a.tokens)
                kept = cache_bytes(SHAPE, WINDOW.rows, 4, True)
                line = {**common, "way": f"reasonry, {cell}", "version": version("reasonry"), "ms": round(ms, 2), "bytes_per_block": kept}
                print(json.dumps({**line, "ratio": round(peer / ms, 2)}), flush=True)


if __name__ == "__main__":
    main()
