"""ScaleRL's recipe, part by part: what a dropped group changes, what a cap leaves, which averages agree when."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from objective_lab import gradient, ragged
from torch import Tensor
from toy_lm import Digits, toy_lm

from reasonry.core import Problem, open_run
from reasonry.solve import build_solver
from reasonry.train.advantage import BatchStd
from reasonry.train.aggregate import prompt_mean, token_mean, trajectory_mean
from reasonry.train.catalogue import find
from reasonry.train.curriculum import Course, Curriculum, Stage, no_positive_resampling, only
from reasonry.train.history import History
from reasonry.train.loop import train
from reasonry.train.objective import score
from reasonry.train.ratio import Clip
from reasonry.train.recipe import Recipe, describe
from reasonry.train.surrogate import CISPO
from reasonry.train.tokens import Tokens, informative

SCALERL = find("scalerl").objective


def with_equals(seed: int) -> tuple[Tokens, Tensor, Tensor]:
    """Three groups of four, the first all right; log π_θ; which trajectories teach."""
    tokens, now = ragged(seed)
    tokens = replace(tokens, reward=torch.cat([torch.ones(4).double(), tokens.reward[4:]]))
    return tokens, now, informative(tokens)


@pytest.mark.parametrize("seed", range(5))
def test_dropping_equal_groups_scales_the_gradient_by_both_denominators_and_by_nothing_else(seed: int) -> None:
    """By 3/2, prompts in the mean, and by the sd over all twelve advantages over that of the eight kept: the batch's sd is of kept ones."""
    tokens, now, keep = with_equals(seed)
    on = keep[tokens.by_trajectory.of]
    whole = gradient(SCALERL, tokens, now)[1]
    kept = gradient(SCALERL, tokens.keep(keep), now.detach()[on].requires_grad_())[1]
    centred = tokens.reward - torch.stack([tokens.reward[4 * p : 4 * p + 4].mean() for p in range(3)]).repeat_interleave(4)
    factor = 3 / 2 * (float(centred.std()) + BatchStd().eps) / (float(centred[keep].std()) + BatchStd().eps)
    torch.testing.assert_close(kept, whole[on] * factor)
    assert float(centred.std()) < float(centred[keep].std())


def test_the_batchs_sd_is_of_the_kept_advantages() -> None:
    tokens, _, keep = with_equals(3)
    A = score(SCALERL, tokens.keep(keep)).advantage
    first = tokens.keep(keep).by_trajectory.of
    per_answer = torch.stack([A[first == i][0] for i in range(8)])
    assert float(per_answer.std()) == pytest.approx(1.0, abs=1e-5)


def test_without_a_cap_the_gradient_is_the_importance_weighted_one() -> None:
    """is_max = ∞: w·ρ·Â·∇log π on every token, whatever ρ; the weight itself has no gradient."""
    tokens, now = ragged(5)
    assert tokens.logp_sampler is not None
    logp = (tokens.logp_sampler + 3 * torch.randn(now.numel(), generator=torch.Generator().manual_seed(0)).double()).requires_grad_()
    o = replace(SCALERL, surrogate=CISPO(Clip(0.0, float("inf"))))
    s = score(o, tokens)
    ratio = (logp.detach() - tokens.logp_sampler).exp()
    assert ratio.max() > 8
    torch.testing.assert_close(gradient(o, tokens, logp)[1], -s.weight * ratio * s.advantage)


def test_prompt_and_token_means_agree_on_equal_totals_though_answers_differ_and_the_mean_over_answers_does_not() -> None:
    """Two prompts of six tokens each, in answers of 1 + 5 and 4 + 2: totals decide, lengths do not."""
    trajectory = torch.arange(4)
    lengths = torch.tensor([1, 5, 4, 2])
    tokens = Tokens(
        segment=torch.repeat_interleave(trajectory, lengths), trajectory=trajectory, prompt=torch.tensor([0, 0, 1, 1]),
        reward=torch.tensor([1.0, 0.0, 0.0, 1.0]),
    )  # fmt: skip
    A = torch.ones(12)
    torch.testing.assert_close(prompt_mean(tokens, A), token_mean(tokens, A))
    assert not torch.allclose(trajectory_mean(tokens, A), token_mean(tokens, A))
    longer = replace(tokens, segment=torch.repeat_interleave(trajectory, torch.tensor([1, 5, 4, 3])))
    assert not torch.allclose(prompt_mean(longer, torch.ones(13)), token_mean(longer, torch.ones(13)))


@pytest.mark.parametrize(("passes", "asked"), [(89, True), (90, False), (91, False)])
def test_a_prompt_at_nine_tenths_is_never_asked_again_also_after_a_restart(passes: int, asked: bool, tmp_path: Path) -> None:
    """≥ 0.9 over all attempts; the rate is read back from the log."""
    pools = {1: [Problem(f"p{i}", str(i), "0") for i in range(4)]}
    curriculum = Curriculum((Stage({1: 1.0}, 8),), prompt_filters=(partial(no_positive_resampling, ceiling=0.9),))
    course = Course(curriculum, pools, History(tmp_path / "history.jsonl"))
    lesson = course.ask(0, 4)
    course.tell(0, [lesson.group(i, passes if i == 0 else 50, 100) for i in range(4)])
    again = Course(curriculum, pools, History(tmp_path / "history.jsonl"))
    left = {p.id for p in again.ask(1, 4 if asked else 3).problems}
    assert (lesson.problems[0].id in left) is asked


async def test_equal_groups_are_dropped_and_not_drawn_again(tmp_path: Path) -> None:
    """The batch shrinks to the groups that teach: no dynamic sampling."""
    recipe = Recipe(objective=SCALERL, lr=1e-3, steps=4, prompts=6, group=3)
    run = open_run(tmp_path / "run", describe(recipe), resume=True)
    told: list[tuple[float, ...]] = []
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=1", lm, Digits())
        await train(
            lm, solver, Digits(), only(1, 1), {1: Digits().problems("train", 10)}, recipe, run,
            progress=lambda r: told.append((r["draws"], r["learned"], r["zero_variance"])),
        )  # fmt: skip
    assert all(draws == 1 and learned == round(6 * (1 - share)) for draws, learned, share in told)
    assert min(learned for _, learned, _ in told) < 6
