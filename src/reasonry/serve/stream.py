"""Server-sent events: chunks of a reply as they come, comments while nothing comes.

Invariant: whoever stops listening stops the work. The sources run as tasks of the event stream and are cancelled with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from reasonry.core import Cost, Stop
from reasonry.serve.errors import as_error
from reasonry.serve.replies import Choice, Form, usage

KEEP_ALIVE_SECONDS = 10.0
"""After so long without a chunk a comment is sent, so that no proxy between takes the silence for an end."""

Source = AsyncIterator[Choice | Cost]
"""Stretches of one choice, and at last what it cost."""


async def events(form: Form, sources: Sequence[Source], total: Callable[[Sequence[Cost]], Cost]) -> AsyncIterator[bytes]:
    """The event stream of one request; `total` makes one cost of the choices' costs. An error ends it with an `error` event."""
    queue: asyncio.Queue[Choice | Cost | Exception] = asyncio.Queue()
    tasks = [asyncio.create_task(_pump(source, queue)) for source in sources]
    costs: list[Cost] = []
    stops: dict[int, Stop] = {}
    started: set[int] = set()
    try:
        while len(costs) < len(tasks):
            try:
                item = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": working\n\n"
                continue
            if isinstance(item, Exception):
                yield _event(as_error(item)[1])
                return
            if isinstance(item, Cost):
                costs.append(item)
                continue
            if item.stop is not None:
                stops[item.index] = item.stop
            yield _event(form.chunk(item, first=item.index not in started))
            started.add(item.index)
        if form.ask.stream_usage:
            yield _event(form.usage_chunk(usage(total(costs), [stops[i] for i in sorted(stops)])))
        yield b"data: [DONE]\n\n"
    finally:
        for task in tasks:
            task.cancel()


async def _pump(source: Source, queue: asyncio.Queue[Choice | Cost | Exception]) -> None:
    try:
        async for item in source:
            queue.put_nowait(item)
    except Exception as error:
        queue.put_nowait(error)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
