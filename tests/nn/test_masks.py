"""Masks: each builder equals a double loop over its sentence, for any group ids."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st

from reasonry.nn import masks
from reasonry.nn.masks import PAD

PROMPT, SUMMARY = 0, 9

groups = st.lists(st.lists(st.sampled_from([PAD, PROMPT, 1, 2, SUMMARY]), min_size=7, max_size=7), min_size=1, max_size=3)


def naive(rows: list[list[int]], sees: Callable[[list[int], int, int], bool]) -> torch.Tensor:
    """[B, T, T] from a predicate on (row, query index, key index)."""
    return torch.tensor([[[sees(g, t, s) for s in range(len(g))] for t in range(len(g))] for g in rows])


def real_or_self(g: list[int], t: int, s: int) -> bool:
    return t == s or PAD not in (g[t], g[s])


@given(groups)
def test_packed_documents_see_their_own_past_only(rows: list[list[int]]) -> None:
    expected = naive(rows, lambda g, t, s: s <= t and g[s] == g[t] and real_or_self(g, t, s))
    assert torch.equal(masks.packed(torch.tensor(rows)), expected)


@given(groups)
def test_block_diagonal_is_equality_of_groups(rows: list[list[int]]) -> None:
    assert torch.equal(masks.same_group(torch.tensor(rows)), naive(rows, lambda g, t, s: g[s] == g[t]))


@given(groups)
def test_paths_see_the_prompt_and_themselves_and_the_summary_sees_all(rows: list[list[int]]) -> None:
    """ParaThinker: two paths never meet before the summary."""

    def sees(g: list[int], t: int, s: int) -> bool:
        return s <= t and (g[s] == g[t] or g[s] == PROMPT or g[t] == SUMMARY) and real_or_self(g, t, s)

    assert torch.equal(masks.two_stage(torch.tensor(rows), PROMPT, SUMMARY), naive(rows, sees))


@given(groups)
def test_no_query_is_blind(rows: list[list[int]]) -> None:
    """Every token, padding included, sees itself, so that no softmax is empty."""
    g = torch.tensor(rows)
    for mask in (masks.packed(g), masks.two_stage(g, PROMPT, SUMMARY), masks.not_padding(g)):
        assert mask.diagonal(dim1=1, dim2=2).all()


@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 14))
def test_a_window_keeps_the_near_past_and_the_sinks(length: int, size: int, sinks: int) -> None:
    expected = naive([[0] * length], lambda g, t, s: s <= t and (t - s < size or s < sinks))
    assert torch.equal(masks.window(length, size, sinks), expected)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9).map(sorted))
def test_block_causal_sees_its_own_block_whole(blocks: list[int]) -> None:
    assert torch.equal(masks.block_causal(torch.tensor([blocks])), naive([blocks], lambda g, t, s: g[s] <= g[t]))


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=3))
def test_before_follows_the_order_given(orders: list[list[int]]) -> None:
    assert torch.equal(masks.before(torch.tensor(orders)), naive(orders, lambda g, t, s: g[s] <= g[t]))


def test_causal_is_the_lower_triangle() -> None:
    assert torch.equal(masks.causal(5), naive([[0] * 5], lambda g, t, s: s <= t))
