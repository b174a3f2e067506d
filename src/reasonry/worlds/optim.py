"""What moves the weights: AdamATan2, signs for the table of puzzle embeddings, and the average that is used in the end.

AdamATan2 (Everett et al., arXiv 2407.05872, section 5): Adam's m̂ / (√v̂ + ε) becomes a · atan2(m̂, b √v̂), which needs no ε and cannot
exceed aπ/2; the released TRM code uses a = 1.27, b = 1. Weight decay is decoupled: w ← w (1 − η λ).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

A = 1.27
"""Brings atan2 back to a slope near Adam's: 4/π."""


class AdamATan2(torch.optim.Optimizer):
    """See the module's docstring."""

    def __init__(self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.95), weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._update(w, w.grad, group)

    def _update(self, w: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[w], group["betas"]
        t = state["step"] = state.get("step", 0) + 1
        m, v = (state.setdefault(name, torch.zeros_like(w)) for name in ("m", "v"))
        m.lerp_(gradient, 1 - beta1)
        v.lerp_(gradient.square(), 1 - beta2)
        w.mul_(1 - group["lr"] * group["weight_decay"])
        w.sub_(torch.atan2(m / (1 - beta1**t), (v / (1 - beta2**t)).sqrt()), alpha=A * group["lr"])


@torch.no_grad()
def sign_update(table: Tensor, ids: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
    """Moves the rows of `table` [N, E] named by `ids` [B] against the sign of their summed gradient [B, E]; no other row is touched."""
    rows, place = ids.unique(return_inverse=True)
    summed = torch.zeros(len(rows), table.shape[1], dtype=gradient.dtype, device=gradient.device).index_add_(0, place, gradient)
    table[rows] = table[rows] * (1 - lr * weight_decay) - lr * summed.sign().to(table.dtype)


class Average:
    """The exponential average of a network's trained parameters: ā ← μ ā + (1 − μ) w. With μ = 0 it is the network itself.

    Buffers (the table of puzzle embeddings) are not averaged. Lives beside the network while it trains.
    """

    def __init__(self, model: nn.Module, mu: float) -> None:
        self.mu = mu
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """One step of the average."""
        live = dict(model.named_parameters())
        for name, mean in self.weights.items():
            mean.lerp_(live[name], 1 - self.mu)

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """A context: the model holds the average inside it, its own weights again after it."""
        live = {name: p.detach().clone() for name, p in model.named_parameters()}
        _put(model, self.weights)
        try:
            yield
        finally:
            _put(model, live)


@torch.no_grad()
def _put(model: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, p in model.named_parameters():
        p.copy_(weights[name])
