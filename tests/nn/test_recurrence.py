"""Linear recurrences: chunks give what the recurrence gives, and the special cases are what theory says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasonry.nn.recurrence import decayed, decayed_stepwise, gated_delta, gated_delta_stepwise

PAIRS = [(gated_delta, gated_delta_stepwise), (decayed, decayed_stepwise)]


def inputs(T: int, seed: int = 0, B: int = 2, H: int = 3, K: int = 8, V: int = 5) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize
    q, k = (unit(torch.randn(B, H, T, K, generator=g, dtype=torch.float64), dim=-1) for _ in range(2))
    v = torch.randn(B, H, T, V, generator=g, dtype=torch.float64)
    log_a = -torch.rand(B, H, T, generator=g, dtype=torch.float64)
    b = torch.rand(B, H, T, generator=g, dtype=torch.float64)
    return q, k, v, log_a, b, torch.randn(B, H, K, V, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("fast", "naive"), PAIRS)
@given(T=st.integers(1, 70), chunk=st.integers(1, 80), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_chunks_equal_the_recurrence_at_any_length_and_chunk_size(fast, naive, T: int, chunk: int, seed: int) -> None:
    """Outputs and the state that is left."""
    x = inputs(T, seed)
    for made, wanted in zip(fast(*x, chunk=chunk), naive(*x), strict=True):
        assert torch.allclose(made, wanted, atol=1e-10)


@pytest.mark.parametrize(("fast", "naive"), PAIRS)
def test_the_state_carries_on_across_any_cut(fast, naive) -> None:
    """The first n steps, then the rest from the state they leave, are all of them at once."""
    *x, state = inputs(40)
    whole, end = fast(*x, state, chunk=16)
    for n in (1, 15, 16, 39):
        first, between = fast(*(y[:, :, :n] for y in x), state, chunk=16)
        rest, last = fast(*(y[:, :, n:] for y in x), between, chunk=16)
        assert torch.allclose(torch.cat((first, rest), dim=2), whole, atol=1e-10)
        assert torch.allclose(last, end, atol=1e-10)


@pytest.mark.parametrize(("fast", "naive"), PAIRS)
def test_gradients_of_both_forms_agree(fast, naive) -> None:
    """What is trained in chunks is the recurrence."""
    grads = []
    for form in (lambda *x: fast(*x, chunk=8), naive):
        x = [y.clone().requires_grad_() for y in inputs(21)]
        out, state = form(*x)
        grads.append(torch.autograd.grad((out**2).sum() + state.sum(), x))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(*grads, strict=True))


def test_orthonormal_keys_are_read_back_and_overwritten() -> None:
    """DeltaNet with b = 1: each key holds its last value and nothing of the others'."""
    K = 6
    keys = torch.linalg.qr(torch.randn(K, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    values = torch.randn(2, K, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    k = keys.repeat(2, 1)[None, None]
    v = values.reshape(1, 1, 2 * K, 4)
    ones = torch.ones(1, 1, 2 * K, dtype=torch.float64)
    _, state = gated_delta(k, k, v, 0 * ones, ones, torch.zeros(1, 1, K, 4, dtype=torch.float64))
    assert torch.allclose(keys @ state[0, 0], values[1], atol=1e-12)


def test_full_decay_forgets_all_but_the_last_write() -> None:
    """a = 0: the state is the last key's outer product with its value."""
    q, k, v, log_a, b, state = inputs(9)
    for form in (gated_delta, decayed):
        _, end = form(q, k, v, torch.full_like(log_a, -80.0), b, state, chunk=4)
        assert torch.allclose(end, torch.einsum("bhk,bhv->bhkv", k[:, :, -1], b[:, :, -1, None] * v[:, :, -1]), atol=1e-12)


def test_no_decay_is_plain_linear_attention() -> None:
    """Without decay the decayed form is a cumulative sum of k ⊗ v."""
    q, k, v, log_a, b, state = inputs(12)
    out, _ = decayed(q, k, v, 0 * log_a, torch.ones_like(b), 0 * state, chunk=5)
    summed = torch.einsum("bhtk,bhtv->bhtkv", k, v).cumsum(2)
    assert torch.allclose(out, torch.einsum("bhtk,bhtkv->bhtv", q, summed), atol=1e-12)


def test_a_step_without_weight_changes_nothing() -> None:
    """b = 0 and a = 1 stand for "no write"."""
    q, k, v, log_a, b, state = inputs(7)
    for form in (gated_delta, decayed):
        assert torch.equal(form(q, k, v, 0 * log_a, 0 * b, state)[1], state)
