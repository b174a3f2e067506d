"""The routers of a model in a folder of their own.

Invariant: what was saved decides, loaded, as it did: the number of windows is part of it, for another would change decisions silently.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from reasonry.accel.drllm.routers import Routers
from reasonry.core import UserError
from reasonry.core.run import write_whole
from reasonry.lm.decoder import Decoder

WEIGHTS, CONFIG = "drllm.safetensors", "drllm.json"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """What `drllm.json` says: the routers' shape, and that of the model they are for."""

    hidden_size: int
    num_layers: int
    router_hidden: int
    num_windows: int


def fresh_routers(decoder: Decoder, hidden: int = 128, windows: int = 8, seed: int = 0) -> Routers:
    """Untrained routers for a decoder, where its weights are."""
    routers = Routers(decoder.config, hidden, windows)
    routers.reset_parameters(torch.Generator().manual_seed(seed))
    return routers.to(decoder.embed_tokens.weight.device)


def save_routers(routers: Routers, folder: str | Path) -> None:
    """Writes `drllm.json` and `drllm.safetensors` into `folder`, each whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (WEIGHTS + ".part")
    save_file({n: p.detach().to("cpu").contiguous() for n, p in routers.named_parameters()}, part)
    part.replace(folder / WEIGHTS)
    stored = _Stored(routers.config.hidden_size, routers.config.num_layers, routers.hidden, routers.windows)
    write_whole(folder / CONFIG, json.dumps(msgspec.to_builtins(stored)))


def load_routers(decoder: Decoder, folder: str | Path) -> Routers:
    """The routers of a folder, for the decoder they were made for. Raises UserError where they do not fit it."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"routed: {folder} has no {name}; give the folder that save_routers or train --recipe drllm wrote")
    try:
        stored = msgspec.json.decode((folder / CONFIG).read_bytes(), type=_Stored)
    except msgspec.DecodeError as error:
        raise UserError(f"routed: {folder / CONFIG} cannot be read ({error}); save the routers again") from error
    for field in ("hidden_size", "num_layers"):
        if (made := getattr(stored, field)) != (have := getattr(decoder.config, field)):
            raise UserError(f"routed: {folder} is for a model with {field} {made}, and this one has {have}; use the model it was made for")
    routers = fresh_routers(decoder, stored.router_hidden, stored.num_windows)
    try:
        routers.load_state_dict(load_file(folder / WEIGHTS, device=str(decoder.embed_tokens.weight.device)))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise UserError(f"routed: {folder / WEIGHTS} does not hold these routers ({reason}); save them again") from None
    return routers
