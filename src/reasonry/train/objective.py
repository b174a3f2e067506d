"""The objective of policy-gradient training as one value, and the loss it defines.

    loss = Σ_t w_t·[ −f_t·SURR(r_t, Â_t) + β·KL_t − η·H_t ] + Σ_j c_j·Σ_t w^j_t·EXTRA^j_t

with Â the advantage, r the ratio, SURR the surrogate, f factors such as a truncated importance weight, w the aggregation's weights. Every
part is a function or a value of its own; a combination that makes no sense raises when it is written down.

Two steps. `score` looks at the whole batch once, before the update, and fixes Â and w. `loss` then takes any part of it, with the current
policy's log-probabilities: the losses of the parts of a batch add up to the loss of the batch, and so do their gradients and their health.
Letters: N tokens, S segments, M trajectories, P prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.advantage import Advantage, Reshape
from reasonry.train.aggregate import Aggregate
from reasonry.train.kl import KL, InReward, k3
from reasonry.train.ratio import Ratio, TruncatedIS, Weight, sampler
from reasonry.train.surrogate import Surrogate, Terms
from reasonry.train.tokens import Tokens


@dataclass(frozen=True)
class Extra:
    """A further term of the loss."""

    coefficient: float
    value: Callable[[Terms], Tensor]
    """Terms -> [N], to be minimised."""
    aggregate: Aggregate


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is optimised. Compare two recipes by comparing two values; change one with `dataclasses.replace`."""

    advantage: Advantage
    """Estimator, baseline and normaliser: tokens -> Â [N]."""
    reshape: tuple[Reshape, ...] = ()
    """Steps after the estimator, in order: whitening, planning boost, signs."""
    ratio: Ratio | None
    """Level and denominator; `None` exactly where the surrogate has no ratio."""
    surrogate: Surrogate
    """With its absolute clip bounds."""
    weights: tuple[Weight, ...] = ()
    """Factors on the surrogate, without gradient: truncated importance sampling, masks."""
    aggregate: Aggregate
    """(tokens, Â) -> weight of each token."""
    kl: KL | None = None
    """Its estimator, its coefficient β and its place."""
    entropy: float = 0.0
    """η, the coefficient of the entropy bonus in nats."""
    extras: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        if self.surrogate.uses_ratio and self.ratio is None:
            raise UserError(f"Objective: surrogate {type(self.surrogate).__name__} needs a ratio; give Ratio(per_token, recomputed)")
        if self.ratio is not None and not self.surrogate.uses_ratio:
            raise UserError(f"Objective: surrogate {type(self.surrogate).__name__} ignores the ratio; set ratio=None")
        if self.ratio is not None and self.ratio.over is sampler and any(isinstance(w, TruncatedIS) for w in self.weights):
            raise UserError("Objective: a ratio over the sampler already holds the factor TruncatedIS would add; drop one of the two")


@dataclass(frozen=True, eq=False)
class Scored:
    """A batch, or a part of one, with everything an objective decides before the update. Made by `score`, read by `loss`."""

    tokens: Tokens
    advantage: Tensor
    """[N] Â."""
    weight: Tensor
    """[N] aggregation weights of the *whole* batch."""
    extra_weights: tuple[Tensor, ...]
    """One [N] for each extra."""
    total: int
    """Tokens of the whole batch: what health shares are divided by."""

    def keep(self, trajectories: Tensor) -> Scored:
        """The part of the batch with the trajectories marked in [M] bool. Losses of parts that cover a batch add up to its loss."""
        on = trajectories[self.tokens.by_trajectory.of]
        return replace(
            self,
            tokens=self.tokens.keep(trajectories),
            advantage=self.advantage[on],
            weight=self.weight[on],
            extra_weights=tuple(w[on] for w in self.extra_weights),
        )


@torch.no_grad()
def score(objective: Objective, tokens: Tokens) -> Scored:
    """Advantages and weights for a whole batch: all answers of its prompts, all its tokens. No policy is needed."""
    if isinstance(objective.kl, InReward):
        tokens = objective.kl.charge(tokens)
    A = objective.advantage(tokens)
    for step in objective.reshape:
        A = step(A, tokens)
    return Scored(
        tokens=tokens,
        advantage=A,
        weight=objective.aggregate(tokens, A),
        extra_weights=tuple(e.aggregate(tokens, A) for e in objective.extras),
        total=A.numel(),
    )


def loss(objective: Objective, scored: Scored, logp: Tensor, entropy: Tensor | None = None) -> tuple[Tensor, dict[str, float]]:
    """The loss, a scalar to be minimised, and its health.

    `logp` [N] is log π_θ of the sampled tokens, with gradient, in the order of `scored.tokens`; `entropy` [N] the policy's entropy there,
    in nats. Health, shares of the whole batch's tokens (parts add up, but `ratio_max`, a maximum): `clip_share` tokens whose gradient
    the surrogate stopped or capped, `ratio_mean`, `ratio_max`, `kl_old` and `kl_ref` (k3 to the denominator's policy and the reference),
    `mismatch` |log π_old − log π_gen|, `entropy`, `masked_share` tokens a factor has set to zero; absent where not known.
    Raises UserError where the objective needs what is not there.
    """
    tokens, A = scored.tokens, scored.advantage
    if logp.shape != A.shape:
        raise UserError(f"loss: logp has shape {list(logp.shape)} but the batch has {A.numel()} tokens; give one log-probability for each")
    old = logp.detach() if objective.ratio is None else objective.ratio.over(logp, tokens)
    log_ratio = logp - old
    ratio = log_ratio.exp() if objective.ratio is None else objective.ratio.level(log_ratio, tokens)
    terms = Terms(logp, log_ratio, ratio, A, tokens)

    gain = objective.surrogate(terms)
    factor = torch.ones_like(A)
    for f in objective.weights:
        factor = factor * f(logp.detach(), A, tokens)
    value = -(scored.weight * factor * gain).sum()
    if objective.kl is not None and not isinstance(objective.kl, InReward):
        value = value + objective.kl.beta * (scored.weight * objective.kl.per_token(logp, log_ratio, tokens)).sum()
    if objective.entropy:
        if entropy is None:
            raise UserError("loss: the objective has an entropy bonus, but no entropy was given; pass the policy's entropy at each token")
        value = value - objective.entropy * (scored.weight * entropy).sum()
    for extra, w in zip(objective.extras, scored.extra_weights, strict=True):
        value = value + extra.coefficient * (w * extra.value(terms)).sum()
    return value, _health(objective, scored, terms, factor, entropy)


@torch.no_grad()
def _health(objective: Objective, scored: Scored, terms: Terms, factor: Tensor, entropy: Tensor | None) -> dict[str, float]:
    tokens, logp = scored.tokens, terms.logp
    parts = {"clip_share": objective.surrogate.clipped(terms).to(logp.dtype), "masked_share": (factor == 0).to(logp.dtype)}
    if objective.ratio is not None:
        parts["ratio_mean"] = terms.ratio
        parts["kl_old"] = terms.log_ratio.expm1() - terms.log_ratio
    if tokens.logp_ref is not None:
        parts["kl_ref"] = k3(logp, tokens.logp_ref)
    if tokens.logp_old is not None and tokens.logp_sampler is not None:
        parts["mismatch"] = (tokens.logp_old - tokens.logp_sampler).abs()
    if entropy is not None:
        parts["entropy"] = entropy
    health = {name: float(x.sum()) / max(scored.total, 1) for name, x in parts.items()}
    if objective.ratio is not None:
        health["ratio_max"] = float(terms.ratio.max()) if terms.ratio.numel() else 0.0
    return health


def merge(healths: list[Mapping[str, float]]) -> dict[str, float]:
    """The health of a batch from those of its parts."""
    names = dict.fromkeys(name for h in healths for name in h)
    join = {name: max if name == "ratio_max" else sum for name in names}
    return {name: join[name](h.get(name, 0.0) for h in healths) for name in names}


@torch.no_grad()
def batch_health(scored: Scored) -> dict[str, float]:
    """What the rewards of a whole batch say: `reward_mean`, `reward_sd`, `zero_variance_share` (prompts whose answers all got the same),
    `length_mean` in trained tokens, `advantage_zero_share` (tokens with nothing to learn)."""
    tokens = scored.tokens
    groups, R = tokens.by_prompt, tokens.returns
    flat = (groups.max(R) == groups.min(R))[groups.count() > 0]
    return {
        "reward_mean": float(tokens.reward.mean()),
        "reward_sd": float(tokens.reward.std(correction=0)),
        "zero_variance_share": float(flat.float().mean()),
        "length_mean": float(tokens.lengths.float().mean()),
        "advantage_zero_share": float((scored.advantage == 0).float().mean()),
    }
