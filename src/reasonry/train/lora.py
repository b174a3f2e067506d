"""Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685) through the peft library: train few weights, sample with all of them.

Each adapted product's weight W [n, m] becomes W + s·B·A with A [r, m], B [n, r] (zero at first) and s = α/r; only A and B are trained.

Invariants. The checkpoint's own weights are never written to. An adapted layer's `.weight` is W + s·B·A, the matrix its product really
uses: so the engine, which fuses weights when it is flushed, samples from what is trained. (peft's own layers show W there, and an engine
that read it would sample from a model that is not trained, without a word.) The files are peft's: the keys are those of a Hugging Face
model, so that `peft.PeftModel.from_pretrained(model, folder)` loads them.

    recipe = Recipe(..., optimizer=LoRA(rank=16), lr=1e-4)     # `train` adds the adapters, trains them and keeps them in its checkpoint
    save_adapters(lm.decoder, folder, base="Qwen/Qwen3-0.6B")  # adapter_config.json and adapter_model.safetensors
    save_decoder(merged(lm.decoder), folder, like=original)    # a whole checkpoint instead
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from reasonry.core import Missing, UserError
from reasonry.lm.decoder import Decoder

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PRODUCTS = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
"""The products of a block that can have adapters."""
NAME = "default"
"""What peft calls the one adapter."""
PREFIX = "base_model.model."
"""What peft puts before a model's own names in its files."""


@dataclass(frozen=True)
class LoRA:
    """How to adapt; as `Recipe.optimizer` it adapts the decoder and returns AdamW over the adapters."""

    rank: int = 16
    """r."""
    alpha: float = 32.0
    """α; the update is scaled by α/r."""
    products: tuple[str, ...] = PRODUCTS
    """Which of a block's products."""
    seed: int = 0
    """Of A's first values."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"LoRA: rank is {self.rank} but must be at least 1")
        if wrong := [p for p in self.products if p not in PRODUCTS] or (["nothing"] if not self.products else []):
            raise UserError(f"LoRA: products holds {wrong[0]!r}; choose from {', '.join(PRODUCTS)}")

    def __call__(self, decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
        """AdamW with β = (0.9, 0.95) over the adapters, which are added where there are none yet."""
        if not adapters(decoder):
            adapt(decoder, self)
        weights = [p for p in decoder.parameters() if p.requires_grad]
        return [torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)]


def adapt(decoder: Decoder, lora: LoRA) -> None:
    """Adds adapters in place and freezes everything else; the decoder computes what it did before. Tell an engine over it with `flush`.

    Raises UserError for a decoder that has adapters, Missing without peft.
    """
    config = _peft().LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.products), bias="none", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lora.seed)
        _inject(decoder, config)


def adapters(decoder: Decoder) -> dict[str, Tensor]:
    """The adapters' weights by their names in peft's files; empty where there are none. They are the decoder's own, not copies."""
    named = {f"{PREFIX}model.{n.replace(f'.{NAME}.', '.')}": p for n, p in decoder.named_parameters() if ".lora_" in n}
    return {n: p.detach() for n, p in named.items()}


def merged(decoder: Decoder) -> Decoder:
    """A plain decoder with the weights W + s·B·A: for `save_decoder`, for sampling at full speed. The adapted one stays as it is."""
    with torch.device("meta"):
        plain = Decoder(decoder.config)
    state: dict[str, Tensor] = {}
    for name, _ in plain.named_parameters():
        layer, _, leaf = name.rpartition(".")
        state[name] = getattr(decoder.get_submodule(layer), leaf).detach().clone()
    plain.load_state_dict(state, assign=True)
    return plain


def save_adapters(decoder: Decoder, folder: str | Path, base: str | None = None) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors`, as peft does; `base` names the model they belong to, a folder or a
    name on the hub. Raises UserError for a decoder without adapters."""
    from safetensors.torch import save_file

    weights = adapters(decoder)
    if not weights:
        raise UserError("save_adapters: the decoder has no adapters; use save_decoder")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(decoder)
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(folder))
    part = folder / "adapter_model.safetensors.part"
    save_file({n: p.to("cpu").contiguous() for n, p in weights.items()}, part, metadata={"format": "pt"})
    part.replace(folder / "adapter_model.safetensors")


def load_adapters(decoder: Decoder, folder: str | Path) -> None:
    """Adds the adapters of a folder, ours or peft's, to a decoder that has none. Raises UserError for what they adapt beyond the products
    of blocks, and for shapes that are not this decoder's."""
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"adapters {folder} lacks {name}; give the folder that peft's save_pretrained wrote")
    config = _peft().PeftConfig.from_pretrained(str(folder))
    if config.peft_type != "LORA":
        raise UserError(f"adapters {folder} are of type {config.peft_type}; only LORA is read")
    if config.use_dora or config.modules_to_save or config.bias != "none":
        raise UserError(f"adapters {folder} use DoRA, biases or modules_to_save, which are not read; merge them with peft first")
    stored = load_file(folder / "adapter_model.safetensors")
    config.inference_mode = False
    _inject(decoder, config)
    own = adapters(decoder)
    wrong = sorted(stored.keys() ^ own.keys()) or sorted(n for n in own if own[n].shape != stored[n].shape)
    if wrong:
        raise UserError(
            f"adapters {folder} do not fit this decoder, the first misfit being {wrong[0]!r}; load them on the model they were made for"
        )
    for name, value in stored.items():
        own[name].copy_(value)


def _inject(decoder: Decoder, config: Any) -> None:
    if adapters(decoder):
        raise UserError("LoRA: the decoder has adapters already; begin from a plain one, or from `merged` of it")
    config._register_custom_module({nn.Linear: _layer()})
    _peft().inject_adapter_in_model(config, decoder, NAME)
    for name, p in decoder.named_parameters():
        if ".lora_" in name and p.dtype.itemsize < 4:  # the small steps of training would be lost in half precision
            p.data = p.data.float()


def _config(decoder: Decoder) -> Any:
    """A copy of the configuration peft has left on the adapted layers' decoder."""
    from copy import copy

    configs: Mapping[str, Any] = decoder.peft_config  # type: ignore[assignment]  # an attribute peft adds
    return copy(configs[NAME])


@cache
def _layer() -> type[nn.Module]:
    """peft's adapted linear layer, but telling the truth about its weight."""
    _peft()
    from peft.tuners.lora import Linear

    class Adapted(Linear):
        @property
        def weight(self) -> Tensor:  # type: ignore[override]
            """W + s·B·A [n, m], in W's dtype."""
            W = cast(nn.Linear, self.get_base_layer()).weight
            return W if self.merged else W + self.get_delta_weight(NAME).to(W.dtype)

    return Adapted


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise Missing("peft", "lora", "training with LoRA") from error
    return peft
