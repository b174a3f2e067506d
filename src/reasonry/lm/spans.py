"""Where each token stands in the text: token ids to character spans, exact also where a character is spread over several tokens.

Invariant: the text is `tokenizer.decode(ids)`, and a token's span holds every character of it to which the token gave a byte. Tokens that
leave no text (special ones, those cut away) have an empty span. Segments hold ids and text is a view of them, so whoever finds something in
the text gets back to the ids this way, and never by encoding again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from reasonry.lm.tokenizer import Detokenizer, Tokenizer

Span = tuple[int, int]
"""Start and end in characters."""


def token_spans(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The text of `ids` and the span of each.

    Bytes are followed one by one where the vocabulary is byte-level (Qwen, Llama 3, the pocket models) or has a token for every byte
    (Llama 2, Mistral). Elsewhere tokens that only together make a piece of text share its span.
    """
    text = tokenizer.decode(ids)
    parts = [_bytes_of(tokenizer, i) for i in ids]
    if any(p is None for p in parts):
        return text, _by_pieces(tokenizer, ids)
    chars, spans = byte_spans([p or b"" for p in parts])
    if chars == " " + text:  # sentencepiece's first space is no text
        return text, [(max(a - 1, 0), max(b - 1, 0)) for a, b in spans]
    return text, spans if chars == text else _by_pieces(tokenizer, ids)


def byte_spans(parts: Sequence[bytes]) -> tuple[str, list[Span]]:
    """The text of some pieces of UTF-8 together, and the characters that each gave a byte to."""
    text, at = _characters(b"".join(parts))
    spans, place = list[Span](), 0
    for part in parts:
        end = place + len(part)
        spans.append((at[place], at[end - 1] + 1 if part else at[place]))
        place = end
    return text, spans


def touched(spans: Sequence[Span], tokens: Sequence[Span]) -> list[bool]:
    """Which tokens have a character in one of the spans; a token with no text has none."""
    return [any(max(s, a) < min(e, b) for a, b in spans) for s, e in tokens]


@lru_cache(maxsize=1)
def _alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies spell bytes with (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


def _bytes_of(tokenizer: Tokenizer, id: int) -> bytes | None:
    """What a token adds to the text; `None` where that is not known from the token alone."""
    added = tokenizer.backend.get_added_tokens_decoder().get(id)
    if added is not None:
        return b"" if added.special else added.content.encode()
    token = tokenizer.backend.id_to_token(id)
    if token is None:
        return b""
    if tokenizer.byte_ids:
        return bytes([int(token[3:5], 16)]) if id in tokenizer.byte_ids else token.replace("▁", " ").encode()
    table = _alphabet()
    return bytes(table[c] for c in token) if all(c in table for c in token) else None


def _characters(data: bytes) -> tuple[str, list[int]]:
    """UTF-8 with broken sequences read as U+FFFD, and the character that each byte is part of; one more for the end."""
    text, at, place = list[str](), list[int](), 0
    while place < len(data):
        try:
            valid, broken = data[place:].decode(), 0
        except UnicodeDecodeError as error:
            valid, broken = data[place : place + error.start].decode(), error.end - error.start
        for c in valid:
            at += [len(text)] * len(c.encode())
            text.append(c)
        if broken:
            at += [len(text)] * broken
            text.append("\ufffd")
        place = len(at)
    return "".join(text), [*at, len(text)]


def _by_pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[Span]:
    grown, spans, waiting, place = Detokenizer(tokenizer), list[Span](), 0, 0
    for id in ids:
        piece, waiting = grown.push(id), waiting + 1
        if piece:
            spans += [(place, place + len(piece))] * waiting
            place, waiting = place + len(piece), 0
    rest = len(grown.flush())
    return spans + [(place, place + rest)] * waiting
