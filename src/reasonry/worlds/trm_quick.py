"""A block's two halves, computed quickly on a processor: rms(h + SwiGLU(h)) with its gradient written by hand.

Symbols: h the state, G, U, W the SwiGLU's matrices, a = silu(G h) ∘ U h, t = h + W a, r = 1 / √(mean t² + ε), o = r t; d… the gradient of
what follows it.

    dt = r (do − o mean(o do));  da = Wᵀ dt;  dh = dt + Gᵀ (da ∘ U h ∘ silu′(G h)) + Uᵀ (da ∘ silu(G h))

With positions first, the state of a batch is one matrix both to the half that mixes positions and to the half that mixes features: nothing
is transposed or copied between them. `trm.Block.forward` is the same by definition, and is what a compiler turns into kernels on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-5


class Half(torch.autograd.Function):
    """o [N, I] for h [N, I], or with `along` both [I, N]: the features that are mixed are the first axis then."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, G: Tensor, U: Tensor, W: Tensor, along: bool) -> Tensor:
        """G, U [hidden, I], W [I, hidden]."""
        g, u = (G @ h, U @ h) if along else (h @ G.T, h @ U.T)
        lit = F.silu(g)
        a = lit * u
        t = torch.addmm(h, W, a) if along else torch.addmm(h, a, W.T)
        r = t.square().mean(0 if along else 1, keepdim=True).add_(EPS).rsqrt_()
        o = t.mul_(r)
        ctx.save_for_backward(h, G, U, W, g, u, lit, a, r, o)
        ctx.along = along
        return o

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        """Of h and the three matrices."""
        h, G, U, W, g, u, lit, a, r, o = ctx.saved_tensors
        along, do = ctx.along, gradients[0]
        dt = torch.addcmul(do, o, (o * do).mean(0 if along else 1, keepdim=True), value=-1).mul_(r)
        da = W.T @ dt if along else dt @ W
        dg = torch.ops.aten.silu_backward(da * u, g)
        du = da.mul_(lit)
        dh = dt.addmm(G.T, dg).addmm_(U.T, du) if along else dt.addmm(dg, G).addmm_(du, U)
        if along:
            return dh, dg @ h.T, du @ h.T, dt @ a.T, None
        return dh, dg.T @ h, du.T @ h, dt.T @ a, None
