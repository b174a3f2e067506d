"""What is maximised per token, given the ratio and the advantage: PPO's clip and its relatives.

Symbols: r ratio π_θ/π_old at the objective's level, Â advantage, sg[·] no gradient. Shapes: N tokens. Each surrogate is a value with a
call `(Terms) -> gain [N]`, to be maximised, and `clipped(Terms) -> [N] bool`: tokens whose gradient the surrogate has stopped or capped.
A value of a whole trajectory stands on each of its tokens, so that a mean over tokens, then trajectories, counts it once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.ragged import Groups
from reasonry.train.ratio import Clip
from reasonry.train.tokens import Tokens


@dataclass(frozen=True, eq=False)
class Terms:
    """What a surrogate sees. Made by `objective.loss`, gone after it."""

    logp: Tensor
    """[N] log π_θ, with gradient."""
    log_ratio: Tensor
    """[N] log π_θ − log π_denominator of each token, with gradient; log π_θ − sg[log π_θ] where the objective has no ratio."""
    ratio: Tensor
    """[N] r at the objective's level, with gradient."""
    advantage: Tensor
    """[N] Â."""
    tokens: Tokens


class Surrogate(Protocol):
    """See the module."""

    @property
    def uses_ratio(self) -> bool:
        """Whether the ratio has any effect; an objective has one if and only if it has."""
        ...

    def __call__(self, t: Terms, /) -> Tensor:
        """Gain [N], to be maximised."""
        ...

    def clipped(self, t: Terms, /) -> Tensor:
        """[N] bool."""
        ...


class _Unclipped:
    uses_ratio = True

    def clipped(self, t: Terms) -> Tensor:
        """None."""
        return torch.zeros_like(t.advantage, dtype=torch.bool)


@dataclass(frozen=True)
class Reinforce(_Unclipped):
    """Â·log π (Williams 1992)."""

    uses_ratio = False

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        return t.advantage * t.logp


@dataclass(frozen=True)
class Weighted(_Unclipped):
    """r·Â: importance sampling without a bound."""

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        return t.ratio * t.advantage


@dataclass(frozen=True)
class PPO:
    """min(r·Â, clip(r)·Â) (arXiv 1707.06347 eq. 7)."""

    clip: Clip
    uses_ratio = True

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        return torch.minimum(t.ratio * t.advantage, self.clip(t.ratio) * t.advantage)

    def clipped(self, t: Terms) -> Tensor:
        """Past the bound that Â pushes towards: no gradient."""
        return self.clip.stops(t.ratio, t.advantage)


@dataclass(frozen=True)
class DualClip:
    """max(PPO, c·Â) for Â < 0, PPO otherwise: a bad token's loss is at most c|Â| (arXiv 1912.09729)."""

    clip: Clip
    c: float = 3.0
    uses_ratio = True

    def __post_init__(self) -> None:
        if self.c <= self.clip.high:
            raise UserError(f"DualClip: c is {self.c:g} but must exceed the upper clip bound {self.clip.high:g}")

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        gain = PPO(self.clip)(t)
        return torch.where(t.advantage < 0, torch.maximum(gain, self.c * t.advantage), gain)

    def clipped(self, t: Terms) -> Tensor:
        """PPO's, and bad tokens past c: no gradient."""
        return self.clip.stops(t.ratio, t.advantage) | ((t.advantage < 0) & (t.ratio > self.c))


@dataclass(frozen=True)
class CISPO:
    """sg[clip(r)]·Â·log π: the weight is bounded, every token keeps its gradient (MiniMax-M1, arXiv 2506.13585 eq. 4)."""

    clip: Clip
    uses_ratio = True

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        return self.clip(t.ratio).detach() * t.advantage * t.logp

    def clipped(self, t: Terms) -> Tensor:
        """Weight held at a bound; the gradient is capped, not zero."""
        return (t.ratio < self.clip.low) | (t.ratio > self.clip.high)


@dataclass(frozen=True)
class SAPO(_Unclipped):
    """(4/τ)·σ(τ(r − 1))·Â, τ by the sign of Â: a gate of slope 1 at r = 1 that fades instead of cutting (arXiv 2511.20347)."""

    tau_good: float = 1.0
    tau_bad: float = 1.05

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        tau = torch.where(t.advantage > 0, self.tau_good, self.tau_bad).to(t.ratio.dtype)
        return torch.sigmoid(tau * (t.ratio - 1)) * 4 / tau * t.advantage


@dataclass(frozen=True)
class GMPO:
    """exp(mean_t clip±(log r_t))·Â, a trajectory's geometric mean of token ratios clipped one by one, each only on the side that Â
    pushes towards (arXiv 2507.20673). Takes token ratios; `clip` bounds them (the paper's (e^−0.4, e^0.4))."""

    clip: Clip
    uses_ratio = True

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        low, high = math.log(self.clip.low), math.log(self.clip.high)
        kept = torch.where(t.advantage > 0, t.log_ratio.clamp(max=high), t.log_ratio.clamp(min=low))
        of = t.tokens.by_trajectory
        return of.spread(of.mean(kept)).exp() * t.advantage

    def clipped(self, t: Terms) -> Tensor:
        """Tokens held at the bound."""
        return self.clip.stops(t.log_ratio.exp(), t.advantage)


@dataclass(frozen=True)
class CPGD:
    """min(log r·Â, clip(log r)·Â), the log-ratio in place of the ratio, so that far tokens weigh no more (arXiv 2505.12504)."""

    clip: Clip
    uses_ratio = True

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        held = t.log_ratio.clamp(math.log(self.clip.low), math.log(self.clip.high))
        return torch.minimum(t.log_ratio * t.advantage, held * t.advantage)

    def clipped(self, t: Terms) -> Tensor:
        """Past the bound that Â pushes towards: no gradient."""
        return self.clip.stops(t.log_ratio.exp(), t.advantage)


def covariance(t: Terms) -> Tensor:
    """(Â − mean Â)(log π − mean log π) per token, [N], the means over the tokens at hand (arXiv 2505.22617)."""
    return (t.advantage - t.advantage.mean()) * (t.logp.detach() - t.logp.detach().mean())


@dataclass(frozen=True)
class ClipCov:
    """PPO without the gradient of a random `share` of the tokens whose covariance is in [low, high] (arXiv 2505.22617).

    Tokens are chosen by `Tokens.draw`; at least one is, if any qualifies. Covariance and choice are over the tokens at hand, which in a
    micro-batch are its own (as in verl).
    """

    clip: Clip
    share: float = 2e-4
    low: float = 1.0
    high: float = 5.0
    uses_ratio = True

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        gain = PPO(self.clip)(t)
        return torch.where(self.chosen(t), gain.detach(), gain)

    def chosen(self, t: Terms) -> Tensor:
        """Tokens that lose their gradient, [N] bool."""
        cov = covariance(t)
        able = (cov >= self.low) & (cov <= self.high) & ~self.clip.stops(t.ratio.detach(), t.advantage)
        draw = torch.where(able, t.tokens.need("draw", "the trainer's random generator"), torch.inf)
        return able & _lowest(draw, max(int(self.share * draw.numel()), 1))

    def clipped(self, t: Terms) -> Tensor:
        """PPO's and the chosen: no gradient."""
        return self.clip.stops(t.ratio, t.advantage) | self.chosen(t)


@dataclass(frozen=True)
class KLCov(_Unclipped):
    """r·Â, less β|log r| on the `share` of tokens with the highest covariance (arXiv 2505.22617); at least one token."""

    share: float = 2e-4
    beta: float = 1.0

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        top = _lowest(-covariance(t), max(int(self.share * t.logp.numel()), 1))
        return t.ratio * t.advantage - self.beta * torch.where(top, t.log_ratio.abs(), 0)


@dataclass(frozen=True)
class MirrorDescent(_Unclipped):
    """Â·log π(y) − (τ/2)(log π(y)/π_old(y))² per trajectory (Kimi k1.5, arXiv 2501.12599), to be summed over its tokens: the
    square of the sum is shared out evenly among them."""

    tau: float

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        of = t.tokens.by_trajectory
        square = of.sum(t.log_ratio) ** 2 / of.count().clamp(min=1)
        return t.advantage * t.logp - 0.5 * self.tau * of.spread(square)


@dataclass(frozen=True)
class NFT(_Unclipped):
    """Supervised learning that knows what is wrong (arXiv 2505.18116): w·log r on right answers, w·log[(1 − q r)/(1 − q)] on wrong
    ones, q the prompt's share of right answers and w = √((1−q)/q).

    For R ∈ {0, 1} the advantage of `Outcome(group_mean, GroupStd(correction=0))`, which it takes, says all of that: Â = w on right
    answers and −1/w on wrong ones, so that q = 1/(1 + w²). (1 − q r)/(1 − q) is held above `floor` with its gradient kept and q inside
    [0.02, 0.98], as in the authors' code. Strictly on-policy its gradient is GRPO's.
    """

    floor: float = 1e-3

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        A = t.advantage
        w = torch.where(A > 0, A, 1 / A.clamp(max=-1e-12).abs()).clamp(1 / 7, 7)
        q = 1 / (1 + w**2)
        wrong = (1 - q * t.ratio) / (1 - q)
        wrong = wrong + (wrong.clamp(min=self.floor) - wrong).detach()
        return torch.where(A == 0, 0, w * torch.where(A > 0, t.log_ratio, wrong.log()))


@dataclass(frozen=True)
class Preference(_Unclipped):
    """log σ(β(h_w − h_l)) per prompt, h = Σ_t log π_θ/π_ref, w the answer with Â > 0, l the one with Â < 0 (DPO, arXiv 2305.18290
    eq. 7), shared out evenly over the tokens of the pair so that a sum over tokens counts each prompt once. Needs whole prompts."""

    beta: float = 0.1

    def __call__(self, t: Terms) -> Tensor:
        """[N]."""
        tokens = t.tokens
        prompts = Groups(tokens.prompt[tokens.by_trajectory.of], tokens.by_prompt.n)
        good, bad = (prompts.sum((sign * t.advantage > 0).to(t.logp.dtype)) for sign in (1, -1))
        if bool(((good > 0) != (bad > 0)).any()):
            raise UserError("Preference: a prompt has only one answer of its pair here; cut micro-batches between prompts")
        margin = prompts.sum(t.advantage * t.log_ratio)
        share = F.logsigmoid(self.beta * margin) / (good + bad).clamp(min=1)
        return torch.where(t.advantage != 0, prompts.spread(share), 0)


def _lowest(x: Tensor, k: int) -> Tensor:
    """The k lowest finite items, [N] bool."""
    k = min(k, x.numel())
    chosen = torch.zeros_like(x, dtype=torch.bool)
    chosen[torch.topk(x, k, largest=False).indices] = True
    return chosen & x.isfinite()


# Values of further terms (`objective.Extra`) ----------------------------------------------------------------------------------------------


def nll(t: Terms) -> Tensor:
    """−log π, [N]: imitation."""
    return -t.logp


def drift(t: Terms) -> Tensor:
    """r − 1 − log r, [N]: on tokens from the denominator's policy an unbiased estimate of KL(π_old‖π_θ), with its gradient (CPGD)."""
    return t.log_ratio.expm1() - t.log_ratio


def squared_log_ratio(t: Terms) -> Tensor:
    """(log r)², [N] (DPPO's pull back to the sampler)."""
    return t.log_ratio**2
