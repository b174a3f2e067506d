"""What a patch's training recipe says: one flat set of keys, read from TOML by `reasonry train`.

Invariant: an impossible value is refused before the model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reasonry.accel.ahn.cell import CELLS
from reasonry.accel.ahn.distil import LOSSES, Drawn
from reasonry.core import UserError


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """AHN's cells for a model, and how they are distilled."""

    patch: Literal["ahn"]
    model: str
    """`pocket`, `pocket-1m` or a checkpoint folder."""
    data: str
    """A .jsonl file, whose rows have a `text`, or are written answers as for `--sft`; or a task that demonstrates its problems. Texts are
    laid end to end and cut into sequences."""
    examples: int = 2000
    """Demonstrations to draw, where `data` is a task."""
    tokens: int = 1024
    """T, of a sequence."""
    rows: int = 1
    """Sequences of a step."""

    cell: str = "GatedDeltaNet"
    """Or `DeltaNet`, `Mamba2`."""
    full: tuple[int, ...] = ()
    """Blocks that keep full attention."""
    routed: bool = False
    """Learn how much of what is read counts, too."""
    loss: str = "kl"
    """Or `ce` (the tokens themselves), `distill` (what attention gives in each block), `distill-unit` (its direction)."""
    totals: tuple[int, ...] = Drawn().totals
    """Window and sinks together, drawn for every step from those between T / 8 and T."""
    sinks: tuple[int, ...] = Drawn().sinks
    """Drawn with them, from those of at most half the total."""

    steps: int = 200
    lr: float = 1e-4
    warmup: int = 10
    """Steps over which the learning rate rises; then it falls by a cosine."""
    weight_decay: float = 0.01
    validation: int = 16
    """Sequences held out, on which the cells are measured at the end; an even number, for each is also read with another's memory."""
    save_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError for what can't be."""
        for name in ("examples", "tokens", "rows", "steps", "validation", "save_every"):
            if (value := getattr(self, name)) < 1:
                raise UserError(f"{name}: is {value}; use at least 1")
        if self.validation % 2:
            raise UserError(f"validation: is {self.validation}; use an even number")
        for name in ("lr", "weight_decay", "warmup"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"{name}: is {value}; use 0 or more")
        for name, value, known in (("cell", self.cell, CELLS), ("loss", self.loss, LOSSES)):
            if value not in known:
                raise UserError(f"{name}: is {value!r}; use one of {', '.join(known)}")
        self.windows.fitting(self.tokens)

    @property
    def windows(self) -> Drawn:
        """What windows are drawn from."""
        return Drawn(self.totals, self.sinks)
