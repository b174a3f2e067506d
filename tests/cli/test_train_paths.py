"""`reasonry train --sft` on parallel paths: the model is given what it lacks, learns, and is saved with it; a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_run import command

from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.thoughts import controls
from reasonry.lm.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}"


def prepare(folder: Path, rows: int = 12) -> list[str]:
    """A model over bytes without any control token, and rows of three paths and of two."""
    tokenizer = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE)
    decoder = Decoder(DecoderConfig(259, 16, 2, 4, 2, 8, 32, 64, qk_norm=True))
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    save_decoder(decoder, folder / "bytes", tokenizer=tokenizer)
    texts = [{"prompt": f"{i}+1?", "paths": ["ab", f"{i}cd", "e"][: 2 + i % 2], "summary": str(i + 1)} for i in range(rows)]
    (folder / "paths.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return [
        "train", "--model", str(folder / "bytes"), "--sft", str(folder / "paths.jsonl"), "--lr", "1e-2", "--validation", "3",
        "--set", "epochs=2", "--set", "batch_tokens=60", "--set", "save_every=2", "--set", "tags=5",
    ]  # fmt: skip


def test_what_comes_out_has_tags_and_thoughts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five tags' tokens and embeddings, moved by training; transformers loads the folder; a resumed run ends with the same weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    arguments = prepare(tmp_path)
    assert command([*arguments, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    model, tokenizer = load_decoder(tmp_path / "run" / "model"), Tokenizer.load(tmp_path / "run" / "model")
    assert controls(tokenizer).tags == 5
    assert model.config.num_thoughts == 6
    assert model.config.vocab_size == 259 + 12
    tables = [p for name, p in model.named_parameters() if name.endswith("thought.weight")]
    assert all(bool((table.abs().sum(-1) > 0).all()) for table in tables), "every tag was drawn, and the prompt's embedding learns too"
    peer, theirs = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model"),
        AutoTokenizer.from_pretrained(tmp_path / "run" / "model"),
    )
    assert peer.config.vocab_size == 271
    assert theirs.encode("<think5>", add_special_tokens=False) == [tokenizer.id_of("<think5>")]
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert steps[-1]["loss"] < steps[0]["loss"]

    out = tmp_path / "again"
    assert command([*arguments, "--out", str(out)]) == 0
    (out / "steps.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps[:-1]))
    assert command(["train", "--out", str(out), "--resume"]) == 0
    again = load_decoder(out / "model")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))

    capsys.readouterr()
    assert (
        command(
            [
                "train",
                "--model",
                str(out / "model"),
                "--sft",
                str(tmp_path / "paths.jsonl"),
                "--steps",
                "1",
                "--out",
                str(tmp_path / "more"),
            ]
        )
        == 0
    )
    assert load_decoder(tmp_path / "more" / "model").config.num_thoughts == 9, "8 tags unless told otherwise"


def test_adapters_alone_cannot_learn_new_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*prepare(tmp_path), "--lora", "2", "--out", str(tmp_path / "run")]) == 2
    assert "lora: is 2, which leaves the new tags" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
