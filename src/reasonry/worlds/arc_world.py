"""ARC as a world: coloured grids on a 30×30 canvas, each task under many changes, each change a puzzle of its own to the network.

Tokens: 0 padding, 1 the edge after a grid's last row and column, 2 + c the colour c. As in the released data builder: a task and a change
share an embedding id, the demonstrations of the tasks to be solved are trained on (never their test outputs), training places a grid
anywhere it fits and the same way for input and output, and a task's first copy is unchanged.

Invariant: `crop(lay(grid)) = grid`, and undoing a change gives the grid back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from reasonry.core import Problem, UserError
from reasonry.tasks.arc import ArcTask, write_grid
from reasonry.worlds.changes import Change, Recolouring, identity, recolouring
from reasonry.worlds.grids import Copies, Draw, Puzzles

CANVAS = 30
EDGE, COLOUR = 1, 2
TRIES = 5
"""Random changes tried for each that is wanted: some give a copy that is there already."""

Grid = NDArray[np.integer]


def lay(grid: Grid, top: int = 0, left: int = 0) -> Grid:
    """A grid [R, C] on the canvas, its edge after it where there is room: [30, 30] tokens."""
    rows, columns = grid.shape
    canvas = np.zeros((CANVAS, CANVAS), dtype=np.int64)
    canvas[top : top + rows, left : left + columns] = grid + COLOUR
    if top + rows < CANVAS:
        canvas[top + rows, left : left + columns] = EDGE
    if left + columns < CANVAS:
        canvas[top : top + rows, left + columns] = EDGE
    return canvas


def crop(canvas: Grid) -> Grid | None:
    """The largest rectangle of colours that begins at the top left corner; `None` where there is none."""
    coloured = canvas >= COLOUR
    width, best = CANVAS, (0, 0)
    for row in range(CANVAS):
        stop = np.flatnonzero(~coloured[row, :width])
        width = int(stop[0]) if len(stop) else width
        if (row + 1) * width > best[0] * best[1]:
            best = (row + 1, width)
    return canvas[: best[0], : best[1]] - COLOUR if best[0] else None


@dataclass(frozen=True)
class Embedded:
    """The changes of each task that a network has an embedding for. The unchanged copy is the first."""

    of: Mapping[str, tuple[tuple[int, Recolouring], ...]]
    """Task → (id, change)."""

    @classmethod
    def draw(cls, tasks: Sequence[ArcTask], most: int, seed: int) -> Embedded:
        """Up to `most` copies of each task, no two of which are the same puzzle."""
        rng, made, used = np.random.default_rng(seed), dict[str, tuple[tuple[int, Recolouring], ...]](), 0
        for task in tasks:
            seen, changes = set[bytes](), list[Recolouring]()
            for i in range(most * TRIES):
                change = recolouring(rng) if i else Recolouring()
                look = b"".join(write_grid(change(np.asarray(g))).encode() for pair in task.train for g in (pair.input, pair.output))
                if look not in seen:
                    seen.add(look)
                    changes.append(change)
                if len(changes) == most:
                    break
            made[task.id] = tuple(enumerate(changes, used))
            used += len(changes)
        return cls(made)

    @property
    def count(self) -> int:
        """Ids in use."""
        return sum(map(len, self.of.values()))


@dataclass(frozen=True)
class ArcWorld:
    """ARC tasks of a network that has met their demonstrations."""

    embedded: Embedded
    name: str = "arc"
    vocab: int = 12
    side: int = CANVAS

    def read(self, problem: Problem) -> Sequence[int]:
        """The test input, unchanged and not moved. Raises UserError for a task whose demonstrations the network was not trained on."""
        self.known(problem)
        return lay(np.asarray(problem.meta["input"])).flatten().tolist()

    def known(self, problem: Problem) -> tuple[tuple[int, Recolouring], ...]:
        """The copies of the problem's task."""
        task = str(problem.meta.get("task"))
        if task not in self.embedded.of:
            raise UserError(f"question: {problem.id} is of ARC task {task}, whose demonstrations this network was not trained on")
        return self.embedded.of[task]

    def answer(self, cells: Sequence[int], filled: Sequence[int]) -> str:
        """`####` and the grid's rows joined by `/`, cropped out of the canvas."""
        grid = crop(np.asarray(filled).reshape(CANVAS, CANVAS))
        return "" if grid is None else f"#### {write_grid(grid)}"

    def draw(self, filled: Sequence[int]) -> str:
        """Rows of colours, nothing around them."""
        grid = crop(np.asarray(filled).reshape(CANVAS, CANVAS))
        return "" if grid is None else write_grid(grid).replace("/", "\n")

    def changes(self, rows: int, rng: Generator) -> Change:
        """None: an ARC change is a puzzle of its own, and acts before a grid is laid down."""
        return identity(rows, CANVAS**2, self.vocab, rng.device)

    def copies(self, problem: Problem, k: int, rng: Generator) -> Copies:
        """The test input under the first `k` changes that the network has embeddings for; fewer where it has fewer."""
        grid, chosen = np.asarray(problem.meta["input"]), self.known(problem)[:k]
        cells = np.stack([lay(change(grid)) for _, change in chosen]).reshape(len(chosen), -1)

        def undo(filled: Tensor) -> Tensor:
            grids = (crop(row.reshape(CANVAS, CANVAS)) for row in filled.cpu().numpy())
            back = [np.zeros((CANVAS, CANVAS), np.int64) if g is None else lay(c.undo(g)) for g, (_, c) in zip(grids, chosen, strict=True)]
            return torch.from_numpy(np.stack(back)).flatten(1)

        return Copies(torch.from_numpy(cells).to(rng.device), torch.tensor([i for i, _ in chosen], device=rng.device), undo)


def arc_draw(tasks: Sequence[ArcTask], embedded: Embedded) -> Draw:
    """Training examples: a random task, one of its copies, one of its demonstrations, placed at random (the unchanged copy too).

    Raises UserError where a demonstration has no output or does not fit the canvas.
    """
    for task in tasks:
        for pair in task.train:
            if max(*pair.input.shape, *pair.output.shape) > CANVAS:
                raise UserError(f"ARC task {task.id}: a grid is larger than {CANVAS}×{CANVAS}; leave the task out")

    def draw(rows: int, rng: Generator) -> Puzzles:
        chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng, device=rng.device)))
        cells, solutions, ids = [], [], []
        for _ in range(rows):
            task = tasks[int(chance.integers(len(tasks)))]
            id, change = embedded.of[task.id][int(chance.integers(len(embedded.of[task.id])))]
            pair = task.train[int(chance.integers(len(task.train)))]
            x, y = change(pair.input), change(pair.output)
            top, left = (int(chance.integers(CANVAS - max(x.shape[i], y.shape[i]) + 1)) for i in range(2))
            cells.append(lay(x, top, left).flatten())
            solutions.append(lay(y, top, left).flatten())
            ids.append(id)
        made = Puzzles(torch.from_numpy(np.stack(cells)), torch.from_numpy(np.stack(solutions)), torch.tensor(ids))
        return made.to(rng.device)

    return draw
