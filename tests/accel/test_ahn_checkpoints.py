"""The lines of docs/cheaper.md on checkpoint folders of three families, as transformers saves them: patched, distilled, saved, used."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from reasonry.accel.ahn import Window, load_adapter, remember
from reasonry.accel.ahn.engine import take_up
from reasonry.accel.ahn.memory import Memory
from reasonry.core import Sampling
from reasonry.lm import load_lm
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer

DOC = Path(__file__).parents[2] / "docs" / "cheaper.md"
SHAPE = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 2048,
}  # fmt: skip
FAMILIES = ("Qwen2", "Qwen3", "Llama")


def checkpoint(family: str, folder: Path) -> Any:
    """A folder as transformers saves it, with a tokenizer; and the model in it."""
    transformers = pytest.importorskip("transformers")
    more = {"head_dim": 8} if family == "Qwen3" else {}
    torch.manual_seed(0)
    made = getattr(transformers, f"{family}ForCausalLM")(getattr(transformers, f"{family}Config")(**SHAPE, **more)).eval()
    made.save_pretrained(folder)
    texts = ["one two three four five six seven " * 9]
    Tokenizer.train(texts, 300, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "{{ messages[0].content }}").save(folder)
    return made


@pytest.mark.parametrize("family", FAMILIES)
async def test_five_lines_patch_a_checkpoint_and_save_the_adapter(family: str, tmp_path: Path, monkeypatch) -> None:
    """As the page prints them. The checkpoint's files are what they were; while all fits the window the logits are transformers'."""
    theirs = checkpoint(family, tmp_path / "FOLDER")
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "FOLDER").iterdir()}
    (tmp_path / "texts.txt").write_text("\n".join("one two three four five six seven" * (3 + i % 5) for i in range(40)))
    code = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)[0]
    lines = [line for line in code.splitlines() if line.strip() and not re.match(r"from|import|#", line)]
    assert len(lines) == 5
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, str(DOC), "exec"), found)
    lm, short = found["lm"], found["short"]
    assert isinstance(lm, LocalLM)
    assert before == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "FOLDER").iterdir()}
    assert sorted(os.listdir("ADAPTER")) == ["ahn.json", "ahn.safetensors"]
    ids = torch.randint(0, 300, (1, 40), generator=torch.Generator().manual_seed(1))
    adapter = load_adapter(lm.decoder, "ADAPTER")
    assert adapter.used
    with torch.no_grad():
        made = lm.decoder.logits(take_up(lm.decoder, ids, Memory(adapter, Window(40), 1)))
        assert torch.allclose(made, theirs(ids).logits, atol=1e-4)
    fresh = load_lm("FOLDER")
    assert isinstance(fresh, LocalLM)
    again = remember(fresh, load_adapter(fresh.decoder, "ADAPTER"), short.engine.window)
    async with lm, short, fresh, again:
        asked = [await m.complete(tuple(ids[0].tolist()), Sampling(max_tokens=8, temperature=0)) for m in (short, again)]
    assert asked[0].ids == asked[1].ids
