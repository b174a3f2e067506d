"""Replies in the OpenAI shapes, legacy and chat, whole and in chunks.

A `Choice` is what the work behind hands over, a `Piece` a stretch of one; here they become JSON values. `usage.reasonry` is our own
addition: what the request really took.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonry.core import Cost, Ids, Stop
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve.requests import Ask
from reasonry.serve.tokens import offsets, token_bytes, written

FINISH: dict[Stop, str] = {Stop.EOS: "stop", Stop.STOP: "stop"}
"""The wire's two words: whatever else ended an answer cut it short, which is `length`; `usage.reasonry.stop` has our own word."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids with their log-probabilities. In an echo the prompt's come first, and the very first has none."""

    ids: Ids
    logprobs: tuple[float | None, ...]
    top: tuple[dict[int, float] | None, ...]

    def __add__(self, after: Tokens) -> Tokens:
        """These, then those."""
        return Tokens(self.ids + after.ids, self.logprobs + after.logprobs, self.top + after.top)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer, or with `stop` None a stretch of one that still grows."""

    index: int
    text: str
    stop: Stop | None
    stop_reason: str | int | None = None
    """The stop string or id that ended it, where one did."""
    prompt_ids: Ids | None = None
    ids: Ids | None = None
    tokens: Tokens | None = None
    """What `logprobs` reports; `None` where the request did not ask."""
    prompt_tokens: Tokens | None = None
    """What `prompt_logprobs` reports."""
    text_before: str = ""
    """The choice's text before this stretch, for offsets."""


@dataclass(frozen=True)
class Form:
    """How this request's reply is written. Made once per request."""

    ask: Ask
    tokenizer: Tokenizer | None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice], usage: dict[str, Any]) -> dict[str, Any]:
        """The reply in one piece."""
        written_choices = [self._choice(c) for c in choices]
        reply = self._head("chat.completion" if self.ask.chat else "text_completion") | {"choices": written_choices, "usage": usage}
        if self.ask.chat and choices:
            reply |= self._prompt_side(choices[0])
        return reply

    def chunk(self, choice: Choice, first: bool) -> dict[str, Any]:
        """A stretch of one choice. The first chunk of a chat choice names the role."""
        head = self._head("chat.completion.chunk" if self.ask.chat else "text_completion")
        if self.ask.stream_usage:
            head["usage"] = None
        return head | {"choices": [self._choice(choice, first)]} | (self._prompt_side(choice) if self.ask.chat and first else {})

    def usage_chunk(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The last chunk of a stream with `include_usage`: no choices, the whole request's usage."""
        return self._head("chat.completion.chunk" if self.ask.chat else "text_completion") | {"choices": [], "usage": usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": ("chatcmpl-" if self.ask.chat else "cmpl-") + self.id,
            "object": kind,
            "created": self.created,
            "model": self.ask.model,
        }

    def _choice(self, c: Choice, first: bool = False) -> dict[str, Any]:
        finish = None if c.stop is None else FINISH.get(c.stop, "length")
        out: dict[str, Any] = {"index": c.index, "finish_reason": finish, "stop_reason": c.stop_reason}
        if not self.ask.chat:
            out["text"] = c.text
        elif self.ask.stream:
            out["delta"] = ({"role": "assistant"} if first else {}) | ({"content": c.text} if c.text or first else {})
        else:
            out["message"] = {"role": "assistant", "content": c.text, "refusal": None}
        if c.tokens is None:
            out["logprobs"] = None
        else:
            out["logprobs"] = self._content(c.tokens) if self.ask.chat else self._lists(c.tokens, len(c.text_before))
        if self.ask.token_ids and c.ids is not None:
            out["token_ids"] = list(c.ids)
        if not self.ask.chat and (first or not self.ask.stream):
            out |= self._prompt_side(c)
        return out

    def _prompt_side(self, c: Choice) -> dict[str, Any]:
        """What is said of the prompt: in the choice (legacy) or beside the choices (chat), as vLLM does."""
        out: dict[str, Any] = {}
        if self.ask.token_ids and c.prompt_ids is not None:
            out["prompt_token_ids"] = list(c.prompt_ids)
        if c.prompt_tokens is not None:
            out["prompt_logprobs"] = [self._place(*place) for place in zip(*_columns(c.prompt_tokens), strict=True)]
        return out

    def _lists(self, tokens: Tokens, start: int) -> dict[str, Any]:
        """The legacy parallel lists. With k alternatives asked, the token itself is among them even where it is not one of the k."""
        tops = [
            None if value is None or top is None else {self.name(i): v for i, v in ({id: value} | top).items()}
            for id, value, top in zip(*_columns(tokens), strict=True)
        ]
        places = offsets(self.tokenizer, tokens.ids) if self.tokenizer else [0] * len(tokens.ids)
        return {
            "tokens": [self.name(i) for i in tokens.ids],
            "token_logprobs": list(tokens.logprobs),
            "top_logprobs": tops if self.ask.logprobs else None,
            "text_offset": [start + p for p in places],
        }

    def _content(self, tokens: Tokens) -> dict[str, Any]:
        """The chat form: one entry per token, with its bytes and its alternatives."""
        entries = [
            self._entry(id, value) | {"top_logprobs": [self._entry(i, v) for i, v in (top or {}).items()]}
            for id, value, top in zip(*_columns(tokens), strict=True)
        ]
        return {"content": entries, "refusal": None}

    def _entry(self, id: int, value: float | None) -> dict[str, Any]:
        return {"token": self.name(id), "logprob": value, "bytes": list(token_bytes(self.tokenizer, id)) if self.tokenizer else None}

    def _place(self, id: int, value: float | None, top: dict[int, float] | None) -> dict[str, Any] | None:
        """vLLM's form of one prompt token: by id, the token itself and the alternatives."""
        if value is None:
            return None
        found = {id: value} | (top or {})
        ranks = {i: rank for rank, i in enumerate(top or {}, 1)}  # of a token that is none of the likeliest the rank is not known
        return {str(i): {"logprob": v, "rank": ranks.get(i), "decoded_token": self.name(i)} for i, v in found.items()}

    def name(self, id: int) -> str:
        """A token as a string."""
        if self.ask.names_as_ids or self.tokenizer is None:
            return f"token_id:{id}"
        return written(token_bytes(self.tokenizer, id))


def _columns(tokens: Tokens) -> tuple[Ids, tuple[float | None, ...], tuple[dict[int, float] | None, ...]]:
    return tokens.ids, tokens.logprobs, tokens.top


def usage(cost: Cost, stops: Sequence[Stop]) -> dict[str, Any]:
    """What a request took: OpenAI's counts, and under `reasonry` the model calls, the tokens really computed, the seconds, and per
    choice how it ended."""
    cached = max(cost.prompt_tokens - cost.prefill_tokens, 0) if cost.prefill_tokens else None
    return {
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "total_tokens": cost.tokens,
        "prompt_tokens_details": None if cached is None else {"cached_tokens": cached},
        "reasonry": {
            "calls": cost.calls,
            "prefill_tokens": cost.prefill_tokens,
            "seconds": round(cost.seconds, 6),
            "stop": [str(s) for s in stops],
        },
    }
