"""One word for a model on the command line, in a recipe or in code: `load_lm(spec)`.

A spec is `pocket` or `pocket-1m` (the shipped models), a Hugging Face checkpoint folder, or an endpoint `http://host:port/v1#model`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from reasonry.core import LM, UserError

if TYPE_CHECKING:
    import torch

POCKET = Path(__file__).parent / "pocket"
"""Where the shipped models lie, each an ordinary checkpoint folder."""

POCKETS = ("pocket", "pocket-1m")


def load_lm(
    spec: str,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    max_rows: int = 64,
    kv_tokens: int = 65536,
    key_variable: str = "OPENAI_API_KEY",
) -> LM:
    """The model a spec names, ready to complete.

    Local models: on `device` (`None`: CUDA where there is one, else the CPU), weights in `dtype` (`None`: float32 on the CPU, as stored on
    a GPU), at most `max_rows` rows computed together and `kv_tokens` tokens kept. Endpoints: the key is read from the environment variable
    `key_variable`. Raises UserError saying what the spec should have been.
    """
    if spec.startswith(("http://", "https://")):
        return _endpoint(spec, key_variable)
    folder = model_folder(spec)
    if re.search(rb'"model_type"\s*:\s*"trm"', (folder / "config.json").read_bytes()):
        raise UserError(f"model {spec!r} is a Tiny Recursive Model, which solve and compare take; give a language model here")
    import torch

    from reasonry.lm.checkpoint import load_decoder
    from reasonry.lm.local import LocalLM
    from reasonry.lm.tokenizer import Tokenizer

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or (torch.float32 if device == "cpu" else None)
    tokenizer = Tokenizer.load(folder)
    return LocalLM(load_decoder(folder, dtype, device), tokenizer, name=folder.name, max_rows=max_rows, kv_tokens=kv_tokens)


def model_folder(spec: str) -> Path:
    """The checkpoint folder a local spec names. Raises UserError when there is none."""
    if spec in POCKETS:
        if not (POCKET / spec / "config.json").is_file():
            raise UserError(
                f"model {spec!r}: its folder reasonry/lm/pocket/{spec} is missing; make it: python -m reasonry.train.pocket {spec}"
            )
        return POCKET / spec
    folder = Path(spec).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(
                f"model {spec!r} is a folder without config.json; give the checkpoint folder that has it beside its .safetensors"
            )
        return folder.resolve()
    if folder.exists():
        raise UserError(f"model {spec!r} is a file; give the checkpoint folder it lies in")
    if spec.count("/") == 1 and not spec.startswith((".", "/", "~")):
        raise UserError(f"model {spec!r} is no folder here; if it is a name on the Hugging Face hub, download it first and give the folder")
    raise UserError(
        f"model {spec!r} is none of {', '.join(POCKETS)}, a checkpoint folder, or an endpoint such as http://host:8000/v1#model"
    )


def _endpoint(spec: str, key_variable: str) -> LM:
    from reasonry.lm.endpoint import Endpoint

    base_url, _, model = spec.partition("#")
    if not model:
        raise UserError("model: the endpoint's address names no model; write it after a #, for example http://127.0.0.1:8000/v1#model-name")
    return Endpoint(base_url, model, key_variable=key_variable)
