"""When two answers are the same answer, where no judge is at hand to say so: what votes among models count as one."""

from __future__ import annotations

import re
from collections.abc import Hashable

from reasonry.tasks.judges import number, spell

_OPTION = re.compile(r"(?:option|choice|answer)?\s*[(\[]?\s*([A-Za-z])\s*[)\].:]?", re.IGNORECASE)
_WITH_TEXT = re.compile(r"[(\[]?\s*([A-Z])\s*[)\].:]\s+\S.*", re.DOTALL)


def same_answer(answer: str) -> Hashable:
    """The class of an answer: `1/2`, `0.5` and `.50` are one; so are `B`, `b`, `(B)`, `B.` and `B) a text`; else case and spaces do not
    count."""
    text = answer.strip().strip("$*`").strip()
    if option := _OPTION.fullmatch(text) or _WITH_TEXT.fullmatch(text):
        return f"option {option[1].upper()}"
    value = number(text)
    if value is not None and not re.search(r"[^\W\d_]{2,}", re.sub(r"\\[a-z]+", "", text)):
        return spell(value)
    return " ".join(text.lower().split())
