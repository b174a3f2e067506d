"""Where the loop's batches come from when sampling does not wait for learning; `train.pipeline` has the one there is.

Invariant: the loop calls `open`, then in turn `publish(weights, step)` and `batch()`, and `close` however it ends. What a batch holds the
course is told before the next is asked for; the weights that `publish` gives are a copy that never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reasonry.lm.decoder import Decoder
from reasonry.train.curriculum import Course
from reasonry.train.dynamic import Sampled
from reasonry.train.recipe import Recipe
from reasonry.train.reward import Rewarded


@dataclass(frozen=True)
class Ground:
    """What a sampler samples for. Made by the loop."""

    course: Course
    recipe: Recipe
    teaches: Callable[[Sequence[Rewarded]], bool]
    """Whether the update may learn from a group."""


class Sampler(Protocol):
    """Made by whoever calls `train`, for one run."""

    async def open(self, ground: Ground, step: int) -> None:
        """Gets ready; `step` updates are behind the weights that the first `publish` brings."""
        ...

    async def publish(self, weights: Decoder, version: int) -> None:
        """Samples by these weights from here on; `version` updates are behind them, one more than behind those before, or as many where a
        stage went back to its best."""
        ...

    async def batch(self) -> Sampled:
        """The next batch."""
        ...

    async def close(self) -> None:
        """Ends what is under way."""
        ...
