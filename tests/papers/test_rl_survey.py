"""The survey's experiments: the lab's arithmetic, the verdict rules, and one tiny run from start to resumed end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reasonry.core import Result
from reasonry.papers.rl_survey import measure, sharpened
from reasonry.papers.rl_survey_findings import BOUNDED, CLAIMS, UNBOUNDED, Drawn, Entrant, Plan, findings
from reasonry.papers.rl_survey_lab import ARMS, PASS_RATES, bench, prompt_weight
from reasonry.train.lab import ANSWERS, probabilities, random_policy, slope, true_gradient
from reasonry.train.lab import measure as estimate

TINY = Plan(
    tournament_steps=0, steps=2, problems=3, attempts=4, prompts=2, group=4, train_problems=20, task="arithmetic?steps=2", max_tokens=32,
    teaching=1,
)  # fmt: skip


def test_the_enumerated_policy_is_a_distribution_and_its_gradient_the_derivative() -> None:
    """Probabilities add up to one; the true gradient is the difference quotient of the mean reward."""
    theta, R = random_policy(3), torch.rand(len(ANSWERS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(probabilities(theta).sum()) == pytest.approx(1.0, abs=1e-12)
    g, step = true_gradient(theta, R), 1e-6
    for i in (0, 7, 30):
        moved = theta.flatten().clone()
        moved[i] += step
        quotient = float((probabilities(moved.reshape(theta.shape)) * R).sum() - (probabilities(theta) * R).sum()) / step
        assert float(g[i]) == pytest.approx(quotient, abs=1e-5)


def test_the_estimators_variance_is_that_of_single_answers_at_a_group_of_one() -> None:
    """REINFORCE with one answer: E‖R∇log π‖² less the squared mean, summed by hand."""
    theta, R = random_policy(4), torch.rand(len(ANSWERS), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = estimate(ARMS["REINFORCE"], theta, R, 1)
    square = 0.0
    for y, p in enumerate(probabilities(theta).tolist()):
        one = theta.clone().requires_grad_()
        g = torch.autograd.grad(probabilities(one)[y].log(), one)[0]
        square += p * float(R[y]) ** 2 * float((g**2).sum())
    assert found.variance == pytest.approx(square - float((found.mean**2).sum()), rel=1e-9)


def test_lengths_follow_the_step() -> None:
    """The slope of an expected length is its difference quotient."""
    theta, right = random_policy(5), torch.arange(len(ANSWERS)) % 2 == 0
    direction = torch.randn(theta.numel(), generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def expected(t: torch.Tensor) -> float:
        from reasonry.train.lab import LENGTH

        p = probabilities(t) * right
        return float((p * LENGTH).sum() / p.sum())

    moved = theta + 1e-6 * (direction / direction.norm()).reshape(theta.shape)
    assert slope(theta, direction, right)[0] == pytest.approx((expected(moved) - expected(theta)) / 1e-6, abs=1e-5)


def test_the_weight_of_a_prompt_is_what_enumeration_gives() -> None:
    """Counting right answers among the others and enumerating all groups agree, for every arm that differs in the advantage alone."""
    from reasonry.papers.rl_survey_lab import right_answers

    theta = random_policy(0)
    right = right_answers(theta, 0.3, 0)
    p = float((probabilities(theta) * right).sum())
    truth = true_gradient(theta, right.double())
    for arm in ("REINFORCE", "RLOO", "R − μ", "(R − μ)/sd", "MaxRL"):
        mean = estimate(ARMS[arm], theta, right.double(), 2).mean
        assert float(mean @ truth / (truth @ truth)) == pytest.approx(prompt_weight(ARMS[arm], p, 2), rel=1e-9), arm


def test_verdicts_follow_the_rules() -> None:
    """What the lab finds exactly; a tournament and draws made up so that each claim holds, then so that each fails."""
    labs = {0: bench(0, 2)}
    weights = {arm: [prompt_weight(ARMS[arm], p, 8) for p in PASS_RATES] for arm in ("(R − μ)/sd",)}

    def entrants(lost: float) -> list[Entrant]:
        made = [(slug, s, seed) for seed in range(3) for s in (1, 8) for slug in (*BOUNDED, *UNBOUNDED)]
        return [Entrant(seed, slug, s, 0.8 - (lost + seed / 100 if slug in UNBOUNDED and s == 8 else 0), 1) for slug, s, seed in made]

    good = [Drawn(0, f"{i}", 128, 20 * (i % 2), 20 * (i % 2), 60 * (i % 2)) for i in range(40)]
    found = {f.claim: f.result for f in findings(Plan(), labs, weights, entrants(0.3), good)}
    assert set(found) == {c.id for c in CLAIMS}
    assert all(found[c] is Result.HOLDS for c in ("unbiased", "shrunk", "length-baseline", "sd", "answer-mean", "stale", "sharpening"))
    assert found["discovery"] is Result.FAILS
    new = [replace(d, after=max(d.after, 50)) for d in good]
    found = {f.claim: f.result for f in findings(Plan(), labs, weights, entrants(-0.3), new)}
    assert (found["stale"], found["sharpening"], found["discovery"]) == (Result.FAILS, Result.FAILS, Result.HOLDS)
    worse = [replace(d, after=d.before // 2) for d in good]
    found = {f.claim: f.result for f in findings(Plan(), labs, weights, entrants(0.3), worse)}
    assert (found["sharpening"], found["discovery"]) == (Result.UNCLEAR, Result.UNCLEAR), "training that did not take says nothing"
    found = {f.claim: f.result for f in findings(Plan(), labs, weights, [], [])}
    assert all(found[c] is Result.UNCLEAR for c in ("stale", "sharpening", "discovery"))


async def test_a_tiny_run_resumes_to_the_same_draws(tmp_path: Path) -> None:
    """All three draws are counted, and a second call reads them instead of sampling again."""
    once = await sharpened(tmp_path, TINY, 0)
    assert len(once) == 3
    assert all(0 <= x <= 4 for d in once for x in (d.before, d.again, d.after))
    assert await sharpened(tmp_path, TINY, 0) == once


@pytest.mark.slow
async def test_the_whole_experiment_at_tiny_size(tmp_path: Path) -> None:
    """Every claim gets a verdict and every arm its measures."""
    plan = replace(TINY, tournament_steps=1, tournament_problems=4, staleness=(1, 2))
    evidence = await measure(tmp_path, (0, 1), plan)
    assert [f.claim for f in evidence.findings] == [c.id for c in CLAIMS]
    assert len([m for m in evidence.measures if m.metric == "accuracy"]) == 16
