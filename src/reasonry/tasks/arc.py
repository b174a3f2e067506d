"""ARC's puzzles (Chollet, arXiv 1911.01547) from JSON files: a few demonstrations of grids, and a test input whose output is to be said.

A source is a file with many tasks (`{id: {"train": [{"input", "output"}, …], "test": […]}}`), the challenge's `…_challenges.json` with
`…_solutions.json` beside it, or a folder of one task a file. Each test input is a problem of its own. A grid in a text is its rows of
digits joined by `/`. Invariant: a grid is a rectangle of whole numbers 0 to 9, or is refused with its place.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasonry.core import Problem, UserError, Verdict
from reasonry.tasks.judges import hash_answer

LARGEST = 30
"""Rows or columns of a grid at most."""

Grid = NDArray[np.integer]


class Pair(NamedTuple):
    """A demonstration."""

    input: Grid
    output: Grid


class Asked(NamedTuple):
    """A test input, with its output where the file tells it."""

    input: Grid
    output: Grid | None


@dataclass(frozen=True)
class ArcTask:
    """One task. Made by `read_tasks`."""

    id: str
    train: tuple[Pair, ...]
    test: tuple[Asked, ...]


def read_tasks(path: Path) -> list[ArcTask]:
    """The tasks of a file or folder, in its order. Raises UserError saying where a grid or a file is wrong."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise UserError(f"{path}: the folder holds no .json file; give ARC's tasks, one a file")
        return [_task(file.stem, _json(file), str(file)) for file in files]
    held = _json(path)
    if not isinstance(held, dict) or not held:
        raise UserError(f"{path}: holds no tasks; give a JSON object of task id -> train and test pairs")
    if "train" in held and "test" in held:
        return [_task(path.stem, held, str(path))]
    beside = path.with_name(path.name.replace("_challenges", "_solutions"))
    outputs = _json(beside) if beside != path and beside.exists() else {}
    return [_task(id, task, f"{path} task {id}", outputs.get(id)) for id, task in held.items()]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a .json file of ARC tasks, or a folder of them") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); give ARC's own files") from None


def _task(id: str, held: Any, where: str, outputs: Sequence[Any] | None = None) -> ArcTask:
    if not isinstance(held, Mapping) or not all(isinstance(held.get(part), list) and held[part] for part in ("train", "test")):
        raise UserError(f"{where}: has no lists train and test; give ARC's own form")
    train = tuple(Pair(*(_grid(pair, side, f"{where} train {i}") for side in ("input", "output"))) for i, pair in enumerate(held["train"]))
    test = []
    for i, pair in enumerate(held["test"]):
        said = {"output": outputs[i]} if outputs is not None and i < len(outputs) else pair
        place = f"{where} test {i}"
        test.append(Asked(_grid(pair, "input", place), _grid(said, "output", place) if "output" in said else None))
    return ArcTask(id, train, tuple(test))


def _grid(pair: Any, side: str, where: str) -> Grid:
    rows: Any = pair.get(side) if isinstance(pair, Mapping) else None
    whole = isinstance(rows, list) and rows and all(isinstance(row, list) and len(row) == len(rows[0]) > 0 for row in rows)
    if not whole or not all(type(cell) is int and 0 <= cell <= 9 for row in rows for cell in row):
        raise UserError(f"{where}: {side} is no rectangle of colours 0 to 9; mend the file")
    if max(len(rows), len(rows[0])) > LARGEST:
        raise UserError(f"{where}: {side} is {len(rows)}×{len(rows[0])} but a grid has at most {LARGEST} rows and columns")
    return np.asarray(rows)


def write_grid(grid: Grid) -> str:
    """Rows of digits joined by `/`."""
    return "/".join("".join(map(str, row)) for row in grid.tolist())


def read_grid(text: str) -> Grid | None:
    """The inverse; `None` where the text is no rectangle of digits."""
    rows = re.sub(r"[ ,|\[\]]", "", text.strip()).replace("\n", "/").split("/")
    if not all(re.fullmatch(r"[0-9]+", row) and len(row) == len(rows[0]) for row in rows):
        return None
    return np.asarray([[int(cell) for cell in row] for row in rows])


@dataclass(frozen=True)
class Arc:
    """ARC as a task. Made by `arc`; every problem of its source is in its one split."""

    name: str
    split: str
    held: tuple[Problem, ...]

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """All test inputs in the file's order, or `n` drawn by the seed. Raises UserError for another split or where there are fewer."""
        if split != self.split:
            raise UserError(
                f"split: {split!r} is not a split of {self.name}, which has {self.split}; use that, or the option split={split}"
            )
        if n is None:
            return list(self.held)
        if n > len(self.held):
            raise UserError(f"{self.name}: n is {n} but there are {len(self.held)} test inputs; ask for fewer")
        return random.Random(f"{self.name}/{split}/{seed}").sample(self.held, n)

    def extract(self, text: str) -> str | None:
        """The grid after the last `####`, its rows joined by `/`."""
        grid = read_grid(hash_answer(text) or "")
        return None if grid is None else write_grid(grid)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Passes for the very grid. The signal `cells` is the share of cells that are right, 0 where the size is wrong."""
        found = self.extract(answer)
        if problem.answer is None:
            return Verdict(None, None, "the source does not tell this output", found)
        if found is None:
            return Verdict(0.0, False, "no grid was found", None, {"cells": 0.0})
        said, gold = read_grid(found), read_grid(problem.answer)
        assert said is not None, "extract writes grids"
        assert gold is not None, "answers are written by write_grid"
        if said.shape != gold.shape:
            why = f"the grid is {said.shape[0]}×{said.shape[1]}, not {gold.shape[0]}×{gold.shape[1]}"
            return Verdict(0.0, False, why, found, {"cells": 0.0})
        right = float((said == gold).mean())
        return Verdict(float(right == 1), right == 1, "" if right == 1 else f"{right:.0%} of the cells are right", found, {"cells": right})


def arc(path: str, split: str = "test") -> Arc:
    """The task of a source: every test input, as a prompt that shows the demonstrations."""
    source = Path(path).expanduser()
    held = [problem for task in read_tasks(source) for problem in problems_of(task)]
    return Arc(f"arc-{source.stem}", split, tuple(held))


def problems_of(task: ArcTask) -> list[Problem]:
    """A problem for each test input; its prompt shows the demonstrations."""
    shown = "\n\n".join(f"input\n{_drawn(pair.input)}\noutput\n{_drawn(pair.output)}" for pair in task.train)
    prompt = (
        "each input grid becomes its output grid by one rule. digits are colours.\n\n{shown}\n\ninput\n{asked}\n"
        "what is its output? end with a line #### and the rows joined by /"
    )
    return [
        Problem(
            f"arc-{task.id}-{i}",
            prompt.format(shown=shown, asked=_drawn(asked.input)),
            None if asked.output is None else write_grid(asked.output),
            {"task": task.id, "test": i, "input": asked.input.tolist()},
        )
        for i, asked in enumerate(task.test)
    ]


def _drawn(grid: Grid) -> str:
    return write_grid(grid).replace("/", "\n")
