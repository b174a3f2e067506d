"""What specs name by a place (reward models, other models, cheaper forms), loaded once and closed together.

Whoever builds solvers from specs owns one `Opened`, hands it to every `build_solver`, and closes it after the solvers' last use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from reasonry.core import UserError

T = TypeVar("T")


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> Awaitable[None]: ...


class Opened:
    """Things by what they were made from. With `lent`, only those, which others own: nothing is loaded and nothing closed."""

    def __init__(self, lent: Mapping[Hashable, Any] | None = None) -> None:
        self._held: dict[Hashable, Any] = {}
        self._lent = lent

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave when this key was first asked for. Raises UserError for what is not lent, where something is."""
        if self._lent is not None:
            if key not in self._lent:
                names = ", ".join(str(k[-1]) for k in self._lent if isinstance(k, tuple))
                raise UserError(f"{key[1] if isinstance(key, tuple) else key!r} is not there to be used; use one of {names}")
            return self._lent[key]
        if key not in self._held:
            self._held[key] = make()
        return self._held[key]

    async def close(self) -> None:
        """Closes what can be closed, the last first."""
        while self._held:
            _, held = self._held.popitem()
            if isinstance(held, _Closable):
                await held.close()
