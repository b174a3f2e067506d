"""Layer programs that keep the blocks in order: each is skipped, run once, or run twice in a row.

Such a program is written in two ways: as the path of block indices that `Decoder` takes, never falling, and as *counts*, how often each
block runs. Invariant: the two are one to one, `len(program) == sum(counts)`.
"""

from __future__ import annotations

from collections.abc import Iterable

from reasonry.core import UserError
from reasonry.lm.decoder import Program

Counts = tuple[int, ...]
"""How often each block runs: 0 skip, 1 run, 2 repeat; [L]."""
SKIP, RUN, REPEAT = 0, 1, 2


def whole(layers: int) -> Program:
    """Every block once."""
    return tuple(range(layers))


def program_of(counts: Iterable[int]) -> Program:
    """The path that runs each block so often. Raises UserError for a count other than 0, 1 or 2."""
    counts = tuple(counts)
    if (bad := next((c for c in counts if c not in (SKIP, RUN, REPEAT)), None)) is not None:
        raise UserError(f"counts has {bad!r}; use 0 (skip), 1 (run) or 2 (repeat)")
    return tuple(layer for layer, n in enumerate(counts) for _ in range(n))


def counts_of(program: Program, layers: int) -> Counts:
    """How often a path runs each of `layers` blocks. Raises UserError where it leaves their order or runs one more than twice."""
    if list(program) != sorted(program):
        raise UserError(f"program {program} leaves the blocks' order; list them from the first to the last")
    counts = tuple(program.count(layer) for layer in range(layers))
    if sum(counts) < len(program) or max(counts, default=0) > REPEAT:
        raise UserError(f"program {program} must name blocks 0 to {layers - 1}, each at most twice")
    return counts
