"""A trained TRM as a solver: reads the puzzle in a problem's prompt, improves its answer step by step, hands the last one to the judge.

Each supervision step is a call: it reads L cells and says L, for `rows` copies of the puzzle at once, and is a segment whose text is the
grid as the network would have it then. The budget is never exceeded: a step that does not fit is not made.

Three ways to use more compute at test time, besides more steps: a vote over changed copies (the paper's for ARC), several rollouts with
noise on z of which the halting head likes one best (PTRM, arXiv 2605.19943; here the first rollout is left undisturbed), or neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reasonry.core import Budget, Cost, Problem, Segment, Stop, Trajectory, UserError
from reasonry.worlds.grids import World
from reasonry.worlds.trm import TRM, Seen
from reasonry.worlds.trm_infer import Noise, chosen, refine, vote

Choose = Callable[[Tensor, Tensor], int]
"""(answers [K, L] on the puzzle as it stands, halting logits [K]) -> the row to answer with."""


def first(answers: Tensor, halt: Tensor) -> int:
    """The first row."""
    return 0


def surest(answers: Tensor, halt: Tensor) -> int:
    """The row that the halting head likes best."""
    return int(chosen(halt))


def most_voted(answers: Tensor, halt: Tensor) -> int:
    """The answer that most rows give, ties by the halting head's mean."""
    rows = [tuple(row) for row in answers.tolist()]
    return rows.index(vote(rows, halt.tolist())[0])


@dataclass(frozen=True)
class Recursive:
    """See the module's docstring."""

    model: TRM
    world: World
    steps: int = 16
    """Supervision steps at most."""
    rows: int = 1
    """K, copies of the puzzle that are run at once."""
    changed: bool = False
    """All copies but the first are changed ones."""
    sigma: float = 0.0
    """Deviation of the noise on z, for all rows but the first."""
    choose: Choose = first
    name: str = "single"

    def __post_init__(self) -> None:
        for name in ("steps", "rows"):
            if getattr(self, name) < 1:
                raise UserError(f"TRM: {name} is {getattr(self, name)} but must be at least 1")
        if self.sigma < 0:
            raise UserError(f"TRM: sigma is {self.sigma:g} but must not be below 0")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Raises UserError where the prompt holds no puzzle of this network's world."""
        rng = Generator(self.model.y0.device).manual_seed(seed)
        copies = self.world.copies(problem, self.rows if self.changed else 1, rng)
        rows = len(copies.cells) if self.changed else self.rows
        cells = copies.cells.expand(rows, -1)
        ids = None if copies.ids is None else copies.ids.expand(rows)
        noise = Noise(self.sigma * (torch.arange(rows, device=cells.device) > 0), rng) if self.sigma else None
        asked, answer, halts = copies.cells[0].tolist(), "", list[float]()
        trace, price = Trajectory(problem.id, meta={"puzzle": self.world.draw(asked)}), self.price(rows)
        running = refine(self.model, cells, self.steps, ids, noise)
        while len(halts) < self.steps:
            if unit := _over(budget, trace.cost + price):
                return trace.finish(Stop.BUDGET, answer, unit, halt=halts)
            began = time.perf_counter()
            filled, halt = await asyncio.to_thread(_step, running)
            back = copies.undo(filled) if self.changed else filled
            row = self.choose(back, halt)
            said = back[row].tolist()
            answer = worded(problem, self.world.answer(asked, said), self.world.draw(said))
            halts.append(round(float(halt[row].sigmoid()), 4))
            cost = price + Cost(seconds=time.perf_counter() - began)
            trace = trace.add(Segment(None, None, self.world.draw(said), None, Stop.EOS, cost, "refine", model="trm"))
        return trace.finish(Stop.EOS, answer, halt=halts)

    def price(self, rows: int) -> Cost:
        """What one supervision step of `rows` copies costs."""
        shape = self.model.shape
        read = rows * shape.cells
        blocks = rows * shape.evaluations * shape.layers * shape.positions
        return Cost(read, read, read, calls=1, flops=rows * shape.step_flops(), layers_run=blocks)


def worded(problem: Problem, answer: str, drawn: str) -> str:
    """The answer as its judge reads it: where the prompt asks for `<answer>` tags (reasoning-gym), the drawn grid in them as well."""
    if "<answer>" not in problem.messages[-1].content:
        return answer
    spaced = "\n".join(" ".join(row) for row in drawn.split("\n"))
    return f"<answer>{spaced}</answer>\n{answer}"


def _step(running: Iterator[Seen]) -> tuple[Tensor, Tensor]:
    """The next supervision step: tokens [K, L] and halting logits [K]."""
    seen = next(running)
    return seen.logits.argmax(-1), seen.halt


def _over(budget: Budget, cost: Cost) -> str | None:
    """The first unit in which a cost would exceed the budget."""
    return next((unit for unit, limit in budget.limits() if getattr(cost, unit) > limit), None)
