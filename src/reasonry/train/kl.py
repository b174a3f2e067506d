"""How far one policy is from another, estimated on sampled tokens, and where that enters: the reward or the loss.

With ρ = π_ref/π_θ on tokens sampled from π_θ: k1 = −log ρ, k2 = ½(log ρ)², k3 = ρ − 1 − log ρ. As *values* k1 and k3 are unbiased for
KL(π_θ‖π_ref), k2 is not. As *losses* they differ: the expected gradient of k1 is zero, of k2 that of KL(π_θ‖π_ref), of k3 that of
KL(π_ref‖π_θ). All this is per decision: summed over an answer's tokens, a loss does not see that an early token leads to later states where
the policies differ; only a penalty in the reward (or k1 times the whole sequence's ratio) has the gradient of the whole answer's KL.
Shapes: N tokens. (Estimators: J. Schulman, "Approximating KL divergence", 2020.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from reasonry.train.tokens import Tokens

Estimator = Callable[[Tensor, Tensor], Tensor]
"""(log π_θ [N], log π_ref [N]) -> KL estimate [N]."""
BY_REFERENCE = "a forward pass of the reference policy"


def k1(logp: Tensor, reference: Tensor) -> Tensor:
    """log π_θ − log π_ref: unbiased, of either sign; its expected gradient as a loss is zero."""
    return logp - reference


def k2(logp: Tensor, reference: Tensor) -> Tensor:
    """½(log π_θ − log π_ref)²: biased as a value; as an on-policy loss its expected gradient is that of KL(π_θ‖π_ref)."""
    return 0.5 * (logp - reference) ** 2


def k3(logp: Tensor, reference: Tensor) -> Tensor:
    """ρ − 1 − log ρ: unbiased and never negative; as an on-policy loss its expected gradient is that of KL(π_ref‖π_θ)."""
    log_rho = reference - logp
    return log_rho.expm1() - log_rho


@dataclass(frozen=True)
class InReward:
    """Pays −β·estimate at every token, of the policy that sampled it: the penalty reaches the advantage, not the loss."""

    beta: float
    estimator: Estimator = k1

    def charge(self, tokens: Tokens) -> Tokens:
        """The tokens with the penalty in `token_reward`."""
        sampled = tokens.need("logp_sampler", "the sampler")
        penalty = -self.beta * self.estimator(sampled, tokens.need("logp_ref", BY_REFERENCE))
        return replace(tokens, token_reward=penalty if tokens.token_reward is None else tokens.token_reward + penalty)


@dataclass(frozen=True)
class InLoss:
    """Adds β·estimate to the loss of every token, as if the tokens came from π_θ."""

    beta: float
    estimator: Estimator

    def per_token(self, logp: Tensor, log_ratio: Tensor, tokens: Tokens) -> Tensor:
        """[N], without β."""
        return self.estimator(logp, tokens.need("logp_ref", BY_REFERENCE))


@dataclass(frozen=True)
class InLossCorrected:
    """Adds β·r·estimate to the loss, r the token's ratio π_θ/π_behaviour *with its gradient*: right off-policy, and with k3 (or k1) the
    expected gradient becomes that of KL(π_θ‖π_ref) (DeepSeek-V3.2, arXiv 2512.02556 §3.1; TRL's `use_bias_correction_kl`)."""

    beta: float
    estimator: Estimator

    def per_token(self, logp: Tensor, log_ratio: Tensor, tokens: Tokens) -> Tensor:
        """[N], without β."""
        return log_ratio.exp() * self.estimator(logp, tokens.need("logp_ref", BY_REFERENCE))


KL = InReward | InLoss | InLossCorrected
