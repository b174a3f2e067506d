"""A trained TRM as a folder: `config.json` (`"model_type": "trm"`), `model.safetensors`, and for ARC the table's rows in `puzzles.json`.

Invariant: what `save_trm` writes, `load_trm` reads back as the same network, to the precision of the stored type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save_file

from reasonry.core import UserError
from reasonry.core.run import write_whole
from reasonry.worlds import SHIPPED
from reasonry.worlds.arc_world import ArcWorld, Embedded
from reasonry.worlds.changes import Recolouring
from reasonry.worlds.grids import MazeWorld, SudokuWorld, World
from reasonry.worlds.trm import TRM, Shape

CONFIG, WEIGHTS, PUZZLES = "config.json", "model.safetensors", "puzzles.json"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def is_trm(folder: Path) -> bool:
    """Whether a folder holds a TRM. Reads its config alone."""
    try:
        return json.loads((folder / CONFIG).read_bytes()).get("model_type") == "trm"
    except (OSError, ValueError, AttributeError):
        return False


def find_trm(spec: str) -> Path | None:
    """The folder of a TRM: a shipped one by its name (`trm-sudoku9`), or a path; `None` where the spec is no such network."""
    return next((folder for folder in (SHIPPED / spec, Path(spec).expanduser()) if is_trm(folder)), None)


def world_of(name: str, folder: Path | None = None) -> World:
    """The world of a name: `sudoku6`, `sudoku9`, `maze` with its size as `maze5`, or `arc`, whose puzzles are read from the folder."""
    if name in ("sudoku6", "sudoku9"):
        return SudokuWorld(int(name[-1]))
    if name.startswith("maze") and name[4:].isdigit():
        return MazeWorld(int(name[4:]))
    if name == "arc" and folder is not None:
        held: dict[str, list[tuple[int, int, list[int]]]] = json.loads((folder / PUZZLES).read_bytes())
        return ArcWorld(Embedded({t: tuple((i, Recolouring(k, tuple(c))) for i, k, c in copies) for t, copies in held.items()}))
    raise UserError(f"world: {name!r} is unknown; use sudoku6, sudoku9, maze5 (any size), or arc")


def world_name(world: World) -> str:
    """The inverse of `world_of`."""
    return f"maze{world.size}" if isinstance(world, MazeWorld) else world.name


def save_trm(model: TRM, world: World, folder: Path, dtype: torch.dtype = torch.float32, about: Mapping[str, Any] | None = None) -> Path:
    """Writes the folder; `about` says how it was trained and how it scored, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(world, ArcWorld):
        rows = {task: [(i, c.turn, c.colours) for i, c in copies] for task, copies in world.embedded.of.items()}
        write_whole(folder / PUZZLES, json.dumps(rows))
    save_file({name: w.detach().to(dtype).contiguous().cpu() for name, w in model.state_dict().items()}, folder / WEIGHTS)
    stored = next(name for name, kind in TYPES.items() if kind is dtype)
    config = {"model_type": "trm", "world": world_name(world), "dtype": stored, "shape": asdict(model.shape), "about": dict(about or {})}
    write_whole(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return folder


def load_trm(folder: Path, device: str | None = None) -> tuple[TRM, World]:
    """The network, in fp32 on `device` (`None`: CUDA where there is one), and its world. Raises UserError for another folder."""
    if not is_trm(folder):
        raise UserError(f"model {str(folder)!r} holds no Tiny Recursive Model; give a folder whose config.json says model_type trm")
    config = json.loads((folder / CONFIG).read_bytes())
    try:
        model = TRM(msgspec.convert(config["shape"], Shape))
    except (KeyError, msgspec.ValidationError) as error:
        raise UserError(f"{folder / CONFIG}: shape is wrong ({error}); take the file that was saved with the weights") from None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model.load_state_dict({name: w.float() for name, w in load_file(folder / WEIGHTS).items()})
    except (OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{folder / WEIGHTS}: does not fit the config ({first}); take the files that were saved together") from None
    return model.to(device).eval(), world_of(config["world"], folder)
