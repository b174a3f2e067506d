"""One block's hippocampus: gates of the token that is written, the state it is written to, and what a later token reads from it.

    write   h ← write(h, k_e, v_e; gates(x_e))      k_e, v_e as attention has them, rotated; ‖k_e‖ made 1; x_e the block's normed input
    read    y = W_o norm(q h, silu(g)),  g = W_g x  q rotated, ‖q‖ made 1, scaled by K^−½; W_o one K × K matrix a head, zero at first

    route   y ← σ(α log(n / R) + β) y               only where it is asked for; the n-th token to read, R tokens of window and sinks

Departures from the paper's text: norm and silu(g) are the official code's (the paper prints γ(x) q h W_o); so are the router and the
initial values. Gates and state are fp32 whatever the model's dtype.

Letters: B rows, T tokens, D width, H query heads, K head size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonry.lm.decoder import DecoderConfig
from reasonry.nn.recurrence import decayed, gated_delta

Write = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(q, k, v [B, H, T, K], log a, b [B, H, T], state [B, H, K, K]) -> what each q reads after its write, and the state that is left."""


class Hippocampus(nn.Module, ABC):
    """What the three cells share: the reading side. What is written and how, gates and norm are the cells' own."""

    write: ClassVar[Write]

    def __init__(self, c: DecoderConfig, bias: bool, routed: bool) -> None:
        super().__init__()
        self.heads = c.num_heads
        self.g_proj = nn.Linear(c.hidden_size, c.num_heads, bias=bias)
        self.o_proj = nn.Parameter(torch.zeros(c.num_heads, c.head_dim, c.head_dim))
        self.router = nn.Parameter(torch.zeros(2, c.num_heads)) if routed else None
        """α, then β; `None`: what is read counts in full."""
        self.eps = c.norm_eps

    @abstractmethod
    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, D] -> log a, b [B, H, T] in fp32: how much of the state stays, how much of the token is written."""

    @abstractmethod
    def normed(self, o: Tensor, gate: Tensor) -> Tensor:
        """o [B, T, H, K] read from the state, silu(g) [B, T, H, 1] -> [B, T, H, K]: RMS norm within each head, then the gate."""

    def read(self, x: Tensor, o: Tensor, far: Tensor) -> Tensor:
        """x [B, T, D] of the reading tokens, o [B, H, T, K], far [B, T] = n / R above 0 -> y [B, T, H, K], to be added to attention's."""
        gate = F.silu(self.g_proj(x.float()))[..., None]
        y = torch.einsum("bthk,hkj->bthj", self.normed(o.transpose(1, 2), gate), self.o_proj)
        if self.router is not None:
            slope, shift = self.router
            y = y * (slope * far.log()[..., None] + shift).sigmoid()[..., None]
        return y.to(x.dtype)


class GatedDeltaNet(Hippocampus):
    """a = exp(−e^A softplus(W_a x + dt)), b = σ(W_b x), delta rule (arXiv 2412.06464)."""

    write = staticmethod(gated_delta)

    def __init__(self, c: DecoderConfig, routed: bool = False) -> None:
        super().__init__(c, bias=False, routed=routed)
        self.a_proj = nn.Linear(c.hidden_size, c.num_heads, bias=False)
        self.b_proj = nn.Linear(c.hidden_size, c.num_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(c.num_heads).uniform_(1e-4, 16).log_())
        dt = torch.empty(c.num_heads).uniform_(math.log(1e-3), math.log(0.1)).exp_()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.norm = nn.Parameter(torch.ones(c.head_dim))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Hippocampus.gates`."""
        x = x.float()
        log_a = -self.A_log.exp() * F.softplus(self.a_proj(x) + self.dt_bias)
        return log_a.mT, self.b_proj(x).sigmoid().mT

    def normed(self, o: Tensor, gate: Tensor) -> Tensor:
        """See `Hippocampus.normed`."""
        return F.rms_norm(o, o.shape[-1:], self.norm, self.eps) * gate


class DeltaNet(Hippocampus):
    """a = 1, b = σ(W_b x), delta rule (arXiv 2406.06484)."""

    write = staticmethod(gated_delta)

    def __init__(self, c: DecoderConfig, routed: bool = False) -> None:
        super().__init__(c, bias=False, routed=routed)
        self.b_proj = nn.Linear(c.hidden_size, c.num_heads, bias=False)
        self.norm = nn.Parameter(torch.ones(c.head_dim))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Hippocampus.gates`."""
        b = self.b_proj(x.float()).sigmoid().mT
        return torch.zeros_like(b), b

    def normed(self, o: Tensor, gate: Tensor) -> Tensor:
        """See `Hippocampus.normed`."""
        return F.rms_norm(o, o.shape[-1:], self.norm, self.eps) * gate


class Mamba2(Hippocampus):
    """a = exp(−e^A Δ), b = Δ = softplus(W_dt x + dt), plain addition; the gate first, then one norm over all heads (arXiv 2405.21060)."""

    write = staticmethod(decayed)

    def __init__(self, c: DecoderConfig, routed: bool = False) -> None:
        super().__init__(c, bias=True, routed=routed)
        self.dt_proj = nn.Linear(c.hidden_size, c.num_heads, bias=True)
        self.A_log = nn.Parameter(torch.arange(1, c.num_heads + 1).float().log_())
        self.dt_bias = nn.Parameter(torch.ones(c.num_heads))
        self.norm = nn.Parameter(torch.ones(c.num_heads * c.head_dim))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Hippocampus.gates`."""
        delta = F.softplus(self.dt_proj(x.float()) + self.dt_bias).mT
        return -self.A_log.exp()[:, None] * delta, delta

    def normed(self, o: Tensor, gate: Tensor) -> Tensor:
        """As `Hippocampus.normed`, but the gate comes first and the norm is over all heads at once."""
        return F.rms_norm((o * gate).flatten(2), (self.norm.numel(),), self.norm, self.eps).view(o.shape)


CELLS: Mapping[str, type[GatedDeltaNet] | type[DeltaNet] | type[Mamba2]] = {
    "GatedDeltaNet": GatedDeltaNet,
    "DeltaNet": DeltaNet,
    "Mamba2": Mamba2,
}
"""By the names of the paper's `ahn_implementation`."""
