"""The cells of a model, one a block, kept beside it: made, saved alone, loaded. The model's own weights are never touched."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from reasonry.accel.ahn.cell import CELLS, Hippocampus
from reasonry.core import UserError
from reasonry.core.run import write_whole
from reasonry.lm.decoder import Decoder, DecoderConfig

WEIGHTS, CONFIG = "ahn.safetensors", "ahn.json"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """What `ahn.json` says: the cell, and the shape it was made for."""

    ahn_implementation: str
    hidden_size: int
    num_layers: int
    num_heads: int
    head_dim: int


class Adapter(nn.Module):
    """A cell for every block of a decoder."""

    def __init__(self, config: DecoderConfig, name: str) -> None:
        super().__init__()
        if name not in CELLS:
            raise UserError(f"ahn: cell is {name!r} but must be one of {', '.join(CELLS)}")
        self.config, self.name = config, name
        self.cells = nn.ModuleList(CELLS[name](config) for _ in range(config.num_layers))

    def cell(self, layer: int) -> Hippocampus:
        """The cell of a block."""
        found = self.cells[layer]
        assert isinstance(found, Hippocampus)
        return found

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def used(self) -> bool:
        """Whether it changes anything: its output matrices are zero until it has been trained."""
        return any(bool(self.cell(i).o_proj.any()) for i in range(self.config.num_layers))


def adapt(decoder: Decoder, cell: str = "GatedDeltaNet", seed: int = 0) -> Adapter:
    """Untrained cells for a decoder, in fp32 where its weights are; with them it is that decoder with a plain window.

    Raises UserError for a name that is not in `CELLS`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(decoder.config, cell)
    return adapter.to(decoder.embed_tokens.weight.device)


def save_adapter(adapter: Adapter, folder: str | Path) -> None:
    """Writes `ahn.json` and `ahn.safetensors` into `folder`, each whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (WEIGHTS + ".part")
    save_file({n: p.detach().to("cpu").contiguous() for n, p in adapter.named_parameters()}, part)
    part.replace(folder / WEIGHTS)
    c = adapter.config
    write_whole(
        folder / CONFIG, json.dumps(msgspec.to_builtins(_Stored(adapter.name, c.hidden_size, c.num_layers, c.num_heads, c.head_dim)))
    )


def load_adapter(decoder: Decoder, folder: str | Path) -> Adapter:
    """The cells of a folder, for the decoder they were made for. Raises UserError where they do not fit it."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"ahn: {folder} has no {name}; give the folder that save_adapter wrote")
    try:
        stored = msgspec.json.decode((folder / CONFIG).read_bytes(), type=_Stored)
    except msgspec.DecodeError as error:
        raise UserError(f"ahn: {folder / CONFIG} cannot be read ({error}); save the adapter again") from error
    for field in ("hidden_size", "num_layers", "num_heads", "head_dim"):
        if (made := getattr(stored, field)) != (have := getattr(decoder.config, field)):
            raise UserError(
                f"ahn: {folder} was made for a model with {field} {made}, and this one has {have}; use the model it was made for"
            )
    adapter = adapt(decoder, stored.ahn_implementation)
    adapter.load_state_dict(load_file(folder / WEIGHTS, device=str(adapter.device)))
    return adapter
