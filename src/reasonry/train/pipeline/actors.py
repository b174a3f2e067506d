"""Workers on Ray: each a process with an engine and a copy of the policy; weights travel once through the object store.

    def make() -> Kit:                                  # called in the worker; builds everything that does not travel
        lm = load_lm("pocket", max_rows=64)
        return Kit(lm, build_solver("single", lm, task), task)

    pipeline = Pipeline(Cluster(make, rows=64), k=8, workers=2)

Where Ray is running already, or `RAY_ADDRESS` names a cluster, that is used; else one is started on this machine alone, without dashboard
and usage statistics, and stopped at the end. A worker computes with one thread, and with a GPU where `gpus` says so.

Invariants. A worker is never restarted behind the driver's back: its death is `Lost`, and another is a new actor that is given the newest
weights before its first group. What a worker takes up it has loaded into a second copy of the decoder, while the first goes on sampling.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from reasonry.core import LM, Missing, Solver, Task
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.lora import adapters, merged
from reasonry.train.pipeline.worker import Ask, Lost
from reasonry.train.rollout import Attempts, Explorer, attempts


class Takes(Protocol):
    """An engine that takes up new weights while it samples; its `version` is that of those in use."""

    version: int

    async def take(self, weights: Mapping[str, Any], version: int) -> None:
        """Weights by their names in a checkpoint of the model's family, as arrays."""
        ...


@dataclass(frozen=True)
class Kit:
    """What a worker works with. Made in its own process."""

    lm: LM
    solver: Solver | Explorer
    task: Task
    engine: Takes | None = None
    """What takes up weights, where `lm` is not a `LocalLM`."""


class Swapped:
    """A `LocalLM` as `Takes`: the weights are loaded into the decoder that is not in use."""

    def __init__(self, lm: LocalLM) -> None:
        self._lm, self._spare = lm, deepcopy(lm.decoder).requires_grad_(False)

    @property
    def version(self) -> int:
        """Of the weights in use."""
        return self._lm.engine.version

    async def take(self, weights: Mapping[str, Any], version: int) -> None:
        """Loads them, then swaps."""
        await asyncio.to_thread(self._swap, weights, version)

    def _swap(self, weights: Mapping[str, Any], version: int) -> None:
        engine = self._lm.engine
        self._spare.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self._spare, used = engine.decoder, self._spare
        engine.flush(used, version)


class Rollout:
    """What runs in the worker's process; its methods are called from the trainer's."""

    def __init__(self, make: Callable[[], Kit], threads: int) -> None:
        self._make, self._threads, self._lock = make, threads, asyncio.Lock()

    async def open(self) -> int:
        """Builds everything; the number of this process."""
        torch.set_num_threads(self._threads)
        self._kit = kit = self._make()
        self._engine: Takes = kit.engine or Swapped(kit.lm)  # type: ignore[arg-type]  # Kit says so
        return os.getpid()

    async def group(self, ask: Ask) -> Attempts:
        """The judged attempts."""
        kit, version = self._kit, self._engine.version
        return await attempts(kit.solver, kit.task, ask.problem, ask.index, ask.budget, ask.G, ask.seed, version)

    async def take(self, weights: Mapping[str, Any], version: int) -> None:
        """Samples by these weights once this returns; older ones that arrive late are left."""
        async with self._lock:
            if version >= self._engine.version:
                await self._engine.take(weights, version)


class Actor:
    """A `Worker` whose work is done by a Ray actor."""

    def __init__(self, handle: Any, pid: int) -> None:
        self.handle, self.pid = handle, pid

    async def group(self, ask: Ask) -> Attempts:
        """The judged attempts."""
        return await _answer(self.handle.group.remote(ask))

    async def take(self, weights: Any, version: int) -> None:
        """`weights` is a reference into the object store."""
        await _answer(self.handle.take.remote(weights, version))


class Cluster:
    """A `Host` on Ray. Raises Missing where Ray is not installed."""

    def __init__(self, make: Callable[[], Kit], rows: int, threads: int = 1, gpus: float = 0.0) -> None:
        """`rows`: attempts that a worker computes side by side. `threads` and `gpus` are those of one worker."""
        try:
            import ray
        except ImportError as error:
            raise Missing("ray", "ray", "sampling on other processes") from error
        self._ray, self._make, self.rows, self.threads, self.gpus = ray, make, rows, threads, gpus
        self.workers: list[Actor] = []
        """All that were ever started."""
        self._own = False

    def slots(self, G: int) -> int:
        """As many groups as fill a worker's rows."""
        return max(self.rows // G, 1)

    async def pack(self, weights: Decoder) -> Any:
        """A reference to the weights in the object store; adapters are merged into them."""
        self._own |= connect()
        return await asyncio.to_thread(self._put, weights)

    async def start(self) -> Actor:
        """Another actor, once it has built its model."""
        kind = self._ray.remote(num_cpus=0, num_gpus=self.gpus, max_restarts=0, max_task_retries=0, max_concurrency=10_000)(Rollout)
        handle = kind.remote(self._make, self.threads)
        actor = Actor(handle, await _answer(handle.open.remote()))
        self.workers.append(actor)
        return actor

    async def close(self) -> None:
        """Ends the actors, and Ray where this started it."""
        if self._ray.is_initialized():
            for actor in self.workers:
                self._ray.kill(actor.handle)
            if self._own:
                await asyncio.to_thread(self._ray.shutdown)
                self._own = False

    def _put(self, weights: Decoder) -> Any:
        plain = merged(weights) if adapters(weights) else weights
        return self._ray.put({name: tensor.detach().float().cpu().numpy() for name, tensor in plain.state_dict().items()})


def connect() -> bool:
    """Connects to Ray where that is not done yet; whether this started one, on this machine alone."""
    import ray

    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES of actors without a GPU alone
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves workers on a machine that computes anything else
    own = "RAY_ADDRESS" not in os.environ
    here = {"_node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": 1} if own else {}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **here)
    return own


async def _answer(reference: Any) -> Any:
    """What a remote call returns. Raises `Lost` where its process is gone."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception) and not isinstance(cause, RayActorError):
            raise cause from error
        raise
    except RayActorError as error:
        raise Lost(" ".join(str(error).split())[:300]) from error
