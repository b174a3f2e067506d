"""Flat rows add up to whole attempts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.train.aggregate import trace_length_divisors

TRACES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=8)


@given(TRACES, st.integers(0, 10**6))
def test_row_mean_with_the_correction_is_the_nested_sum(traces: list[list[int]], seed: int) -> None:
    """The oracle of the brief: for random numbers of chunks, mean over shuffled rows == (1/G) Σ_g (1/ℓ_g) Σ_l Σ_t."""
    rng = random.Random(seed)
    losses = [[[rng.uniform(-1, 1) for _ in range(n)] for n in chunks] for chunks in traces]
    nested = sum(sum(map(sum, trace)) / sum(map(len, trace)) for trace in losses) / len(losses)
    rows = [(g, chunk) for g, trace in enumerate(losses) for chunk in trace]
    rng.shuffle(rows)
    divisors = trace_length_divisors([len(chunk) for _, chunk in rows], [g for g, _ in rows])
    flat = sum(sum(chunk) / d for (_, chunk), d in zip(rows, divisors, strict=True)) / len(rows)
    assert flat == pytest.approx(nested, abs=1e-12)


@given(TRACES)
def test_without_the_correction_the_loss_is_scaled_by_traces_over_rows(traces: list[list[int]]) -> None:
    """The factor the official trainer's flag is about."""
    tokens = [n for chunks in traces for n in chunks]
    owner = [g for g, chunks in enumerate(traces) for _ in chunks]
    right, raw = trace_length_divisors(tokens, owner), trace_length_divisors(tokens, owner, correct=False)
    assert [r / w for r, w in zip(right, raw, strict=True)] == pytest.approx([len(traces) / len(tokens)] * len(tokens))


def test_one_chunk_each_is_the_plain_sequence_mean() -> None:
    """Where every trace is one row, the divisor is the row's own length: GRPO's 1/|o|."""
    assert trace_length_divisors([3, 7, 5], [0, 1, 2]) == [3, 7, 5]


def test_a_short_last_chunk_weighs_by_its_tokens_not_by_itself() -> None:
    """Two chunks of one trace share a divisor, however short the last one is."""
    assert len(set(trace_length_divisors([64, 2], [0, 0]))) == 1


def test_a_trace_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a token"):
        trace_length_divisors([0], [4])
