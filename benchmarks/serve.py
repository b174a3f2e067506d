"""Requests per second that `reasonry serve` holds, beside the same calls made in process: the ratio is what HTTP costs.

    python benchmarks/serve.py [--tokens 32] [--requests 64] [--repeats 2] [--threads 1]

The server runs in a process of its own with the pocket model (random weights of its shape where no checkpoint is there: speed does not
depend on the values). 1, 8 or 64 clients each ask for one chat completion after another, `--tokens` tokens long with the end token
ignored. The peer makes the same calls of `LocalLM.complete` in this process, as many at a time. Both are warmed up, then timed
`--repeats` times in turn; rates and latencies are medians over the repeats. A time stops after 60 seconds with what was done by then.
One JSON line per number of clients; `ratio` is our rate over the peer's. `cpu_ms` is what a request took of the computing process'
processor time (the server's, or this one's for the peer) and `cpu_ratio` the peer's over ours: on a machine that others use too it is
the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import httpx
import torch

from reasonry.core import Message, Sampling, UserError
from reasonry.core.run import machine
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM

MOST_SECONDS = 60.0
CLIENTS = (1, 8, 64)
Call = Callable[[int], Awaitable[int]]
"""Makes request number i; returns how many tokens came."""
Timed = tuple[float, float, float, float]
"""Requests per second, median and 95th percentile of the seconds a request took, processor seconds per request."""


def model(threads: int) -> LocalLM:
    torch.set_num_threads(threads)
    try:
        lm = load_lm("pocket")
        assert isinstance(lm, LocalLM)
        return lm
    except UserError:
        from reasonry.lm.decoder import Decoder
        from reasonry.train.pocket import PLANS, pocket_tokenizer

        decoder = Decoder(PLANS["pocket"].config).eval()
        decoder.reset_parameters(torch.Generator().manual_seed(0))
        return LocalLM(decoder, pocket_tokenizer(texts=500), "pocket (random weights)")


def question(i: int) -> str:
    return f"What is {10 + i % 80} + {11 + i * 7 % 80} - {i % 9}?"


def serve(port: int, threads: int, clock: Connection) -> None:
    """The server's process. Tells its processor time to whoever asks over `clock`."""
    from reasonry.serve.app import run

    def tell() -> None:
        while clock.recv():
            clock.send(time.process_time())

    threading.Thread(target=tell, daemon=True).start()
    run({"pocket": model(threads)}, port=port)


async def timed(call: Call, clock: Callable[[], float], clients: int, requests: int, first: int) -> Timed:
    """Runs `requests` requests from `clients` clients, each asking again as soon as it has its answer."""
    numbers = iter(range(first, first + requests))
    took: list[float] = []
    began, cpu = time.perf_counter(), clock()

    async def client() -> None:
        for i in numbers:
            start = time.perf_counter()
            await call(i)
            took.append(time.perf_counter() - start)
            if time.perf_counter() - began > MOST_SECONDS:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    took.sort()
    seconds, cpu = time.perf_counter() - began, clock() - cpu
    return len(took) / seconds, statistics.median(took), took[int(0.95 * (len(took) - 1))], cpu / len(took)


async def measure(args: argparse.Namespace, port: int, servers_clock: Connection) -> None:
    lm = model(args.threads)
    limits = httpx.Limits(max_connections=max(CLIENTS))
    async with lm, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as http:

        async def over_http(i: int) -> int:
            body = {"model": "pocket", "messages": [{"role": "user", "content": question(i)}], "max_tokens": args.tokens}
            reply = (await http.post("/v1/chat/completions", json=body | {"seed": i, "ignore_eos": True})).raise_for_status()
            return reply.json()["usage"]["completion_tokens"]

        async def in_process(i: int) -> int:
            done = await lm.complete((Message("user", question(i)),), Sampling(max_tokens=args.tokens, seed=i, ignore_eos=True))
            return done.cost.completion_tokens

        def at_server() -> float:
            servers_clock.send(True)
            return servers_clock.recv()

        for call in (over_http, in_process):
            assert await call(0) == args.tokens
        for clients in CLIENTS:
            requests = args.requests // 4 if clients == 1 else max(args.requests, clients)
            found: dict[str, list[Timed]] = {"ours": [], "peer": []}
            for repeat in range(args.repeats):
                for name, call, clock in (("ours", over_http, at_server), ("peer", in_process, time.process_time)):
                    found[name].append(await timed(call, clock, clients, requests, 1 + repeat * requests))
            ours, peer = ([statistics.median(column) for column in zip(*found[name], strict=True)] for name in ("ours", "peer"))
            line = {
                "benchmark": "serve", "model": lm.name, "clients": clients, "requests": requests, "tokens_each": args.tokens,
                "requests_per_second": round(ours[0], 2), "p50_ms": round(1e3 * ours[1], 1), "p95_ms": round(1e3 * ours[2], 1),
                "cpu_ms": round(1e3 * ours[3], 1),
                "peer": "LocalLM.complete in process", "peer_requests_per_second": round(peer[0], 2),
                "peer_p50_ms": round(1e3 * peer[1], 1), "peer_p95_ms": round(1e3 * peer[2], 1),
                "peer_cpu_ms": round(1e3 * peer[3], 1), "ratio": round(ours[0] / peer[0], 2), "cpu_ratio": round(peer[3] / ours[3], 2),
                "repeats": args.repeats, "threads": args.threads, "torch": torch.__version__, "machine": machine(),
            }  # fmt: skip
            print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--requests", type=int, default=64, help="requests per timing; a quarter of them for a single client")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    mine, servers = context.Pipe()
    server = context.Process(target=serve, args=(port, args.threads, servers), daemon=True)
    server.start()
    try:
        until = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                if time.monotonic() > until or not server.is_alive():
                    raise
                time.sleep(0.2)
        asyncio.run(measure(args, port, mine))
    finally:
        server.terminate()
        server.join(10)


if __name__ == "__main__":
    main()
