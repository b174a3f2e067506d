"""How the parent and the supervisor talk: a number of blobs, their sizes, the blobs. The first one says what the others are.

Invariant: only the parent and the supervisor write frames; nothing the confined program writes is ever parsed. What the parent sends begins
with a marshalled plan, which the supervisor trusts as it trusts its own code; what comes back begins with a literal, read as nothing else.
"""

from __future__ import annotations

import os
import select
import struct
import time

TYPE_CHECKING = False  # `typing` and `collections` would take longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Sequence


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


def receive(file: int, deadline: float | None = None) -> list[bytes]:
    """The next frame. Raises EOFError where the other side is gone, TimeoutError at the deadline (`time.monotonic`)."""
    (count,) = struct.unpack("!I", _read(file, 4, deadline))
    sizes = struct.unpack(f"!{count}I", _read(file, 4 * count, deadline))
    return [_read(file, size, deadline) for size in sizes]


def send(file: int, blobs: Sequence[bytes]) -> None:
    """Writes one frame. Raises BrokenPipeError where the other side is gone."""
    for part in (struct.pack(f"!{len(blobs) + 1}I", len(blobs), *map(len, blobs)), *blobs):
        write_all(file, part)


def write_all(file: int, content: bytes) -> None:
    """Writes all of a text to a file that waits."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
