"""How per-token losses become one number: the weight of each token, and the divisor of each flat row.

An aggregation is a function to per-token weights, so that the loss is Σ weight · value. Weights are computed once for the whole batch;
a micro-batch takes its own tokens' share of them, and the shares add up to the whole batch's loss and gradient, however it is cut.
Symbols: T_i tokens of trajectory i, S_i its segments. Shapes: N tokens, M trajectories, P prompts.

A trainer that sees segments as independent rows instead (Delethink's official one) needs `trace_length_divisors`: with them the mean over
rows *is* `trajectory_mean`, to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasonry.train.tokens import Tokens

Aggregate = Callable[[Tokens, Tensor], Tensor]
"""(tokens, Â [N]) -> weight of each token [N], without gradient."""


def token_mean(tokens: Tokens, A: Tensor) -> Tensor:
    """1/N: every token of the batch alike (DAPO, arXiv 2503.14476; verl `token-mean`, TRL `dapo`)."""
    return torch.full_like(A, 1 / max(A.numel(), 1))


def trajectory_mean(tokens: Tokens, A: Tensor) -> Tensor:
    """1/(M·T_i): mean over a trajectory's tokens, all its segments together, then over trajectories (GRPO, arXiv 2402.03300 eq. 3;
    Delethink's trace-length norm; verl `seq-mean-token-mean`, TRL `grpo`, for which a trajectory is one row)."""
    return tokens.by_trajectory.spread(_share(tokens.lengths, A))


def segment_mean(tokens: Tokens, A: Tensor) -> Tensor:
    """1/(S·T_s): mean over a segment's tokens, then over all segments of the batch, whoever they belong to: every model call alike.

    A trainer that sees segments as rows and averages them does this; attempts with more calls then weigh more.
    """
    return tokens.by_segment.spread(_share(tokens.by_segment.count(), A))


def turn_mean(tokens: Tokens, A: Tensor) -> Tensor:
    """1/(M·S_i·T_is): mean over a segment's tokens, then a trajectory's segments, then trajectories (Flow-GRPO as printed,
    arXiv 2510.05592). Segments without trainable tokens do not count."""
    size = tokens.by_segment.count()
    turns = torch.zeros_like(tokens.lengths).index_add(0, tokens.trajectory, (size > 0).to(torch.int64))
    return tokens.by_trajectory.spread(_share(turns, A)) / tokens.by_segment.spread(size.clamp(min=1))


def trajectory_sum(tokens: Tokens, A: Tensor) -> Tensor:
    """1/M: sum over a trajectory's tokens, mean over trajectories: log π of whole answers, the unbiased policy gradient."""
    return torch.full_like(A, 1 / max(tokens.prompt.numel(), 1))


def prompt_mean(tokens: Tokens, A: Tensor) -> Tensor:
    """Mean over all tokens of a prompt's answers, then over prompts (ScaleRL, arXiv 2510.13786, which calls it DAPO's)."""
    groups = tokens.by_prompt
    per_prompt = groups.sum(tokens.lengths.to(A.dtype)).clamp(min=1)
    return (1 / (groups.n * per_prompt))[tokens.prompt[tokens.by_trajectory.of]]


def prompt_sum(tokens: Tokens, A: Tensor) -> Tensor:
    """1/P: sum over everything a prompt has, mean over prompts: for values that already are one per prompt."""
    return torch.full_like(A, 1 / max(tokens.by_prompt.n, 1))


@dataclass(frozen=True)
class Constant:
    """1/(M·L): sum over tokens divided by a fixed length, mean over trajectories (Dr.GRPO, arXiv 2503.20783).

    L is the longest answer that may be sampled, fixed for a run or changed on purpose, never the padded width of a batch.
    """

    length: int

    def __call__(self, tokens: Tokens, A: Tensor) -> Tensor:
        """[N]."""
        return trajectory_sum(tokens, A) / self.length


@dataclass(frozen=True)
class ByInformative:
    """`inner` times M / (trajectories with a non-zero advantage): degenerate groups do not dilute the rest (GPG, arXiv 2504.02546 §3.3).

    The authors' code counts trajectories with a non-zero *reward* instead, which is something else.
    """

    inner: Aggregate

    def __call__(self, tokens: Tokens, A: Tensor) -> Tensor:
        """[N]."""
        alive = (tokens.by_trajectory.sum(A.abs()) > 0).sum().clamp(min=1)
        return self.inner(tokens, A) * (tokens.prompt.numel() / alive)


@dataclass(frozen=True)
class BySign:
    """α/|D⁺| where Â ≥ 0 and (1−α)/|D⁻| where Â < 0: good and bad tokens each have their own mean (PMPO, arXiv 2410.04166). An empty
    side weighs nothing."""

    alpha: float = 0.5

    def __call__(self, tokens: Tokens, A: Tensor) -> Tensor:
        """[N]."""
        good = A >= 0
        n_good = good.sum()
        return torch.where(good, self.alpha / n_good.clamp(min=1), (1 - self.alpha) / (A.numel() - n_good).clamp(min=1)).to(A.dtype)


@dataclass(frozen=True)
class WherePaid:
    """Token mean over the trajectories whose outcome reward exceeds `above`, 0 elsewhere (VAPO's imitation of right answers)."""

    above: float = 0.0

    def __call__(self, tokens: Tokens, A: Tensor) -> Tensor:
        """[N]."""
        paid = tokens.by_trajectory.spread(tokens.reward > self.above).to(A.dtype)
        return paid / paid.sum().clamp(min=1)


def where_nonzero(tokens: Tokens, A: Tensor) -> Tensor:
    """Token mean over the tokens with a non-zero advantage, 0 elsewhere: supervised training on the answers an estimator picked."""
    on = (A != 0).to(A.dtype)
    return on / on.sum().clamp(min=1)


def _share(count: Tensor, A: Tensor) -> Tensor:
    return 1 / (count.numel() * count.clamp(min=1).to(A.dtype))


def trace_length_divisors(tokens: Sequence[int], trace: Sequence[int], correct: bool = True) -> list[float]:
    """What each row's summed loss is divided by, for the trace-length mean (1/G) Σ_g (1/ℓ_g) Σ_l Σ_t of Delethink (arXiv 2510.06557).

    `tokens[r]` is how many tokens row r trains, `trace[r]` which trace it belongs to; ℓ_g is the trace's tokens over all its rows. The
    divisor is ℓ · (traces / rows), the official trainer's flat-batch correction: with it the mean over rows equals the sum above. Without
    it (`correct` false) the loss is smaller by the factor traces / rows, which silently changes the learning rate. Raises ValueError for
    a trace without tokens.
    """
    length = Counter[int]()
    for n, g in zip(tokens, trace, strict=True):
        length[g] += n
    if not all(length[g] > 0 for g in trace):
        raise ValueError(f"every trace needs a token to train, but their lengths are {dict(length)}")
    ratio = len(length) / len(tokens) if correct and tokens else 1.0
    return [length[g] * ratio for g in trace]
