"""Norm, rotation and attention against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reasonry.nn.attention import Site, attention, causal, masked
from reasonry.nn.masks import window
from reasonry.nn.norm import RMSNorm
from reasonry.nn.rope import Dynamic, Linear, Llama3, Plain, Scaling, Yarn, rotate, rotation


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_norm_is_its_formula_in_fp32(dtype: torch.dtype) -> None:
    """Half precision is normalised in fp32 and only then rounded."""
    norm = RMSNorm(8, eps=1e-3).to(dtype)
    norm.weight.data = (1 + 0.1 * random(8)).to(dtype)
    x = (random(2, 3, 8, seed=1) * 50).to(dtype)
    scaled = x.float() / (x.float().pow(2).mean(-1, keepdim=True) + 1e-3).sqrt()
    y = norm(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, scaled.to(dtype) * norm.weight)


def test_rotation_turns_each_pair_by_its_own_angle() -> None:
    """Pair (i, i + K/2) of a head at position p is turned by p θ^(−2i/K)."""
    K, p, theta = 6, 5, 100.0
    x = random(1, 1, 2, K)
    turned = rotate(x, *rotation(torch.tensor([[p]]), Plain(), theta, K, torch.float32))
    for h in range(2):
        for i in range(K // 2):
            angle = p * theta ** (-2 * i / K)
            a, b = x[0, 0, h, i].item(), x[0, 0, h, i + K // 2].item()
            assert turned[0, 0, h, i].item() == pytest.approx(a * math.cos(angle) - b * math.sin(angle), abs=1e-5)
            assert turned[0, 0, h, i + K // 2].item() == pytest.approx(b * math.cos(angle) + a * math.sin(angle), abs=1e-5)


@pytest.mark.parametrize("scaling", [Plain(), Linear(3.0), Dynamic(2.0, 512), Llama3(4.0, 1.0, 4.0, 64), Yarn(4.0, 64)], ids=repr)
def test_scores_depend_on_distance_alone(scaling: Scaling) -> None:
    """q · k after rotation is the same wherever the two stand, as long as they stand equally far apart."""
    q, k = random(1, 1, 1, 16), random(1, 1, 1, 16, seed=1)

    def score(at: int, other: int) -> float:
        turn = [rotation(torch.tensor([[p]]), scaling, 10_000.0, 16, torch.float32) for p in (at, other)]
        return (rotate(q, *turn[0]) * rotate(k, *turn[1])).sum().item()

    assert score(40, 33) == pytest.approx(score(107, 100), abs=1e-3)
    assert score(40, 33) != pytest.approx(score(40, 20), abs=1e-3)


def test_dynamic_scaling_looks_at_each_row_alone() -> None:
    """A long row must not change the rotation of a short one beside it; the short one is rotated plainly."""
    short, long = torch.arange(10), torch.arange(10) + 90
    cos, _ = rotation(torch.stack((short, long)), Dynamic(4.0, 32), 10_000.0, 16, torch.float32)
    plain, _ = rotation(short[None], Plain(), 10_000.0, 16, torch.float32)
    alone, _ = rotation(long[None], Dynamic(4.0, 32), 10_000.0, 16, torch.float32)
    torch.testing.assert_close(cos[:1], plain)
    assert torch.equal(cos[1:], alone)
    assert not torch.allclose(alone, rotation(long[None], Plain(), 10_000.0, 16, torch.float32)[0])


def looped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q kᵀ / √K) v, one row, token and head at a time; query head h reads key head h · Hkv // Hq."""
    out = torch.zeros_like(q)
    B, T, Hq, K = q.shape
    for b in range(B):
        for t in range(T):
            for h in range(Hq):
                g = h * k.shape[2] // Hq
                seen = [s for s in range(k.shape[1]) if mask[b % len(mask), t, s]]
                weights = torch.stack([q[b, t, h] @ k[b, s, g] / K**0.5 for s in seen]).softmax(0)
                out[b, t, h] = sum(w * v[b, s, g] for w, s in zip(weights, seen, strict=True))
    return out


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
def test_attention_equals_a_loop(heads: int, kv_heads: int) -> None:
    """Grouped heads, causal and masked, over rows of one batch."""
    q, k, v = random(2, 5, heads, 6), random(2, 5, kv_heads, 6, seed=1), random(2, 5, kv_heads, 6, seed=2)
    site, x = Site(0), random(2, 5, 3)
    triangle = torch.ones(1, 5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(causal()(site, x, q, k, v), looped(q, k, v, triangle))
    torch.testing.assert_close(attention(q, k, v), looped(q, k, v, torch.ones(1, 5, 5)))
    near = window(5, size=2, sinks=1)
    torch.testing.assert_close(masked(near)(site, x, q, k, v), looped(q, k, v, near))
    by_row = torch.cat((near, triangle))
    torch.testing.assert_close(masked(by_row)(site, x, q, k, v), looped(q, k, v, by_row))
