"""Importance ratios: whose probability is in the denominator, over how many tokens a ratio is taken, and factors beside it.

Three policies meet here: π_gen (`logp_sampler`, the engine), π_old (`logp_old`, the trainer before the batch's first update) and π_θ (the
trainer now). A ratio and a truncated correction are different factors: they multiply, and a ratio over the sampler already holds the
correction. Symbols: r_t token ratio, T tokens of the trajectory. Shapes: N tokens, M trajectories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from reasonry.core import UserError
from reasonry.train.tokens import Tokens

Denominator = Callable[[Tensor, Tokens], Tensor]
"""(log π_θ [N], tokens) -> log-probability of the denominator's policy [N], without gradient."""
Level = Callable[[Tensor, Tokens], Tensor]
"""(log r [N], tokens) -> ratio [N]."""


def sampler(logp: Tensor, tokens: Tokens) -> Tensor:
    """π_gen: the probabilities the engine sampled with."""
    return tokens.need("logp_sampler", "the sampler")


def recomputed(logp: Tensor, tokens: Tokens) -> Tensor:
    """π_old: the trainer's own probabilities before the batch's first update (in that update they are π_θ's, without gradient)."""
    return tokens.need("logp_old", "the trainer's own forward pass before its first update")


def itself(logp: Tensor, tokens: Tokens) -> Tensor:
    """π_θ without gradient: the ratio is 1 whatever the data's age, and only its gradient counts."""
    return logp.detach()


def reference(logp: Tensor, tokens: Tokens) -> Tensor:
    """π_ref: what preference losses compare with."""
    return tokens.need("logp_ref", "a forward pass of the reference policy")


def per_token(log_r: Tensor, tokens: Tokens) -> Tensor:
    """r_t = π_θ(token)/π(token)."""
    return log_r.exp()


def per_trajectory(log_r: Tensor, tokens: Tokens) -> Tensor:
    """s_i = exp(mean_t log r_t), the sequence ratio to the power 1/T, on every token (GSPO, arXiv 2507.18071 eq. 7)."""
    return tokens.by_trajectory.spread(tokens.by_trajectory.mean(log_r)).exp()


def per_trajectory_token(log_r: Tensor, tokens: Tokens) -> Tensor:
    """sg[s_i]·π_θ/sg[π_θ]: GSPO's value, but each token's own gradient (GSPO-token, eq. 14)."""
    return per_trajectory(log_r, tokens).detach() * (log_r - log_r.detach()).exp()


def whole_trajectory(log_r: Tensor, tokens: Tokens) -> Tensor:
    """∏_t r_t, the true ratio of the whole answer, on every token: unbiased, of enormous variance for long answers."""
    return tokens.by_trajectory.spread(tokens.by_trajectory.sum(log_r)).exp()


@dataclass(frozen=True)
class Ratio:
    """A level and a denominator."""

    level: Level
    over: Denominator


Weight = Callable[[Tensor, Tensor, Tokens], Tensor]
"""(log π_θ [N] without gradient, Â [N], tokens) -> factor on each token's gain [N]."""


@dataclass(frozen=True)
class TruncatedIS:
    """min(π_old/π_gen, cap) per token: corrects for an engine that samples with slightly other probabilities (TIS, Yao et al. 2025)."""

    cap: float = 2.0

    def __call__(self, logp: Tensor, A: Tensor, tokens: Tokens) -> Tensor:
        """[N]."""
        return (recomputed(logp, tokens) - sampler(logp, tokens)).exp().clamp(max=self.cap)


@dataclass(frozen=True)
class OffPolicyMask:
    """0 on trajectories with Â < 0 and mean_t log(π/π_θ) > δ, else 1: bad answers that the policy has long left (DeepSeek-V3.2,
    arXiv 2512.02556). δ is not published; 0.5 is TRL's suggestion."""

    delta: float = 0.5
    over: Denominator = sampler

    def __call__(self, logp: Tensor, A: Tensor, tokens: Tokens) -> Tensor:
        """[N]."""
        left = tokens.by_trajectory.mean(self.over(logp, tokens) - logp) > self.delta
        return 1 - ((A < 0) & tokens.by_trajectory.spread(left)).to(logp.dtype)


@dataclass(frozen=True)
class HarmfulMask:
    """0 where the token's probability already moved by more than `reach` in the direction Â pushes, else 1 (DPPO, prime-rl's default:
    a trust region on probabilities, not on ratios)."""

    reach: float = 0.2
    over: Denominator = sampler

    def __call__(self, logp: Tensor, A: Tensor, tokens: Tokens) -> Tensor:
        """[N]."""
        moved = logp.exp() - self.over(logp, tokens).exp()
        return 1 - (((A > 0) & (moved > self.reach)) | ((A < 0) & (moved < -self.reach))).to(logp.dtype)


@dataclass(frozen=True)
class Clip:
    """Absolute bounds on a ratio: `Clip(0.8, 1.28)` is what libraries call ε_low 0.2, ε_high 0.28."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise UserError(f"Clip: bounds {self.low:g} … {self.high:g} must hold 1; they are absolute: ε = 0.2 is Clip(0.8, 1.2)")

    def __call__(self, ratio: Tensor) -> Tensor:
        """The ratio within the bounds."""
        return ratio.clamp(self.low, self.high)

    def stops(self, ratio: Tensor, A: Tensor) -> Tensor:
        """Tokens that a pessimistic (min) clip takes the gradient from: past the bound that Â pushes towards, [N] bool."""
        return ((A > 0) & (ratio > self.high)) | ((A < 0) & (ratio < self.low))
