"""A small real model behind a real server, once per module; and the same model in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_server import CHATML, local, serving

from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Byte-level, with a few merges."""
    words = ["two plus three is five", "#### 5\n", "what is 2 + 3 ?", "the answer, perhaps: ünïcödé ▁"] * 8
    return Tokenizer.train(words, 320, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], CHATML)


@pytest.fixture(scope="module")
def address(tokenizer: Tokenizer) -> Iterator[str]:
    with serving({"tiny": local(tokenizer)}) as url:
        yield url


@pytest.fixture
def twin(tokenizer: Tokenizer) -> LocalLM:
    """The same model as the server's, in this process."""
    return local(tokenizer)
