"""Verified solutions kept by problem, so that a problem that was solved once by search is not searched again (DeepSearch, 2509.25454).

Invariant: what is stored is a function of the batches learned from, and is in the policy's own checkpoint, so a resumed run replays what
an unkilled one would. Solutions are token ids, never text. Only answers that a search found are stored: easy problems need none, and what
was replayed is not stored again.

Departure: a group whose answers are all right or all wrong does not reach the batch where the curriculum filters it, and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasonry.core import Ids, Stop
from reasonry.train.curriculum import Lesson
from reasonry.train.reward import Rewarded
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch


class Solutions:
    """A `train.beside.Beside`; called, it looks a problem up. One per run, made before the explorer that asks it."""

    def __init__(self, most: int = 4) -> None:
        """`most`: solutions kept of a problem, the first found; 0 keeps none."""
        self.most = most
        self.kept: dict[str, list[list[int]]] = {}
        """Problem id -> solutions."""
        self._told: dict[str, float] = {}

    def __call__(self, problem_id: str) -> Sequence[Ids]:
        """The problem's solutions, as the ids that were sampled; empty where there are none."""
        return [tuple(ids) for ids in self.kept.get(problem_id, ())]

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """Stores what was found; the tokens stay as they are."""
        attempts = [r.trajectory for group in rewarded for r in group]
        for t in attempts:
            right = t.verdict is not None and t.verdict.passed is True and t.stop is Stop.EOS
            if right and t.meta.get("searched"):
                ids = [i for s in t.segments for i in s.ids or ()]
                mine = self.kept.get(t.problem_id, [])
                if len(mine) < self.most and ids not in mine:
                    self.kept[t.problem_id] = [*mine, ids]
        replayed = sum(bool(t.meta.get("cached")) for t in attempts)
        self._told = {"cached": replayed / max(len(attempts), 1), "stored": float(len(self.kept))}
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Tells `cached`, the share of the batch's attempts that were replayed, and `stored`, problems with a solution."""
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """What is stored."""
        return {"kept": self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes it back."""
        self.kept = {name: [list(ids) for ids in found] for name, found in state["kept"].items()}
