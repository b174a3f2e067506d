"""What a TRM's training recipe says: one flat set of keys, read from TOML by `reasonry train`; the defaults are the paper's for sudoku.

Invariant: an impossible value is refused before puzzles are made; a key's meaning is that of the field of the same name in `Shape` or
`Recipe`, unless said here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from reasonry.core import UserError
from reasonry.core.seeds import inner_seed
from reasonry.tasks.arc import ArcTask, read_tasks
from reasonry.worlds.arc_world import ArcWorld, Embedded, arc_draw
from reasonry.worlds.grids import Draw, MazeWorld, Puzzles, SudokuWorld, World, endless, hinted, make, plain_changes
from reasonry.worlds.optim import AdamATan2
from reasonry.worlds.stablemax import log_softmax, log_stablemax
from reasonry.worlds.trm import Mixer, Shape
from reasonry.worlds.trm_folder import world_of
from reasonry.worlds.trm_train import Recipe, save_whole

CHUNK = 500
"""Puzzles made between two saves: hard ones take a twentieth of a second each."""


@dataclass(frozen=True, kw_only=True)
class TRMSettings:
    """A Tiny Recursive Model and how it is trained."""

    world: str
    """`sudoku6`, `sudoku9`, `maze5` (any size), or `arc`."""
    puzzles: int = 1000
    """Training puzzles. Not for ARC."""
    clues: int | None = None
    """Of a sudoku; left out: minimal ones, of which no clue can be taken away."""
    change: bool = True
    """Show each puzzle under a random change: renamed digits, shuffled lines; a turned maze."""
    hints: float = 0.0
    """Share of the puzzles shown with some of their cells given away."""
    files: tuple[str, ...] = ()
    """ARC's JSON files or folders; the demonstrations of all their tasks are trained on."""
    copies: int = 1000
    """Changed copies of an ARC task at most, each with an embedding."""
    validation: int = 200
    """Validation puzzles, solved at every checkpoint; the best weights are kept. 0: none. Not for ARC."""
    evaluate: int = 1000
    """Test puzzles, solved at the end; for ARC test inputs. 0: none."""
    votes: int = 8
    """Copies that vote on an ARC test input at the end."""

    width: int = 512
    layers: int = 2
    heads: int = 8
    mixer: Literal["mlp", "attention"] = "mlp"
    expansion: float = 4.0
    round_to: int = 256
    prefix: int = 16
    puzzle_width: int = 512
    T: int = 3
    n: int = 6
    N_sup: int = 16

    steps: int = 65_000
    batch: int = 768
    lr: float = 1e-4
    warmup: int = 2000
    weight_decay: float = 1.0
    beta2: float = 0.95
    optimizer: Literal["adamw", "adam-atan2"] = "adamw"
    clip_norm: float | None = None
    mu: float = 0.999
    """Of the average of the weights that is evaluated and saved."""
    explore: float = 0.1
    loss: Literal["stablemax", "softmax"] = "stablemax"
    hrm_halting: bool = False
    puzzle_lr: float = 1e-4
    puzzle_decay: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    store: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the saved weights."""

    def __post_init__(self) -> None:
        """Raises UserError for what can't be."""
        for name in ("puzzles", "copies", "votes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: is {getattr(self, name)} but must be at least 1")
        for name in ("validation", "evaluate"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}: is {getattr(self, name)} but must be 0 or more")
        if not 0 <= self.hints <= 1:
            raise UserError(f"hints: is {self.hints:g} but must be from 0 to 1")
        if (self.world == "arc") != bool(self.files):
            raise UserError('files: names ARC\'s JSON files, and goes with world = "arc" alone; set both or neither')
        if self.world != "arc":
            world_of(self.world)
        self.shape(1, 1, 0)
        self.recipe("cpu")

    def shape(self, vocab: int, cells: int, puzzles: int) -> Shape:
        """The network for a world of `vocab` tokens and `cells` cells."""
        held = {f.name: getattr(self, f.name) for f in fields(Shape) if hasattr(self, f.name)}
        return Shape(**{**held, "mixer": Mixer(self.mixer), "vocab": vocab, "cells": cells, "puzzles": puzzles})

    def recipe(self, device: str) -> Recipe:
        """How it is trained; the forward pass is in bfloat16 on a GPU."""
        held = {f.name: getattr(self, f.name) for f in fields(Recipe) if hasattr(self, f.name)}
        own = {
            "betas": (0.9, self.beta2),
            "optimizer": AdamATan2 if self.optimizer == "adam-atan2" else torch.optim.AdamW,
            "log_probs": log_stablemax if self.loss == "stablemax" else log_softmax,
            "dtype": torch.bfloat16 if device.startswith("cuda") else torch.float32,
        }
        return Recipe(**{**held, **own})


@dataclass(frozen=True)
class Material:
    """What a run trains on and is judged by."""

    world: World
    draw: Draw
    rows: int
    """Rows of the table of puzzle embeddings; 0 is no table."""
    validation: Puzzles | None
    test: Puzzles | None
    tasks: tuple[ArcTask, ...] = ()


def material(s: TRMSettings, folder: Path, device: str) -> Material:
    """The puzzles of a run; those that are made are kept in `folder`, and a killed run goes on making them."""
    if s.world == "arc":
        tasks = tuple(task for name in s.files for task in read_tasks(Path(name).expanduser()))
        if len({task.id for task in tasks}) < len(tasks):
            raise UserError("files: two of them hold a task of the same id; name each task once")
        embedded = Embedded.draw(tasks, s.copies, s.seed)
        return Material(ArcWorld(embedded), arc_draw(tasks, embedded), embedded.count, None, None, tasks)
    world = world_of(s.world)
    assert isinstance(world, SudokuWorld | MazeWorld), "ARC was met above"
    made = folder / "puzzles.pt"
    parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = torch.load(made, weights_only=True) if made.exists() else {}
    for split, count in (("train", s.puzzles), ("validation", s.validation), ("test", s.evaluate)):
        while count > (have := len(parts[split][0]) if split in parts else 0):
            puzzles = make(world, split, min(CHUNK, count - have), inner_seed(s.seed, have), s.clues)
            new = puzzles.cells.to(torch.uint8), puzzles.solutions.to(torch.uint8)
            parts[split] = (torch.cat((parts[split][0], new[0])), torch.cat((parts[split][1], new[1]))) if have else new
            save_whole(made, parts)
    sets = {split: Puzzles(c.long(), x.long(), torch.zeros(len(c), dtype=torch.long)).to(device) for split, (c, x) in parts.items()}
    draw = endless(sets["train"], world.changes if s.change else plain_changes(world))
    return Material(world, hinted(draw, s.hints) if s.hints else draw, 0, sets.get("validation"), sets.get("test"))
