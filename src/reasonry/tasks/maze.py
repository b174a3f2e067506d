"""Mazes drawn as text, answered by moves, with an exact verifier.

Invariant: any sequence of moves that stays on open squares and ends on G passes, however long; the stored answer is one shortest path.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass

from reasonry.core import Problem, UserError, Verdict
from reasonry.tasks.judges import hash_answer
from reasonry.tasks.skill import Draft, draw_problems, split_of

MOVES = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}
Square = tuple[int, int]


def carve(size: int, loops: int, rng: random.Random) -> set[Square]:
    """The open squares of a maze of `size`×`size` cells; cell (r, c) is square (2r+1, 2c+1).

    A perfect maze (one path between any two cells) by depth-first search, then `loops` more walls opened, each of which closes a loop.
    """
    start = (rng.randrange(size) * 2 + 1, rng.randrange(size) * 2 + 1)
    opened, stack = {start}, [start]
    while stack:
        r, c = stack[-1]
        ways = [(r + 2 * dr, c + 2 * dc, r + dr, c + dc) for dr, dc in MOVES.values()]
        ways = [way for way in ways if 0 < way[0] < 2 * size and 0 < way[1] < 2 * size and (way[0], way[1]) not in opened]
        if not ways:
            stack.pop()
            continue
        r2, c2, wall_r, wall_c = rng.choice(ways)
        opened |= {(r2, c2), (wall_r, wall_c)}
        stack.append((r2, c2))
    walls = [(r, c) for r in range(1, 2 * size) for c in range(1, 2 * size) if (r + c) % 2 and (r, c) not in opened]
    return opened | set(rng.sample(walls, loops))


def shortest(opened: set[Square], start: Square, goal: Square) -> str | None:
    """A shortest sequence of moves, the first in the order U D L R among equals; `None` where there is no path."""
    came: dict[Square, tuple[Square, str]] = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here == goal:
            moves = []
            while here != start:
                here, move = came[here]
                moves.append(move)
            return "".join(reversed(moves))
        for move, (dr, dc) in MOVES.items():
            there = (here[0] + dr, here[1] + dc)
            if there in opened and there not in came and there != start:
                came[there] = (here, move)
                queue.append(there)
    return None


def walk(grid: str, moves: str) -> str:
    """What goes wrong when `moves` are made from S in a drawn maze; an empty text where they stay on open squares and end on G."""
    rows = grid.split("\n")
    r, c = next((r, row.index("S")) for r, row in enumerate(rows) if "S" in row)
    for i, move in enumerate(moves, 1):
        r, c = r + MOVES[move][0], c + MOVES[move][1]
        if rows[r][c] == "#":
            return f"move {i} ({move}) goes into a wall"
    return "" if rows[r][c] == "G" else f"the moves end at row {r + 1} column {c + 1}, not at G"


@dataclass(frozen=True)
class Maze:
    """A task of mazes of `size`×`size` cells with `loops` walls opened beyond a perfect maze."""

    size: int = 4
    loops: int = 0
    name: str = "maze"

    def __post_init__(self) -> None:
        if not 2 <= self.size <= 50:
            raise UserError(f"maze: size is {self.size} but must be 2 to 50")
        if not 0 <= self.loops <= (self.size - 1) ** 2:
            raise UserError(f"maze: loops is {self.loops} but a maze of size {self.size} has room for 0 to {(self.size - 1) ** 2}")

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` mazes. The answer is a shortest path; `meta` holds the drawing, `length`, `size` and `loops`."""
        return draw_problems(self.name, split, n, seed, lambda rng: self._draw(split, rng))

    def _draw(self, split: str, rng: random.Random) -> Draft | None:
        opened = carve(self.size, self.loops, rng)
        start, goal = rng.sample([(2 * r + 1, 2 * c + 1) for r in range(self.size) for c in range(self.size)], 2)
        side = range(2 * self.size + 1)
        marks = {start: "S", goal: "G"}
        grid = "\n".join("".join(marks.get((r, c), "." if (r, c) in opened else "#") for c in side) for r in side)
        if split_of(grid) != split:
            return None
        path = shortest(opened, start, goal)
        assert path is not None, "a carved maze is connected"
        prompt = (
            f"go from S to G. # is a wall. a move goes one square: U up, D down, L left, R right.\n{grid}\n"
            "end with a line #### and the moves, for example #### UUR"
        )
        return Draft(grid, prompt, path, {"grid": grid, "length": len(path), "size": self.size, "loops": self.loops})

    def extract(self, text: str) -> str | None:
        """The moves on the last line `#### ...`, as one word of U, D, L and R."""
        moves = re.sub(r"[\s,;>-]", "", hash_answer(text) or "").upper()
        return moves if re.fullmatch(r"[UDLR]+", moves) else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Passes for a path that reaches G. The signal `shortest` is 1 when no path is shorter."""
        moves = self.extract(answer)
        if moves is None:
            return Verdict(0.0, False, "no moves were found", None, {"shortest": 0.0})
        why = walk(problem.meta["grid"], moves)
        best = not why and len(moves) == problem.meta["length"]
        return Verdict(float(not why), not why, why, moves, {"shortest": float(best)})
