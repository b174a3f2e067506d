"""Checkpoints: logits equal transformers', what is saved equals what was loaded, and what is not supported is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reasonry.core import UserError
from reasonry.lm.checkpoint import load_decoder, read_raw, save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.families import read_config, write_config
from reasonry.nn.attention import causal
from reasonry.nn.rope import Dynamic, Linear, Llama3, Yarn

V, WINDOW, ORIGINAL, T = 97, 64, 32, 100
"""Vocabulary, max_position_embeddings, the scaled ropes' original context, and a length beyond both."""

SHAPE = {
    "vocab_size": V, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": WINDOW, "rms_norm_eps": 1e-5,
}  # fmt: skip

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
}
YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": ORIGINAL}

CASES: dict[str, dict[str, Any]] = {
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2 untied": {"model_type": "qwen2", "tie_word_embeddings": False, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
    "qwen2 yarn": {"model_type": "qwen2", "rope_parameters": {"rope_theta": 1e4, **YARN}},
    "qwen3": {"model_type": "qwen3", "head_dim": 24, "tie_word_embeddings": True},
    "qwen3 with biases": {"model_type": "qwen3", "head_dim": 16, "attention_bias": True},
    "qwen3 yarn sharpened": {
        "model_type": "qwen3", "head_dim": 32,
        "rope_parameters": {"rope_theta": 1e4, **YARN, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.3, "truncate": False},
    },
    "llama": {"model_type": "llama"},
    "llama, no groups": {"model_type": "llama", "num_key_value_heads": 4},
    "llama with biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 32},
    "llama llama3": {"model_type": "llama", "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 5e5, **LLAMA3}},
    "llama linear": {"model_type": "llama", "rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.5}},
    "llama dynamic": {"model_type": "llama", "rope_parameters": {"rope_theta": 1e4, "rope_type": "dynamic", "factor": 4.0}},
    "llama yarn mscale": {"model_type": "llama", "rope_parameters": {"rope_theta": 1e4, **YARN, "mscale": 0.7, "mscale_all_dim": 0.4}},
    "mistral": {"model_type": "mistral", "sliding_window": None},
}  # fmt: skip


def randomised(model: Any, seed: int = 0) -> Any:
    """Weights large enough that a mistake shows: matrices N(0, 0.15²), norms around 1, biases around 0."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g) * 0.15
            p.copy_(1 + noise if name.endswith("norm.weight") else noise)
    return model


def peer(case: str) -> Any:
    """transformers' model of a case, with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**(SHAPE | CASES[case]))
    return randomised(AutoModelForCausalLM.from_config(config, attn_implementation="eager")).eval()


def tokens(rows: int = 2, length: int = T) -> tuple[Tensor, Tensor]:
    ids = torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(length).expand(rows, -1)


def logits_of(decoder: Decoder, length: int = T) -> Tensor:
    ids, positions = tokens(length=length)
    with torch.no_grad():
        return decoder.logits(decoder(ids, positions, causal()).last)


def stored(folder: Path) -> dict[str, Tensor]:
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def assert_same_tensors(a: Path, b: Path) -> None:
    x, y = stored(a), stored(b)
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].dtype == y[name].dtype
        assert torch.equal(x[name], y[name]), name


@pytest.mark.parametrize("case", CASES)
def test_logits_and_hidden_states_equal_transformers(case: str, tmp_path: Path) -> None:
    """The same checkpoint gives the same logits within 1e-4 and the same residual stream, also beyond the original context."""
    model = peer(case)
    if "yarn" in case:
        model.save_pretrained(tmp_path, max_shard_size="60KB")
        assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    else:  # as older exports are: one file, an output layer stored beside tied embeddings
        model.config.save_pretrained(tmp_path)
        save_file({name: t.clone() for name, t in model.state_dict().items()}, tmp_path / "model.safetensors")
    decoder = load_decoder(tmp_path)
    for length in (ORIGINAL - 5, T):  # short first: dynamic scaling must not remember a longer row
        ids, positions = tokens(length=length)
        with torch.no_grad():
            theirs = model(ids, output_hidden_states=True)
            ours = decoder(ids, positions, causal(), taps=range(3))
            torch.testing.assert_close(decoder.logits(ours.last), theirs.logits, atol=1e-4, rtol=0)
        for layer in range(2):
            torch.testing.assert_close(ours.taps[layer], theirs.hidden_states[layer], atol=1e-4, rtol=0)
        torch.testing.assert_close(decoder.norm(ours.taps[2]), theirs.hidden_states[2], atol=1e-4, rtol=0)
    assert theirs.logits.std() > 0.5, "a test on nearly constant logits would pass with any decoder"


@pytest.mark.parametrize("case", ["qwen2", "qwen3 yarn sharpened", "llama with biases", "mistral"])
def test_a_checkpoint_saved_again_is_the_same(case: str, tmp_path: Path) -> None:
    """load then save: tensors byte for byte, config and other files kept, and transformers computes the same logits from it."""
    from transformers import AutoModelForCausalLM

    peer(case).to(torch.bfloat16).save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("a model card")
    decoder = load_decoder(tmp_path / "a", dtype=None)
    assert decoder.embed_tokens.weight.dtype == torch.bfloat16
    save_decoder(decoder, tmp_path / "b", like=tmp_path / "a", max_shard_bytes=40_000)
    assert_same_tensors(tmp_path / "a", tmp_path / "b")
    assert read_raw(tmp_path / "b") == read_raw(tmp_path / "a")
    for name in ("README.md", "generation_config.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    assert len(list((tmp_path / "b").glob("model-*-of-*.safetensors"))) > 2
    before, after = (AutoModelForCausalLM.from_pretrained(tmp_path / f, attn_implementation="eager") for f in "ab")
    ids, _ = tokens()
    with torch.no_grad():
        assert torch.equal(before(ids).logits, after(ids).logits)


@pytest.mark.parametrize("case", ["qwen2 yarn", "qwen3", "llama llama3", "llama dynamic", "llama linear"])
def test_a_config_written_by_us_means_the_same_to_transformers(case: str, tmp_path: Path) -> None:
    """Saved without the original folder: the config is our own spelling, and transformers still computes the same logits."""
    from transformers import AutoModelForCausalLM

    peer(case).save_pretrained(tmp_path / "a")
    decoder = load_decoder(tmp_path / "a")
    save_decoder(decoder, tmp_path / "b")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "b", attn_implementation="eager")
    ids, _ = tokens()
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, logits_of(decoder), atol=1e-4, rtol=0)
    assert load_decoder(tmp_path / "b").config == decoder.config


def test_half_precision_files_load_into_fp32_and_are_stored_back(tmp_path: Path) -> None:
    """A bf16 checkpoint trained in fp32 and stored in bf16 loses nothing on the way when nothing was trained."""
    peer("qwen3").to(torch.bfloat16).save_pretrained(tmp_path / "a")
    decoder = load_decoder(tmp_path / "a")
    assert {p.dtype for p in decoder.parameters()} == {torch.float32}
    save_decoder(decoder, tmp_path / "b", like=tmp_path / "a", dtype=torch.bfloat16)
    assert_same_tensors(tmp_path / "a", tmp_path / "b")
    assert read_raw(tmp_path / "b")["dtype"] == "bfloat16"


def test_both_spellings_of_rope_settings_read_alike() -> None:
    """`rope_theta` beside `rope_scaling` (transformers 4) means the same as `rope_parameters` (transformers 5)."""
    base = SHAPE | {"model_type": "llama"}
    new = read_config(base | {"rope_parameters": {"rope_theta": 5e5, **LLAMA3}}, "config.json")
    old = read_config(base | {"rope_theta": 5e5, "rope_scaling": LLAMA3}, "config.json")
    assert new == old
    assert new.rope_scaling == Llama3(4.0, 1.0, 4.0, ORIGINAL)
    oldest = {"type": "linear", "factor": 2.0}
    assert read_config(base | {"rope_scaling": oldest}, "config.json").rope_scaling == Linear(2.0)
    assert read_config(base | {"rope_scaling": None, "rope_theta": 7.0}, "config.json").rope_theta == 7.0


def decoder_config(**changes: Any) -> DecoderConfig:
    shape: dict[str, Any] = {
        "vocab_size": V, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "intermediate_size": 48,
        "max_position": WINDOW,
    }  # fmt: skip
    return DecoderConfig(**(shape | changes))


@pytest.mark.parametrize(
    "config",
    [
        decoder_config(),
        decoder_config(qk_norm=True, head_dim=12, tie_embeddings=False),
        decoder_config(qkv_bias=True, rope_theta=1e6),
        decoder_config(qkv_bias=True, o_bias=True, mlp_bias=True, norm_eps=1e-5),
        decoder_config(rope_scaling=Linear(3.0)),
        decoder_config(rope_scaling=Dynamic(3.0, WINDOW)),
        decoder_config(rope_scaling=Llama3(8.0, 1.0, 4.0, 32)),
        decoder_config(rope_scaling=Yarn(2.0, 32, beta_fast=20.0, attention_factor=1.1, truncate=False)),
        decoder_config(rope_scaling=Yarn(4.0, 32), max_position=128),
    ],
)
def test_a_config_survives_its_file(config: DecoderConfig) -> None:
    """What is written to config.json is read back as the same decoder."""
    assert read_config(json.loads(json.dumps(write_config(config, "config.json"))), "config.json") == config


def test_a_shape_without_a_family_is_refused() -> None:
    """A network no family can hold is refused when saved, not written as something else."""
    with pytest.raises(UserError, match="no supported family"):
        write_config(decoder_config(qk_norm=True, mlp_bias=True), "config.json")


def test_yarn_widens_the_window() -> None:
    """Asking for YaRN beside an unchanged max_position_embeddings gives the stretched window."""
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    assert read_config(SHAPE | {"model_type": "qwen2", "rope_scaling": rope}, "config.json").max_position == 256


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "qwen3_moe"}, r"model_type is 'qwen3_moe'.*llama, mistral, qwen2, qwen3"),
        ({"model_type": None}, "model_type is None"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}, "sliding_window is 16"),
        ({"model_type": "qwen3", "layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding_window is 4096"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"rope_scaling": {"rope_type": "longrope", "short_factor": [], "long_factor": []}}, "rope_type is 'longrope'.*yarn"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor is None"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    """Whatever would change the output and is not honoured is an error that names the field and the value."""
    with pytest.raises(UserError, match=says):
        read_config(SHAPE | {"model_type": "llama"} | changes, "config.json")


def test_window_settings_that_bind_nothing_are_accepted() -> None:
    """Qwen's configs name a sliding window that is switched off; that is full attention."""
    off = {"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 28}
    above = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}
    for settings in (off, above, {"layer_types": ["full_attention"] * 2}):
        assert read_config(SHAPE | {"model_type": "qwen2"} | settings, "config.json").num_layers == 2


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint folder of ours, untied, in one file."""
    decoder = randomised(Decoder(decoder_config(tie_embeddings=False)))
    save_decoder(decoder, tmp_path / "small")
    return tmp_path / "small"


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_missing_and_misshapen_tensors_are_named(small: Path) -> None:
    """A hole, a wrong shape, a stranger and an integer tensor are each named by tensor."""
    rewrite(small, lambda t: t.update({"model.norm.weight": torch.ones(31)}))
    with pytest.raises(UserError, match=r"model\.norm\.weight has shape \[31\].*\[32\]"):
        load_decoder(small)
    rewrite(small, lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}))
    with pytest.raises(UserError, match="stored as I8"):
        load_decoder(small)
    rewrite(small, lambda t: t.pop("model.norm.weight"))
    with pytest.raises(UserError, match=r"lacks 1 tensors, the first 'model\.norm\.weight'"):
        load_decoder(small)
    rewrite(small, lambda t: t.update({"model.norm.weight": torch.ones(32), "model.layers.0.mlp.experts": torch.ones(1)}))
    with pytest.raises(UserError, match=r"no place for, the first 'model\.layers\.0\.mlp\.experts'"):
        load_decoder(small)


def test_leftovers_of_old_exports_are_harmless(small: Path) -> None:
    """Stored rotary tables, and an output layer beside tied embeddings, change nothing."""
    save_decoder(tied := randomised(Decoder(decoder_config())), small)
    rewrite(small, lambda t: t.update({"lm_head.weight": torch.ones(V, 32), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    assert torch.equal(logits_of(load_decoder(small)), logits_of(tied))


def test_a_folder_without_weights_says_what_it_has(small: Path) -> None:
    """Pickles only, no weights at all, a missing shard, a torn file, no config, no folder: each has its own sentence."""
    with pytest.raises(UserError, match="is not a folder"):
        load_decoder(small / "nowhere")
    content = (small / "model.safetensors").read_bytes()
    (small / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        load_decoder(small)
    (small / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        load_decoder(small)
    (small / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"holds pytorch_model\.bin but no model\.safetensors"):
        load_decoder(small)
    (small / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}})
    )
    with pytest.raises(UserError, match="lacks the file model-00001-of-00002"):
        load_decoder(small)
    (small / "config.json").unlink()
    with pytest.raises(UserError, match="holds no config"):
        load_decoder(small)


def test_saving_over_a_sharded_folder_leaves_no_old_shards(small: Path) -> None:
    """A folder never mixes the shards of two saves, also when the decoder's weights are still mapped from the old ones."""
    decoder = load_decoder(small, dtype=None)
    expected = logits_of(decoder)
    save_decoder(decoder, small, like=small, max_shard_bytes=8_000)
    assert not (small / "model.safetensors").exists()
    assert torch.equal(logits_of(load_decoder(small)), expected)
    save_decoder(load_decoder(small, dtype=None), small, like=small)
    assert sorted(p.name for p in small.iterdir()) == ["config.json", "model.safetensors"]
    assert torch.equal(logits_of(load_decoder(small)), expected)


def test_a_changed_shape_is_saved_with_a_config_that_says_so(small: Path) -> None:
    """After the vocabulary grew, the original folder's config no longer holds: its other fields stay, the changed ones follow."""
    raw = read_raw(small) | {"note": "kept"}
    (small / "config.json").write_text(json.dumps(raw))
    decoder = randomised(Decoder(decoder_config(tie_embeddings=False, vocab_size=V + 3)))
    save_decoder(decoder, small.parent / "grown", like=small)
    assert load_decoder(small.parent / "grown").config.vocab_size == V + 3
    assert read_raw(small.parent / "grown")["note"] == "kept"
