"""A small real model with random weights behind a real server on a free loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import uvicorn

from reasonry.core import LM
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve.app import build_app

CHATML = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
WINDOW = 128


def random_decoder(tokenizer: Tokenizer, seed: int = 0) -> Decoder:
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=64,
        max_position=WINDOW, qk_norm=True, tie_embeddings=False,
    )  # fmt: skip
    decoder = Decoder(config).eval()
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for p in decoder.parameters():
            p.mul_(5)  # far from uniform, so that seeds and temperatures show
    return decoder


def local(tokenizer: Tokenizer) -> LocalLM:
    return LocalLM(random_decoder(tokenizer), tokenizer, "tiny", max_rows=8, kv_tokens=4096)


@contextmanager
def serving(lms: Mapping[str, LM], key: str | None = None, named: Mapping[tuple[str, str], str] | None = None) -> Iterator[str]:
    """The address of a running server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(build_app(lms, key, named), log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
