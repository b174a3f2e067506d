"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

For each matrix W [n, m] with gradient G: M ← μM + G, U = orthogonal(G + μM), W ← W − η (0.2 √max(n, m) U + λ W). The factor gives
the update the root-mean-square size of AdamW's, so that one learning rate serves both (Liu et al., arXiv 2502.16982, eq. 4).

Differs from `torch.optim.Muon`: the orthogonalisation runs in the gradient's own dtype. torch's runs in bfloat16, which a processor
without bfloat16 arithmetic emulates so slowly that the update outlasts the step it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of X ← aX + (bA + cA²)X with A = XXᵀ: steep at zero, so that five steps bring every singular value near one."""


def orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """UVᵀ of g = UΣVᵀ, approximately: [n, m] -> [n, m] with singular values between about 0.7 and 1.2 (Newton–Schulz)."""
    a, b, c = QUINTIC
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """See the module's docstring. Takes matrices only; give everything else to AdamW."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._update(w, w.grad, group)

    def _update(self, w: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, mu = self.state[w], group["momentum"]
        momentum = state.setdefault("momentum", torch.zeros_like(w))
        momentum.mul_(mu).add_(gradient)
        update = orthogonal(gradient.add(momentum, alpha=mu))
        w.mul_(1 - group["lr"] * group["weight_decay"])
        w.add_(update, alpha=-group["lr"] * 0.2 * max(w.shape) ** 0.5)
