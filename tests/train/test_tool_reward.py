"""GRPO-TCR's rewards and what its objective does with them: the brief's oracles."""

from dataclasses import replace

import pytest
import torch

from reasonry.core import Cost, Problem, Segment, Stop, ToolCall, Trajectory, Verdict
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.train.aggregate import token_mean, trajectory_mean
from reasonry.train.catalogue import find
from reasonry.train.objective import loss, score
from reasonry.train.ratio import Clip
from reasonry.train.reward import Reward, Weighted, overlong
from reasonry.train.rows import lay_out, read, row_of
from reasonry.train.surrogate import PPO, DualClip
from reasonry.train.tokens import Tokens
from reasonry.train.tool_reward import FORMS, as_coded, as_printed

TCR, T = find("grpo-tcr").objective, find("grpo-t").objective


def test_the_codes_reward_at_the_briefs_points() -> None:
    assert [as_coded(True, turns) for turns in (2, 4, 16)] == [1.0, 1.0, 1.0]
    assert [as_coded(False, turns) for turns in (2, 4, 10, 16)] == pytest.approx([-1.0, -0.9, -0.6, -0.6])


def test_the_papers_reward_pays_for_calls_in_right_answers_too() -> None:
    assert [as_printed(True, n) for n in (0, 1, 5)] == pytest.approx([1.0, 1.1, 1.5])
    assert [as_printed(False, n) for n in (0, 1, 4, 9)] == pytest.approx([-1.0, -0.9, -0.6, -0.6])
    assert as_printed(False, 9, cap=-0.2) == -0.2


def test_overlong_at_the_briefs_points_continuous_and_never_rising() -> None:
    def paid(length: int) -> float:
        signals = overlong(100, 20)(Problem("p", "?"), [Trajectory("p", cost=Cost(completion_tokens=length))])[0]
        assert signals is not None
        return signals["overlong"]

    assert [paid(n) for n in (80, 90, 100, 120)] == [0.0, -0.5, -1.0, -1.0]
    steps = [paid(n + 1) - paid(n) for n in range(130)]
    assert max(steps) <= 0.0
    assert min(steps) >= -0.05 - 1e-12


def attempt(*calls: bool, right: bool, length: int = 5) -> Trajectory:
    """A turn for each; true is one with a call."""
    made = [ToolCall("calc", {}, "1") if called else None for called in calls]
    segments = tuple(Segment((1,), (2,), "", (0.0,), Stop.EOS, Cost(), tool=c) for c in made)
    return Trajectory("p", segments, stop=Stop.EOS, cost=Cost(completion_tokens=length), verdict=Verdict(float(right), right))


@pytest.mark.parametrize(("form", "wanted"), [("code", [1.0, -1.0, -0.9, -2.0]), ("paper", [1.1, -1.0, -0.9, -2.0])])
def test_a_truncated_wrong_answer_is_punished_twice_and_on_purpose(form: str, wanted: list[float]) -> None:
    """The overlong penalty is added with factor 1 and counts what was sampled."""
    group = [
        attempt(True, False, right=True), attempt(False, right=False), attempt(True, False, right=False),
        attempt(False, right=False, length=100),
    ]  # fmt: skip
    paid = Reward((FORMS[form], overlong(100, 20)), Weighted({"tool_aware": 1.0, "overlong": 1.0}))(Problem("p", "?"), group)
    assert [r.reward for r in paid] == pytest.approx(wanted)


def test_an_attempt_without_a_verdict_is_not_scored() -> None:
    lost = replace(attempt(False, right=False), verdict=Verdict(None, None))
    assert all(form(Problem("p", "?"), [lost]) == [None] for form in FORMS.values())


# The objective --------------------------------------------------------------------------------------------------------------------------


def batch(lengths: list[int], rewards: list[float], old: float = -1.0) -> Tokens:
    M = len(lengths)
    segment = torch.repeat_interleave(torch.arange(M), torch.tensor(lengths))
    return Tokens(
        segment=segment, trajectory=torch.arange(M), prompt=torch.zeros(M, dtype=torch.int64), reward=torch.tensor(rewards),
        logp_old=torch.full((len(segment),), old),
    )  # fmt: skip


def gradient(objective: object, tokens: Tokens, logp: torch.Tensor) -> torch.Tensor:
    free = logp.clone().requires_grad_()
    value, _ = loss(objective, score(objective, tokens), free)  # pyright: ignore[reportArgumentType]
    return torch.autograd.grad(value, free)[0]


def test_the_token_mean_is_the_mean_of_means_exactly_where_lengths_are_equal() -> None:
    per_answer = replace(TCR, aggregate=trajectory_mean)
    for lengths, equal in (([3, 3, 3, 3], True), ([2, 3, 3, 4], False)):
        tokens = batch(lengths, [1.0, -1.0, -0.9, 1.0])
        logp = torch.linspace(-1.1, -0.9, sum(lengths))
        same = torch.allclose(gradient(TCR, tokens, logp), gradient(per_answer, tokens, logp), atol=1e-7)
        assert same is equal


def test_clip_higher_changes_the_gradient_only_where_the_ratio_is_past_the_old_bound_and_the_advantage_good() -> None:
    """Bit by bit, over ratios on both sides of both bounds."""
    tokens = batch([40, 40], [1.0, -1.0])
    ratio = torch.linspace(0.5, 1.6, 40).repeat(2)
    logp = -1.0 + ratio.log()
    low, high = replace(TCR, surrogate=DualClip(Clip(0.8, 1.2), 10.0)), TCR
    changed = gradient(low, tokens, logp) != gradient(high, tokens, logp)
    A = score(TCR, tokens).advantage
    assert torch.equal(changed, (ratio > 1.2) & (ratio < 1.28) & (A > 0))
    assert bool(changed.any())


def test_one_update_and_equal_bounds_are_grpo_with_the_same_aggregation() -> None:
    """Ratio 1 everywhere: no bound acts, so clip-higher does nothing on-policy."""
    tokens = batch([3, 5, 4, 2], [1.0, 1.0, 0.0, 0.0])
    logp = torch.full((14,), -1.0)
    plain = replace(find("grpo").objective, kl=None, aggregate=token_mean)
    for surrogate in (PPO(Clip(0.8, 1.2)), DualClip(Clip(0.8, 1.28), 10.0), DualClip(Clip(0.8, 2.0), 10.0)):
        assert torch.equal(gradient(replace(TCR, surrogate=surrogate), tokens, logp), gradient(plain, tokens, logp))


def test_the_baseline_differs_from_tcr_in_its_upper_bound_and_its_kl_alone() -> None:
    assert replace(T, surrogate=TCR.surrogate, kl=None) == TCR
    assert T.kl is not None


def test_dual_clip_bounds_the_loss_of_a_bad_token() -> None:
    """Ratios up to e⁵: for Â < 0 no token loses more than 10·|Â|."""
    tokens = batch([50, 50], [1.0, -1.0])
    scored = score(TCR, tokens)
    for r in torch.linspace(-5, 5, 50):
        logp = torch.full((100,), -1.0) + r
        value, _ = loss(TCR, scored, logp)
        A = scored.advantage
        good = torch.minimum(r.exp() * A, r.exp().clamp(0.8, 1.28) * A)[A > 0].sum() / 100
        assert float(value + good) <= 10 * float(A[A < 0].abs().sum()) / 100 + 1e-4


def test_advantages_are_zero_sum_and_blind_to_affine_changes_but_not_to_a_length_penalty() -> None:
    rewards = [1.0, 1.0, -1.0, -1.0, -0.9, -1.0, -1.0, -0.6]
    A = TCR.advantage(batch([1] * 8, rewards))
    assert float(A.sum()) == pytest.approx(0.0, abs=1e-5)
    assert torch.allclose(A, TCR.advantage(batch([1] * 8, [3 * r + 7 for r in rewards])), atol=1e-4)
    penalised = [r - 0.5 * (i == 1) for i, r in enumerate(rewards)]
    assert not torch.allclose(A, TCR.advantage(batch([1] * 8, penalised)), atol=1e-2)


def test_an_all_wrong_group_is_taught_to_call_more_at_full_size() -> None:
    """The pitfall: without a right answer the reward's only difference is the number of turns, and the sd makes it as large as any."""
    rewards = [as_coded(False, turns) for turns in (2, 2, 4, 4)]
    A = TCR.advantage(batch([1] * 4, rewards))
    assert A.tolist() == pytest.approx(TCR.advantage(batch([1] * 4, [-1.0, -1.0, 1.0, 1.0])).tolist(), abs=1e-3)


def test_results_of_tools_are_read_not_learnt() -> None:
    """The second turn's context holds the first turn and a result. Its loss takes no label from there: another result changes what the
    model is asked (so the gradient), but no result token is ever a target."""
    shape = DecoderConfig(
        vocab_size=40, hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8, intermediate_size=16, max_position=32
    )
    decoder = Decoder(shape)
    decoder.reset_parameters(torch.Generator().manual_seed(0))

    def segments(result: tuple[int, ...]) -> list[Segment]:
        first = Segment((5, 6), (7, 8), "", (-1.0, -1.0), Stop.EOS, Cost())
        return [first, Segment((5, 6, 7, 8, *result), (9, 10), "", (-1.0, -1.0), Stop.EOS, Cost())]

    def grads(result: tuple[int, ...]) -> tuple[torch.Tensor, list[int]]:
        layout = lay_out([row_of(s) for s in segments(result)], torch.device("cpu"))
        decoder.zero_grad()
        read(decoder, layout, 1.0)[0].sum().backward()
        grad = next(p.grad for name, p in decoder.named_parameters() if "down_proj" in name)
        assert grad is not None
        return grad.clone(), sorted(layout.wanted.tolist())

    one, targets = grads((20, 21))
    other, others = grads((30, 31))
    assert targets == others == [7, 8, 9, 10]
    assert not torch.allclose(one, other)
