"""Decoding after a long context: a window with an AHN memory beside full attention in transformers, same weights, same run.

    python benchmarks/ahn_decode.py [--threads 1] [--contexts 2048,8192,32768,65536] [--tokens 16]

Two of Qwen2.5-0.5B's 24 blocks, with random weights and a small vocabulary: their time and memory a block are the whole model's, and no
vocabulary product hides them. The context is not computed: transformers' cache is filled with random keys and values of that length, and
the memory (128 sinks, a window of 1,920 tokens) is full anyway, its time being the same at every length beyond it. Lines give
milliseconds a token (median; ways take turns), and by formula the operations a token and the bytes a block keeps; `ratio` is
transformers' time over ours. transformers' usual cache is copied for every token; so there is full attention over keys that stay where
they are, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from reasonry.accel.ahn import CELLS, Window, adapt
from reasonry.accel.ahn.engine import take_up
from reasonry.accel.ahn.ledger import cache_bytes, cell_flops, full_cache
from reasonry.accel.ahn.memory import Memory
from reasonry.core.run import machine
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.engine.flops import block_flops, key_flops
from reasonry.nn.attention import Site, attention

SHAPE = DecoderConfig(1024, 896, 2, 14, 2, 64, 4864, 131072, rope_theta=1e6, qkv_bias=True)
WINDOW = Window(1920, 128)


Step = Callable[[], object]


@torch.inference_mode()
def timed(ways: Mapping[str, Step], tokens: int) -> dict[str, float]:
    """Way -> median milliseconds of a step, after two to warm up. They take turns, so that a busy machine is so for all."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(tokens + 2):
        for way, step in ways.items():
            began = time.perf_counter()
            step()
            seconds[way] += [time.perf_counter() - began] * (i > 1)
    return {way: 1000 * statistics.median(s) for way, s in seconds.items()}


@torch.inference_mode()
def full(folder: Path, context: int) -> Step:
    """A token more, by transformers."""
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    cache = DynamicCache()
    for layer in range(SHAPE.num_layers):
        kv = torch.randn(2, 1, SHAPE.num_kv_heads, context, SHAPE.head_dim)
        cache.update(kv[0], kv[1], layer)
    ids = torch.ones(1, 1, dtype=torch.int64)
    return lambda: model(ids, past_key_values=cache, use_cache=True).logits


@torch.inference_mode()
def in_place(decoder: Decoder, context: int) -> Step:
    """A token more, by full attention over keys that are not copied."""
    kept: dict[Site, torch.Tensor] = {}

    def attend(site: Site, x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if site not in kept:
            kept[site] = torch.randn(2, 1, SHAPE.num_kv_heads, context + 1, SHAPE.head_dim).transpose(2, 3)
        kept[site][:, :, -1:] = torch.stack((k, v))
        return attention(q, kept[site][0], kept[site][1])

    ids, position = torch.ones(1, 1, dtype=torch.int64), torch.tensor([[context]])
    return lambda: decoder.logits(decoder(ids, position, attend).last)


@torch.inference_mode()
def ours(decoder: Decoder, cell: str, context: int) -> Step:
    """A token more, by a cell."""
    memory = Memory(adapt(decoder, cell), WINDOW, 1)
    for piece in torch.ones(1, WINDOW.rows + 64, dtype=torch.int64).split(512, dim=1):
        take_up(decoder, piece, memory)
    memory.seen += context - int(memory.seen)
    ids = torch.ones(1, 1, dtype=torch.int64)
    return lambda: decoder.logits(take_up(decoder, ids, memory))


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
            ways = {"transformers, full attention": full(Path(folder), context)}
            ways["reasonry, full attention"] = in_place(decoder, context)
            ways |= {f"reasonry, {cell}": ours(decoder, cell, context) for cell in CELLS}
            found = timed(ways, a.tokens)
            peer = found["transformers, full attention"]
            for way, ms in found.items():
                own, patched = way.startswith("reasonry"), not way.endswith("full attention")
                attended = WINDOW.rows if patched else context + 1
                flops = block_flops(SHAPE) + key_flops(SHAPE) * attended + (cell_flops(SHAPE, 1) if patched else 0)
                kept = cache_bytes(SHAPE, WINDOW.rows, 4, True) if patched else 4 * full_cache(SHAPE, context + 1)
                line = {
                    "benchmark": "ahn_decode", "way": way, "version": version("reasonry" if own else "transformers"), "context": context,
                    "ms": round(ms, 2), "tokens_per_second": round(1000 / ms, 1), "flops_per_block": round(flops), "bytes_per_block": kept,
                    "threads": a.threads, "torch": torch.__version__, "machine": machine(),
                }  # fmt: skip
                print(json.dumps(line | ({"ratio": round(peer / ms, 2)} if own else {})), flush=True)


if __name__ == "__main__":
    main()
