"""Sudoku of 6×6 and 9×9 with one solution each, their difficulty measured, and an exact verifier.

Invariants: every puzzle has exactly one solution; the verifier compares with the clues and the rules, never with the stored solution;
the split is decided by the solution with its digits renamed to a standard order, so that renaming digits cannot carry a puzzle across.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from reasonry.core import Problem, UserError, Verdict
from reasonry.tasks.judges import hash_answer
from reasonry.tasks.skill import Draft, draw_problems, split_of

Grid = list[int]
"""Cells row by row; 0 is blank."""
_FEWEST = {6: 9, 9: 25}
_USUAL = {6: (12, 20), 9: (28, 40)}
_BOX = {6: (2, 3), 9: (3, 3)}


@lru_cache
def units(size: int) -> tuple[tuple[int, int, int], ...]:
    """(row, column, box) of every cell of a `size`×`size` grid; boxes are 2×3 for 6, 3×3 for 9."""
    high, wide = _BOX[size]
    return tuple((r, c, r // high * (size // wide) + c // wide) for r in range(size) for c in range(size))


class _Search:
    """Backtracking over one grid: fills the blank with the fewest candidates, counts the values it had to guess."""

    def __init__(self, grid: Sequence[int], size: int) -> None:
        self.grid, self.size, self.where, self.guesses = list(grid), size, units(size), 0
        self.rows, self.columns, self.boxes = [0] * size, [0] * size, [0] * size
        self.blank = [i for i, value in enumerate(grid) if not value]
        self.possible = all(self._place(i, value) for i, value in enumerate(grid) if value)

    def _place(self, i: int, value: int) -> bool:
        r, c, b = self.where[i]
        bit = 1 << value
        fits = not (self.rows[r] | self.columns[c] | self.boxes[b]) & bit
        self.rows[r] |= bit
        self.columns[c] |= bit
        self.boxes[b] |= bit
        return fits

    def solutions(self) -> Iterator[Grid]:
        """Every solution, one after another."""
        if not self.possible:
            return
        if not self.blank:
            yield list(self.grid)
            return
        every = (1 << self.size + 1) - 2
        fewest, chosen, free = self.size + 1, -1, 0
        for place, i in enumerate(self.blank):
            r, c, b = self.where[i]
            mask = every & ~(self.rows[r] | self.columns[c] | self.boxes[b])
            count = mask.bit_count()
            if count < fewest:
                fewest, chosen, free = count, place, mask
                if count <= 1:
                    break
        i = self.blank.pop(chosen)
        r, c, b = self.where[i]
        kept = self.rows[r], self.columns[c], self.boxes[b]
        while free:
            bit = free & -free
            free ^= bit
            self.guesses += fewest > 1
            self.grid[i] = bit.bit_length() - 1
            self.rows[r], self.columns[c], self.boxes[b] = (line | bit for line in kept)
            yield from self.solutions()
        self.grid[i] = 0
        self.rows[r], self.columns[c], self.boxes[b] = kept
        self.blank.insert(chosen, i)


def solutions(grid: Sequence[int], size: int) -> Iterator[Grid]:
    """Every completion of a grid that obeys the rules."""
    return _Search(grid, size).solutions()


def guesses(grid: Sequence[int], size: int) -> int:
    """How many values a backtracking solver guesses on its way to the first solution; 0 where filling forced cells is enough."""
    search = _Search(grid, size)
    next(search.solutions(), None)
    return search.guesses


def random_solution(size: int, rng: random.Random) -> Grid:
    """A full grid: a random first row, the rest by backtracking over cells whose digits were renamed at random."""
    high, wide = _BOX[size]
    bands = [band * high + r for band in rng.sample(range(size // high), size // high) for r in rng.sample(range(high), high)]
    stacks = [stack * wide + c for stack in rng.sample(range(size // wide), size // wide) for c in rng.sample(range(wide), wide)]
    digits = rng.sample(range(1, size + 1), size)
    first = [0] * (size * size)
    for i in rng.sample(range(size * size), size // 2):
        first[i] = rng.randint(1, size)
    found = next(solutions(first, size), None)
    if found is None:
        return random_solution(size, rng)
    return [digits[found[r * size + c] - 1] for r in bands for c in stacks]


def carve(solution: Grid, clues: int, size: int, rng: random.Random) -> Grid | None:
    """Blanks cells in random order while one solution remains, until `clues` are left; `None` where that many can't be reached."""
    grid, left = list(solution), size * size
    for i in rng.sample(range(size * size), size * size):
        if left == clues:
            break
        value, grid[i] = grid[i], 0
        if _other_solution(grid, i, value, size):
            grid[i] = value
        else:
            left -= 1
    return grid if left == clues else None


def _other_solution(grid: Grid, i: int, value: int, size: int) -> bool:
    for other in range(1, size + 1):
        if other != value:
            tried = list(grid)
            tried[i] = other
            if next(solutions(tried, size), None) is not None:
                return True
    return False


def show(grid: Sequence[int], size: int, between: str = "\n") -> str:
    """Rows of digits with `.` for a blank."""
    text = "".join(str(value or ".") for value in grid)
    return between.join(text[r : r + size] for r in range(0, size * size, size))


@dataclass(frozen=True)
class Sudoku:
    """A task of sudoku puzzles. `clues` is how many cells are given; without it, a usual number is drawn for each puzzle."""

    size: int
    """6 or 9."""
    clues: int | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if self.size not in _BOX:
            raise UserError(f"sudoku: size is {self.size} but must be 6 or 9")
        if self.clues is not None and not _FEWEST[self.size] <= self.clues < self.size**2:
            raise UserError(f"sudoku{self.size}: clues is {self.clues} but must be {_FEWEST[self.size]} to {self.size**2 - 1}")
        object.__setattr__(self, "name", f"sudoku{self.size}")

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` puzzles. `meta` holds `clues`, `guesses` (a backtracking solver's) and the puzzle; the answer is the solution."""
        return draw_problems(self.name, split, n, seed, lambda rng: self._draw(split, rng))

    def _draw(self, split: str, rng: random.Random) -> Draft | None:
        solution = random_solution(self.size, rng)
        renamed = {value: i for i, value in enumerate(solution[: self.size], 1)}
        key = show([renamed[value] for value in solution], self.size)
        if split_of(key) != split:
            return None
        clues = self.clues or rng.randint(*_USUAL[self.size])
        puzzle = carve(solution, clues, self.size, rng)
        if puzzle is None:
            return None
        high, wide = _BOX[self.size]
        prompt = (
            f"fill the blanks so that every row, column and {high}x{wide} box holds 1 to {self.size}.\n{show(puzzle, self.size)}\n"
            "end with a line #### and the rows joined by /"
        )
        meta = {"puzzle": show(puzzle, self.size, "/"), "clues": clues, "guesses": guesses(puzzle, self.size), "size": self.size}
        return Draft(key, prompt, show(solution, self.size, "/"), meta)

    def extract(self, text: str) -> str | None:
        """The rows joined by `/`, read from the last line `#### ...`, else from the last lines that hold `size` digits each."""
        size, marked = self.size, hash_answer(text)
        if marked is not None:
            digits = re.sub(r"[\s/|,;]", "", marked)
            rows = [digits[r : r + size] for r in range(0, len(digits), size)]
        else:
            lines = (re.sub(r"[\s|,]", "", line) for line in text.splitlines()[-4 * size :])
            rows = [line for line in lines if re.fullmatch(r"[0-9]+", line)][-size:]
        whole = len(rows) == size and all(re.fullmatch(rf"[1-{size}]{{{size}}}", row) for row in rows)
        return "/".join(rows) if whole else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Passes for a grid that keeps every clue and obeys the rules.

        The signal `cells` is the share of blanks filled as in the stored solution.
        """
        found = self.extract(answer)
        if found is None:
            return Verdict(0.0, False, f"no grid of {self.size} rows was found", None, {"cells": 0.0})
        given, filled, solved = (text.replace("/", "") for text in (problem.meta["puzzle"], found, problem.answer))
        blanks = [i for i, clue in enumerate(given) if clue == "."]
        signals = {"cells": sum(filled[i] == solved[i] for i in blanks) / len(blanks)}
        why = self._fault(given, filled)
        return Verdict(float(not why), not why, why, found, signals)

    def _fault(self, given: str, filled: str) -> str:
        for i, clue in enumerate(given):
            if clue not in (".", filled[i]):
                return f"row {i // self.size + 1} column {i % self.size + 1} was {clue} and is now {filled[i]}"
        for kind, name in enumerate(("row", "column", "box")):
            for unit in range(self.size):
                held = {filled[i] for i, where in enumerate(units(self.size)) if where[kind] == unit}
                if len(held) != self.size:
                    return f"{name} {unit + 1} repeats a digit"
        return ""
