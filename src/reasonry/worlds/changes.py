"""Changes under which a grid puzzle stays a puzzle: a rearrangement of its cells and a renaming of its tokens, always with an inverse.

Invariant: a change is applied to puzzle and solution alike, and `undo` gives back what was there, cell for cell. Rows of a batch have a
change each; letters: B rows, L cells, V tokens.

A sudoku may have its digits renamed, bands, stacks, and rows and columns within them shuffled, and be transposed where boxes are square
(9×9 yes, 6×6 no: its boxes are 2×3). A maze on a square may be turned and mirrored, in eight ways. ARC grids may be turned and mirrored
likewise, and their colours renamed, black excepted; they are not square, so their changes act before they are laid on a canvas (`turned`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

INVERSE_TURN = (0, 3, 2, 1, 4, 5, 6, 7)
"""Which of the eight turns undoes each."""
TURNS = len(INVERSE_TURN)


@dataclass(frozen=True)
class Change:
    """One change for each row of a batch."""

    cells: Tensor
    """[B, L]: the new cell i is the old cell `cells[b, i]`."""
    tokens: Tensor
    """[B, V]: the new name of each token."""

    def __call__(self, grids: Tensor) -> Tensor:
        """Changed grids [B, L]."""
        return self.tokens.gather(1, grids.gather(1, self.cells))

    @property
    def undo(self) -> Change:
        """The inverse."""
        return Change(self.cells.argsort(1), self.tokens.argsort(1))

    def __getitem__(self, rows: Tensor | slice) -> Change:
        """Some of the rows."""
        return Change(self.cells[rows], self.tokens[rows])


def identity(rows: int, cells: int, vocab: int, device: torch.device | str = "cpu") -> Change:
    """Leaves everything as it is."""
    return Change(torch.arange(cells, device=device).repeat(rows, 1), torch.arange(vocab, device=device).repeat(rows, 1))


def shuffled(rows: int, size: int, rng: Generator) -> Tensor:
    """[B, size] permutations."""
    return torch.rand(rows, size, generator=rng, device=rng.device).argsort(1)


def _lines(rows: int, groups: int, within: int, rng: Generator) -> Tensor:
    """[B, groups·within]: an order of lines that keeps groups together."""
    group = shuffled(rows, groups, rng)
    inner = torch.rand(rows, groups, within, generator=rng, device=rng.device).argsort(2)
    return (group[:, :, None] * within + inner.gather(1, group[:, :, None].expand(-1, -1, within))).flatten(1)


def sudoku_changes(rows: int, size: int, box: tuple[int, int], rng: Generator) -> Change:
    """Changes of sudokus with boxes of `box` = (rows, columns); tokens are 0 padding, 1 blank, 1 + d the digit d."""
    high, wide = box
    r, c = _lines(rows, size // high, high, rng), _lines(rows, size // wide, wide, rng)
    cells = r[:, :, None] * size + c[:, None, :]
    if high == wide:
        transposed = torch.rand(rows, 1, 1, generator=rng, device=rng.device) < 0.5
        cells = torch.where(transposed, cells.transpose(1, 2), cells)
    digits = shuffled(rows, size, rng) + 2
    kept = torch.arange(2, device=rng.device).expand(rows, 2)
    return Change(cells.flatten(1), torch.cat((kept, digits), 1))


def square_changes(rows: int, side: int, vocab: int, rng: Generator) -> Change:
    """The eight turns of a square, tokens left alone."""
    flat = np.arange(side * side).reshape(side, side)
    turns = torch.stack([torch.from_numpy(turned(flat, k).flatten()) for k in range(TURNS)]).to(rng.device)
    which = torch.randint(TURNS, (rows,), generator=rng, device=rng.device)
    return Change(turns[which], torch.arange(vocab, device=rng.device).repeat(rows, 1))


def turned(grid: NDArray[np.integer], turn: int) -> NDArray[np.integer]:
    """A grid [R, C] turned: 0 not, 1 to 3 by quarter turns, 4 left–right, 5 upside down, 6 transposed, 7 along the other diagonal."""
    if turn < 4:
        return np.rot90(grid, turn)
    if turn < 6:
        return np.flip(grid, 5 - turn)
    return grid.T if turn == 6 else np.rot90(grid, 2).T


@dataclass(frozen=True)
class Recolouring:
    """A change of an ARC grid, before it lies on a canvas."""

    turn: int = 0
    colours: tuple[int, ...] = tuple(range(10))
    """The new colour of each; the first is 0."""

    def __call__(self, grid: NDArray[np.integer]) -> NDArray[np.integer]:
        """Recoloured, then turned."""
        return turned(np.asarray(self.colours)[grid], self.turn)

    def undo(self, grid: NDArray[np.integer]) -> NDArray[np.integer]:
        """Turned back, then the old colours."""
        return np.argsort(self.colours)[turned(grid, INVERSE_TURN[self.turn])]


def recolouring(rng: np.random.Generator) -> Recolouring:
    """A random one."""
    return Recolouring(int(rng.integers(TURNS)), (0, *(int(c) for c in rng.permutation(np.arange(1, 10)))))
