"""The window-cost tool's closed forms are what the engine counts, and its page and text hold them."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from reasonry import cli
from reasonry.accel.ahn import Window, adapt, remember
from reasonry.accel.ahn.ledger import kept_bytes, next_token_flops, prompt_flops
from reasonry.core import Sampling
from reasonry.evaluate.window_cost import places
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM

WINDOW = Window(20, 4)


@pytest.mark.parametrize("n", [5, 23, 24, 25, 60])
async def test_the_forms_are_what_the_engine_counts(n: int) -> None:
    """A prompt of n tokens and two more, patched and not: operations to the last, and bytes."""
    lm = load_lm("pocket-1m", dtype=torch.float32)
    assert isinstance(lm, LocalLM)
    short = remember(lm, adapt(lm.decoder), WINDOW)
    c = lm.decoder.config
    async with lm, short:
        for model, window in ((lm, None), (short, WINDOW)):
            cost = (await model.complete(tuple(range(5, 5 + n)), Sampling(max_tokens=2, ignore_eos=True))).cost
            assert cost.flops == pytest.approx(prompt_flops(c, n, window) + next_token_flops(c, n, window), rel=1e-12)
            assert cost.peak_kv_bytes == kept_bytes(c, n + 1, window, 4)


def test_a_prompt_is_its_tokens_one_by_one() -> None:
    """Less the logits that nobody asks for."""
    lm = load_lm("pocket-1m", dtype=torch.float32)
    assert isinstance(lm, LocalLM)
    c = lm.decoder.config
    for window in (None, WINDOW):
        single = sum(next_token_flops(c, n, window) for n in range(50)) - 49 * 2.0 * c.hidden_size * c.vocab_size
        assert prompt_flops(c, 50, window) == pytest.approx(single, rel=1e-12)


def test_the_command_prints_them(tmp_path, monkeypatch, capsys) -> None:
    """As text, as JSON and as a page; beyond the window the next token costs the same everywhere."""
    given = ["reasonry", "probe", "window-cost", "--model", "pocket", "--window", "20", "--sinks", "4", "--contexts", "16,1k,1M"]
    for more in ([], ["--json", "--out", str(tmp_path / "w.html")]):
        monkeypatch.setattr(sys, "argv", [*given, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code in (0, None)
    text, _, data = capsys.readouterr().out.partition("{")
    found = json.loads("{" + data)["places"]
    assert [p["tokens"] for p in found] == [16, 1024, 1024**2]
    assert found[1]["next_window"] == found[2]["next_window"] < found[2]["next_full"]
    assert found[1]["kept_window"] == found[2]["kept_window"]
    assert found[0]["next_window"] == found[0]["next_full"]
    assert "1,048,576" in text
    assert "<svg" in (tmp_path / "w.html").read_text()
    lm = load_lm("pocket", dtype=torch.float32)
    assert isinstance(lm, LocalLM)
    assert places(lm.decoder.config, WINDOW, [1024], 2)[0].prompt_full == found[1]["prompt_full"]
