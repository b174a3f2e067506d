"""Advantages: the briefs' worked examples, and what must hold for any rewards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from reasonry.core import UserError
from reasonry.train.advantage import (
    BatchRewardStd,
    BatchStd,
    BatchWhiten,
    EachSignal,
    GroupStd,
    Kalman,
    Outcome,
    PlanningBoost,
    batch_mean,
    best_and_worst,
    best_of_group,
    by_mean,
    given,
    group_mean,
    leave_one_out,
    length_weighted,
    no_baseline,
    over_segments,
    runner_up,
    sign,
    times_weight,
    unscaled,
    whiten,
)
from reasonry.train.hero import stratified, variance_weight
from reasonry.train.ragged import Groups
from reasonry.train.tokens import Tokens

ONE_OF_FOUR = [1.0, 1, 0, 0, 0, 0, 0, 0]


def answers(*groups: list[float], lengths: list[int] | None = None, dtype: torch.dtype = torch.float64, **more: Any) -> Tokens:
    """One trajectory a reward, one segment each; `lengths` tokens, 1 by default."""
    rewards = [r for g in groups for r in g]
    M = len(rewards)
    size = torch.tensor(lengths if lengths is not None else [1] * M)
    prompt = torch.tensor([p for p, g in enumerate(groups) for _ in g])
    every = torch.arange(M)
    return Tokens(
        segment=torch.repeat_interleave(every, size), trajectory=every, prompt=prompt, reward=torch.tensor(rewards, dtype=dtype), **more
    )


def near(x: torch.Tensor, wanted: list[float], tolerance: float = 1e-3) -> bool:
    return torch.allclose(x.double(), torch.tensor(wanted, dtype=torch.float64), atol=tolerance)


@pytest.mark.parametrize(
    ("advantage", "right", "wrong"),
    [
        (Outcome(group_mean, GroupStd()), 1.620, -0.540),
        (Outcome(group_mean, GroupStd(correction=0)), 1.732, -0.577),
        (Outcome(group_mean, unscaled), 0.75, -0.25),
        (Outcome(leave_one_out, unscaled), 0.857, -0.286),
        (Outcome(group_mean, by_mean), 3.0, -1.0),
        (Outcome(no_baseline, unscaled), 1.0, 0.0),
        (Outcome(batch_mean, unscaled), 0.75, -0.25),
    ],
)
def test_two_right_of_eight(advantage: Outcome, right: float, wrong: float):
    """R = (1, 1, 0×6): the survey's worked example for each estimator."""
    assert near(advantage(answers(ONE_OF_FOUR)), [right] * 2 + [wrong] * 6)


def test_leave_one_out_is_the_centred_reward_times_g_over_g_minus_one():
    tokens = answers([0.3, 0.9, 0.1], [1.0, 0.0, 0.0, 0.5])
    centred, loo = Outcome(group_mean, unscaled)(tokens), Outcome(leave_one_out, unscaled)(tokens)
    torch.testing.assert_close(loo[:3], centred[:3] * 3 / 2)
    torch.testing.assert_close(loo[3:], centred[3:] * 4 / 3)


def test_opo_weighs_rewards_by_length():
    """b = (2·1 + 6·0)/8 = ¼."""
    assert near(Outcome(length_weighted, unscaled)(answers([1.0, 0.0], lengths=[2, 6])), [0.75] * 2 + [-0.25] * 6)


def test_only_the_best_answer_is_credited_with_its_lead_over_the_second():
    assert near(Outcome(runner_up, unscaled)(answers([0.2, 0.9, 0.5])), [0, 0.4, 0])
    assert near(Outcome(runner_up, unscaled)(answers([0.9, 0.9, 0.5])), [0, 0, 0])
    assert near(Outcome(runner_up, unscaled)(answers([0.9])), [0])


def test_a_baseline_from_outside_is_subtracted_or_asked_for():
    assert near(Outcome(given, unscaled)(answers([1.0, 0.0], baseline=torch.tensor([0.25, 0.25]))), [0.75, -0.25])
    with pytest.raises(UserError, match=r"Tokens\.baseline"):
        Outcome(given, unscaled)(answers([1.0, 0.0]))


def test_batch_normalisers_differ_in_what_they_take_the_sd_of():
    """Prompts of different difficulty: the rewards spread more than the centred advantages do."""
    tokens = answers([1.0, 1, 1, 0], [1.0, 0, 0, 0])
    centred = Outcome(group_mean, unscaled)(tokens)
    torch.testing.assert_close(Outcome(group_mean, BatchStd())(tokens), centred / (centred.std() + 1e-6))
    torch.testing.assert_close(Outcome(group_mean, BatchRewardStd())(tokens), centred / (tokens.reward.std() + 1e-6))
    assert centred.std() < tokens.reward.std()


def test_batch_std_counts_answers_not_tokens():
    """A long answer is one draw of the reward."""
    short, long = answers([1.0, 0, 0, 0], lengths=[1] * 4), answers([1.0, 0, 0, 0], lengths=[50, 1, 1, 1])
    for normalise in (BatchStd(), BatchRewardStd(), BatchWhiten()):
        torch.testing.assert_close(Outcome(group_mean, normalise)(short)[0], Outcome(group_mean, normalise)(long)[0])


def test_whitening_counts_tokens():
    A = torch.tensor([1.0, 2.0, 6.0])
    torch.testing.assert_close(whiten(A, answers([1.0, 0, 0])), (A - 3) / (A.std() + 1e-8))


@for_all(st.lists(st.lists(st.floats(-10, 10), min_size=2, max_size=7), min_size=1, max_size=4), st.integers(1, 5))
@settings(deadline=None)
def test_centred_advantages_add_up_to_zero_in_every_group(groups: list[list[float]], length: int):
    tokens = answers(*groups, lengths=[length] * sum(map(len, groups)))
    for advantage in (Outcome(group_mean, GroupStd()), Outcome(group_mean, unscaled), Outcome(leave_one_out, unscaled)):
        A = tokens.by_trajectory.mean(advantage(tokens))
        scale = float(A.abs().max()) + 1
        assert float(tokens.by_prompt.sum(A).abs().max()) < 1e-9 * scale


@for_all(st.floats(-100, 100, width=32), st.integers(2, 40))
@settings(deadline=None)
def test_equal_rewards_give_exactly_zero_even_in_single_precision(reward: float, G: int):
    """A rounded mean misses equal numbers by an ulp, and dividing that by sd + 1e-6 would make noise into a gradient."""
    tokens = answers([reward] * G, dtype=torch.float32)
    for normalise in (GroupStd(), GroupStd(correction=0), BatchStd(), BatchRewardStd(), BatchWhiten(), unscaled):
        for baseline in (group_mean, leave_one_out, length_weighted, batch_mean, runner_up):
            assert float(Outcome(baseline, normalise)(tokens).abs().max()) == 0


def test_a_plain_mean_would_have_failed_that():
    """The danger is real: seven rewards of 0.1 in single precision."""
    R = torch.full((7,), 0.1)
    assert any(float((r.mean() - 0.1).abs() / 1e-6) > 1e-3 for r in (R, torch.full((3,), 0.7), torch.full((11,), 0.3)))


@for_all(st.lists(st.floats(0, 1), min_size=3, max_size=8), st.floats(0.1, 50), st.floats(-20, 20))
@settings(deadline=None)
def test_group_sd_forgets_the_scale_and_place_of_rewards(rewards: list[float], scale: float, shift: float):
    """GRPO-TCR's oracle: affine invariance, up to ε; rewards that differ only below ε are no example."""
    if max(rewards) - min(rewards) < 0.1:
        return
    one, two = answers(rewards), answers([scale * r + shift for r in rewards])
    a = Outcome(group_mean, GroupStd(eps=0.0))
    torch.testing.assert_close(a(one), a(two), atol=1e-7, rtol=1e-7)


def test_leave_one_out_of_one_answer_is_refused():
    with pytest.raises(UserError, match="at least 2"):
        Outcome(leave_one_out, unscaled)(answers([1.0], [1.0, 0.0]))


def test_maxrl_gives_nothing_where_nothing_was_right_and_refuses_negative_rewards():
    assert near(Outcome(group_mean, by_mean)(answers([0.0, 0.0], [1.0, 1.0])), [0, 0, 0, 0])
    with pytest.raises(UserError, match="zero or more"):
        Outcome(group_mean, by_mean)(answers([-1.0, 1.0]))


# KRPO, GDPO, picks ----------------------------------------------------------------------------------------------------------------------


def test_the_kalman_filter_follows_its_equations_one_answer_at_a_time():
    """Two prompts, answers interleaved: each prompt has its own filter."""
    tokens = Tokens(
        segment=torch.arange(4), trajectory=torch.arange(4), prompt=torch.tensor([0, 1, 0, 1]), reward=torch.tensor([1.0, 0, 0, 1]).double()
    )
    wanted = []
    for rewards in ([1.0, 0.0], [0.0, 1.0]):
        x, P = 0.0, 1.0
        for r in rewards:
            prior = P + 1e-5
            K = prior / (prior + 1e-2)
            x, P = x + K * (r - x), (1 - K) * prior
            wanted.append((r - x) / (P**0.5 + 1e-8))
    assert near(Kalman()(tokens), [wanted[0], wanted[2], wanted[1], wanted[3]], 1e-9)


def test_the_kalman_advantage_depends_on_the_order_of_answers_and_not_only_on_the_rewards():
    """What the brief's 'Kalman-filtered mean replaces μ' hides: equal rewards are not zero, and order matters."""
    a, b = Kalman()(answers([1.0, 0.0])), Kalman()(answers([0.0, 1.0]))
    assert abs(float(a[0] - b[1])) > 0.1
    assert float(Kalman()(answers([1.0, 1.0, 1.0])).abs().max()) > 0.01


def test_each_signal_is_normalised_before_the_sum():
    """A signal a thousand times larger has no more say."""
    small = {"right": torch.tensor([1.0, 0, 0, 1]).double(), "short": torch.tensor([0.1, 0.4, 0.2, 0.9]).double()}
    large = {**small, "short": 1000 * small["short"]}
    a = EachSignal(within=GroupStd(eps=0.0))
    torch.testing.assert_close(a(answers([0.0] * 4, signals=small)), a(answers([0.0] * 4, signals=large)))
    tokens = answers([0.0] * 4, signals=small)
    total = torch.stack([(s - s.mean()) / s.std() for s in small.values()]).sum(0)
    torch.testing.assert_close(a(tokens), (total - total.mean()) / (total.std() + 1e-6))


def test_a_weighted_signal_that_is_absent_is_refused():
    with pytest.raises(UserError, match="style"):
        EachSignal(weights={"style": 1.0})(answers([1.0, 0.0], signals={"right": torch.ones(2)}))


def test_picks_take_the_first_of_equals():
    assert near(best_of_group(answers([0.2, 0.9, 0.9], [0.0, 0.0])), [0, 1, 0, 1, 0])
    assert near(best_and_worst(answers([0.2, 0.9, 0.9, 0.2], [0.5, 0.5])), [-1, 1, 0, 0, 0, 0])


# HICRA ----------------------------------------------------------------------------------------------------------------------------------


def test_planning_tokens_gain_more_and_lose_less():
    """HICRA's worked example: (1, 0, 0, 0) with α = .2."""
    plan = answers([1.0, 0, 0, 0], planning=torch.ones(4, dtype=torch.bool))
    A = Outcome(group_mean, unscaled)(plan)
    assert near(A, [0.75, -0.25, -0.25, -0.25])
    assert near(PlanningBoost(0.2)(A, plan), [0.9, -0.2, -0.2, -0.2])


@for_all(st.lists(st.floats(-3, 3), min_size=1, max_size=9), st.floats(0, 0.99))
@settings(deadline=None)
def test_the_boost_is_a_sign_dependent_scale_and_leaves_other_tokens_alone(values: list[float], alpha: float):
    A = torch.tensor(values, dtype=torch.float64)
    on = torch.arange(len(values)) % 2 == 0
    tokens = answers([0.0] * len(values), planning=on)
    boosted = PlanningBoost(alpha)(A, tokens)
    torch.testing.assert_close(boosted[on], (A * (1 + alpha * A.sign()))[on])
    assert torch.equal(boosted[~on], A[~on])
    assert torch.equal(PlanningBoost(0.0)(A, tokens), A)


def test_the_boost_of_a_centred_group_adds_alpha_times_its_absolute_sum():
    tokens = answers([1.0, 0, 0, 1], planning=torch.ones(4, dtype=torch.bool))
    A = Outcome(group_mean, unscaled)(tokens)
    assert float(PlanningBoost(0.2)(A, tokens).sum()) == pytest.approx(0.2 * float(A.abs().sum()))


def test_a_boost_that_would_reward_failure_is_refused():
    with pytest.raises(UserError, match=r"alpha is 1\.5"):
        PlanningBoost(1.5)


# HERO, SFR, PMPO ------------------------------------------------------------------------------------------------------------------------

ONE_PROMPT = Groups(torch.zeros(5, dtype=torch.int64), 1)
V, S = torch.tensor([0.0, 0, 0, 1, 1]).double(), torch.tensor([-2.0, 0, 2, -1, 3]).double()


def test_hero_maps_scores_into_the_stratum_of_their_verdict():
    assert near(stratified(V, S, ONE_PROMPT), [-0.05, 0, 0.05, 0.95, 1.05], 1e-6)


def test_hero_singletons_and_equal_scores_take_the_lower_end():
    assert near(stratified(torch.tensor([0.0, 1]), torch.tensor([7.0, 9]), Groups(torch.tensor([0, 0]), 1)), [-0.05, 0.95], 1e-6)
    assert near(stratified(torch.zeros(3), torch.full((3,), 4.0), Groups(torch.zeros(3, dtype=torch.int64), 1)), [-0.05] * 3, 1e-6)


def test_hero_with_no_width_is_the_verifier():
    assert near(stratified(V, S, ONE_PROMPT, alpha=0.0, beta=0.0), V.tolist(), 0)


def test_hero_refuses_widths_that_let_wrong_outrank_right():
    with pytest.raises(UserError, match=r"must not exceed 1 - beta = 0\.4"):
        stratified(V, S, ONE_PROMPT, alpha=0.5, beta=0.6)


@for_all(st.floats(0.1, 10), st.floats(-5, 5), st.permutations(range(5)))
@settings(deadline=None)
def test_hero_sees_only_the_order_and_spacing_of_scores_and_not_their_place_in_the_group(scale: float, shift: float, order: list[int]):
    torch.testing.assert_close(stratified(V, scale * S + shift, ONE_PROMPT), stratified(V, S, ONE_PROMPT), atol=1e-5, rtol=0)
    torch.testing.assert_close(stratified(V[order], S[order], ONE_PROMPT), stratified(V, S, ONE_PROMPT)[order])


def test_hero_weight_at_and_around_its_mean():
    two = Groups(torch.tensor([0, 0]), 1)
    for offset, wanted in ((0.0, 1.7), (0.5, 2.8767), (-0.5, 0.5233)):
        w, sigma = variance_weight(torch.tensor([0.0, 2.0]), two, sigma_mean=1.0 - offset)
        assert float(sigma) == pytest.approx(1.0)
        assert float(w[0]) == pytest.approx(wanted, abs=1e-4)
    assert float(variance_weight(torch.tensor([0.0, 9.0]), two, 1.0, k=0.0)[0][0]) == pytest.approx(1.7)


def test_an_sd_normaliser_cancels_a_weight_on_the_reward_and_a_mean_only_one_does_not():
    """Why HERO's weight is on the advantage here: with sd, 1·r̂ and 7·r̂ are the same."""
    r = stratified(V, S, ONE_PROMPT).tolist()
    with_sd, mean_only = Outcome(group_mean, GroupStd(eps=0.0)), Outcome(group_mean, unscaled)
    torch.testing.assert_close(with_sd(answers(r)), with_sd(answers([7 * x for x in r])))
    torch.testing.assert_close(mean_only(answers([7 * x for x in r])), 7 * mean_only(answers(r)))
    weighted = answers(r, weight=torch.full((5,), 7.0))
    torch.testing.assert_close(times_weight(with_sd(weighted), weighted), 7 * with_sd(answers(r)))


def test_an_all_wrong_group_stays_small_only_without_the_sd():
    """HERO's pitfall: ±.05 between four wrong answers becomes ±1.16."""
    r = stratified(torch.zeros(4), torch.tensor([0.0, 1, 2, 3]), Groups(torch.zeros(4, dtype=torch.int64), 1)).tolist()
    assert near(Outcome(group_mean, GroupStd())(answers(r)), [-1.162, -0.387, 0.387, 1.162], 2e-3)
    assert float(Outcome(group_mean, unscaled)(answers(r)).abs().max()) == pytest.approx(0.05, abs=1e-6)


def test_division_by_steps_uses_the_segments_of_a_trajectory():
    tokens = Tokens(
        segment=torch.tensor([0, 1, 2, 3]),
        trajectory=torch.tensor([0, 0, 0, 1]),
        prompt=torch.tensor([0, 0]),
        reward=torch.tensor([1.0, 0.0]),
    )
    assert near(over_segments(torch.ones(4), tokens), [1 / 3, 1 / 3, 1 / 3, 1])


def test_signs_count_zero_as_good():
    assert near(sign(torch.tensor([0.3, 0.0, -2.0]), answers([0.0] * 3)), [1, 1, -1])
