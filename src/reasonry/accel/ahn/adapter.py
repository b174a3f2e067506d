"""The cells of a model, kept beside it: one for every block that is not left with full attention; made, saved alone, loaded.

Invariants: the model's own weights are never touched; the cells are fp32 whatever the model's dtype.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reasonry.accel.ahn.cell import CELLS, Hippocampus
from reasonry.core import UserError
from reasonry.core.run import write_whole
from reasonry.lm.decoder import Decoder, DecoderConfig

WEIGHTS, CONFIG = "ahn.safetensors", "ahn.json"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """What `ahn.json` says: the cell, and the shape it was made for. The names are the paper's code's and Hugging Face's."""

    ahn_implementation: str
    hidden_size: int
    num_layers: int
    num_heads: int
    head_dim: int
    fa_layer_ids: tuple[int, ...] = ()
    use_ahn_router: bool = False


class Adapter(nn.Module):
    """A cell for every block of a decoder but the `full` ones, which keep full attention."""

    def __init__(self, config: DecoderConfig, name: str, full: Collection[int] = (), routed: bool = False) -> None:
        super().__init__()
        if name not in CELLS:
            raise UserError(f"ahn: cell is {name!r} but must be one of {', '.join(CELLS)}")
        if (odd := next((i for i in full if not 0 <= i < config.num_layers), None)) is not None:
            raise UserError(f"ahn: full names block {odd}, but the model's are 0 to {config.num_layers - 1}")
        self.config, self.name, self.full, self.routed = config, name, tuple(sorted(set(full))), routed
        patched = [layer for layer in range(config.num_layers) if layer not in self.full]
        if not patched:
            raise UserError("ahn: full names every block, so nothing would be patched; leave at least one out")
        self.cells = nn.ModuleDict({str(layer): CELLS[name](config, routed) for layer in patched})

    def cell(self, layer: int) -> Hippocampus | None:
        """The cell of a block; `None` where it keeps full attention."""
        if layer in self.full:
            return None
        found = self.cells[str(layer)]
        assert isinstance(found, Hippocampus)
        return found

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def used(self) -> bool:
        """Whether it changes anything: its output matrices are zero until it has been trained."""
        return any(bool(cell.o_proj.any()) for i in range(self.config.num_layers) if (cell := self.cell(i)) is not None)


def adapt(decoder: Decoder, cell: str = "GatedDeltaNet", seed: int = 0, full: Collection[int] = (), routed: bool = False) -> Adapter:
    """Untrained cells for a decoder, where its weights are; with them it is that decoder with a plain window.

    `full`: blocks that keep full attention, and so every token's keys. `routed`: how much of what is read counts is learnt too, by how
    far the text has gone beyond the window. Raises UserError for a name that is not in `CELLS`, or a block that there is not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(decoder.config, cell, full, routed)
    return adapter.to(decoder.embed_tokens.weight.device)


def save_adapter(adapter: Adapter, folder: str | Path) -> None:
    """Writes `ahn.json` and `ahn.safetensors` into `folder`, each whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (WEIGHTS + ".part")
    save_file({n: p.detach().to("cpu").contiguous() for n, p in adapter.named_parameters()}, part)
    part.replace(folder / WEIGHTS)
    c = adapter.config
    stored = _Stored(adapter.name, c.hidden_size, c.num_layers, c.num_heads, c.head_dim, adapter.full, adapter.routed)
    write_whole(folder / CONFIG, json.dumps(msgspec.to_builtins(stored)))


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
    adapter = adapt(decoder, stored.ahn_implementation, full=stored.fa_layer_ids, routed=stored.use_ahn_router)
    try:
        adapter.load_state_dict(load_file(folder / WEIGHTS, device=str(adapter.device)))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise UserError(f"ahn: {folder / WEIGHTS} does not hold these cells ({reason}); save the adapter again") from None
    return adapter
