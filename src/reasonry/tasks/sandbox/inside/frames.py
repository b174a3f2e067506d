"""How the parent and the supervisor talk: a length, a JSON object, then blobs whose sizes the object lists under `sizes`.

Invariant: only the parent and the supervisor write frames; nothing the confined program writes is ever parsed.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Sequence
from typing import Any


def _read(file: int, size: int, deadline: float | None) -> bytes:
    parts: list[bytes] = []
    while size:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([file], [], [], wait)[0]:
            raise TimeoutError
        part = os.read(file, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(file: int, deadline: float | None = None) -> tuple[dict[str, Any], list[bytes]]:
    """The next frame. Raises EOFError where the other side is gone, TimeoutError at the deadline (`time.monotonic`)."""
    header = json.loads(_read(file, int.from_bytes(_read(file, 4, deadline), "big"), deadline))
    return header, [_read(file, size, deadline) for size in header.pop("sizes")]


def send(file: int, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Writes one frame. Raises BrokenPipeError where the other side is gone."""
    text = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    for part in (len(text).to_bytes(4, "big"), text, *blobs):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(file, rest) :]
