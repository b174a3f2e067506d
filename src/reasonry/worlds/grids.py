"""Sudoku and mazes as rows of tokens, and sets of puzzles to learn from.

Invariants: a world reads a problem's prompt, never its answer; training, validation and test puzzles have solutions of different splits
(`tasks.skill.split_of` of the solution with its digits renamed, or of the maze), so that a network never trains on a task's test problem.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from reasonry.core import Problem, UserError
from reasonry.tasks import maze, sudoku
from reasonry.tasks.skill import check_split, split_of
from reasonry.worlds.changes import Change, identity, square_changes, sudoku_changes

BLANK = 1
"""Sudoku's token of an empty cell."""
MARKS = "?# SGo"
"""The maze's tokens: padding, wall, open, start, goal, and a square of the path."""
WALL, OPEN, START, GOAL, PATH = range(1, 6)


class World(Protocol):
    """A kind of puzzle: what its tokens mean."""

    @property
    def name(self) -> str:
        """As in tasks."""
        ...

    @property
    def vocab(self) -> int:
        """How many tokens there are, padding with them."""
        ...

    @property
    def side(self) -> int:
        """Cells of a row of the drawn grid; L is its square."""
        ...

    def read(self, problem: Problem) -> Sequence[int]:
        """The puzzle's tokens, from the problem's prompt. Raises UserError where there is no such puzzle in it."""
        ...

    def answer(self, cells: Sequence[int], filled: Sequence[int]) -> str:
        """The text a judge reads, for a puzzle and the tokens a network filled it with."""
        ...

    def draw(self, filled: Sequence[int]) -> str:
        """Tokens as a person draws them, a line a row."""
        ...

    def changes(self, rows: int, rng: Generator) -> Change:
        """Random changes under which a puzzle stays one."""
        ...

    def copies(self, problem: Problem, k: int, rng: Generator) -> Copies:
        """The puzzle, and `k` − 1 changed copies of it. Raises UserError as `read` does."""
        ...


@dataclass(frozen=True)
class Copies:
    """One puzzle in several forms, for a vote."""

    cells: Tensor
    """[K, L]; the first row is the puzzle as it stands."""
    ids: Tensor | None
    """[K] rows of the table of puzzle embeddings."""
    undo: Callable[[Tensor], Tensor]
    """What the network filled in [K, L] -> the same on the puzzle as it stands [K, L]."""


def changed_copies(world: World, problem: Problem, k: int, rng: Generator) -> Copies:
    """Copies under random changes; every puzzle has id 0."""
    change, same = world.changes(k, rng), identity(1, world.side**2, world.vocab, rng.device)
    change = Change(torch.cat((same.cells, change.cells[1:])), torch.cat((same.tokens, change.tokens[1:])))
    cells = torch.tensor(world.read(problem), device=rng.device).expand(k, -1)
    return Copies(change(cells), torch.zeros(k, dtype=torch.long, device=rng.device), change.undo)


class Puzzle(NamedTuple):
    """One puzzle of a set."""

    cells: Sequence[int]
    solution: Sequence[int]


@dataclass(frozen=True)
class Puzzles:
    """A set of puzzles with their solutions; an id is a row of the table of puzzle embeddings, 0 for all where there is none."""

    cells: Tensor
    """[N, L]."""
    solutions: Tensor
    """[N, L]."""
    ids: Tensor
    """[N]."""

    @classmethod
    def of(cls, puzzles: Iterable[Puzzle]) -> Puzzles:
        """As tensors, all with id 0."""
        cells, solutions = zip(*puzzles, strict=True)
        return cls(torch.tensor(cells), torch.tensor(solutions), torch.zeros(len(cells), dtype=torch.long))

    def __len__(self) -> int:
        """N."""
        return len(self.cells)

    def to(self, device: torch.device | str) -> Puzzles:
        """On a device."""
        return Puzzles(self.cells.to(device), self.solutions.to(device), self.ids.to(device))

    def __getitem__(self, rows: Tensor | slice) -> Puzzles:
        """Some of them."""
        return Puzzles(self.cells[rows], self.solutions[rows], self.ids[rows])


Draw = Callable[[int, Generator], Puzzles]
"""(how many, randomness) -> that many puzzles to learn from."""


def endless(puzzles: Puzzles, changes: Callable[[int, Generator], Change]) -> Draw:
    """Draws puzzles with replacement, each under a random change."""

    def draw(rows: int, rng: Generator) -> Puzzles:
        drawn = puzzles[torch.randint(len(puzzles), (rows,), generator=rng, device=rng.device)]
        change = changes(rows, rng)
        return Puzzles(change(drawn.cells), change(drawn.solutions), drawn.ids)

    return draw


def hinted(draw: Draw, share: float) -> Draw:
    """The same, with hints in `share` of the puzzles: each of a puzzle's cells is given away with a chance drawn from 0 to 1 for it.

    Easy puzzles on the way to hard ones, out of one set; the solution stays the only one.
    """

    def hint(rows: int, rng: Generator) -> Puzzles:
        drawn = draw(rows, rng)
        chance = torch.rand(rows, 1, generator=rng, device=rng.device)
        chance = chance * (torch.rand(rows, 1, generator=rng, device=rng.device) < share)
        given = torch.rand(drawn.cells.shape, generator=rng, device=rng.device) < chance
        return Puzzles(torch.where(given, drawn.solutions, drawn.cells), drawn.solutions, drawn.ids)

    return hint


@dataclass(frozen=True)
class SudokuWorld:
    """Sudokus of 6×6 or 9×9. Tokens: 0 padding, 1 blank, 1 + d the digit d."""

    side: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if self.side not in (6, 9):
            raise UserError(f"sudoku: size is {self.side} but must be 6 or 9")
        object.__setattr__(self, "name", f"sudoku{self.side}")

    @property
    def vocab(self) -> int:
        """Padding, blank and the digits."""
        return self.side + 2

    @property
    def box(self) -> tuple[int, int]:
        """Rows and columns of a box."""
        return (2, 3) if self.side == 6 else (3, 3)

    def read(self, problem: Problem) -> Sequence[int]:
        """The last `side` lines of `side` digits each, or one run of all cells; `.`, `0` and `_` are blank, `/` ends a row."""
        size, text = self.side, problem.messages[-1].content
        cell = rf"[0-{size}._]"
        rows = [row for row in re.split(r"[\n/]", re.sub(r"[ |,]", "", text)) if re.fullmatch(rf"{cell}{{{size}}}", row)][-size:]
        runs = re.findall(rf"(?<![\d._]){cell}{{{size * size}}}(?![\d._])", text)
        if len(rows) < size and not runs:
            raise UserError(
                f"question: holds no {self.name} puzzle; give {size} rows of {size} digits with . for a blank, "
                f"on lines of their own or joined by /"
            )
        grid = "".join(rows) if len(rows) == size else runs[-1]
        return [BLANK if mark in "._0" else int(mark) + 1 for mark in grid]

    def answer(self, cells: Sequence[int], filled: Sequence[int]) -> str:
        """The grid, then `####` and its rows joined by `/`."""
        text = self.draw(filled)
        return f"{text}\n#### {'/'.join(text.splitlines())}"

    def draw(self, filled: Sequence[int]) -> str:
        """Rows of digits with `.` for a blank."""
        return sudoku.show([max(token - 1, 0) for token in filled], self.side)

    def changes(self, rows: int, rng: Generator) -> Change:
        """Digits, bands, stacks, lines within them, and for 9×9 transposition."""
        return sudoku_changes(rows, self.side, self.box, rng)

    def copies(self, problem: Problem, k: int, rng: Generator) -> Copies:
        """The puzzle, and `k` − 1 changed copies of it."""
        return changed_copies(self, problem, k, rng)

    def puzzle(self, rng: random.Random, split: str, clues: int | None = None) -> Puzzle:
        """A random one of a split; without `clues` it is minimal: no clue can be taken away without a second solution appearing."""
        while True:
            solution = sudoku.random_solution(self.side, rng)
            if split_of(self.key(solution)) != split:
                continue
            given = minimal(solution, self.side, rng) if clues is None else sudoku.carve(solution, clues, self.side, rng)
            if given is not None:
                return Puzzle([value + 1 for value in given], [value + 1 for value in solution])

    def key(self, solution: sudoku.Grid) -> str:
        """The solution with its digits renamed to a standard order: what decides the split, as in `tasks.sudoku`."""
        renamed = {value: i for i, value in enumerate(solution[: self.side], 1)}
        return sudoku.show([renamed[value] for value in solution], self.side)


def minimal(solution: Sequence[int], size: int, rng: random.Random) -> list[int]:
    """Cells blanked in random order wherever one solution remains: no further clue can go."""
    grid = list(solution)
    for i in rng.sample(range(size * size), size * size):
        value, grid[i] = grid[i], 0
        if next(islice(sudoku.solutions(grid, size), 1, None), None) is not None:
            grid[i] = value
    return grid


def guesses(puzzles: Puzzles, size: int) -> list[int]:
    """For each sudoku, how many values a backtracking solver guesses that knows no rule but "the blank with the fewest candidates"."""
    return [sudoku.guesses([max(token - 1, 0) for token in row], size) for row in puzzles.cells.tolist()]


@dataclass(frozen=True)
class MazeWorld:
    """Mazes of `size`×`size` cells, as `tasks.maze` draws them; the solution marks the squares of the shortest path."""

    size: int = 5
    name: str = "maze"
    vocab: int = len(MARKS)

    def __post_init__(self) -> None:
        maze.Maze(self.size)

    @property
    def side(self) -> int:
        """Squares of a row: cells, and the walls between and around them."""
        return 2 * self.size + 1

    def read(self, problem: Problem) -> Sequence[int]:
        """The drawing in the prompt."""
        text = problem.messages[-1].content
        rows = [row for row in text.split("\n") if re.fullmatch(rf"[#.SG ]{{{self.side}}}", row)]
        drawn = "".join(rows).replace(".", " ")
        if len(rows) != self.side or drawn.count("S") != 1 or drawn.count("G") != 1:
            raise UserError(f"question: holds no maze of {self.side} rows of {self.side} squares (#, ., one S, one G); draw one")
        return [MARKS.index(mark) for mark in drawn]

    def answer(self, cells: Sequence[int], filled: Sequence[int]) -> str:
        """`####` and the moves of the shortest way over squares marked as path; no moves where the marks do not join S and G."""
        at = {divmod(i, self.side) for i, token in enumerate(filled) if token == PATH and cells[i] != WALL}
        start, goal = (divmod(list(cells).index(mark), self.side) for mark in (START, GOAL))
        return f"#### {maze.shortest(at | {start, goal}, start, goal) or ''}"

    def draw(self, filled: Sequence[int]) -> str:
        """Rows of marks, `o` the path."""
        text = "".join(MARKS[token] for token in filled).replace(" ", ".")
        return "\n".join(text[i : i + self.side] for i in range(0, len(text), self.side))

    def changes(self, rows: int, rng: Generator) -> Change:
        """The eight turns of the square."""
        return square_changes(rows, self.side, self.vocab, rng)

    def copies(self, problem: Problem, k: int, rng: Generator) -> Copies:
        """The maze, and `k` − 1 turned copies of it."""
        return changed_copies(self, problem, k, rng)

    def puzzle(self, rng: random.Random, split: str, clues: int | None = None) -> Puzzle:
        """A random perfect maze of a split. Raises UserError for `clues`, which a maze does not have."""
        if clues is not None:
            raise UserError(f"clues: is {clues} but a maze has none; leave it out")
        puzzle = self._any(rng)
        while split_of(self.draw(puzzle.cells)) != split:
            puzzle = self._any(rng)
        return puzzle

    def _any(self, rng: random.Random) -> Puzzle:
        opened = maze.carve(self.size, 0, rng)
        start, goal = rng.sample([(2 * r + 1, 2 * c + 1) for r in range(self.size) for c in range(self.size)], 2)
        moves = maze.shortest(opened, start, goal)
        assert moves is not None, "a carved maze is connected"
        cells = dict.fromkeys(opened, OPEN) | {start: START, goal: GOAL}
        here, path = start, dict[maze.Square, int]()
        for move in moves[:-1]:
            here = (here[0] + maze.MOVES[move][0], here[1] + maze.MOVES[move][1])
            path[here] = PATH
        squares = [(r, c) for r in range(self.side) for c in range(self.side)]
        return Puzzle([cells.get(sq, WALL) for sq in squares], [(cells | path).get(sq, WALL) for sq in squares])


def make(world: SudokuWorld | MazeWorld, split: str, n: int, seed: int, clues: int | None = None) -> Puzzles:
    """`n` different puzzles of a split, the i-th tried from the seed (name, split, seed, i). Raises UserError for an unknown split."""
    check_split(world.name, split)
    found: dict[str, Puzzle] = {}
    i = 0
    while len(found) < n:
        puzzle = world.puzzle(random.Random(f"trm/{world.name}/{split}/{seed}/{i}"), split, clues)
        i += 1
        found.setdefault(str(puzzle.cells), puzzle)
    return Puzzles.of(found.values())


def plain_changes(world: World) -> Callable[[int, Generator], Change]:
    """No change: for training without augmentation."""

    def changes(rows: int, rng: Generator) -> Change:
        return identity(rows, world.side**2, world.vocab, rng.device)

    return changes
