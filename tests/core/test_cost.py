"""Costs add, budgets bound: the arithmetic every report rests on."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Budget, Cost, UserError

counts = st.integers(0, 10**9)
costs = st.builds(Cost, **{f.name: counts for f in fields(Cost)})  # whole numbers, so that sums are exact in floats too


@given(costs, costs, costs)
def test_costs_add_in_any_grouping(a: Cost, b: Cost, c: Cost) -> None:
    """Sequence and company are associative, and the zero cost is neutral for both."""
    assert (a + b) + c == a + (b + c)
    assert (a | b) | c == a | (b | c)
    assert a + Cost() == a
    assert a | Cost() == a


@given(costs, costs)
def test_sequence_and_company_differ_only_where_they_should(a: Cost, b: Cost) -> None:
    """Side by side, seconds overlap and caches stand together; every other field simply adds both ways."""
    one_after_other, together = a + b, a | b
    assert one_after_other.seconds == a.seconds + b.seconds
    assert together.seconds == max(a.seconds, b.seconds)
    assert one_after_other.peak_kv_bytes == max(a.peak_kv_bytes, b.peak_kv_bytes)
    assert together.peak_kv_bytes == a.peak_kv_bytes + b.peak_kv_bytes
    same = {"seconds": 0.0, "peak_kv_bytes": 0}
    assert replace(one_after_other, **same) == replace(together, **same)
    assert one_after_other.tokens == a.prompt_tokens + a.completion_tokens + b.prompt_tokens + b.completion_tokens


@given(costs, costs)
def test_what_is_left_is_spent_exactly_when_it_is_gone(a: Cost, limit: Cost) -> None:
    """`spent` names a unit exactly when `left` has nothing of it."""
    budget = Budget(tokens=limit.tokens, calls=limit.calls, flops=limit.flops)
    left = budget.left(a)
    gone = [unit for unit, rest in left.limits() if rest == 0]
    assert budget.spent(a) == (gone[0] if gone else None)


def test_room_counts_the_prompt_only_in_the_unit_that_counts_it() -> None:
    """`completion_tokens` ignores the prompt, `tokens` pays for it, and room is never negative."""
    assert Budget(completion_tokens=10).room(100, prompt_tokens=50) == 10
    assert Budget(tokens=60).room(100, prompt_tokens=50) == 10
    assert Budget(tokens=40).room(100, prompt_tokens=50) == 0
    assert Budget(calls=1).room(7) == 7


@pytest.mark.parametrize(
    ("text", "budget"),
    [("256", Budget(completion_tokens=256)), (" tokens=4096, calls=8 ", Budget(tokens=4096, calls=8)), ("flops=1e9", Budget(flops=1e9))],
)
def test_budgets_read_from_text(text: str, budget: Budget) -> None:
    """A bare number is completion tokens; pairs name their unit."""
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(("text", "named"), [("", "names no limit"), ("tokens=x", "'x'"), ("beers=3", "'beers'"), ("calls=-1", "-1")])
def test_a_bad_budget_is_one_sentence(text: str, named: str) -> None:
    """The sentence names what was wrong."""
    with pytest.raises(UserError, match=named):
        Budget.parse(text)
