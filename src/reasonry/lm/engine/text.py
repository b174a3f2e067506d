"""The text of a completion while it grows: stop strings found across token boundaries, and pieces fit to be streamed.

Invariant: the pieces taken, joined, are the completion's text: cut before the first stop string, and never a character that a stop
string might still swallow.
"""

from __future__ import annotations

from reasonry.lm.tokenizer import Detokenizer


class Text:
    """`push` ids as they are sampled; `take` what is safe to show."""

    def __init__(self, detokenizer: Detokenizer, stops: tuple[str, ...]) -> None:
        self._detokenizer = detokenizer
        self._stops = stops
        self._held = max((len(s) for s in stops), default=1) - 1
        self._text = ""
        self._taken = 0
        self._ended = False

    def push(self, id: int) -> bool:
        """Whether a stop string is complete with this id; the text then ends before it."""
        return self._add(self._detokenizer.push(id))

    def finish(self) -> bool:
        """Lets out what was held back, for no more ids come; whether a stop string was in it."""
        if self._ended:
            return False
        found = self._add(self._detokenizer.flush())
        self._ended = True
        return found

    def take(self) -> str:
        """The text that became certain since the last call."""
        end = len(self._text) if self._ended else len(self._text) - self._partial()
        piece = self._text[self._taken : end]
        self._taken = max(self._taken, end)
        return piece

    @property
    def text(self) -> str:
        """All text so far."""
        return self._text

    def _add(self, piece: str) -> bool:
        start = max(len(self._text) - self._held, 0)
        self._text += piece
        found = [(at + len(s), at) for s in self._stops if (at := self._text.find(s, start)) >= 0]
        if found:
            self._text = self._text[: min(found)[1]]  # the one complete first, so that token boundaries do not matter
            self._ended = True
        return bool(found)

    def _partial(self) -> int:
        """Length of the longest tail that begins a stop string."""
        longest = min(self._held, len(self._text))
        return next((n for n in range(longest, 0, -1) if any(s.startswith(self._text[-n:]) for s in self._stops)), 0)
