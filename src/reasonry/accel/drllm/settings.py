"""What the routers' training recipe says: one flat set of keys, read from TOML by `reasonry train`.

Invariant: an impossible value is refused before the model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reasonry.accel.drllm.learn import Teaching
from reasonry.core import UserError


@dataclass(frozen=True, kw_only=True)
class RouterSettings:
    """Routers for a model: the search for labels, and how they are taught. The defaults are the paper's, but for the warm-up."""

    patch: Literal["drllm"]
    model: str
    """`pocket`, `pocket-1m` or a checkpoint folder."""
    task: str
    """Where problems come from, and their judge; a .jsonl file too. Its train part is searched, its validation part measured."""
    examples: int = 400
    """Problems searched for a program."""
    validation: int = 100
    """Problems measured on at the end. Where a file has no validation part, those of its train part that were not searched."""
    max_tokens: int = 15
    """Of an answer, while searching and measuring."""

    search: Literal["tree", "edits", "chain"] = "tree"
    """Monte-Carlo tree search; every program one or two edits away, in an order that all problems share; the released code's chain."""
    simulations: int = 50
    """Programs tried for a problem, at most."""
    saving: int = 2
    """Blocks saved by a right program that end a problem's search."""
    widen: bool = False
    """Let the tree go below a node before all its edits are tried: for networks with more edits than simulations."""

    hidden: int = 128
    """Inner width of a router."""
    windows: int = 8
    gamma: float = 2.0
    """Of the focal loss; 0 is cross-entropy."""
    beta: float = 0.999
    """Of the effective number by which classes weigh; 0: all alike."""
    epochs: int = 25
    rows: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.01
    knobs: tuple[float, ...] = (-0.65, -0.6, -0.5, -0.3, 0.0, 0.5)
    """Where on the knob the routers are measured."""
    save_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError for what can't be."""
        for name in ("examples", "validation", "max_tokens", "simulations", "saving", "hidden", "windows", "epochs", "rows", "save_every"):
            if (value := getattr(self, name)) < 1:
                raise UserError(f"{name}: is {value}; use at least 1")
        for name in ("gamma", "lr", "weight_decay"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"{name}: is {value}; use 0 or more")
        if not 0 <= self.beta < 1:
            raise UserError(f"beta: is {self.beta}; use 0 or more, below 1")
        if (bad := next((p for p in self.knobs if not -1 <= p <= 1), None)) is not None:
            raise UserError(f"knobs: has {bad}; use numbers from -1 to 1")

    @property
    def teaching(self) -> Teaching:
        """How the routers are taught."""
        return Teaching(self.epochs, self.rows, self.lr, gamma=self.gamma, beta=self.beta, weight_decay=self.weight_decay, seed=self.seed)
