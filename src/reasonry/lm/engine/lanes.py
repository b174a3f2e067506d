"""Rows being decoded, their keys and values side by side.

Reading keys by slot copies all of them at every step. A *lane* keeps a row's keys and values in one piece, so that a decoding step
attends without copying and adds one column. Lanes are a copy of what the pool holds and may be dropped at any time; rows that have none
are read by slot, with the same numbers. Lanes of one *bank* are equally wide; a row that outgrows its bank moves to the next, which is
twice as wide.

Invariant: a row's first `filled` tokens stand in its lane; the rows of a bank are those of the coming step, in lane order; all lanes
together hold at most as many tokens as the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from reasonry.lm.engine.pool import Pool, Slots
from reasonry.lm.engine.row import Row
from reasonry.nn.attention import Site

NARROW = 256
"""Width of the first bank's lanes, in tokens."""
NONE = np.empty(0, dtype=np.int64)


@dataclass(eq=False)
class Bank:
    """Lanes of one width."""

    width: int
    lanes: int = 0
    rows: list[Row] = field(default_factory=list)
    stores: dict[Site, Tensor] = field(default_factory=dict)

    def seat(self, rows: list[Row]) -> None:
        """Makes `rows` the bank's rows; those who can keep their lanes do."""
        if rows == self.rows:
            return
        staying = {row.lane: row for row in rows if row.bank is self and row.lane < len(rows)}
        self.leave(staying)
        coming = iter([row for row in rows if row.bank is not self])
        self.rows = [staying.get(lane) or next(coming) for lane in range(len(rows))]
        for lane, row in enumerate(self.rows):
            if row.bank is not self:
                row.bank, row.lane, row.filled = self, lane, 0

    def leave(self, staying: Mapping[int, Row]) -> None:
        """Takes their lanes from the rows that do not stay."""
        for row in self.rows:
            if row.bank is self and staying.get(row.lane) is not row:
                row.bank = None

    def store(self, site: Site, like: Tensor) -> Tensor:
        """Keys, then values, of a site: [2, lanes · Hkv · width, K], shaped after `like`, the pool's [2 · Hkv, slots, K]."""
        if site not in self.stores:
            self.stores[site] = like.new_zeros(2, self.lanes * like.shape[0] // 2 * self.width, like.shape[2])
        return self.stores[site]

    def missing(self) -> tuple[Slots, Slots]:
        """Lane, column and slot of whatever the rows have computed beyond what is in their lanes, from now on counted as there."""
        lacking = [row for row in self.rows if row.filled < row.computed]
        places = [np.arange(row.filled, row.computed) + row.lane * self.width for row in lacking]
        slots = [row.slots[row.filled : row.computed].copy() for row in lacking]
        for row in lacking:
            row.filled = row.computed
        return (np.concatenate(places), np.concatenate(slots)) if lacking else (NONE, NONE)


class Lanes:
    """The banks of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._banks: dict[int, Bank] = {}

    def seat(self, rows: Seq[Row]) -> tuple[list[Bank], list[Row]]:
        """Gives each row, about to compute one token, a lane wide enough: the banks of the step, and the rows left without."""
        wanted: dict[int, list[Row]] = {}
        for row in rows:
            wanted.setdefault(max(NARROW, 1 << row.computed.bit_length()), []).append(row)
        for width in [width for width in self._banks if width not in wanted]:
            self._banks.pop(width).leave({})
        banks, without = [], []
        for width, members in sorted(wanted.items()):
            bank = self._banks.get(width)
            if bank is None or bank.lanes < len(members):
                lanes = 1 << (len(members) - 1).bit_length()
                others = sum(other.lanes * other.width for other in self._banks.values() if other is not bank)
                if others + lanes * width > self._pool.size:
                    without += members
                    continue
                if bank is not None:
                    bank.leave({})
                bank = self._banks[width] = Bank(width, lanes)
            bank.seat(members)
            banks.append(bank)
        return banks, without
