"""A Hugging Face `config.json` of the Llama, Mistral, Qwen2 and Qwen3 families as a `DecoderConfig`, and back.

Invariant: whatever in a config would change the network's output is either honoured or refused by name; nothing is ignored in silence.
Defaults of absent fields are those of the family in transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reasonry.core import UserError
from reasonry.lm.decoder import DecoderConfig
from reasonry.nn.rope import Dynamic, Linear, Llama3, Plain, Scaling, Yarn

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """What differs from one `model_type` to the next."""

    architecture: str
    biases: Callable[[Raw], tuple[bool, bool, bool]]
    """config -> (query, key and value; attention output; MLP)."""
    slides: Callable[[Raw], bool]
    """Whether any layer attends through a sliding window."""
    max_position: int
    """`max_position_embeddings` where the config has none."""
    kv_heads: int | None = None
    """`num_key_value_heads` where the config has none; `None`: as many as query heads."""
    head_dim: int | None = None
    """`head_dim` where the config has none; `None`: the width shared out among the heads."""
    qk_norm: bool = False


def _qwen_slides(raw: Raw) -> bool:
    if raw.get("layer_types"):
        return "sliding_attention" in raw["layer_types"]
    wanted = raw.get("use_sliding_window", False) and raw.get("sliding_window", 4096) is not None
    return wanted and raw["num_hidden_layers"] > raw.get("max_window_layers", 28)


def _attention_bias(raw: Raw) -> bool:
    return bool(raw.get("attention_bias", False))


FAMILIES = {
    "llama": Family(
        "LlamaForCausalLM",
        lambda raw: (_attention_bias(raw), _attention_bias(raw), bool(raw.get("mlp_bias", False))),
        lambda raw: False,
        max_position=2048,
    ),
    "mistral": Family(
        "MistralForCausalLM",
        lambda raw: (False, False, False),
        lambda raw: raw.get("sliding_window", 4096) is not None,
        max_position=131072,
        kv_heads=8,
    ),
    "qwen2": Family("Qwen2ForCausalLM", lambda raw: (True, False, False), _qwen_slides, max_position=32768, kv_heads=32),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        lambda raw: (_attention_bias(raw), _attention_bias(raw), False),
        _qwen_slides,
        max_position=32768,
        kv_heads=32,
        head_dim=128,
        qk_norm=True,
    ),
}
"""`model_type` -> what is particular to it."""


def read_config(raw: Raw, where: str) -> DecoderConfig:
    """The decoder that a `config.json` describes; `where` is its path, for sentences.

    Raises UserError naming the field, for everything outside the four families' dense models with full attention.
    """

    def need(field: str) -> int:
        if not isinstance(value := raw.get(field), int) or value < 1:
            raise UserError(f"{where}: {field} is {value!r} but must be a positive integer; is this the config of a causal language model?")
        return value

    def refuse(field: str, supported: str) -> UserError:
        return UserError(f"{where}: {field} is {raw.get(field)!r}, which is not supported; supported: {supported}")

    kind = raw.get("model_type")
    if kind not in FAMILIES:
        raise refuse("model_type", f"the dense models of {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    if raw.get("quantization_config") is not None:
        raise refuse("quantization_config", "weights in float32, float16 or bfloat16; take the checkpoint before quantisation")
    layers, width, heads = need("num_hidden_layers"), need("hidden_size"), need("num_attention_heads")
    if family.slides(raw):
        raise refuse("layer_types" if raw.get("layer_types") else "sliding_window", "full attention in every layer")
    if raw.get("hidden_act", "silu") != "silu":
        raise refuse("hidden_act", "silu")
    kv_heads = raw.get("num_key_value_heads", family.kv_heads) or heads
    if heads % kv_heads:
        raise refuse("num_key_value_heads", f"a divisor of num_attention_heads ({heads})")
    if not isinstance(thoughts := raw.get("num_thoughts", 0), int) or thoughts < 0:
        raise refuse("num_thoughts", "a number of thought embeddings, 0 for none")
    qkv_bias, o_bias, mlp_bias = family.biases(raw)
    max_position = raw.get("max_position_embeddings", family.max_position)
    theta, scaling = _read_rope(raw, where, max_position)
    if isinstance(scaling, Yarn):  # the usual way to ask for a longer window; the field beside it keeps the old one
        max_position = max(max_position, int(scaling.factor * scaling.original_max_position))
    return DecoderConfig(
        vocab_size=need("vocab_size"),
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=raw.get("head_dim", family.head_dim) or width // heads,
        intermediate_size=need("intermediate_size"),
        max_position=max_position,
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        qkv_bias=qkv_bias,
        o_bias=o_bias,
        mlp_bias=mlp_bias,
        qk_norm=family.qk_norm,
        tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
        num_thoughts=thoughts,
    )


def _read_rope(raw: Raw, where: str, max_position: int) -> tuple[float, Scaling]:
    """θ and the scaling, from `rope_theta` beside `rope_scaling` (transformers 4) or both inside `rope_parameters` (transformers 5)."""
    field = "rope_scaling" if raw.get("rope_scaling") else "rope_parameters"
    rope: Raw = raw.get(field) or {}
    theta = float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    partial = rope.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0
    if partial != 1.0:
        raise UserError(f"{where}: partial_rotary_factor is {partial}, which is not supported; supported: 1.0")

    def need(name: str) -> float:
        if not isinstance(value := rope.get(name), int | float):
            raise UserError(f"{where}: {field}.{name} is {value!r} but {kind} needs a number there")
        return float(value)

    original = int(raw.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings") or max_position)
    match kind:
        case "default":
            return theta, Plain()
        case "linear":
            return theta, Linear(need("factor"))
        case "dynamic":
            return theta, Dynamic(need("factor"), max_position)
        case "llama3":
            return theta, Llama3(need("factor"), need("low_freq_factor"), need("high_freq_factor"), original)
        case "yarn":
            factor = need("factor") if rope.get("factor") is not None else max_position / original
            return theta, Yarn(
                factor=factor,
                original_max_position=original,
                beta_fast=float(rope.get("beta_fast") or 32),
                beta_slow=float(rope.get("beta_slow") or 1),
                attention_factor=_yarn_attention(rope, factor),
                truncate=bool(rope.get("truncate", True)),
            )
        case _:
            raise UserError(
                f"{where}: {field}.rope_type is {kind!r}, which is not supported; supported: default, linear, dynamic, llama3, yarn"
            )


def _yarn_attention(rope: Raw, factor: float) -> float | None:
    """The factor on cos and sin where the config says more than the paper's rule: outright, or as DeepSeek's ratio of two temperatures."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    mscale, all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
    if not (mscale and all_dim):
        return None
    above, below = (Yarn(factor, 1).temperature(m) for m in (mscale, all_dim))
    return above / below


def write_config(config: DecoderConfig, where: str) -> dict[str, Any]:
    """The `config.json` fields of a decoder, in the spelling that transformers 4 and 5 both read.

    Raises UserError when no family has this combination of norms and biases.
    """
    c = config
    raw: dict[str, Any] = {
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "head_dim": c.head_dim,
        "intermediate_size": c.intermediate_size,
        "max_position_embeddings": c.max_position,
        "rms_norm_eps": c.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": c.tie_embeddings,
        "attention_bias": c.o_bias,
        "mlp_bias": c.mlp_bias,
        "rope_theta": c.rope_theta,
        "rope_scaling": _write_scaling(c.rope_scaling),
        **({"num_thoughts": c.num_thoughts} if c.num_thoughts else {}),
    }
    for kind in ("qwen3", "qwen2", "llama"):
        candidate = {"architectures": [FAMILIES[kind].architecture], "model_type": kind, **raw}
        if read_config(candidate, where) == c:
            return candidate
    raise UserError(
        f"{where}: qkv_bias={c.qkv_bias}, o_bias={c.o_bias}, mlp_bias={c.mlp_bias}, qk_norm={c.qk_norm} is no supported family's shape; "
        "use those of qwen3 (qk_norm), qwen2 (qkv_bias) or llama (none)"
    )


def _write_scaling(scaling: Scaling) -> dict[str, Any] | None:
    match scaling:
        case Plain():
            return None
        case Linear():
            return {"rope_type": "linear", "factor": scaling.factor}
        case Dynamic():
            return {"rope_type": "dynamic", "factor": scaling.factor}
        case Llama3():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_position,
            }
        case Yarn():
            sharpened = {} if scaling.attention_factor is None else {"attention_factor": scaling.attention_factor}
            return {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "original_max_position_embeddings": scaling.original_max_position,
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
                "truncate": scaling.truncate,
                **sharpened,
            }
        case _:
            raise UserError(f"rope_scaling {scaling!r} has no spelling in config.json; use one of Plain, Linear, Dynamic, Llama3, Yarn")
