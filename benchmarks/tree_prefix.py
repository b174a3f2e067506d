"""A tree of chunks grown by forking open sequences, beside the same tree grown by reading prefixes again: same tokens, same run.

    python benchmarks/tree_prefix.py [--walk] [--shape pocket] [--prompt 512] [--chunk 16] [--width 4] [--expansions 24] [--repeats 3]
                                     [--threads 1]

A random model of the shape grows one tree: each expansion takes a node drawn from the frontier and samples `--width` chunks of `--chunk`
tokens below it. Three ways, which sample the same tokens (checked): `fork`, the way of `solve.tree.Forked`, computes each token once;
`reread` asks for every chunk's whole prefix, with nothing kept, as a search over an engine without a prefix cache does; `reread, cached`
does the same with the engine's own prefix cache, which keeps whole blocks of eight tokens, as engines with radix caches do. Each way is
warmed up, then timed `--repeats` times, ways alternating. One JSON line per way: `computed` tokens that went through the network, seconds
(all repeats), and `ratio` and `cpu_ratio`, medians of wall-clock and processor time over those of `fork`: how many times dearer the way is.

`--walk`: in place of a tree grown from its frontier, a walk as VGB's, that goes back as often as on: `--width` chunks are proposed at each
place, then it goes to one of them or back to where it came from, and proposes again. The first way is then `solve.tree.Trail`: one open
sequence, forked for proposals, appended to going on and truncated going back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Coroutine

import torch

from engine import SHAPES
from reasonry.core import Ids, Sampling
from reasonry.core.run import environment, machine
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve.tree import Forked, Grow, Node, Reread, Trail

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
WAYS = ("fork", "reread", "reread, cached")


def model(shape: str, kept: bool) -> LocalLM:
    """A random model; `kept`: whether its engine remembers prefixes."""
    decoder = Decoder(SHAPES[shape])
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    lm = LocalLM(decoder, Tokenizer.train([], 512, ["<|endoftext|>", "<|im_end|>"], TEMPLATE), shape, kv_tokens=1 << 17)
    if not kept:
        lm.engine.cache.keep = lambda program, ids, slots: None  # type: ignore[method-assign]
    return lm


async def grow(way: Grow, args: argparse.Namespace) -> tuple[list[Ids], int]:
    """All chunks of the tree, in order, and how many tokens were computed."""
    rng, chunks, computed = random.Random(0), list[Ids](), 0
    root = Node()
    prompt = tuple(rng.randrange(3, 500) for _ in range(args.prompt))
    prefixes, open_ = {root: prompt}, [root]
    for e in range(args.expansions):
        node = open_.pop(rng.randrange(len(open_)))
        samplings = [Sampling(max_tokens=args.chunk, seed=1000 * e + i, ignore_eos=True) for i in range(args.width)]
        for c, child in await way.children(node, prefixes[node], samplings):
            assert c.ids is not None
            prefixes[child] = prefixes[node] + c.ids
            open_.append(child)
            chunks.append(c.ids)
            computed += c.cost.processed_tokens
        way.close(node)
    for node in open_:
        way.close(node)
    return chunks, computed


async def wander(way: Trail | LocalLM, args: argparse.Namespace) -> tuple[list[Ids], int]:
    """All chunks proposed on a walk, in order, and how many tokens were computed."""
    rng, chunks, computed = random.Random(0), list[Ids](), 0
    path = [tuple(rng.randrange(3, 500) for _ in range(args.prompt))]
    for e in range(args.expansions):
        samplings = [Sampling(max_tokens=args.chunk, seed=1000 * e + i, ignore_eos=True) for i in range(args.width)]
        if isinstance(way, Trail):
            made = await way.grow(path[-1], samplings)
        else:
            made = list(await asyncio.gather(*(way.complete(path[-1], s) for s in samplings)))
        chunks += [c.ids or () for c in made]
        computed += sum(c.cost.processed_tokens for c in made)
        if len(path) > 1 and rng.random() < 0.5:
            path.pop()
        else:
            path.append(path[-1] + (made[rng.randrange(args.width)].ids or ()))
    if isinstance(way, Trail):
        way.close()
    return chunks, computed


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="pocket", choices=SHAPES)
    parser.add_argument("--walk", action="store_true")
    for name, default in {"prompt": 512, "chunk": 16, "width": 4, "expansions": 24, "repeats": 3, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lms = {way: model(args.shape, kept=way != "reread") for way in WAYS}
    ways: dict[str, Callable[[], Grow]] = {
        "fork": lambda: Forked(lms["fork"]), "reread": lambda: Reread(lms["reread"]),
        "reread, cached": lambda: Reread(lms["reread, cached"]),
    }  # fmt: skip

    def go(way: str) -> Coroutine[None, None, tuple[list[Ids], int]]:
        return wander(Trail(lms[way]) if way == "fork" else lms[way], args) if args.walk else grow(ways[way](), args)

    wall: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, list[float]] = {way: [] for way in WAYS}
    made: dict[str, tuple[list[Ids], int]] = {}
    for repeat in range(args.repeats + 1):
        for way in WAYS:
            lms[way].engine.flush()
            before = time.perf_counter(), time.process_time()
            made[way] = asyncio.run(go(way))
            if repeat:
                wall[way].append(time.perf_counter() - before[0])
                cpu[way].append(time.process_time() - before[1])
    assert all(made[way][0] == made["fork"][0] for way in WAYS), "the ways sampled different tokens"
    for way in WAYS:
        line = {
            "benchmark": "tree_prefix", "search": "walk" if args.walk else "frontier", "way": way, "machine": machine(),
            "threads": args.threads, "shape": args.shape,
            "prompt": args.prompt,
            "chunk": args.chunk, "width": args.width, "expansions": args.expansions, "computed": made[way][1],
            "seconds": [round(s, 3) for s in wall[way]], "cpu_seconds": [round(s, 3) for s in cpu[way]],
            "ratio": round(statistics.median(wall[way]) / statistics.median(wall["fork"]), 2),
            "cpu_ratio": round(statistics.median(cpu[way]) / statistics.median(cpu["fork"]), 2), "measured": environment(),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
