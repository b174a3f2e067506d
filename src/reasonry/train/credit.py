"""Advantages that change from token to token: returns-to-go, generalised advantage estimation, steps, tree nodes, process rewards.

Symbols: r_t reward paid at token t (the outcome at the last one), V_t value before token t, γ discount, λ trace decay, δ_t TD error.
Shapes: N tokens, M trajectories, K steps, P prompts. Invariant: what follows a trajectory's last token is worth nothing, and nothing
leaks from one trajectory into the next. The values come from outside: a critic, Monte-Carlo continuations, a tree, a process-reward model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reasonry.core import UserError
from reasonry.train.ragged import Groups, discounted
from reasonry.train.tokens import Tokens

Decay = Callable[[Tensor], Tensor]
"""T [M] float -> λ [M]: a trace decay for each trajectory from its length."""


@dataclass(frozen=True)
class Fixed:
    """λ the same for every trajectory."""

    lam: float

    def __call__(self, T: Tensor) -> Tensor:
        """λ [M]."""
        return torch.full_like(T, self.lam)


@dataclass(frozen=True)
class LengthAdaptive:
    """λ = max(0, 1 − 1/(α T)): long answers see further (VAPO, arXiv 2504.05118). T=100 -> .8, T=1000 -> .98 at α=.05.

    The paper's formula is negative for T < 1/α (20 tokens at .05), where λ has no meaning; it is held at 0 there.
    """

    alpha: float = 0.05

    def __call__(self, T: Tensor) -> Tensor:
        """λ [M]."""
        return (1 - 1 / (self.alpha * T.clamp(min=1))).clamp(min=0)


def rewards_per_token(tokens: Tokens) -> Tensor:
    """r [N]: what each token was paid, the outcome on the trajectory's last one."""
    last = tokens.by_trajectory.last()
    outcome = torch.where(last, tokens.by_trajectory.spread(tokens.reward), 0)
    return outcome if tokens.token_reward is None else outcome + tokens.token_reward


@dataclass(frozen=True)
class ReturnToGo:
    """Â_t = Σ_{s≥t} γ^{s−t} r_s (REINFORCE++, arXiv 2501.03262)."""

    gamma: float = 1.0

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]."""
        r = rewards_per_token(tokens)
        return discounted(r, torch.full_like(r, self.gamma), tokens.by_trajectory.of)


@dataclass(frozen=True)
class GAE:
    """δ_t = r_t + γV_{t+1} − V_t; Â_t = Σ_l (γλ)^l δ_{t+l} (arXiv 1506.02438 eq. 16), with V after the last token 0.

    λ of the policy and λ of the critic's targets are different choices (decoupled, VC-PPO arXiv 2503.01491): the first is here, the
    second is an argument of `value_targets`.
    """

    gamma: float = 1.0
    lam: Decay = Fixed(1.0)

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]."""
        V = tokens.need("value", "a critic")
        last = tokens.by_trajectory.last()
        ahead = torch.where(last, 0, torch.cat([V[1:], V.new_zeros(min(1, V.numel()))]))
        delta = rewards_per_token(tokens) + self.gamma * ahead - V
        decay = self.gamma * tokens.by_trajectory.spread(self.lam(tokens.lengths.to(V.dtype)))
        return discounted(delta, decay, tokens.by_trajectory.of)


def value_targets(tokens: Tokens, gamma: float = 1.0, lam: Decay = Fixed(1.0)) -> Tensor:
    """What the critic learns, Â^λ + V, [N]; λ = 1 are the plain returns (VC-PPO and VAPO use 1)."""
    return GAE(gamma, lam)(tokens) + tokens.need("value", "a critic")


def value_loss(value: Tensor, old: Tensor, target: Tensor, reach: float) -> Tensor:
    """½ max((V − R)², (clip(V, V_old ± reach) − R)²) per token, all [N] (PPO's clipped value loss)."""
    near = old + (value - old).clamp(-reach, reach)
    return 0.5 * torch.maximum((value - target) ** 2, (near - target) ** 2)


def step_values(tokens: Tokens) -> Tensor:
    """Â of a step = V(s') − V(s) plus what was paid in it, for each of its tokens, with V(s') = R at the end; [N] (VinePPO, 2410.01679).

    `Tokens.value` holds the Monte-Carlo value of the step's first state on each of its tokens, `Tokens.step` the cuts. With segments as
    steps it is segment-level SPO (arXiv 2505.23564).
    """
    steps, V = tokens.by_step, tokens.need("value", "Monte-Carlo continuations from each step")
    before = steps.mean(V)
    owner, ends = _owners(tokens)
    following = torch.cat([before[1:], before.new_zeros(min(1, steps.n))])
    paid = 0 if tokens.token_reward is None else steps.sum(tokens.token_reward)
    return steps.spread(paid + torch.where(ends, tokens.reward[owner], following) - before)


@dataclass(frozen=True)
class NodeValue:
    """Â of a tree node = q(s) − μ, with q ← q_max·tanh(q/ε_q) on nodes before the last and μ the prompt's mean terminal reward
    (DeepSearch, arXiv 2509.25454). `Tokens.value` holds q, `Tokens.step` the nodes; a path's last node keeps its q."""

    q_max: float = 1.0
    eps_q: float = 1.0
    centre: Literal["ends", "nodes"] = "ends"
    """`nodes`: an inner node's q is taken less the mean over the prompt's inner nodes instead. Ours: μ of mostly wrong ends is near −1, and
    then all inner nodes gain by it, those of failed ways too."""

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]."""
        steps, groups = tokens.by_step, tokens.by_prompt
        q = steps.mean(tokens.need("value", "the search tree"))
        owner, ends = _owners(tokens)
        q = torch.where(ends, q, self.q_max * torch.tanh(q / self.eps_q))
        prompt = tokens.prompt[owner]
        mu = groups.level(tokens.reward)[prompt]
        if self.centre == "nodes":
            inner = Groups(prompt[~ends], groups.n)
            mu = torch.where(ends, mu, inner.level(q[~ends])[prompt])
        return steps.spread(q - mu)


@dataclass(frozen=True)
class ProcessLeaveOneOut:
    """Â_t = Σ_{s≥t} γ^{s−t}(r^φ_s − mean of the others' mean r^φ) + (R − mean of the others' R) (PRIME, arXiv 2502.01456).

    `Tokens.process` holds the implicit process reward r^φ = β_p log π_φ/π_ref of each token. Raises UserError for a group of one.
    """

    gamma: float = 1.0

    def __call__(self, tokens: Tokens) -> Tensor:
        """Â [N]."""
        r = tokens.need("process", "a process-reward model")
        groups, of = tokens.by_prompt, tokens.by_trajectory
        count = groups.spread(groups.count())
        if bool((count < 2).any()):
            raise UserError("ProcessLeaveOneOut: a prompt has 1 answer but needs at least 2; sample more answers or drop the prompt")

        def others(x: Tensor) -> Tensor:
            return (groups.spread(groups.sum(x)) - x) / (count - 1)

        centred = r - of.spread(others(of.mean(r)))
        outcome = tokens.reward - others(tokens.reward)
        return discounted(centred, torch.full_like(r, self.gamma), of.of) + of.spread(outcome)


def _owners(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """The trajectory of each step [K], and which steps are their trajectory's last [K] bool."""
    steps = tokens.by_step
    owner = torch.zeros(steps.n, dtype=torch.int64, device=steps.of.device)
    owner[steps.of] = tokens.by_trajectory.of
    ends = torch.ones_like(owner, dtype=torch.bool)
    ends[:-1] = owner[:-1] != owner[1:]
    return owner, ends
