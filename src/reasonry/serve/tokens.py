"""How a token is written in a reply: as bytes, as a string, and where it begins in the text.

Invariant: the bytes of a completion's tokens, special ones left out, joined and read as UTF-8, are its text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import cache

from reasonry.lm.tokenizer import Tokenizer


def token_bytes(tokenizer: Tokenizer, id: int) -> bytes:
    """The bytes of one token, special tokens by their names. A part of a character is that part's bytes."""
    text = tokenizer.decode((id,), skip_special=False)
    if "\ufffd" not in text:
        return text.encode()
    spelled = tokenizer.backend.id_to_token(id) or ""
    if id in tokenizer.byte_ids:
        return bytes([int(spelled[3:5], 16)])
    bytes_of = _byte_level()
    return bytes(bytes_of[c] for c in spelled) if all(c in bytes_of for c in spelled) else text.encode()


def written(token: bytes) -> str:
    r"""A token as a string: its text, or `bytes:\xe2\x96` where it is only a part of a character, so that no two tokens look the same."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{b:02x}" for b in token)


def offsets(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """Where in the decoded text each token begins, in characters. Special tokens take no room; a character counts once it is whole."""
    decoder, length, starts = codecs.getincrementaldecoder("utf-8")("replace"), 0, []
    for id in ids:
        starts.append(length)
        length += len(decoder.decode(token_bytes(tokenizer, id))) if tokenizer.decode((id,)) else 0
    return starts


@cache
def _byte_level() -> dict[str, int]:
    """The byte behind each character of a byte-level vocabulary: printable bytes stand for themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}
