"""Token-by-token credit: recursions against plain loops, and the briefs' identities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from objective_lab import ragged

from reasonry.core import UserError
from reasonry.train.advantage import Outcome, batch_mean, group_mean, leave_one_out, unscaled, whiten
from reasonry.train.credit import (
    GAE,
    Fixed,
    LengthAdaptive,
    NodeValue,
    ProcessLeaveOneOut,
    ReturnToGo,
    rewards_per_token,
    step_values,
    value_loss,
    value_targets,
)
from reasonry.train.kl import InReward, k1
from reasonry.train.ragged import Groups, discounted
from reasonry.train.tokens import Tokens

RAGGED = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def plain(lengths: list[int], **more: Any) -> Tokens:
    """One trajectory a prompt, one segment each."""
    M = len(lengths)
    every = torch.arange(M)
    more = {"reward": torch.arange(1.0, M + 1).double(), **more}
    return Tokens(segment=torch.repeat_interleave(every, torch.tensor(lengths)), trajectory=every, prompt=every, **more)


@for_all(RAGGED, st.integers(0, 10**6))
@settings(deadline=None)
def test_the_doubling_scan_is_the_loop(lengths: list[int], seed: int):
    """y_t = x_t + a_t·y_{t+1}, with decays of both signs and zero, never across a trajectory's end."""
    g = torch.Generator().manual_seed(seed)
    of = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    x, a = torch.randn(of.numel(), generator=g).double(), torch.randn(of.numel(), generator=g).double().round(decimals=1)
    wanted = torch.zeros_like(x)
    for t in reversed(range(of.numel())):
        follows = t + 1 < of.numel() and of[t + 1] == of[t]
        wanted[t] = x[t] + (a[t] * wanted[t + 1] if follows else 0)
    torch.testing.assert_close(discounted(x, a, of), wanted, atol=1e-9, rtol=1e-9)


def test_a_scan_of_nothing_is_nothing():
    assert discounted(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64)).numel() == 0


@for_all(RAGGED, st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
@settings(deadline=None)
def test_gae_is_its_double_sum(lengths: list[int], gamma: float, lam: float, seed: int):
    """Â_t = Σ_l (γλ)^l δ_{t+l}, with rewards on the way."""
    g = torch.Generator().manual_seed(seed)
    N = sum(lengths)
    tokens = plain(lengths, value=torch.randn(N, generator=g).double(), token_reward=torch.randn(N, generator=g).double())
    r, V, of = rewards_per_token(tokens), tokens.value, tokens.by_trajectory.of
    assert V is not None
    wanted = torch.zeros_like(V)
    for t in range(N):
        last = int((of == of[t]).nonzero()[-1])
        for s in range(t, last + 1):
            ahead = V[s + 1] if s < last else 0.0
            wanted[t] += (gamma * lam) ** (s - t) * (r[s] + gamma * ahead - V[s])
    torch.testing.assert_close(GAE(gamma, Fixed(lam))(tokens), wanted, atol=1e-9, rtol=1e-9)


def test_gae_with_a_constant_critic_and_no_decay_is_the_centred_reward():
    """PPO's oracle: γ = λ = 1, V ≡ b gives Â = R − b on every token."""
    tokens = plain([3, 1, 4], value=torch.full((8,), 0.3, dtype=torch.float64))
    torch.testing.assert_close(GAE()(tokens), tokens.by_trajectory.spread(tokens.reward) - 0.3)


def test_the_critics_targets_with_lambda_one_are_the_returns():
    tokens, _ = ragged(0)
    torch.testing.assert_close(value_targets(tokens), tokens.by_trajectory.spread(tokens.reward))


def test_length_adaptive_lambda_is_the_papers_and_never_negative():
    """VAPO: T = 100 gives .8, T = 1000 gives .98; below 1/α tokens the printed formula is negative, which is no trace decay."""
    lam = LengthAdaptive(0.05)(torch.tensor([100.0, 1000.0, 10.0, 20.0]).double())
    torch.testing.assert_close(lam, torch.tensor([0.8, 0.98, 0.0, 0.0]).double())
    assert 1 - 1 / (0.05 * 10) == -1


def test_return_to_go_without_a_penalty_is_the_reward_everywhere():
    tokens, _ = ragged(1)
    torch.testing.assert_close(ReturnToGo()(tokens), tokens.by_trajectory.spread(tokens.reward))


def test_reinforce_plus_plus_without_kl_is_the_whitened_reward():
    """β = 0: every token has its answer's reward, whitened over the tokens of the batch."""
    tokens, _ = ragged(2)
    R = tokens.by_trajectory.spread(tokens.reward)
    torch.testing.assert_close(whiten(ReturnToGo()(tokens), tokens), (R - R.mean()) / (R.std() + 1e-8))


def test_a_penalty_in_the_reward_reaches_the_return_and_the_return_to_go():
    """Â_t = R − β Σ_{s≥t} k1_s; summed over the answer it is what RLOO subtracts."""
    tokens = InReward(0.1, k1).charge(ragged(3)[0])
    assert tokens.logp_sampler is not None
    assert tokens.logp_ref is not None
    estimate = tokens.logp_sampler - tokens.logp_ref
    torch.testing.assert_close(tokens.returns, tokens.reward - 0.1 * tokens.by_trajectory.sum(estimate))
    first = tokens.by_trajectory.rank() == 0
    torch.testing.assert_close(ReturnToGo()(tokens)[first], tokens.returns)
    last = tokens.by_trajectory.last()
    torch.testing.assert_close(ReturnToGo()(tokens)[last], tokens.reward - 0.1 * estimate[last])


def test_step_values_telescope_to_reward_less_the_first_value():
    """VinePPO: Σ over steps of V(s′) − V(s) = R − V(s_0)."""
    tokens, _ = ragged(4)
    A, first_of_step = step_values(tokens), tokens.by_step.rank() == 0
    V = tokens.by_step.mean(tokens.need("value", "the test"))
    first_step = tokens.by_step.of[tokens.by_trajectory.rank() == 0]
    torch.testing.assert_close(tokens.by_trajectory.sum(torch.where(first_of_step, A, 0)), tokens.reward - V[first_step])


def test_steps_of_one_token_with_true_values_are_one_step_td():
    tokens, _ = ragged(5)
    N = tokens.segment.numel()
    torch.testing.assert_close(step_values(replace(tokens, step=torch.arange(N))), GAE(1.0, Fixed(0.0))(tokens))


def test_prime_without_process_rewards_is_rloo_and_adds_the_centred_return_to_go():
    tokens, _ = ragged(6)
    none = replace(tokens, process=torch.zeros(tokens.segment.numel()).double())
    torch.testing.assert_close(ProcessLeaveOneOut()(none), Outcome(leave_one_out, unscaled)(none))
    r, of, G = tokens.process, tokens.by_trajectory.of, 4
    assert r is not None
    means = [float(r[of == i].mean()) for i in range(12)]
    i = 5
    others = sum(means[j] for j in range(4, 8) if j != i) / (G - 1)
    mine = (r[of == i] - others).flip(0).cumsum(0).flip(0)
    outcome = float(tokens.reward[i]) - sum(float(tokens.reward[j]) for j in range(4, 8) if j != i) / (G - 1)
    torch.testing.assert_close(ProcessLeaveOneOut()(tokens)[of == i], mine + outcome)
    with pytest.raises(UserError, match="at least 2"):
        ProcessLeaveOneOut()(plain([2, 3], process=torch.zeros(5).double()))


def test_tree_nodes_are_softly_clipped_except_the_last():
    """DeepSearch: tanh on inner nodes (odd, bounded, slope 1), terminals keep ±1, μ is the mean terminal reward of the prompt."""
    tokens = Tokens(
        segment=torch.tensor([0, 0, 0, 1]), trajectory=torch.tensor([0, 1]), prompt=torch.tensor([0, 0]),
        reward=torch.tensor([1.0, -1.0]).double(), step=torch.tensor([0, 0, 1, 2]), value=torch.tensor([5.0, 5.0, 1.0, -1.0]).double(),
    )  # fmt: skip
    A = NodeValue()(tokens)
    torch.testing.assert_close(A, torch.tensor([math.tanh(5), math.tanh(5), 1.0, -1.0]).double())


def test_deepsearch_with_the_ends_q_everywhere_is_the_mean_only_outcome():
    """q(s) := q of the end, before clipping: DAPO with a mean-only advantage."""
    tokens, _ = ragged(7)
    ends = replace(tokens, value=tokens.by_trajectory.spread(tokens.reward), step=tokens.by_trajectory.of)
    torch.testing.assert_close(NodeValue()(ends), Outcome(group_mean, unscaled)(ends))


def test_the_clipped_value_loss_takes_the_worse_of_the_two():
    value, old, target = torch.tensor([1.0, 0.1, -1.0]), torch.zeros(3), torch.full((3,), 0.5)
    torch.testing.assert_close(value_loss(value, old, target, reach=0.2), 0.5 * torch.tensor([0.25, 0.16, 2.25]))


def test_a_critic_that_is_absent_is_named():
    with pytest.raises(UserError, match="brought by a critic"):
        GAE()(plain([2]))


def test_batch_mean_is_over_trajectories():
    tokens = plain([5, 1])
    assert float(batch_mean(tokens.reward, tokens)[0]) == 1.5


def test_groups_may_be_empty():
    """A trajectory may have sampled nothing trainable."""
    g = Groups(torch.tensor([0, 2, 2]), 4)
    x = torch.tensor([1.0, 2.0, 4.0])
    assert g.mean(x).tolist() == [1, 0, 3, 0]
    assert g.level(x).tolist() == [1, 0, 3, 0]
    assert g.rank().tolist() == [0, 0, 1]
    assert g.last().tolist() == [True, False, True]
    assert g.first(torch.tensor([False, True, True])).tolist() == [False, True, False]
