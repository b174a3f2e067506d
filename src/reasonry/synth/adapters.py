"""φ, what stands between the answer of one problem and the slot of the next: identity, scaling, an offset, a unit conversion.

Every adapter here is x = a·y + b with exact rational numbers, so a chain's gold values have no rounding in them (arXiv 2510.07312).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from reasonry.core import UserError
from reasonry.tasks.judges import spell


@dataclass(frozen=True, slots=True)
class Adapter:
    """x = scale·y + offset, and how a prompt says it."""

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    words: str | None = None
    """The expression with `{y}` where the earlier answer's name goes; `None` writes the formula."""

    def __post_init__(self) -> None:
        if self.scale == 0:
            raise UserError("Adapter: scale is 0, so the next problem would not depend on the answer before; use another factor")
        if self.words is not None and "{y}" not in self.words:
            raise UserError(f"Adapter: words is {self.words!r} but must hold {{y}}, where the earlier answer's name goes")

    def __call__(self, y: Fraction) -> Fraction:
        """φ(y)."""
        return self.scale * y + self.offset

    def told(self, name: str) -> str:
        """The value of the slot in terms of an earlier answer's name: `P`, `(2 * P + 5)`, `(the number of minutes in P hours)`."""
        if self.words is not None:
            return f"({self.words.format(y=name)})"
        a, b = self.scale, self.offset
        formula = name if abs(a.numerator) == 1 else f"{abs(a.numerator)} * {name}"
        formula = f"-{formula}" if a < 0 else formula
        formula = formula if a.denominator == 1 else f"{formula} / {a.denominator}"
        if b:
            formula = f"{formula} {'+' if b > 0 else '-'} {spell(abs(b))}"
        return name if formula == name else f"({formula})"

    def worked(self, y: Fraction) -> str:
        """The way from an answer to the next slot as working, `6*2+5=`; empty where there is none to go."""
        a, b = self.scale, self.offset
        scaled = spell(y) if a == 1 else f"{spell(y)}*{spell(a)}"
        shift = f"{'+' if b > 0 else '-'}{spell(abs(b))}" if b else ""
        return f"{scaled}{shift}=" if a != 1 or b else ""


identity = Adapter()
"""x = y."""


def scaled(factor: int | Fraction) -> Adapter:
    """x = factor·y."""
    return Adapter(scale=Fraction(factor))


def shifted(offset: int | Fraction) -> Adapter:
    """x = y + offset."""
    return Adapter(offset=Fraction(offset))


def converted(words: str, factor: int | Fraction, offset: int | Fraction = 0) -> Adapter:
    """A unit conversion told in words, for example `converted("the number of minutes in {y} hours", 60)`."""
    return Adapter(Fraction(factor), Fraction(offset), words)


CONVERSIONS = (
    converted("the number of feet in {y} yards", 3),
    converted("the number of days in {y} weeks", 7),
    converted("the number of eggs in {y} dozens", 12),
)
"""Conversions with small factors, for chains whose values should stay small."""

MAKERS: tuple[Callable[[random.Random], Adapter], ...] = (
    lambda rng: identity,
    lambda rng: scaled(rng.randint(2, 4)),
    lambda rng: shifted(rng.choice((-1, 1)) * rng.randint(1, 20)),
    lambda rng: rng.choice(CONVERSIONS),
)
"""The kinds of adapter that `draw` chooses from with equal chance."""


def draw(rng: random.Random) -> Adapter:
    """A random adapter of a random kind."""
    return rng.choice(MAKERS)(rng)
