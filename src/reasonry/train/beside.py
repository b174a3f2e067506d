"""What learns or looks beside the policy: a critic, a process-reward model, a greedy baseline, a tracked value of every prompt.

Invariant: the loop calls `prepare`, then updates the policy, then calls `learn`; both see the batch the policy sees. What `state_dict`
returns is in the policy's own checkpoint, so a resumed run finds both where they were together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reasonry.train.curriculum import Lesson
from reasonry.train.reward import Rewarded
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch


class Beside(Protocol):
    """Made by whoever calls `train`, for one run."""

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The batch's tokens with what the objective asks for: `value`, `process`, `baseline`, `step`. `rewarded` are the groups they came
        from, in the batch's order; `lesson` has their problems and limits."""
        ...

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Learns from the batch and returns what the step's record should say of it. Called from a worker thread."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only: all that a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        ...
