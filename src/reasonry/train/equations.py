"""A continuous score that needs no model: how much of a written working is true.

`true_equations` is a reward function as TRL calls them, so it goes into a recipe's `functions`, and into HERO in a reward model's place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from operator import add, mul, sub
from typing import Any

_EQUATION = re.compile(r"(-?\d+(?:\.\d+)?) ?([-+*/]) ?(-?\d+(?:\.\d+)?) ?= ?(-?\d+(?:\.\d+)?)(?![\d.])")


def true_equations(completions: Sequence[Any], **_: Any) -> list[float]:
    """The share of a text's equations, `17+25=42`, that hold; 0 for a text without one."""
    texts = [c if isinstance(c, str) else "\n".join(m["content"] for m in c) for c in completions]
    shares: list[float] = []
    for text in texts:
        held = [_holds(*found) for found in _EQUATION.findall(text)]
        shares.append(sum(held) / max(len(held), 1))
    return shares


def _holds(a: str, op: str, b: str, c: str) -> bool:
    x, y = Fraction(a), Fraction(b)
    if op == "/":
        return y != 0 and x / y == Fraction(c)
    return {"+": add, "-": sub, "*": mul}[op](x, y) == Fraction(c)
