"""Adapters say exactly what they compute."""

import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import UserError
from reasonry.synth.adapters import CONVERSIONS, Adapter, converted, draw, identity, scaled, shifted

fractions = st.fractions(min_value=-50, max_value=50, max_denominator=8)


@settings(deadline=None, max_examples=60)
@given(fractions.filter(bool), fractions, fractions)
def test_the_formula_that_is_told_evaluates_to_what_is_computed(scale: Fraction, offset: Fraction, y: Fraction):
    """Read as Python over exact numbers; an offset without a finite decimal is told as a fraction and binds as one."""
    phi = Adapter(scale, offset)
    formula = phi.told("y").replace("y", "Y")
    told = eval(_exact(formula), {"F": Fraction, "Y": y})
    assert told == phi(y) == scale * y + offset


@settings(deadline=None, max_examples=60)
@given(fractions.filter(bool), fractions, fractions)
def test_the_working_of_an_adapter_evaluates_to_what_is_computed(scale: Fraction, offset: Fraction, y: Fraction):
    """Left to right, with the way there written out; nothing where there is none to go."""
    phi = Adapter(scale, offset)
    working = phi.worked(y)
    assert (working == "") == (phi == identity)
    if working:
        assert working.endswith("=")
        assert eval(_exact(working[:-1]), {"F": Fraction}) == phi(y)


def _exact(formula: str) -> str:
    return re.sub(r"\d+(?:\.\d+)?", lambda m: f"F('{m[0]}')", formula)


def test_each_kind_has_its_spelling():
    minutes = converted("the number of minutes in {y} hours", 60)
    kinds = [identity, scaled(2), scaled(Fraction(1, 2)), shifted(5), shifted(-3), Adapter(Fraction(-9, 5), Fraction(32)), minutes]
    assert [phi.told("P") for phi in kinds] == [
        "P", "(2 * P)", "(P / 2)", "(P + 5)", "(P - 3)", "(-9 * P / 5 + 32)", "(the number of minutes in P hours)",
    ]  # fmt: skip
    assert minutes(Fraction(3)) == 180


def test_drawn_adapters_are_of_every_kind_and_replay_from_their_seed():
    drawn = [draw(random.Random(i)) for i in range(80)]
    assert drawn == [draw(random.Random(i)) for i in range(80)]
    assert identity in drawn
    assert any(phi.words for phi in drawn)
    assert any(phi.offset for phi in drawn)
    assert any(phi.scale != 1 and not phi.words for phi in drawn)


@pytest.mark.parametrize(("phi", "y", "x"), list(zip(CONVERSIONS, (2, 3, 4), (6, 21, 48), strict=True)))
def test_conversions_convert(phi: Adapter, y: int, x: int):
    assert phi(Fraction(y)) == x


def test_an_adapter_that_forgets_the_answer_is_refused():
    with pytest.raises(UserError, match="scale is 0"):
        scaled(0)
    with pytest.raises(UserError, match=r"must hold \{y\}"):
        converted("sixty", 60)
