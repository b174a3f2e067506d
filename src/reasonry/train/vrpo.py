"""A value head hardened against noisy rewards: an information bottleneck and auxiliary losses (VRPO, arXiv 2508.03058).

    μ, log σ² = W h;   z = μ + σ ε while learning, μ otherwise;   V = w·z + b
    penalty = β·KL(N(μ, σ²)‖N(0, 1)) + α·‖(H, S) − A z‖²

H is a frozen language model's entropy at the state, S the mean surprise −log p, its log perplexity, of the tokens of the call so far.
The paper's idea is recalled, not read: auxiliary losses from a frozen model's entropy and perplexity, and a variational information
bottleneck. That the auxiliary loss regresses both from the bottleneck, and α, β and the bottleneck's width, are our reading.
Letters: N trained tokens, D width, Z width of the bottleneck.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reasonry.lm.decoder import Decoder
from reasonry.train.network import joined
from reasonry.train.rows import Layout, chosen_and_entropy, read
from reasonry.train.update import Batch

QUIET = -4.0
"""log σ² at first: the bottleneck begins nearly open, or noise would drown the few batches it begins with."""


class HardenedHead(nn.Module):
    """A `critic.Head`. The frozen model is no part of its state."""

    def __init__(self, frozen: Decoder, Z: int = 32, beta: float = 1e-3, alpha: float = 0.01, temperature: float = 1.0) -> None:
        """`frozen` guides the auxiliary losses: a `frozen_copy` of the policy's first weights."""
        super().__init__()
        self.squeeze, self.out, self.tell = nn.Linear(frozen.config.hidden_size, 2 * Z), nn.Linear(Z, 1), nn.Linear(Z, 2)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.squeeze.weight.normal_(0.0, frozen.config.hidden_size**-0.5, generator=generator)
            for p in (self.squeeze.bias, self.out.weight, self.out.bias, self.tell.weight, self.tell.bias):
                p.zero_()
            self.squeeze.bias[Z:] = QUIET
        self.beta, self.alpha, self.temperature = beta, alpha, temperature
        self._frozen = (frozen,)  # in a tuple: not a module of this one

    def forward(self, h: Tensor) -> Tensor:
        """h [N, D] -> V [N] in fp32, without noise."""
        return self.out(self.squeeze(h).chunk(2, -1)[0]).float()[:, 0]

    @torch.no_grad()
    def guides(self, batch: Batch, parts: Sequence[Layout]) -> Tensor:
        """(H, S) of every state, [N, 2] in nats."""
        pairs = [read(self._frozen[0], layout, self.temperature, chosen_and_entropy) for layout in parts]
        surprise, entropy = -joined([logp for logp, _ in pairs]), joined([H for _, H in pairs])
        calls = batch.tokens.by_segment
        before, rank = surprise.cumsum(0) - surprise, calls.rank()
        so_far = before - calls.spread(calls.min(before))  # the sum so far never falls, so a call's least is its first
        return torch.stack([entropy, so_far / rank.clamp(min=1)], -1)

    def fit(self, h: Tensor, guides: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """V [N] of a noisy z, and the penalty [N]."""
        mu, log_variance = self.squeeze(h).chunk(2, -1)
        noise = torch.randn(mu.shape, generator=generator).to(mu)
        z = mu + (0.5 * log_variance).exp() * noise
        kl = 0.5 * (mu**2 + log_variance.exp() - log_variance - 1).sum(-1)
        off = ((self.tell(z) - guides.to(z)) ** 2).sum(-1)
        return self.out(z).float()[:, 0], (self.beta * kl + self.alpha * off).float()
