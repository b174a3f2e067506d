"""Advantages that come from a trajectory's whole return: Â_i = normalise(R_i − b_i), given to each of its tokens.

Symbols: R_i return, b_i baseline, G answers of one prompt (a group), μ their mean, sd their standard deviation, T_i tokens of answer i.
Shapes: N tokens, M trajectories, P prompts (`train.tokens`). Invariant: equal rewards in a group give a group baseline's advantage of
exactly zero, whatever the rewards and the floating-point type. Advantages that change from token to token are in `train.credit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.ragged import Groups
from reasonry.train.tokens import Tokens

Advantage = Callable[[Tokens], Tensor]
"""tokens -> Â [N]."""
Baseline = Callable[[Tensor, Tokens], Tensor]
"""(R [M], tokens) -> b [M]."""
Normaliser = Callable[[Tensor, Tokens], Tensor]
"""(A [M], tokens) -> Â [M]."""
Reshape = Callable[[Tensor, Tokens], Tensor]
"""(Â [N], tokens) -> Â [N]: a step after the estimator."""


@dataclass(frozen=True)
class Outcome:
    """Â_i = normalise(R_i − b_i), the same for every token of answer i."""

    baseline: Baseline
    normalise: Normaliser

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]."""
        R = tokens.returns
        return tokens.by_trajectory.spread(self.normalise(R - self.baseline(R, tokens), tokens))


# Baselines ------------------------------------------------------------------------------------------------------------------------------


def no_baseline(R: Tensor, tokens: Tokens) -> Tensor:
    """b = 0: plain REINFORCE."""
    return torch.zeros_like(R)


def group_mean(R: Tensor, tokens: Tokens) -> Tensor:
    """b = μ, the mean over the prompt's G answers, one's own among them (GRPO, arXiv 2402.03300 §4.1.2).

    One's own reward inside the mean shrinks the expected gradient by (G−1)/G. A group of one has advantage 0.
    """
    groups = tokens.by_prompt
    return groups.spread(groups.level(R))


def leave_one_out(R: Tensor, tokens: Tokens) -> Tensor:
    """b_i = Σ_{j≠i} R_j / (G−1), the mean of the others: unbiased (RLOO, arXiv 2402.14740). Raises UserError for a group of one."""
    groups = tokens.by_prompt
    count = groups.spread(groups.count())
    if bool((count < 2).any()):
        raise UserError("leave_one_out: a prompt has 1 answer but needs at least 2; sample more answers or drop the prompt")
    least = groups.spread(groups.min(R))
    rest = R - least
    return least + (groups.spread(groups.sum(rest)) - rest) / (count - 1)


def batch_mean(R: Tensor, tokens: Tokens) -> Tensor:
    """b = the mean over all M trajectories of the batch."""
    return _one(R).level(R).expand_as(R)


def length_weighted(R: Tensor, tokens: Tokens) -> Tensor:
    """b = Σ_j T_j R_j / Σ_j T_j over the group: least variance if ‖∇log π‖² grows with length (OPO, arXiv 2505.23585)."""
    groups = tokens.by_prompt
    T = tokens.lengths.to(R.dtype)
    least = groups.spread(groups.min(R))
    return least + groups.spread(groups.sum(T * (R - least)) / groups.sum(T).clamp(min=1))


def given(R: Tensor, tokens: Tokens) -> Tensor:
    """b = `Tokens.baseline`: the greedy answer's reward (ReMax, arXiv 2310.10505) or a tracked value (SPO, arXiv 2509.13232)."""
    return tokens.need("baseline", "the rollout (a greedy answer per prompt) or the per-prompt history").to(R.dtype)


def runner_up(R: Tensor, tokens: Tokens) -> Tensor:
    """b = the second-best reward for the group's (first) best answer and its own reward for all others: only the best is credited,
    with best − second best (verl's `grpo_passk`, after arXiv 2503.19595)."""
    groups = tokens.by_prompt
    best = _first_best(R, groups)
    second = groups.max(R.masked_fill(best, -torch.inf))
    return torch.where(best, groups.spread(torch.where(second.isinf(), groups.max(R), second)), R)


# Normalisers ----------------------------------------------------------------------------------------------------------------------------


def unscaled(A: Tensor, tokens: Tokens) -> Tensor:
    """Â = A (Dr.GRPO, arXiv 2503.20783: the sd weighs prompts by difficulty)."""
    return A


@dataclass(frozen=True)
class GroupStd:
    """Â = A / (sd(R over the group) + ε). PyTorch's, TRL's and verl's sd is the unbiased one, numpy's the biased one: at G=8 they
    differ by 7 %, at G=2 by 41 %."""

    correction: int = 1
    """1: divide squares by G−1; 0: by G."""
    eps: float = 1e-6
    """verl's; TRL uses 1e-4."""

    def __call__(self, A: Tensor, tokens: Tokens) -> Tensor:
        """Â [M]."""
        groups = tokens.by_prompt
        return A / (groups.spread(groups.std(tokens.returns, self.correction)) + self.eps)


@dataclass(frozen=True)
class BatchStd:
    """Â = A / (sd(A over all trajectories) + ε) (ScaleRL, arXiv 2510.13786: the sd of *advantages*)."""

    correction: int = 1
    eps: float = 1e-6

    def __call__(self, A: Tensor, tokens: Tokens) -> Tensor:
        """Â [M]."""
        return A / (_one(A).std(A, self.correction) + self.eps)


@dataclass(frozen=True)
class BatchRewardStd:
    """Â = A / (sd(R over all trajectories) + ε) (LitePPO, arXiv 2508.08221, TRL's `scale_rewards="batch"`: the sd of *rewards*,
    which is larger, because it also holds the spread between prompts)."""

    correction: int = 1
    eps: float = 1e-6

    def __call__(self, A: Tensor, tokens: Tokens) -> Tensor:
        """Â [M]."""
        R = tokens.returns
        return A / (_one(R).std(R, self.correction) + self.eps)


@dataclass(frozen=True)
class BatchWhiten:
    """Â = (A − mean) / (sd + ε) over all trajectories of the batch (SPO, GDPO)."""

    correction: int = 1
    eps: float = 1e-6

    def __call__(self, A: Tensor, tokens: Tokens) -> Tensor:
        """Â [M]."""
        one = _one(A)
        return (A - one.level(A)) / (one.std(A, self.correction) + self.eps)


def by_mean(A: Tensor, tokens: Tokens) -> Tensor:
    """Â = A / μ, and 0 where nothing was right (MaxRL, arXiv 2602.02710). Raises UserError for a negative reward."""
    R, groups = tokens.returns, tokens.by_prompt
    if bool((R < 0).any()):
        raise UserError(f"MaxRL divides by the mean reward, but one reward is {float(R.min()):g}; give rewards of zero or more")
    mean = groups.spread(groups.level(R))
    return torch.where(mean > 0, A / torch.where(mean > 0, mean, 1), 0)


# Estimators of their own ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kalman:
    """Â_k = (R_k − x_k) / (√P_k + ε), x and P filtered over the group's answers one after another (KRPO, arXiv 2505.07527).

    P⁻ = P + Q; K = P⁻/(P⁻ + R_noise); x ← x + K(R_k − x); P ← (1−K)P⁻. Constants as in the authors' `train.py`. Since each answer is
    compared with the estimate *after* it, and the estimate only knows the answers before, the advantage depends on the order in which
    answers happen to arrive, and a group of equal rewards does not give zero: both are so in the authors' code, and tested here.
    """

    process_noise: float = 1e-5
    measurement_noise: float = 1e-2
    mean: float = 0.0
    variance: float = 1.0
    eps: float = 1e-8

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]. Loops over places in the group, not over tokens."""
        R, groups, place = tokens.returns, tokens.by_prompt, tokens.by_prompt.rank()
        x, P, A = R.new_full((groups.n,), self.mean), R.new_full((groups.n,), self.variance), torch.zeros_like(R)
        for k in range(int(groups.count().max()) if groups.n else 0):
            at = place == k
            g = groups.of[at]
            prior = P[g] + self.process_noise
            K = prior / (prior + self.measurement_noise)
            x = x.index_put((g,), x[g] + K * (R[at] - x[g]))
            P = P.index_put((g,), (1 - K) * prior)
            A[at] = (R[at] - x[g]) / (P[g].sqrt() + self.eps)
        return tokens.by_trajectory.spread(A)


@dataclass(frozen=True)
class EachSignal:
    """Â = BatchWhiten(Σ_k w_k (S_k − μ_k) / (sd_k + ε)): every named signal is normalised inside the group before they are added, so
    that none drowns another (GDPO, arXiv 2601.05242)."""

    weights: Mapping[str, float] | None = None
    """Per signal; `None` counts each once."""
    within: GroupStd = GroupStd()
    after: Normaliser = BatchWhiten()

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]. Raises UserError where a weighted signal is absent or there is none."""
        weights = dict.fromkeys(tokens.signals, 1.0) if self.weights is None else self.weights
        if not weights or set(weights) - set(tokens.signals):
            raise UserError(f"EachSignal: wants the signals {sorted(weights)} but the reward has {sorted(tokens.signals)}; name them alike")
        groups, total = tokens.by_prompt, torch.zeros_like(tokens.reward)
        for name, w in weights.items():
            S = tokens.signals[name].to(total.dtype)
            centred = S - groups.spread(groups.level(S))
            total = total + w * centred / (groups.spread(groups.std(S, self.within.correction)) + self.within.eps)
        return tokens.by_trajectory.spread(self.after(total, tokens))


def best_of_group(tokens: Tokens) -> Tensor:
    """Â = 1 on the group's (first) best answer, 0 elsewhere; [N]. With `Reinforce` this is supervised training on it (RFT)."""
    return tokens.by_trajectory.spread(_first_best(tokens.returns, tokens.by_prompt).to(tokens.reward.dtype))


def best_and_worst(tokens: Tokens) -> Tensor:
    """Â = +1 on the group's (first) best answer, −1 on its (first) worst, 0 elsewhere and where all are equal; [N]: a preference pair."""
    R, groups = tokens.returns, tokens.by_prompt
    best, worst = _first_best(R, groups), _first_best(-R, groups)
    differ = groups.spread(groups.max(R) > groups.min(R))
    return tokens.by_trajectory.spread((best.to(R.dtype) - worst.to(R.dtype)) * differ)


# Steps after the estimator --------------------------------------------------------------------------------------------------------------


def whiten(A: Tensor, tokens: Tokens) -> Tensor:
    """Â = (A − mean) / (sd + 1e-8) over all N tokens, unbiased sd (REINFORCE++, arXiv 2501.03262; PPO)."""
    one = _one(A)
    return (A - one.level(A)) / (one.std(A, 1) + 1e-8)


def sign(A: Tensor, tokens: Tokens) -> Tensor:
    """+1 where A ≥ 0, −1 where A < 0 (PMPO, arXiv 2410.04166): how large an advantage is has no say. Zero counts as good."""
    return torch.where(A >= 0, 1.0, -1.0).to(A.dtype)


@dataclass(frozen=True)
class PlanningBoost:
    """Â + α|Â| on planning tokens, Â elsewhere (HICRA, arXiv 2509.03646): planning gains (1+α) in good answers and loses only
    (1−α) in bad ones. Its sum over a group is no longer zero; that is the design."""

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1:
            raise UserError(f"PlanningBoost: alpha is {self.alpha} but must be in [0, 1); from 1 on it turns punishment into reward")

    def __call__(self, A: Tensor, tokens: Tokens) -> Tensor:
        """Â [N]."""
        planning = tokens.need("planning", "the strategic-gram matcher (HICRA)")
        return torch.where(planning, A + self.alpha * A.abs(), A)


def over_segments(A: Tensor, tokens: Tokens) -> Tensor:
    """Â / (segments of the trajectory): SFR-DeepResearch's division by trajectory length in steps (arXiv 2509.06283)."""
    turns = torch.bincount(tokens.trajectory, minlength=tokens.prompt.numel()).clamp(min=1)
    return A / tokens.by_trajectory.spread(turns)


def times_weight(A: Tensor, tokens: Tokens) -> Tensor:
    """w·Â with `Tokens.weight` (HERO, arXiv 2510.07242). On the advantage, because an sd normaliser would cancel a weight on the reward."""
    return A * tokens.by_trajectory.spread(tokens.need("weight", "the reward combiner (train.hero)"))


def _one(x: Tensor) -> Groups:
    """Everything as a single group."""
    return Groups(torch.zeros_like(x, dtype=torch.int64), 1)


def _first_best(R: Tensor, groups: Groups) -> Tensor:
    """The first of each group's best, [M] bool."""
    return groups.first(groups.spread(groups.max(R)) == R)
