"""The objective as a whole: aggregation, cutting into segments and micro-batches, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from objective_lab import gradient, ppo, ragged, same_length

from reasonry.core import Cost, Segment, Stop, Trajectory, UserError
from reasonry.train.aggregate import (
    ByInformative,
    Constant,
    WherePaid,
    prompt_mean,
    segment_mean,
    token_mean,
    trajectory_mean,
    trajectory_sum,
    turn_mean,
)
from reasonry.train.catalogue import CATALOGUE, find
from reasonry.train.objective import batch_health, loss, merge, score
from reasonry.train.surrogate import Reinforce
from reasonry.train.tokens import Tokens, flatten

# Aggregation ----------------------------------------------------------------------------------------------------------------------------


def test_on_equal_lengths_means_agree_and_a_constant_differs_by_itself():
    """TM = SM = PM; K differs by the constant only."""
    tokens, now = same_length(0)
    value, grad = gradient(ppo(token_mean), tokens, now)
    for aggregate in (trajectory_mean, prompt_mean, turn_mean, segment_mean):
        torch.testing.assert_close(gradient(ppo(aggregate), tokens, now), (value, grad))
    torch.testing.assert_close(gradient(ppo(Constant(20)), tokens, now)[1], grad * 5 / 20)
    torch.testing.assert_close(gradient(ppo(trajectory_sum), tokens, now)[1], grad * 5)


def test_each_mean_by_hand_on_a_ragged_batch():
    """Two prompts; answers of (2 + 1), 1, and (3), (1 + 1) tokens in segments."""
    tokens = Tokens(
        segment=torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5]), trajectory=torch.tensor([0, 0, 1, 2, 3, 3]), prompt=torch.tensor([0, 0, 1, 1]),
        reward=torch.zeros(4).double(),
    )  # fmt: skip
    A = torch.zeros(9).double()
    twelfth = 1 / 12
    wanted = {
        token_mean: [1 / 9] * 9,
        trajectory_mean: [twelfth] * 3 + [1 / 4] + [twelfth] * 3 + [1 / 8] * 2,
        turn_mean: [1 / 16, 1 / 16, 1 / 8, 1 / 4, twelfth, twelfth, twelfth, 1 / 8, 1 / 8],
        segment_mean: [1 / 12, 1 / 12, 1 / 6, 1 / 6, 1 / 18, 1 / 18, 1 / 18, 1 / 6, 1 / 6],
        prompt_mean: [1 / 8] * 4 + [1 / 10] * 5,
        trajectory_sum: [1 / 4] * 9,
        Constant(10): [1 / 40] * 9,
    }
    for aggregate, weights in wanted.items():
        torch.testing.assert_close(aggregate(tokens, A), torch.tensor(weights).double())


def test_prompt_mean_is_the_token_mean_exactly_where_prompts_have_equal_tokens():
    """ScaleRL: iff every prompt has the same total token count."""
    tokens, now = same_length(1)
    torch.testing.assert_close(gradient(ppo(prompt_mean), tokens, now), gradient(ppo(token_mean), tokens, now))
    ragged_tokens, ragged_now = ragged(1)
    per_prompt = torch.stack([ragged_tokens.lengths[4 * p : 4 * p + 4].sum() for p in range(3)])
    assert len(set(per_prompt.tolist())) > 1
    assert not torch.allclose(
        gradient(ppo(prompt_mean), ragged_tokens, ragged_now)[1], gradient(ppo(token_mean), ragged_tokens, ragged_now)[1]
    )


def test_the_mean_over_answers_favours_short_right_answers_and_spares_long_wrong_ones():
    """Dr.GRPO's length bias: a token of a short right answer is pushed harder, a token of a long wrong one less."""
    tokens = Tokens(
        segment=torch.tensor([0] * 2 + [1] * 8 + [2] * 2 + [3] * 8), trajectory=torch.arange(4), prompt=torch.zeros(4, dtype=torch.int64),
        reward=torch.tensor([1.0, 1, 0, 0]).double(), logp_old=torch.full((20,), -1.0).double(),
    )  # fmt: skip
    now = torch.full((20,), -1.0).double().requires_grad_()
    push = {aggregate: -gradient(ppo(aggregate), tokens, now)[1] for aggregate in (trajectory_mean, token_mean)}
    short_right, long_right, short_wrong, long_wrong = (push[trajectory_mean][i] for i in (0, 2, 10, 12))
    assert short_right == 4 * long_right > 0
    assert short_wrong == 4 * long_wrong < 0
    assert len(set(push[token_mean].abs().tolist())) == 1


def test_gpg_scales_degenerate_groups_away():
    """A batch of one informative and one degenerate prompt weighs as the informative prompt alone would in a batch of its own size."""
    tokens, _ = ragged(2, prompts=2)
    flat = replace(tokens, reward=torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 1]).double())
    A = score(ppo(), flat).advantage
    torch.testing.assert_close(ByInformative(token_mean)(flat, A), token_mean(flat, A) * 2)


def test_vapos_imitation_is_over_right_answers_only():
    tokens, now = ragged(3)
    w = WherePaid()(tokens, now.detach())
    right = tokens.by_trajectory.spread(tokens.reward) > 0
    assert float(w.sum()) == pytest.approx(1)
    assert bool((w[~right] == 0).all())
    assert len(set(w[right].tolist())) == 1


# Segments and micro-batches -------------------------------------------------------------------------------------------------------------

ANY = st.sampled_from(sorted(CATALOGUE))
SEGMENT_AWARE = {"agentflow", "sfr-deepresearch"}
"""Objectives whose definition is about segments; for all others cutting changes nothing."""
OVER_THE_BATCH_AT_HAND = {"clip-cov", "kl-cov"}
"""Objectives that compare tokens with the mean over those at hand, as their definition and verl do."""


@pytest.mark.parametrize("slug", sorted(set(CATALOGUE) - SEGMENT_AWARE))
def test_cutting_trajectories_into_segments_leaves_the_loss_unchanged(slug: str):
    """A plain answer and the same tokens in chunks are one thing: to the last digit, for every objective but those about segments."""
    tokens, now = ragged(4)
    of = tokens.by_trajectory.of
    plain = replace(tokens, segment=of, trajectory=torch.arange(tokens.prompt.numel()))
    for a, b in zip(gradient(find(slug).objective, tokens, now), gradient(find(slug).objective, plain, now), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("slug", sorted(set(CATALOGUE) - OVER_THE_BATCH_AT_HAND))
def test_micro_batches_add_up_to_the_batch(slug: str):
    """Whatever the objective: losses, gradients and health of the parts sum to those of the whole. (Parts are cut between prompts here,
    because a preference pair must stay whole; the next test cuts inside.)"""
    tokens, now = ragged(5)
    entropy = torch.linspace(0, 1, now.numel()).double()
    o = find(slug).objective
    scored = score(o, tokens)
    value, health = loss(o, scored, now, entropy)
    whole = torch.autograd.grad(value, now)[0]
    total, grad, parts = 0.0, torch.zeros_like(whole), []
    for prompts in ([0], [1, 2]):
        mask = torch.isin(tokens.prompt, torch.tensor(prompts))
        on = mask[tokens.by_trajectory.of]
        v, h = loss(o, scored.keep(mask), now[on], entropy[on])
        total += float(v.detach())
        grad = grad + torch.autograd.grad(v, now)[0]
        parts.append(h)
    assert total == pytest.approx(float(value.detach()), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(grad, whole)
    assert merge(parts) == pytest.approx(health)


@for_all(st.lists(st.booleans(), min_size=12, max_size=12), st.sampled_from(["grpo", "dapo", "gspo", "gmpo", "scalerl", "dr-grpo", "nft"]))
@settings(deadline=None, max_examples=40)
def test_a_batch_may_be_cut_anywhere_between_trajectories(cut: list[bool], slug: str):
    """Also inside a group: advantages and weights are those of the whole batch."""
    tokens, now = ragged(6)
    o = find(slug).objective
    mask = torch.tensor(cut)
    scored = score(o, tokens)
    whole = torch.autograd.grad(loss(o, scored, now)[0], now)[0]
    grad = torch.zeros_like(whole)
    for part in (mask, ~mask):
        on = part[tokens.by_trajectory.of]
        grad = grad + torch.autograd.grad(loss(o, scored.keep(part), now[on])[0], now)[0]
    torch.testing.assert_close(grad, whole)


def test_dividing_each_micro_batch_by_its_own_tokens_would_change_the_objective():
    """The classic bug the weights of the whole batch prevent."""
    tokens, now = ragged(7)
    o = ppo(token_mean)
    whole = gradient(o, tokens, now)[1]
    naive = torch.zeros_like(whole)
    for prompts in ([0], [1, 2]):
        mask = torch.isin(tokens.prompt, torch.tensor(prompts))
        on = mask[tokens.by_trajectory.of]
        part = tokens.keep(mask)
        naive = naive + torch.autograd.grad(loss(o, score(o, part), now[on])[0], now)[0] / 2
    assert not torch.allclose(naive, whole, atol=1e-4)


@pytest.mark.parametrize("slug", sorted(set(CATALOGUE) - {"krpo"}))
def test_the_order_of_prompts_does_not_matter(slug: str):
    """Prompts back to front, answers inside them as they were: the same loss. (KRPO too, but for its order inside the group.)"""
    tokens, now = ragged(8)
    o = find(slug).objective
    order = torch.arange(12).reshape(3, 4).flip(0).reshape(-1)
    turned, token_order = _reorder(tokens, order)
    back = now.detach()[token_order].requires_grad_()
    value, grad = gradient(o, tokens, now)
    again, grad_again = gradient(o, turned, back)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(grad_again, grad[token_order])


def _reorder(tokens: Tokens, order: torch.Tensor) -> tuple[Tokens, torch.Tensor]:
    place = torch.argsort(order)
    segments = torch.argsort(place[tokens.trajectory], stable=True)
    at = torch.argsort(place[tokens.by_trajectory.of], stable=True)
    new_segment = torch.argsort(segments)[tokens.segment][at]
    per_token = {n: getattr(tokens, n)[at] for n in ("logp_old", "logp_sampler", "logp_ref", "value", "process", "planning", "draw")}
    per_trajectory = {n: getattr(tokens, n)[order] for n in ("reward", "baseline", "weight")}
    return Tokens(
        segment=new_segment, trajectory=place[tokens.trajectory][segments], prompt=tokens.prompt[order], step=new_segment,
        signals={k: v[order] for k, v in tokens.signals.items()}, **per_token, **per_trajectory,
    ), at  # fmt: skip


# Records and refusals -------------------------------------------------------------------------------------------------------------------


def segment(ids: tuple[int, ...], mask: tuple[bool, ...] | None = None, **more: Any) -> Segment:
    fields = {
        "context": (1, 2),
        "ids": ids,
        "text": "",
        "logprobs": tuple(-0.1 * i for i in ids),
        "stop": Stop.EOS,
        "cost": Cost(),
        "mask": mask,
    }
    return Segment(**{**fields, **more})


def test_recorded_attempts_become_tokens_without_their_forced_ones():
    attempts = [
        Trajectory("a", (segment((1, 2)), segment((3,), role="tool"))),
        Trajectory("b", (segment((4, 5, 6), (True, False, True)),)),
        Trajectory("a", ()),
    ]
    tokens = flatten(attempts, [1.0, 0.0, 0.5])
    assert tokens.segment.tolist() == [0, 0, 1, 2, 2]
    assert tokens.trajectory.tolist() == [0, 0, 1]
    assert tokens.prompt.tolist() == [0, 1, 0]
    assert tokens.logp_sampler is not None
    assert tokens.logp_sampler.tolist() == pytest.approx([-0.1, -0.2, -0.3, -0.4, -0.6])
    assert tokens.lengths.tolist() == [3, 2, 0]
    only = flatten(attempts, [1.0, 0.0, 0.5], trained=lambda s: s.role != "tool")
    assert only.lengths.tolist() == [2, 2, 0]


def test_an_attempt_without_ids_is_refused_by_name():
    with pytest.raises(UserError, match="'a' has no ids"):
        flatten([Trajectory("a", (segment((1,), context=None),))], [1.0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"segment": torch.tensor([1, 0])}, "segment must not fall"),
        ({"segment": torch.tensor([0, 2])}, r"0 … 1"),
        ({"reward": torch.zeros(3)}, r"reward has shape \[3\] but needs \[2\], one for each trajectory"),
        ({"logp_old": torch.zeros(1)}, "one for each token"),
        ({"prompt": torch.tensor([0, -1])}, "counts from 0"),
        ({"signals": {"right": torch.zeros(1)}}, "signal 'right'"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(change: dict[str, Any], says: str):
    right: dict[str, Any] = {
        "segment": torch.tensor([0, 1]),
        "trajectory": torch.tensor([0, 1]),
        "prompt": torch.tensor([0, 0]),
        "reward": torch.zeros(2),
    }
    Tokens(**right)
    with pytest.raises(UserError, match=says):
        Tokens(**{**right, **change})


def test_combinations_without_a_meaning_cannot_be_written_down():
    with pytest.raises(UserError, match="PPO needs a ratio"):
        ppo(ratio=None)
    with pytest.raises(UserError, match="Reinforce ignores the ratio"):
        ppo(surrogate=Reinforce())


def test_what_an_objective_lacks_is_named_with_who_brings_it():
    tokens, now = ragged(21)
    with pytest.raises(UserError, match=r"logp_old.*forward pass"):
        loss(ppo(), score(ppo(), replace(tokens, logp_old=None)), now)
    with pytest.raises(UserError, match="entropy bonus"):
        loss(ppo(entropy=0.1), score(ppo(entropy=0.1), tokens), now)
    with pytest.raises(UserError, match="one log-probability for each"):
        loss(ppo(), score(ppo(), tokens), now[1:])


def test_an_entropy_bonus_raises_entropy():
    tokens, now = ragged(22)
    entropy = torch.ones_like(now.detach(), requires_grad=True)
    value, health = loss(ppo(entropy=0.1), score(ppo(entropy=0.1), tokens), now, entropy)
    torch.testing.assert_close(torch.autograd.grad(value, entropy)[0], -0.1 * trajectory_mean(tokens, now.detach()))
    assert health["entropy"] == pytest.approx(1)


def test_health_of_a_batch_counts_prompts_without_variance():
    tokens, _ = ragged(24)
    flat = replace(tokens, reward=torch.cat([torch.ones(4).double(), tokens.reward[4:]]))
    health = batch_health(score(ppo(), flat))
    assert health["zero_variance_share"] == pytest.approx(1 / 3)
    assert health["reward_mean"] == pytest.approx(float(flat.reward.mean()))
    assert health["advantage_zero_share"] == pytest.approx(float((flat.by_trajectory.of < 4).double().mean()))


def test_health_numbers_by_hand():
    tokens, now = ragged(25)
    _, health = loss(ppo(), score(ppo(), tokens), now)
    assert tokens.logp_old is not None
    assert tokens.logp_sampler is not None
    r = (now.detach() - tokens.logp_old).exp()
    assert health["ratio_mean"] == pytest.approx(float(r.mean()))
    assert health["ratio_max"] == pytest.approx(float(r.max()))
    assert health["kl_old"] == pytest.approx(float((r - 1 - r.log()).mean()))
    assert health["mismatch"] == pytest.approx(float((tokens.logp_old - tokens.logp_sampler).abs().mean()))
