"""Expected gradients by enumeration: which estimators are unbiased, and by exactly how much the others are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from objective_lab import batch, expected_gradient, groups_of, policy, rewards, true_gradient

from reasonry.train.advantage import Advantage, GroupStd, Outcome, group_mean, leave_one_out, length_weighted, no_baseline, unscaled
from reasonry.train.aggregate import trajectory_mean, trajectory_sum
from reasonry.train.credit import ReturnToGo
from reasonry.train.kl import KL, Estimator, InLoss, InLossCorrected, InReward, k1, k2, k3
from reasonry.train.lab import ANSWERS, CONTEXTS, log_probabilities, probabilities
from reasonry.train.objective import Objective, loss, score
from reasonry.train.ratio import Clip, Ratio, itself, per_token, recomputed, whole_trajectory
from reasonry.train.surrogate import CISPO, PPO, Reinforce, Surrogate, Weighted
from reasonry.train.tokens import Tokens

THETA, R = policy(0), rewards()
TRUE = true_gradient(THETA, R)


def reinforce(advantage: Advantage, **more: Any) -> Objective:
    return Objective(advantage=advantage, ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum, **more)


def test_the_enumeration_is_complete():
    assert len(ANSWERS) == 1 + 3 + 9 + 27
    assert probabilities(THETA).sum().item() == pytest.approx(1, abs=1e-12)


def test_reinforce_is_unbiased():
    torch.testing.assert_close(expected_gradient(reinforce(Outcome(no_baseline, unscaled)), THETA, R, 1), TRUE)


def test_return_to_go_is_unbiased():
    """The outcome stands on the last token, and every token of the answer sees it."""
    torch.testing.assert_close(expected_gradient(reinforce(ReturnToGo()), THETA, R, 1), TRUE)


@pytest.mark.parametrize("G", [2, 3])
def test_rloo_is_unbiased(G: int):
    torch.testing.assert_close(expected_gradient(reinforce(Outcome(leave_one_out, unscaled)), THETA, R, G), TRUE)


@pytest.mark.parametrize("G", [2, 3])
def test_ones_own_reward_in_the_mean_shrinks_the_gradient_by_exactly_one_in_g(G: int):
    torch.testing.assert_close(expected_gradient(reinforce(Outcome(group_mean, unscaled)), THETA, R, G), TRUE * (G - 1) / G)


def test_opo_is_biased_in_direction_not_only_in_scale():
    found = expected_gradient(reinforce(Outcome(length_weighted, unscaled)), THETA, R, 2)
    cosine = torch.cosine_similarity(found.flatten(), TRUE.flatten(), dim=0)
    assert 0.9 < cosine < 1 - 1e-6


@pytest.mark.parametrize("surrogate", [PPO(Clip(0.8, 1.2)), CISPO(Clip(0.0, 5.0)), Weighted()])
def test_on_policy_every_ratio_surrogate_is_reinforce(surrogate: Surrogate):
    o = Objective(
        advantage=Outcome(leave_one_out, unscaled), ratio=Ratio(per_token, itself), surrogate=surrogate, aggregate=trajectory_sum,
    )  # fmt: skip
    torch.testing.assert_close(expected_gradient(o, THETA, R, 2), TRUE)


def test_off_policy_only_the_whole_answers_ratio_is_unbiased():
    """A token's own ratio leaves out how the tokens before it changed the state: unbiased for one token, not for answers."""
    old = policy(1)
    advantage = Outcome(leave_one_out, unscaled)
    whole = Objective(
        advantage=advantage, ratio=Ratio(whole_trajectory, recomputed), surrogate=Weighted(), aggregate=trajectory_mean,
    )  # fmt: skip
    token = Objective(advantage=advantage, ratio=Ratio(per_token, recomputed), surrogate=Weighted(), aggregate=trajectory_sum)
    torch.testing.assert_close(expected_gradient(whole, THETA, R, 2, sampled_by=old), TRUE)
    assert not torch.allclose(expected_gradient(token, THETA, R, 2, sampled_by=old), TRUE, atol=1e-3)


def test_dividing_by_the_sd_favours_prompts_that_are_very_easy_or_very_hard():
    """Two one-token answers, pass rate p: GRPO's expected gradient over the true one is least at p = ½ and the same at p and 1 − p."""
    o = Objective(advantage=Outcome(group_mean, GroupStd()), ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum)
    G = 6
    groups = torch.cartesian_prod(*[torch.arange(2)] * G).reshape(-1)

    def scale(p: float) -> float:
        theta = torch.tensor([p, 1 - p], dtype=torch.float64).log().requires_grad_()
        now = theta.log_softmax(0)[groups]
        chance = now.detach().exp().reshape(-1, G).prod(-1)
        M = groups.numel()
        tokens = Tokens(segment=torch.arange(M), trajectory=torch.arange(M), prompt=torch.arange(M) // G, reward=(groups == 0).double())
        scored = score(o, tokens)
        scored.weight.mul_(chance.repeat_interleave(G) * chance.numel())
        got = -torch.autograd.grad(loss(o, scored, now)[0], theta)[0][0]
        return float(got) / (p * (1 - p))

    assert scale(0.1) == pytest.approx(scale(0.9), rel=1e-9)
    assert scale(0.05) > scale(0.1) > scale(0.3) > scale(0.5)


# KL -------------------------------------------------------------------------------------------------------------------------------------

REF = policy(7).detach()


def _kl_objective(kl: KL) -> Objective:
    """No reward, so that only the KL term is left: R = 0."""
    return Objective(
        advantage=Outcome(no_baseline, unscaled), ratio=Ratio(per_token, recomputed), surrogate=Weighted(), aggregate=trajectory_sum, kl=kl,
    )  # fmt: skip


def _kl_gradient(kl: KL) -> torch.Tensor:
    answers = groups_of(1)
    return -expected_gradient(_kl_objective(kl), THETA, torch.zeros_like(R), 1, sampled_by=THETA, logp_ref=log_probabilities(REF, answers))


def _answer_kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    p, q = probabilities(a), probabilities(b)
    return (p * (p / q).log()).sum()


def _state_kl(reverse: bool) -> torch.Tensor:
    """Σ over states of KL at that state, states visited as π_θ visits them but not differentiated through."""
    log_p, log_q = THETA.log_softmax(-1), REF.log_softmax(-1)
    chance = dict(zip(ANSWERS, probabilities(THETA).tolist(), strict=True))
    visits = torch.tensor([sum(p for y, p in chance.items() if len(y) > len(c) and y[: len(c)] == c) for c in CONTEXTS])
    at = (log_p.exp() * (log_p - log_q)).sum(-1) if reverse else (log_q.exp() * (log_q - log_p)).sum(-1)
    return (visits * at).sum()


@pytest.mark.parametrize("estimator", [k1, k3])
def test_k1_and_k3_are_unbiased_values(estimator: Estimator):
    """Summed over an answer's tokens and averaged over answers, both are the KL of whole answers."""
    every = torch.arange(len(ANSWERS))
    tokens = batch(every, R, 1)
    per_answer = tokens.by_trajectory.sum(estimator(log_probabilities(THETA, every), log_probabilities(REF, every)))
    assert (probabilities(THETA) * per_answer).sum().item() == pytest.approx(_answer_kl(THETA, REF).item(), rel=1e-10)


def test_k2_is_a_biased_value():
    every = torch.arange(len(ANSWERS))
    per_answer = batch(every, R, 1).by_trajectory.sum(k2(log_probabilities(THETA, every), log_probabilities(REF, every)))
    assert abs((probabilities(THETA) * per_answer).sum().item() - _answer_kl(THETA, REF).item()) > 0.01


def test_k1_in_the_loss_does_nothing_in_expectation():
    torch.testing.assert_close(_kl_gradient(InLoss(1.0, k1)), torch.zeros_like(TRUE), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("estimator", "reverse"), [(k2, True), (k3, False)])
def test_gradients_of_k2_and_k3_are_those_of_opposite_kls_state_by_state(estimator: Estimator, reverse: bool):
    """k2 descends KL(π_θ‖π_ref), k3 descends KL(π_ref‖π_θ): at each state visited, for fixed visits."""
    wanted = torch.autograd.grad(_state_kl(reverse), THETA)[0]
    torch.testing.assert_close(_kl_gradient(InLoss(1.0, estimator)), wanted)
    other = torch.autograd.grad(_state_kl(not reverse), THETA)[0]
    assert not torch.allclose(wanted, other, atol=1e-3)


def test_for_answers_of_several_tokens_k2_in_the_loss_is_not_the_kl_of_answers():
    """The identity E[∇k2] = ∇KL(π_θ‖π_ref) holds for one decision. In an answer it misses what early tokens do to later states; a penalty
    in the reward has the whole gradient."""
    whole = torch.autograd.grad(_answer_kl(THETA, REF), THETA)[0]
    assert not torch.allclose(_kl_gradient(InLoss(1.0, k2)), whole, atol=1e-3)
    torch.testing.assert_close(
        -expected_gradient(
            reinforce(Outcome(no_baseline, unscaled), kl=InReward(1.0, k1)),
            THETA, torch.zeros_like(R), 1, sampled_by=THETA, logp_ref=log_probabilities(REF, groups_of(1)),
        ),
        whole,
    )  # fmt: skip


@pytest.mark.parametrize("estimator", [k1, k3])
def test_the_corrected_estimators_descend_the_reverse_kl(estimator: Estimator):
    """r·k3 with the gradient of r: DeepSeek-V3.2's correction, on-policy already different from k3."""
    wanted = torch.autograd.grad(_state_kl(True), THETA)[0]
    torch.testing.assert_close(_kl_gradient(InLossCorrected(1.0, estimator)), wanted)


def test_kl_estimates_vanish_where_policies_agree_and_k2_k3_are_never_negative():
    every = torch.arange(len(ANSWERS))
    a, b = log_probabilities(THETA, every).detach(), log_probabilities(REF, every)
    for estimator in (k1, k2, k3):
        assert float(estimator(a, a).abs().max()) == 0
    assert float(k2(a, b).min()) >= 0
    assert float(k3(a, b).min()) >= 0
    assert float(k1(a, b).min()) < 0
