"""Rotary positions (RoPE, arXiv 2104.09864) and the ways checkpoints stretch them.

Letters: K head size, B rows, T tokens. A rotation is a pair (cos, sin) of [B, T, K]; the two halves of a head form the pairs that are
rotated (the layout of Hugging Face checkpoints, not the interleaved one of the paper).

A *scaling* is a value that turns (θ, K) into K/2 inverse frequencies and a factor on cos and sin. All but `Dynamic` are the same for
every position; `Dynamic` looks at how long each row has grown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor


class Scaling(Protocol):
    """How a checkpoint stretches its positions."""

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """(inverse frequencies [K/2] in fp32 on the CPU, factor on cos and sin)."""
        ...


def plain(theta: float, dim: int) -> Tensor:
    """θ^(−2i/K) for i in 0 … K/2 − 1, as [K/2] in fp32."""
    return 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device="cpu") / dim)


@dataclass(frozen=True)
class Plain:
    """Unscaled positions."""

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """Plain RoPE."""
        return plain(theta, dim), 1.0


@dataclass(frozen=True)
class Linear:
    """Position interpolation: every position divided by `factor` (arXiv 2306.15595)."""

    factor: float

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """Plain frequencies over the factor."""
        return plain(theta, dim) / self.factor, 1.0


@dataclass(frozen=True)
class Dynamic:
    """NTK-aware scaling that starts when a row outgrows the original context and depends on its length, row by row."""

    factor: float
    original_max_position: int

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """Those of rows within the original context: plain RoPE."""
        return plain(theta, dim), 1.0

    def stretched(self, theta: float, dim: int, positions: Tensor) -> Tensor:
        """Inverse frequencies [B, 1, K/2] for positions [B, T]: the base grows with the row's length, its largest position plus one."""
        length = (positions.amax(dim=-1, keepdim=True) + 1).clamp(min=self.original_max_position)[..., None].float()
        base = theta * (self.factor * length / self.original_max_position - (self.factor - 1)) ** (dim / (dim - 2))
        return 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32, device=positions.device) / dim)


@dataclass(frozen=True)
class Llama3:
    """Long wavelengths divided by `factor`, short ones kept, a linear ramp between (Llama 3.1's `rope_scaling`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """Blend by how many wavelengths fit the original context."""
        inv = plain(theta, dim)
        turns = self.original_max_position * inv / (2 * math.pi)
        kept = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0, 1)
        return kept * inv + (1 - kept) * inv / self.factor, 1.0


@dataclass(frozen=True)
class Yarn:
    """YaRN (arXiv 2309.00071): interpolate slow dimensions, keep fast ones, and sharpen attention by a factor."""

    factor: float
    original_max_position: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    """On cos and sin; `None` is the paper's 0.1 ln(factor) + 1."""
    truncate: bool = True
    """Round the ramp's ends to whole dimensions, as the released code does."""

    def frequencies(self, theta: float, dim: int) -> tuple[Tensor, float]:
        """Blend by rotations within the original context (section 3.2), with the temperature of section 3.4."""

        def dimension(rotations: float) -> float:
            return dim * math.log(self.original_max_position / (rotations * 2 * math.pi)) / (2 * math.log(theta))

        low, high = dimension(self.beta_fast), dimension(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        interpolated = ((torch.arange(dim // 2, dtype=torch.float32, device="cpu") - low) / max(high - low, 0.001)).clamp(0, 1)
        inv = plain(theta, dim)
        attention = self.attention_factor if self.attention_factor is not None else self.temperature()
        return interpolated * inv / self.factor + (1 - interpolated) * inv, attention

    def temperature(self, scale: float = 1.0) -> float:
        """0.1 · scale · ln(factor) + 1 (section 3.4); 1 where nothing is stretched."""
        return 0.1 * scale * math.log(max(self.factor, 1.0)) + 1.0


@lru_cache(maxsize=64)
def _table(scaling: Scaling, theta: float, dim: int, device: torch.device) -> tuple[Tensor, float]:
    inverse, factor = scaling.frequencies(theta, dim)
    return inverse.to(device), factor


def rotation(positions: Tensor, scaling: Scaling, theta: float, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin, each [B, T, 1, K], for positions [B, T]; the angles are computed in fp32."""
    inverse, factor = _table(scaling, theta, dim, positions.device)
    if isinstance(scaling, Dynamic):
        inverse = scaling.stretched(theta, dim, positions)
    angles = positions[..., None].float() * inverse
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(-2)
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, T, H, K] rotated by its positions."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin
