"""One worker in this process: the trainer's own engine goes on sampling, by copies of the weights, while the trainer computes beside it."""

from __future__ import annotations

from dataclasses import dataclass

from reasonry.core import Solver, Task, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.pipeline.worker import Ask
from reasonry.train.rollout import Attempts, Explorer, attempts


@dataclass(frozen=True)
class Here:
    """A `Host` of a single worker, and that `Worker` itself: what the solver asks of `lm` is sampled by `lm`'s engine."""

    lm: LocalLM
    solver: Solver | Explorer
    task: Task

    def slots(self, G: int) -> int:
        """As many groups as fill the engine's rows."""
        return max(self.lm.engine.scheduler.max_rows // G, 1)

    async def pack(self, weights: Decoder) -> Decoder:
        """As they are."""
        return weights

    async def start(self) -> Here:
        """Itself."""
        return self

    async def group(self, ask: Ask) -> Attempts:
        """The judged attempts."""
        version = self.lm.engine.version
        return await attempts(self.solver, self.task, ask.problem, ask.index, ask.budget, ask.G, ask.seed, version)

    async def take(self, weights: Decoder, version: int) -> None:
        """The loop's own `publish` has given them to the engine already; says so where it has not."""
        if self.lm.engine.decoder is not weights:
            raise UserError(f"pipeline: the engine of {self.lm.name} is not the trainer's; train the model that this host samples with")

    async def close(self) -> None:
        """Nothing to end."""
