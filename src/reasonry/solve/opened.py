"""What specs name by a place (reward models, other models, cheaper forms), loaded once and closed together.

Whoever builds solvers from specs owns one `Opened`, hands it to every `build_solver`, and closes it after the solvers' last use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> Awaitable[None]: ...


class Opened:
    """Things by what they were made from."""

    def __init__(self) -> None:
        self._held: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave when this key was first asked for."""
        if key not in self._held:
            self._held[key] = make()
        return self._held[key]

    async def close(self) -> None:
        """Closes what can be closed, the last first."""
        while self._held:
            _, held = self._held.popitem()
            if isinstance(held, _Closable):
                await held.close()
