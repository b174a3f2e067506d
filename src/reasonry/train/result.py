"""What training leaves: a checkpoint folder that this package, transformers and vLLM load.

Invariant: the folder appears whole or not at all, and holds nothing that was only true of the model it came from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonry.core.run import write_whole
from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.decoder import Decoder
from reasonry.lm.tokenizer import Tokenizer

STALE = ("card.json", "training.json", "README.md", "evaluation.json")
"""Files that say how the model it came from was made, or how good it was."""


def save_model(decoder: Decoder, folder: Path, like: Path, card: str, tokenizer: Tokenizer | None = None) -> Path:
    """Writes `folder` with the decoder's weights, the tokenizer (`None`: that of `like`) and settings of `like`, and `card` as its
    README.md; returns it."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    save_decoder(decoder, part, tokenizer, like=like)
    for name in STALE:
        (part / name).unlink(missing_ok=True)
    if not (part / "generation_config.json").exists():
        tokenizer = Tokenizer.load(like)
        ends = list(tokenizer.eos_ids)
        settings: Mapping[str, Any] = {"do_sample": True, "temperature": 1.0, "eos_token_id": ends, "pad_token_id": tokenizer.pad_id}
        write_whole(part / "generation_config.json", json.dumps({k: v for k, v in settings.items() if v is not None}, indent=2) + "\n")
    write_whole(part / "README.md", card)
    shutil.rmtree(folder, ignore_errors=True)
    return part.rename(folder)


def card(name: str, base: str, made: str, recipe: str, found: str = "") -> str:
    """A model card: what it was trained from, by which command and recipe, and what was found (Markdown)."""
    lines = [
        f"# {name}", "", f"Trained from `{base}` with Reasonry:", "", "```sh", made, "```", "", *([found, ""] if found else []),
        "The recipe; keys that are not named have their defaults:", "", "```toml", recipe.rstrip(), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)
