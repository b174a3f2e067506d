"""Identities between the methods of the briefs, and each one's own oracles."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from objective_lab import EPS, gradient, ppo, ragged

from reasonry.train.advantage import Outcome, PlanningBoost, group_mean, no_baseline, over_segments, sign, unscaled
from reasonry.train.aggregate import (
    BySign,
    Constant,
    segment_mean,
    trace_length_divisors,
    trajectory_mean,
    turn_mean,
)
from reasonry.train.catalogue import find
from reasonry.train.kl import InLoss, k3
from reasonry.train.objective import Objective, loss, score
from reasonry.train.surrogate import CISPO, PPO, Reinforce
from reasonry.train.tokens import Tokens, informative

# Methods of the briefs ------------------------------------------------------------------------------------------------------------------


def test_delethinks_rows_with_their_divisors_are_the_nested_sum_and_the_trajectory_mean():
    """(1/G) Σ_g (1/ℓ_g) Σ_l Σ_t = mean over rows of Σ_t / (ℓ·traces/rows) = the loss, for random numbers of chunks."""
    tokens, now = ragged(9, prompts=1, group=6, segments=5)
    o = ppo(trajectory_mean)
    scored = score(o, tokens)
    assert tokens.logp_old is not None
    r = (now.detach() - tokens.logp_old).exp()
    per_token = -torch.minimum(r * scored.advantage, r.clamp(0.8, 1.2) * scored.advantage)
    size = tokens.by_segment.count().tolist()
    divisors = torch.tensor(trace_length_divisors(size, tokens.trajectory.tolist())).double()
    rows = (tokens.by_segment.sum(per_token) / divisors).mean()
    nested = sum(
        sum(float(per_token[tokens.segment == s].sum()) for s in (tokens.trajectory == g).nonzero().flatten()) / float(tokens.lengths[g])
        for g in range(6)
    ) / 6  # fmt: skip
    value = loss(o, scored, now)[0].detach()
    torch.testing.assert_close(rows, value)
    assert float(value) == pytest.approx(nested, abs=1e-12)


def test_delethink_with_one_chunk_is_grpo():
    """Same surrogate bounds: trace-length mean over one chunk is the mean over an answer's tokens."""
    tokens, now = ragged(10, segments=1)
    delethink = replace(find("delethink").objective, weights=(), surrogate=PPO(EPS))
    grpo = replace(find("grpo").objective, kl=None)
    assert delethink == grpo
    torch.testing.assert_close(gradient(delethink, tokens, now), gradient(ppo(segment_mean), tokens, now))


def test_normalising_chunks_by_themselves_is_another_loss():
    """Delethink's pitfall: short last chunks would weigh too much."""
    tokens, now = ragged(11, segments=4)
    assert not torch.allclose(gradient(ppo(trajectory_mean), tokens, now)[1], gradient(ppo(segment_mean), tokens, now)[1], atol=1e-4)


def test_flow_grpo_with_one_turn_is_grpo_and_repeated_turns_change_nothing():
    """AgentFlow: T_i = 1 is single-turn GRPO; duplicating every turn leaves the 1/T_i loss, and changes the token mean."""
    tokens, now = ragged(12, segments=1)
    flow = find("agentflow").objective
    torch.testing.assert_close(gradient(flow, tokens, now), gradient(replace(flow, aggregate=trajectory_mean), tokens, now))

    once, now = ragged(13)
    M, S = once.prompt.numel(), once.trajectory.numel()
    doubled = once.trajectory == 0
    copies = [s for s in range(S) for _ in range(2 if bool(doubled[s]) else 1)]
    at = [torch.nonzero(once.segment == s).flatten() for s in copies]
    where = torch.cat(at)
    assert once.logp_old is not None
    assert once.logp_ref is not None
    twice = Tokens(
        segment=torch.repeat_interleave(torch.arange(len(copies)), torch.tensor([len(a) for a in at])), trajectory=once.trajectory[copies],
        prompt=once.prompt, reward=once.reward, logp_old=once.logp_old[where], logp_ref=once.logp_ref[where],
    )  # fmt: skip
    again = now.detach()[where].requires_grad_()
    assert M == 12
    assert gradient(flow, twice, again)[0] == pytest.approx(gradient(flow, once, now)[0])
    as_run = find("agentflow-code").objective
    assert gradient(as_run, twice, again)[0] != pytest.approx(gradient(as_run, once, now)[0])


def test_sfr_divides_by_steps_and_then_every_rollout_weighs_the_same():
    """1/T_i on the advantage with the mean over step samples is the mean over rollouts of turn means, up to one constant."""
    tokens, now = ragged(14)
    sfr = find("sfr-deepresearch").objective
    flow = ppo(turn_mean)
    ratio = tokens.prompt.numel() / tokens.trajectory.numel()
    assert sfr.reshape == (over_segments,)
    torch.testing.assert_close(gradient(sfr, tokens, now)[1], gradient(flow, tokens, now)[1] * ratio)


def test_hicra_with_alpha_zero_is_grpo_and_changes_only_planning_tokens():
    tokens, now = ragged(15)
    hicra = find("hicra").objective
    off, plain = replace(hicra, reshape=(PlanningBoost(0.0),)), replace(hicra, reshape=())
    assert torch.equal(gradient(off, tokens, now)[1], gradient(plain, tokens, now)[1])
    none = replace(tokens, planning=torch.zeros(tokens.segment.numel(), dtype=torch.bool))
    assert torch.equal(gradient(hicra, none, now)[1], gradient(plain, none, now)[1])
    changed = gradient(hicra, tokens, now)[1] != gradient(plain, tokens, now)[1]
    assert tokens.planning is not None
    assert bool((changed <= tokens.planning).all())
    clipped = gradient(plain, tokens, now)[1] == 0
    assert bool((gradient(hicra, tokens, now)[1][clipped] == 0).all())


@for_all(st.floats(0.1, 5), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_pmpo_reads_only_signs(power: float, seed: int):
    """Invariant to any monotone, sign-keeping change of |A|; each side has its own mean."""
    tokens, now = ragged(seed)

    def bent(t: Tokens) -> torch.Tensor:
        A = Outcome(group_mean, unscaled)(t)
        return A.sign() * A.abs() ** power

    o = Objective(advantage=Outcome(group_mean, unscaled), reshape=(sign,), ratio=None, surrogate=Reinforce(), aggregate=BySign(0.5))
    torch.testing.assert_close(gradient(o, tokens, now), gradient(replace(o, advantage=bent), tokens, now))


def test_pmpo_by_hand_and_with_an_empty_side():
    """L = (1−α)·mean over D⁻ of log π − α·mean over D⁺ of log π; all good is α-scaled likelihood, and nothing is NaN."""
    tokens, now = ragged(16)
    o = Objective(advantage=Outcome(group_mean, unscaled), reshape=(sign,), ratio=None, surrogate=Reinforce(), aggregate=BySign(0.3))
    good = Outcome(group_mean, unscaled)(tokens) >= 0
    wanted = 0.7 * now[~good].mean() - 0.3 * now[good].mean()
    torch.testing.assert_close(gradient(o, tokens, now)[0], wanted.detach())
    all_good = replace(o, advantage=Outcome(no_baseline, unscaled))
    torch.testing.assert_close(gradient(all_good, tokens, now)[0], -0.3 * now.mean().detach())


def test_scalerl_keeps_a_capped_gradient_where_ppo_has_none():
    tokens, _ = ragged(17)
    assert tokens.logp_sampler is not None
    now = (tokens.logp_sampler + math.log(7)).requires_grad_()
    scale = find("scalerl").objective
    assert isinstance(scale.surrogate, CISPO)
    good = score(scale, tokens).advantage > 0
    assert bool((gradient(replace(scale, surrogate=PPO(EPS)), tokens, now)[1][good] == 0).all())
    s = score(scale, tokens)
    torch.testing.assert_close(gradient(scale, tokens, now)[1], -5 * s.weight * s.advantage)


def test_removing_degenerate_groups_changes_only_the_denominators():
    """ScaleRL: the direction of the gradient stays; batch sd and counts change."""
    tokens, now = ragged(18)
    flat = replace(tokens, reward=torch.cat([torch.ones(4).double(), tokens.reward[4:]]))
    keep = informative(flat)
    assert keep.tolist() == [False] * 4 + [True] * 8
    on = keep[flat.by_trajectory.of]
    o = find("scalerl").objective
    before = gradient(o, flat, now)[1]
    after = gradient(o, flat.keep(keep), now.detach()[on].requires_grad_())[1]
    assert bool((before[~on] == 0).all())
    ratio = after / before[on]
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0])))


def test_equal_rewards_leave_only_the_kl():
    tokens, now = ragged(19)
    equal = replace(tokens, reward=torch.full((12,), 0.1).double())
    assert bool((gradient(ppo(), equal, now)[1] == 0).all())
    assert float(gradient(ppo(kl=InLoss(0.1, k3)), equal, now)[1].abs().max()) > 0


def test_h1s_doubled_padding_has_nowhere_to_be():
    """There is no rectangle: what a token weighs is one over the answers and the constant, whatever the lengths."""
    tokens, now = ragged(20)
    o = find("h1").objective
    assert isinstance(o.aggregate, Constant)
    M = tokens.prompt.numel()
    torch.testing.assert_close(score(o, tokens).weight, torch.full_like(now.detach(), 1 / (M * o.aggregate.length)))
