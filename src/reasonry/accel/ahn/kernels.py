"""flash-linear-attention's kernels in place of the chunked recurrences, where there is a GPU and that package; else what was asked for.

Its functions take [B, T, H, K] in bfloat16 with log decays. Single steps stay with the recurrence. Not yet run on a GPU here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from reasonry.accel.ahn.cell import Write
from reasonry.nn.recurrence import decayed, gated_delta


def fastest(write: Write, device: torch.device) -> Write:
    """The same rule by the fastest way this device has."""
    if device.type == "cuda" and (kernels := _kernels()) is not None and write in kernels:
        return kernels[write]
    return write


def over_gated_delta(kernel: Callable[..., Any]) -> Write:
    """`gated_delta` by fla's `chunk_gated_delta_rule`."""

    def write(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if q.shape[2] == 1:
            return gated_delta(q, k, v, log_a, b, state)
        out, after = kernel(*_laid_out(q, k, v), log_a.mT, b.mT, scale=1.0, initial_state=state, output_final_state=True)
        return out.transpose(1, 2).float(), after.float()

    return write


def over_decayed(kernel: Callable[..., Any]) -> Write:
    """`decayed` by fla's `chunk_simple_gla`, the weight b on the values."""

    def write(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if q.shape[2] == 1:
            return decayed(q, k, v, log_a, b, state)
        inputs = _laid_out(q, k, b[..., None] * v)
        out, after = kernel(*inputs, g=log_a.mT, scale=1.0, initial_state=state, output_final_state=True)
        return out.transpose(1, 2).float(), after.float()

    return write


def _laid_out(*x: Tensor) -> list[Tensor]:
    return [y.transpose(1, 2).to(torch.bfloat16).contiguous() for y in x]


@cache
def _kernels() -> dict[Write, Write] | None:
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule  # type: ignore[import-not-found]
        from fla.ops.simple_gla import chunk_simple_gla  # type: ignore[import-not-found]
    except ImportError:
        return None
    return {gated_delta: over_gated_delta(chunk_gated_delta_rule), decayed: over_decayed(chunk_simple_gla)}
