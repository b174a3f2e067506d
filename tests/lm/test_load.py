"""`load_lm`: each kind of spec finds its model, each kind of mistake has its sentence."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from reasonry.core import Sampling, UserError
from reasonry.lm import load
from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal


def test_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    assert model_folder(str(tmp_path / "m" / ".." / "m")) == tmp_path / "m"


def test_an_endpoint_is_named_by_address_and_model() -> None:
    assert load_lm("http://127.0.0.1:9/v1#some/model").name == "some/model"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("Qwen/Qwen3-0.6B", "hub, download it first"),
        ("nonsense", "none of pocket, pocket-1m, a checkpoint folder"),
        ("./no/such", "none of pocket"),
        ("http://127.0.0.1:9/v1", "names no model"),
        ("{tmp}", r"folder without config\.json"),
        ("{tmp}/file.safetensors", "is a file"),
    ],
)
def test_each_mistake_has_its_sentence(spec: str, says: str, tmp_path: Path) -> None:
    """A hub name, a typing error, a folder of something else and a file each say what to give instead."""
    (tmp_path / "file.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=says):
        load_lm(spec.format(tmp=tmp_path))


def test_a_missing_pocket_model_names_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "POCKET", tmp_path)
    with pytest.raises(UserError, match=r"pocket/pocket-1m is missing; make it: python -m reasonry\.train\.pocket pocket-1m"):
        load_lm("pocket-1m")


async def test_a_checkpoint_folder_becomes_a_model_that_answers(tmp_path: Path) -> None:
    """Decoder, tokenizer and engine come together: the greedy answer is the decoder's own, token for token, and ends at the end token."""
    tokenizer = Tokenizer.train(["one two three"] * 5, 300, ["<|endoftext|>", "<|im_end|>"], "{{ messages[0].content }}")
    decoder = Decoder(DecoderConfig(tokenizer.vocab_size, 32, 2, 4, 2, 8, 48, max_position=64))
    decoder.reset_parameters(torch.Generator().manual_seed(3))
    save_decoder(decoder, tmp_path / "tiny", tokenizer=tokenizer)
    async with cast(LocalLM, load_lm(str(tmp_path / "tiny"), device="cpu")) as lm:
        assert lm.name == "tiny"
        prompt = await lm.encode("one two")
        answer = await lm.complete(prompt, Sampling(max_tokens=5, temperature=0, ignore_eos=True))
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(5):
            hidden = decoder(torch.tensor([ids]), torch.arange(len(ids))[None], causal()).last[0, -1]
            ids.append(int(decoder.logits(hidden).argmax()))
    assert answer.ids == tuple(ids[len(prompt) :])


def test_a_saved_model_ends_its_turn_in_transformers_too(tmp_path: Path) -> None:
    """transformers' generate reads our end and padding tokens from the folder."""
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.train(["one two three"] * 5, 300, ["<|endoftext|>", "<|im_end|>"], "{{ messages[0].content }}")
    decoder = Decoder(DecoderConfig(tokenizer.vocab_size, 32, 2, 4, 2, 8, 48, max_position=64, qk_norm=True))
    save_decoder(decoder, tmp_path, tokenizer=tokenizer)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id == tokenizer.id_of("<|im_end|>")
    assert model.generation_config.pad_token_id == tokenizer.id_of("<|endoftext|>")
    assert Tokenizer.load(tmp_path).eos_ids == tokenizer.eos_ids
