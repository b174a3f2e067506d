"""Those who sample: what the driver asks of a worker, and of the place where workers live. `local` is this process, `actors` is Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from reasonry.core import Budget, Problem
from reasonry.lm.decoder import Decoder
from reasonry.train.rollout import Attempts


class Lost(Exception):  # noqa: N818 (what it is, not an error of anyone here)
    """A worker is gone, with all that it had not finished; its message says how."""


@dataclass(frozen=True)
class Ask:
    """One group to be attempted. Made by the driver; crosses processes."""

    problem: Problem
    index: int
    """Of the problem among those its seed is for."""
    budget: Budget
    G: int
    seed: int


class Worker(Protocol):
    """One engine and what it needs to make attempts. Any number of groups may be under way; both calls raise `Lost`."""

    async def group(self, ask: Ask) -> Attempts:
        """The judged attempts, every token with the version of the weights that sampled it."""
        ...

    async def take(self, weights: Any, version: int) -> None:
        """Samples by these weights once this returns, what is under way included; keys stay, cached prefixes are forgotten."""
        ...


class Host(Protocol):
    """Where workers are started."""

    def slots(self, G: int) -> int:
        """Groups that a worker can compute side by side."""
        ...

    async def pack(self, weights: Decoder) -> Any:
        """Weights as `Worker.take` wants them; once for all workers."""
        ...

    async def start(self) -> Worker:
        """Another worker. Raises UserError where there can be none."""
        ...

    async def close(self) -> None:
        """Ends all workers. Closing twice is fine."""
        ...
