"""Hugging Face checkpoint folders to decoders and back.

Invariants. What is loaded and saved again has the same tensor names, shapes and values; a config that still describes the decoder is
kept as it is; files that are not ours (model card, generation settings, tokenizer) are carried over. Loading keeps one tensor beside the
growing model, never two models: the decoder is built without storage and weights arrive one by one from mapped files.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.families import read_config, write_config
from reasonry.lm.tokenizer import Tokenizer

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load_decoder(
    folder: str | Path, dtype: torch.dtype | None = torch.float32, device: str | torch.device = "cpu", trunk: bool = False
) -> Decoder:
    """Builds the decoder of a checkpoint folder, its weights in `dtype` (`None`: as stored) on `device`.

    `trunk`: of a sequence classifier, whose output layer is not looked for and whose `score.weight` is left alone.
    Raises UserError, naming the field or file, for anything that is not a complete, supported checkpoint.
    """
    folder = Path(folder)
    config = read_config(read_raw(folder), f"{folder}/config.json")
    config = replace(config, tie_embeddings=True) if trunk else config
    with torch.device("meta"):
        decoder = Decoder(config)
    expected = {_stored_name(name): (name, tuple(p.shape)) for name, p in decoder.named_parameters()}
    files = _tensor_files(folder)
    if missing := sorted(expected.keys() - files.keys()):
        raise UserError(f"checkpoint {folder} lacks {len(missing)} tensors, the first {missing[0]!r}; download it again")
    known = {"lm_head.weight", "score.weight"} if trunk else {"lm_head.weight"}
    spare = sorted(n for n in files.keys() - expected.keys() if not n.endswith("rotary_emb.inv_freq") and n not in known)
    if spare:
        raise UserError(
            f"checkpoint {folder} holds {len(spare)} tensors its config.json has no place for, the first {spare[0]!r}; "
            "merge adapters first, and check that model_type is right"
        )
    by_file: dict[Path, list[str]] = defaultdict(list)
    for stored in expected:
        by_file[files[stored]].append(stored)
    state: dict[str, Tensor] = {}
    for file, names in by_file.items():
        with _open(file, device) as tensors:
            for stored in names:
                name, shape = expected[stored]
                view = tensors.get_slice(stored)
                if (found := tuple(view.get_shape())) != shape:
                    raise UserError(
                        f"{file}: {stored} has shape {list(found)}, but config.json makes it {list(shape)}; correct config.json"
                    )
                if view.get_dtype() not in FLOATS:
                    raise UserError(f"{file}: {stored} is stored as {view.get_dtype()}; supported: {', '.join(FLOATS)} (not quantised)")
                state[name] = tensors.get_tensor(stored).to(dtype or FLOATS[view.get_dtype()])
    decoder.load_state_dict(state, assign=True)
    return decoder


def save_decoder(
    decoder: Decoder,
    folder: str | Path,
    tokenizer: Tokenizer | None = None,
    like: str | Path | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a folder that this package, transformers and vLLM load. Of a model with thought embeddings transformers loads all but those;
    vLLM was not tried with one.

    `like` is the folder the decoder came from: its config is kept where it still holds, its other files are carried over, and `tokenizer`
    need not be given. `dtype` is what to store (`None`: the weights' own). Each file appears whole or not at all.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if like is not None:
        _carry_over(Path(like), folder)
    if tokenizer is not None:
        tokenizer.save(folder)
    stored = {_stored_name(n): p.detach() for n, p in decoder.named_parameters()}
    kind = dtype or next(iter(stored.values())).dtype
    config = _config(decoder, kind, like, tokenizer, f"{folder}/config.json")
    shards = list(_shards(stored, kind, max_shard_bytes))
    names = [SINGLE] if len(shards) == 1 else [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        part = folder / f"{name}.part"
        save_file({n: stored[n].to("cpu", kind).contiguous() for n in shard}, part, metadata={"format": "pt"})
        part.replace(folder / name)
    if len(shards) > 1:
        total = sum(p.numel() for p in stored.values()) * kind.itemsize
        weight_map = {n: name for name, shard in zip(names, shards, strict=True) for n in shard}
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    _write_json(folder / "config.json", config)
    for old in folder.glob("model*.safetensors"):
        if old.name not in names:
            old.unlink()
    if len(shards) == 1:
        (folder / INDEX).unlink(missing_ok=True)


def read_raw(folder: Path) -> dict[str, Any]:
    """The `config.json` of a checkpoint folder. Raises UserError when there is no such folder, no such file, or no JSON in it."""
    if not folder.is_dir():
        raise UserError(f"checkpoint {folder} is not a folder; give the path of a downloaded Hugging Face checkpoint")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"checkpoint {folder} holds no config.json; give the folder that has it beside the .safetensors files")
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as e:
        raise UserError(f"{path} is not valid JSON ({e}); download it again") from e
    if not isinstance(raw, dict):
        raise UserError(f"{path} is a JSON {type(raw).__name__}, not an object; download it again")
    return raw


def _stored_name(name: str) -> str:
    return name if name.startswith("lm_head.") else f"model.{name}"


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> file that holds it."""
    if (folder / INDEX).is_file():
        try:
            listed = json.loads((folder / INDEX).read_bytes())["weight_map"]
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(f"{folder / INDEX} holds no weight_map ({e!r}); download it again") from e
        for file in sorted(set(listed.values())):
            if not (folder / file).is_file():
                raise UserError(f"checkpoint {folder} lacks the file {file}, which its index names; download it again")
        return {name: folder / file for name, file in listed.items()}
    if (folder / SINGLE).is_file():
        with _open(folder / SINGLE, "cpu") as tensors:
            return dict.fromkeys(tensors.keys(), folder / SINGLE)
    if found := sorted(p.name for p in folder.iterdir() if p.name.endswith(WEIGHTS)):
        raise UserError(
            f"checkpoint {folder} holds {found[0]} but no {SINGLE}; only safetensors are read: "
            "load it once with transformers, then save_pretrained"
        )
    raise UserError(f"checkpoint {folder} holds no weights; download its .safetensors files too")


def _open(file: Path, device: str | torch.device) -> Any:
    try:
        return safe_open(file, framework="pt", device=str(device))
    except SafetensorError as e:
        raise UserError(f"{file} is not a whole safetensors file ({e}); download it again (with Git: git lfs pull)") from e


def _shards(stored: Mapping[str, Tensor], dtype: torch.dtype, limit: int) -> Iterator[list[str]]:
    """Names in order, cut so that no file exceeds `limit` bytes unless one tensor alone does."""
    shard, size = [], 0
    for name, p in stored.items():
        more = p.numel() * dtype.itemsize
        if shard and size + more > limit:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += more
    yield shard


def _config(decoder: Decoder, dtype: torch.dtype, like: str | Path | None, tokenizer: Tokenizer | None, where: str) -> dict[str, Any]:
    raw = read_raw(Path(like)) if like is not None else {}
    if not raw or read_config(raw, where) != decoder.config:
        raw = {k: v for k, v in raw.items() if not k.startswith(("rope_", "num_thoughts"))} | write_config(decoder.config, where)
    if tokenizer is not None and like is None:
        eos = tokenizer.eos_ids
        raw |= {
            "bos_token_id": tokenizer.bos_id,
            "eos_token_id": eos[0] if len(eos) == 1 else list(eos) or None,
            "pad_token_id": tokenizer.pad_id,
        }
    spelled = "torch_dtype" if "torch_dtype" in raw else "dtype"
    return raw | {spelled: str(dtype).removeprefix("torch.")}


def _carry_over(source: Path, target: Path) -> None:
    for path in [*source.iterdir(), *source.glob("additional_chat_templates/*.jinja")]:
        ours = path.name.endswith(WEIGHTS) or path.name == "config.json" or path.name.startswith(".")
        copy = target / path.relative_to(source)
        if path.is_file() and not ours and not (copy.exists() and copy.samefile(path)):
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
