"""ARC's score of a trained network: every copy of a test input is run, changes are undone, grids voted on, the first two submitted.

As in the released evaluator; a task's score is the mean over its test inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from reasonry.core import Problem
from reasonry.worlds.arc_world import ArcWorld
from reasonry.worlds.trm import TRM
from reasonry.worlds.trm_infer import refine, vote


@dataclass(frozen=True)
class Submission:
    """What was said to one test input."""

    task: str
    answers: Sequence[str]
    """Grids as text, the most voted first."""
    gold: str | None

    def within(self, k: int) -> bool:
        """Whether the right grid is among the first `k`."""
        return self.gold in self.answers[:k]


def submit(model: TRM, world: ArcWorld, problem: Problem, copies: int, steps: int, rows: int = 64) -> Submission:
    """Runs `copies` copies of a test input for `steps` steps, `rows` at once, and votes."""
    asked = world.copies(problem, copies, torch.Generator(model.y0.device))
    filled, halt = [], []
    for start in range(0, len(asked.cells), rows):
        ids = None if asked.ids is None else asked.ids[start : start + rows]
        *_, last = refine(model, asked.cells[start : start + rows], steps, ids)
        filled.append(last.logits.argmax(-1))
        halt += last.halt.tolist()
    said = [world.draw(row).replace("\n", "/") for row in asked.undo(torch.cat(filled)).tolist()]
    return Submission(str(problem.meta["task"]), vote(said, halt), problem.answer)


def score(submissions: Iterable[Submission], k: int) -> float:
    """Mean over tasks of the share of their test inputs whose right grid is among the first `k`.

    Inputs without a known output are left out. Raises ValueError where none is known.
    """
    tasks: dict[str, list[bool]] = {}
    for said in submissions:
        if said.gold is not None:
            tasks.setdefault(said.task, []).append(said.within(k))
    if not tasks:
        raise ValueError("no test input's output is known")
    return sum(sum(right) / len(right) for right in tasks.values()) / len(tasks)
