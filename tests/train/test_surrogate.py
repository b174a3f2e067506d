"""Surrogates: what each does to one token, and where they are the same."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from objective_lab import gradient, ragged

from reasonry.core import UserError
from reasonry.train.advantage import GroupStd, Outcome, best_and_worst, group_mean, unscaled
from reasonry.train.aggregate import Aggregate, prompt_sum, token_mean, trajectory_mean, trajectory_sum
from reasonry.train.catalogue import find
from reasonry.train.objective import Extra, Objective, loss, score
from reasonry.train.ratio import (
    Clip,
    HarmfulMask,
    OffPolicyMask,
    Ratio,
    TruncatedIS,
    itself,
    per_token,
    per_trajectory,
    per_trajectory_token,
    recomputed,
    reference,
    sampler,
)
from reasonry.train.surrogate import (
    CISPO,
    CPGD,
    GMPO,
    NFT,
    PPO,
    SAPO,
    ClipCov,
    DualClip,
    KLCov,
    MirrorDescent,
    Preference,
    Reinforce,
    Surrogate,
    Terms,
    Weighted,
    covariance,
    drift,
)
from reasonry.train.tokens import Tokens

EPS = Clip(0.8, 1.2)
GROUP = Outcome(group_mean, GroupStd())
WIDE = Clip(math.exp(-0.4), math.exp(0.4))


def at(r: float, A: float, surrogate: Surrogate) -> tuple[float, float]:
    """Gain and ∂gain/∂log π of one token of ratio r and advantage A."""
    tokens = Tokens(segment=torch.tensor([0]), trajectory=torch.tensor([0]), prompt=torch.tensor([0]), reward=torch.tensor([1.0]))
    logp = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    log_r = logp + 1 + math.log(r)
    t = Terms(logp, log_r, log_r.exp(), torch.tensor([A], dtype=torch.float64), tokens)
    gain = surrogate(t)
    return float(gain.detach()), float(torch.autograd.grad(gain.sum(), logp)[0])


# One token ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surrogate", "r", "A", "weight"),
    [
        (CISPO(Clip(0.0, 5.0)), 7.0, 1.0, 5.0),
        (PPO(EPS), 7.0, 1.0, 0.0),
        (CISPO(Clip(0.0, 5.0)), 0.01, -1.0, -0.01),
        (CISPO(Clip(0.8, 1.2)), 0.01, -1.0, -0.8),
        (PPO(EPS), 0.01, -1.0, 0.0),
        (PPO(EPS), 0.5, 1.0, 0.5),
        (PPO(EPS), 7.0, -1.0, -7.0),
        (DualClip(EPS, 3.0), 7.0, -1.0, 0.0),
        (DualClip(EPS, 3.0), 2.0, -1.0, -2.0),
        (DualClip(EPS, 3.0), 7.0, 1.0, 0.0),
        (Weighted(), 7.0, -1.0, -7.0),
        (Reinforce(), 7.0, -1.0, -1.0),
        (CPGD(EPS), 7.0, 1.0, 0.0),
        (CPGD(EPS), 7.0, -1.0, -1.0),
        (GMPO(WIDE), 1.3, 1.0, 1.3),
        (GMPO(WIDE), 7.0, 1.0, 0.0),
    ],
)
def test_the_gradient_of_one_token(surrogate: Surrogate, r: float, A: float, weight: float):
    """ScaleRL's table (ratio 7 under cap 5 weighs 5, under PPO nothing; no floor) and its relatives."""
    assert at(r, A, surrogate)[1] == pytest.approx(weight)


@pytest.mark.parametrize("surrogate", [PPO(EPS), DualClip(EPS, 3.0), CISPO(EPS), SAPO(), GMPO(WIDE), CPGD(EPS), Weighted()])
@pytest.mark.parametrize("A", [0.7, -1.3])
def test_at_ratio_one_every_surrogate_has_reinforces_gradient(surrogate: Surrogate, A: float):
    assert at(1.0, A, surrogate)[1] == pytest.approx(at(1.0, A, Reinforce())[1])


@for_all(st.floats(0.05, 20), st.floats(-3, 3))
@settings(deadline=None)
def test_ppo_is_never_above_the_bare_ratio_and_a_dual_clip_bounds_the_loss(r: float, A: float):
    """GRPO-TCR: for Â < 0 the loss is at most c·|Â|."""
    bare, ppo, dual = (at(r, A, s)[0] for s in (Weighted(), PPO(EPS), DualClip(EPS, 10.0)))
    assert ppo <= bare + 1e-12
    assert dual >= ppo - 1e-12
    if A < 0:
        assert -dual <= 10 * abs(A) + 1e-9


@for_all(st.floats(0.05, 5), st.floats(-3, 3))
@settings(deadline=None)
def test_clip_higher_matters_only_above_the_lower_bound_for_good_tokens(r: float, A: float):
    """GRPO-TCR: ε_high ≠ ε_low changes the gradient only where r > 1 + ε_low and Â > 0."""
    same = at(r, A, PPO(Clip(0.8, 1.2)))[1] == at(r, A, PPO(Clip(0.8, 1.28)))[1]
    assert same or (r > 1.2 and A > 0)


def test_sapo_has_slope_one_at_one_and_fades_without_stopping():
    for A in (1.0, -1.0):
        assert at(1.0, A, SAPO())[1] == pytest.approx(A)
    assert 0 < at(4.0, 1.0, SAPO())[1] < 1
    assert abs(at(4.0, -1.0, SAPO(1.0, 2.0))[1]) < abs(at(4.0, -1.0, SAPO(1.0, 1.0))[1])


def test_clip_bounds_are_absolute_and_an_epsilon_is_refused():
    with pytest.raises(UserError, match="absolute"):
        Clip(0.2, 0.28)
    with pytest.raises(UserError, match="must exceed"):
        DualClip(Clip(0.8, 1.28), 1.1)


def test_clipped_names_the_tokens_whose_gradient_stopped():
    """Health's clip share is what the gradient says, for ratios on both sides and both signs."""
    tokens, now = ragged(0)
    for surrogate in (PPO(Clip(0.9, 1.1)), DualClip(Clip(0.9, 1.1), 1.15), CPGD(Clip(0.9, 1.1))):
        o = Objective(advantage=GROUP, ratio=Ratio(per_token, recomputed), surrogate=surrogate, aggregate=token_mean)
        scored = score(o, tokens)
        value, health = loss(o, scored, now)
        stopped = torch.autograd.grad(value, now)[0] == 0
        assert 0 < health["clip_share"] == pytest.approx(float((stopped & (scored.advantage != 0)).double().mean()))


# Whole trajectories ---------------------------------------------------------------------------------------------------------------------


def objective(surrogate: Surrogate, ratio: Ratio | None, aggregate: Aggregate = trajectory_mean, **more: Any) -> Objective:
    return Objective(advantage=GROUP, ratio=ratio, surrogate=surrogate, aggregate=aggregate, **more)


TOKEN, SEQUENCE, BOTH = (Ratio(level, recomputed) for level in (per_token, per_trajectory, per_trajectory_token))
TIGHT = Clip(0.97, 1.03)


def same(a: Objective, b: Objective, tokens: Tokens, now: torch.Tensor) -> None:
    """Value and gradient."""
    for x, y in zip(gradient(a, tokens, now), gradient(b, tokens, now), strict=True):
        torch.testing.assert_close(x, y)


def test_gspo_and_gspo_token_have_the_same_value_and_gradient():
    """While Â is the same for an answer's tokens."""
    tokens, now = ragged(1)
    same(objective(PPO(TIGHT), SEQUENCE), objective(PPO(TIGHT), BOTH), tokens, now)


def test_gspo_on_answers_of_one_token_is_ppo():
    tokens, now = ragged(2, longest=1, segments=1)
    same(objective(PPO(EPS), SEQUENCE), objective(PPO(EPS), TOKEN), tokens, now)


def test_on_policy_gspo_is_reinforce_averaged_over_answers():
    tokens, now = ragged(3)
    got = gradient(objective(PPO(EPS), Ratio(per_trajectory, itself)), tokens, now)[1]
    torch.testing.assert_close(got, gradient(objective(Reinforce(), None), tokens, now)[1])


def test_gspo_with_one_answer_by_hand():
    """s = exp(mean log r); gain s·Â; gradient s·Â/T on each token."""
    tokens, now = ragged(4)
    o = objective(PPO(Clip(0.0, math.inf)), SEQUENCE)
    A, of, M = score(o, tokens).advantage, tokens.by_trajectory, tokens.prompt.numel()
    assert tokens.logp_old is not None
    s = torch.stack([(now - tokens.logp_old)[of.of == i].mean().exp() for i in range(M)])
    wanted = -(s * of.mean(A)).mean()
    value, grad = gradient(o, tokens, now)
    torch.testing.assert_close(value, wanted.detach())
    torch.testing.assert_close(grad, -(s[of.of] * A / of.count()[of.of] / M).detach())


@pytest.mark.parametrize("c", [0.75, 1.0, 1.3])
def test_gmpo_with_all_ratios_equal_is_that_ratio_times_the_advantage(c: float):
    tokens, _ = ragged(5)
    assert tokens.logp_old is not None
    now = (tokens.logp_old + math.log(c)).requires_grad_()
    value, _ = gradient(objective(GMPO(WIDE), TOKEN), tokens, now)
    A = tokens.by_trajectory.mean(score(objective(GMPO(WIDE), TOKEN), tokens).advantage)
    torch.testing.assert_close(value, -(c * A).mean())


def test_gmpo_without_bounds_is_gspo_without_bounds():
    """The geometric mean of token ratios is the length-normalised sequence ratio."""
    tokens, now = ragged(6)
    free = Clip(1e-30, 1e30)
    same(objective(GMPO(free), TOKEN), objective(PPO(free), SEQUENCE), tokens, now)


def test_the_drift_is_zero_and_flat_where_the_policies_agree():
    """CPGD at ratio 1 is REINFORCE, its KL term included."""
    tokens, now = ragged(7)
    with_drift = objective(CPGD(EPS), Ratio(per_token, itself), extras=(Extra(0.3, drift, trajectory_mean),))
    torch.testing.assert_close(gradient(with_drift, tokens, now)[1], gradient(objective(Reinforce(), None), tokens, now)[1])


def test_mirror_descent_is_kimis_gradient():
    """(R − μ)∇log π − (τ/2)∇(log π/π_old)², per answer; with τ = 0 it is mean-baseline REINFORCE."""
    tokens, now = ragged(8)
    o = Objective(advantage=Outcome(group_mean, unscaled), ratio=TOKEN, surrogate=MirrorDescent(0.7), aggregate=trajectory_sum)
    of, M = tokens.by_trajectory, tokens.prompt.numel()
    A = score(o, tokens).advantage
    assert tokens.logp_old is not None
    log_r = of.sum(now - tokens.logp_old).detach()
    torch.testing.assert_close(gradient(o, tokens, now)[1], -(A - 0.7 * log_r[of.of]) / M)


def test_nft_on_policy_is_grpo_with_the_biased_sd():
    """Its authors' claim: √((1−q)/q) on right answers and √(q/(1−q)) on wrong ones are GRPO's advantages."""
    tokens, now = ragged(9)
    nft = replace(find("nft").objective, ratio=Ratio(per_token, itself))
    grpo = Objective(
        advantage=Outcome(group_mean, GroupStd(correction=0, eps=0.0)), ratio=None, surrogate=Reinforce(), aggregate=token_mean
    )
    torch.testing.assert_close(gradient(nft, tokens, now)[1], gradient(grpo, tokens, now)[1])


def test_nft_keeps_a_gradient_where_the_log_would_have_no_argument():
    """1 − q r ≤ 0 is held at the floor with its gradient."""
    tokens, _ = ragged(10)
    assert tokens.logp_old is not None
    now = (tokens.logp_old + 3).requires_grad_()
    value, grad = gradient(objective(NFT(), TOKEN, token_mean), tokens, now)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


def test_nft_off_policy_by_hand():
    """w·log r on right answers, w·log[(1 − q r)/(1 − q)] on wrong ones, w = √((1−q)/q), q the pass rate, here far from the floor."""
    tokens, now = ragged(19)
    assert tokens.logp_old is not None
    q = tokens.by_prompt.spread(tokens.by_prompt.mean(tokens.reward))[tokens.by_trajectory.of]
    r = (now - tokens.logp_old).exp()
    gain = ((1 - q) / q).sqrt() * torch.where(tokens.by_trajectory.spread(tokens.reward) > 0, r.log(), ((1 - q * r) / (1 - q)).log())
    torch.testing.assert_close(gradient(find("nft").objective, tokens, now)[0], -gain.mean().detach(), atol=1e-9, rtol=1e-9)


def test_preference_is_the_dpo_loss_of_best_and_worst():
    tokens, now = ragged(11)
    o = Objective(advantage=best_and_worst, ratio=Ratio(per_token, reference), surrogate=Preference(0.5), aggregate=prompt_sum)
    assert tokens.logp_ref is not None
    h = tokens.by_trajectory.sum(now - tokens.logp_ref)
    wanted = torch.stack([-torch.nn.functional.logsigmoid(0.5 * (h[4 * p] - h[4 * p + 1])) for p in range(3)]).mean()
    value, grad = gradient(o, tokens, now)
    torch.testing.assert_close(value, wanted.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(wanted, now)[0])


def test_half_a_pair_is_refused():
    tokens, now = ragged(11)
    o = Objective(advantage=best_and_worst, ratio=Ratio(per_token, reference), surrogate=Preference(0.5), aggregate=prompt_sum)
    part = score(o, tokens).keep(torch.arange(12) != 1)
    with pytest.raises(UserError, match="between prompts"):
        loss(o, part, now[tokens.by_trajectory.of != 1])


# Covariance -----------------------------------------------------------------------------------------------------------------------------


def test_clip_cov_stops_exactly_the_chosen_tokens():
    tokens, now = ragged(12, prompts=6)
    free = Clip(0.0, math.inf)
    plain, cov = objective(PPO(free), TOKEN, token_mean), objective(ClipCov(free, share=0.1, low=0.1, high=5.0), TOKEN, token_mean)
    before, after = gradient(plain, tokens, now)[1], gradient(cov, tokens, now)[1]
    stopped = after == 0
    N = now.numel()
    assert 0 < int(stopped.sum()) <= max(int(0.1 * N), 1)
    assert torch.equal(before[~stopped], after[~stopped])
    A = score(plain, tokens).advantage
    c = covariance(Terms(now, now, now, A, tokens))
    assert bool(((c[stopped] >= 0.1) & (c[stopped] <= 5.0)).all())


def test_kl_cov_charges_only_the_top_tokens():
    tokens, now = ragged(13)
    plain, cov = objective(Weighted(), TOKEN, token_mean), objective(KLCov(0.1, 2.0), TOKEN, token_mean)
    changed = gradient(plain, tokens, now)[1] != gradient(cov, tokens, now)[1]
    A = score(objective(Weighted(), TOKEN), tokens).advantage
    c = covariance(Terms(now, now, now, A, tokens))
    k = int(0.1 * now.numel())
    assert int(changed.sum()) == k
    assert float(c[changed].min()) >= float(c.sort().values[-k])


# Factors beside the ratio ---------------------------------------------------------------------------------------------------------------


def test_truncated_importance_multiplies_and_is_capped():
    tokens, now = ragged(14)
    assert tokens.logp_old is not None
    assert tokens.logp_sampler is not None
    plain, tis = objective(PPO(EPS), TOKEN), objective(PPO(EPS), TOKEN, weights=(TruncatedIS(1.01),))
    factor = (tokens.logp_old - tokens.logp_sampler).exp().clamp(max=1.01)
    assert float(factor.max()) == pytest.approx(1.01)
    torch.testing.assert_close(gradient(tis, tokens, now)[1], factor * gradient(plain, tokens, now)[1])


def test_a_ratio_over_the_sampler_refuses_a_second_correction():
    with pytest.raises(UserError, match="already holds"):
        objective(PPO(EPS), Ratio(per_token, sampler), weights=(TruncatedIS(2.0),))


def test_the_off_policy_mask_drops_bad_answers_the_policy_has_left():
    """Â < 0 and mean log(π_gen/π_θ) > δ."""
    tokens, _ = ragged(15)
    assert tokens.logp_sampler is not None
    of = tokens.by_trajectory
    shift = torch.where(torch.arange(12) % 2 == 1, 1.0, 0.1).double()
    A = torch.where(torch.arange(12) < 6, 1.0, -1.0).double()[of.of]
    factor = OffPolicyMask(0.5)(tokens.logp_sampler - shift[of.of], A, tokens)
    dropped = (torch.arange(12) % 2 == 1) & (torch.arange(12) >= 6)
    assert torch.equal(factor == 0, dropped[of.of])


def test_the_harmful_mask_acts_only_in_the_direction_pushed():
    tokens = Tokens(segment=torch.arange(4), trajectory=torch.arange(4), prompt=torch.zeros(4, dtype=torch.int64), reward=torch.zeros(4),
                    logp_sampler=torch.full((4,), 0.5).log())  # fmt: skip
    now = torch.tensor([0.8, 0.8, 0.2, 0.2]).log()
    assert HarmfulMask(0.2)(now, torch.tensor([1.0, -1, 1, -1]), tokens).tolist() == [0, 1, 1, 0]
