"""LoRA: the engine samples what is trained, the base is never written to, files are peft's."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_lm import TELLING, Digits, toy_decoder, toy_lm

from reasonry.core import UserError, open_run
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import causal
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import only
from reasonry.train.loop import train
from reasonry.train.lora import ATTENTION, LoRA, adapt, adapters, load_adapters, merged, save_adapters
from reasonry.train.recipe import Recipe, describe

pytest.importorskip("peft")
TASK = Digits()
RECIPE = Recipe(
    objective=find("reinforce").objective, lr=0.02, steps=4, prompts=2, group=4, save_every=2, reward=TELLING, optimizer=LoRA(4, 8.0)
)
SHAPE = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
}  # fmt: skip


def plain_weights(decoder: Decoder) -> dict[str, Tensor]:
    """The weights that are not adapters, by the names they had before."""
    return {n.replace(".base_layer", ""): p.detach().clone() for n, p in decoder.named_parameters() if ".lora_" not in n}


def stir(decoder: Decoder) -> None:
    """Makes the adapters matter."""
    for p in adapters(decoder).values():
        p.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(p.numel()))


def logits(decoder: Decoder) -> Tensor:
    ids = torch.arange(12).reshape(2, 6) % decoder.config.vocab_size
    with torch.no_grad():
        return decoder.logits(decoder(ids, torch.arange(6).expand(2, 6), causal()).last)


async def run_lora(path: Path, recipe: Recipe = RECIPE, stop: int | None = None) -> tuple[Decoder, list[dict[str, Any]]]:
    """Trains the toy model, or stops it by an exception after `stop` steps."""
    told: list[dict[str, Any]] = []

    def tell(record: Any) -> None:
        told.append(dict(record))
        if len(told) == stop:
            raise KeyboardInterrupt

    run = open_run(path, describe(recipe), resume=True)
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=3", lm, TASK)
        await train(lm, solver, TASK, only(1, 3), {1: TASK.problems("train", 4)}, recipe, run, progress=tell)
        return lm.decoder, told


async def test_sampler_and_trainer_agree_and_the_base_stays(tmp_path: Path) -> None:
    """Over several steps at a large rate, the engine's log-probabilities are the trainer's; base weights stay, bit for bit."""
    before = plain_weights(toy_decoder())
    decoder, told = await run_lora(tmp_path / "run")
    assert len(told) == 4
    assert all(r["mismatch_max"] < 1e-4 and r["grad_norm"] > 0 for r in told)
    after = plain_weights(decoder)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)
    assert max(float(p.abs().max()) for n, p in adapters(decoder).items() if "lora_B" in n) > 0.01
    assert float((logits(decoder) - logits(toy_decoder())).abs().max()) > 0.01


async def test_a_stopped_run_goes_on_to_the_same_adapters(tmp_path: Path) -> None:
    """The checkpoint holds adapters and their optimiser: stopped in step 3, resumed from step 2, the end is the same bit for bit."""
    whole, _ = await run_lora(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        await run_lora(tmp_path / "cut", stop=3)
    again, told = await run_lora(tmp_path / "cut")
    assert [r["step"] for r in told] == [2, 3]
    ours, theirs = adapters(again), adapters(whole)
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs)


def test_before_training_nothing_changes() -> None:
    """B is zero: the adapted decoder computes what the plain one does, bit for bit, and only adapters can be trained."""
    decoder = toy_decoder()
    before = logits(decoder)
    adapt(decoder, LoRA(4))
    assert torch.equal(logits(decoder), before)
    trained = [n for n, p in decoder.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * 2
    assert all(".lora_" in n for n in trained)


def test_first_values_are_a_function_of_the_seed() -> None:
    """And the global generator is left as it was."""
    one, same, other = (toy_decoder() for _ in range(3))
    state = torch.get_rng_state()
    adapt(one, LoRA(4, seed=1))
    adapt(same, LoRA(4, seed=1))
    adapt(other, LoRA(4, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    a, b, c = ({n: p for n, p in adapters(d).items() if "lora_A" in n} for d in (one, same, other))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not any(torch.equal(a[n], c[n]) for n in a)


def test_merged_computes_the_same_and_shares_nothing(tmp_path: Path) -> None:
    decoder = toy_decoder()
    adapt(decoder, LoRA(4))
    stir(decoder)
    plain = merged(decoder)
    assert {n for n, _ in plain.named_parameters()} == {n for n, _ in toy_decoder().named_parameters()}
    torch.testing.assert_close(logits(plain), logits(decoder), atol=1e-4, rtol=1e-4)
    save_decoder(plain, tmp_path)
    torch.testing.assert_close(logits(load_decoder(tmp_path)), logits(decoder), atol=1e-4, rtol=1e-4)
    before = logits(decoder)
    for p in plain.parameters():
        p.data.zero_()
    assert torch.equal(logits(decoder), before)


def test_adapters_of_a_half_precision_model_are_kept_in_single() -> None:
    """Learning rates of adapters are small; bfloat16 would round their steps away. What comes out is the model's own precision."""
    decoder = toy_decoder().to(torch.bfloat16)
    adapt(decoder, LoRA(4))
    assert {p.dtype for p in adapters(decoder).values()} == {torch.float32}
    stir(decoder)
    assert logits(decoder).dtype == torch.bfloat16
    assert {p.dtype for p in merged(decoder).parameters()} == {torch.bfloat16}
    torch.testing.assert_close(logits(merged(decoder)), logits(decoder), atol=0.1, rtol=0.1)


async def test_the_engine_samples_from_merged_weights_after_a_flush() -> None:
    """Scored by the engine, adapted weights give what the merged decoder gives; its fused copy reads `.weight`, the whole of it."""
    async with toy_lm() as lm:
        adapt(lm.decoder, LoRA(4))
        stir(lm.decoder)
        lm.engine.flush()
        scores = await lm.score([1, 2, 3], [4, 5])
        plain = merged(lm.decoder)
    async with toy_lm(plain) as other:
        assert scores == pytest.approx(await other.score([1, 2, 3], [4, 5]), abs=1e-5)


def test_a_deep_copy_is_its_own() -> None:
    """References are frozen copies: training the original leaves them."""
    decoder = toy_decoder()
    adapt(decoder, LoRA(4))
    copy = deepcopy(decoder)
    before = logits(copy)
    stir(decoder)
    assert torch.equal(logits(copy), before)
    stir(copy)
    assert torch.equal(logits(copy), logits(decoder))


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("products", [ATTENTION, ("q_proj", "down_proj")])
def test_peft_loads_our_files_and_we_load_peft_s(kind: str, products: tuple[str, ...], tmp_path: Path) -> None:
    """Equal logits in transformers with `PeftModel.from_pretrained`, and the other way round; tensors byte for byte."""
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE)).eval()
    model.save_pretrained(tmp_path / "base")
    decoder = load_decoder(tmp_path / "base")
    adapt(decoder, LoRA(4, 8.0, products))
    stir(decoder)
    save_adapters(decoder, tmp_path / "ours", base=str(tmp_path / "base"))
    theirs = PeftModel.from_pretrained(model, str(tmp_path / "ours"))
    ids = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, logits(decoder), atol=1e-4, rtol=1e-4)
    assert float((logits(decoder) - logits(load_decoder(tmp_path / "base"))).abs().max()) > 0.01

    theirs.save_pretrained(str(tmp_path / "theirs"))
    ours, again = load_file(tmp_path / "ours" / "adapter_model.safetensors"), load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[n], again[n]) for n in ours)
    back = load_decoder(tmp_path / "base")
    load_adapters(back, tmp_path / "theirs")
    assert torch.equal(logits(back), logits(decoder))
    assert any(p.requires_grad for p in back.parameters())


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="products holds 'lm_head'"):
        LoRA(4, products=("lm_head",))
    with pytest.raises(UserError, match="rank is 0"):
        LoRA(0)
    with pytest.raises(UserError, match="has no adapters"):
        save_adapters(toy_decoder(), tmp_path)
    with pytest.raises(UserError, match=r"lacks adapter_config\.json"):
        load_adapters(toy_decoder(), tmp_path)
    decoder = toy_decoder()
    adapt(decoder, LoRA(4))
    with pytest.raises(UserError, match="adapters already"):
        adapt(decoder, LoRA(4))
    save_adapters(decoder, tmp_path)
    other = Decoder(replace(decoder.config, num_layers=1))
    with pytest.raises(UserError, match="do not fit"):
        load_adapters(other, tmp_path)
