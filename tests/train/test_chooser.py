"""A policy over candidates' features learns what pays, and no more than picking can give."""

import pytest
import torch

from reasonry.core import UserError
from reasonry.train.chooser import chances, chooser, expected_score, practise


def some(n: int = 300, m: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sets whose second feature tells right from wrong four times in five, and whose first is noise."""
    g = torch.Generator().manual_seed(seed)
    right = (torch.rand(n, m, generator=g) < 0.4).float()
    told = torch.where(torch.rand(n, m, generator=g) < 0.8, right, 1 - right)
    return torch.stack([torch.rand(n, m, generator=g), told], -1), right


def test_it_begins_by_picking_blindly_and_shuffling_moves_its_chances_along():
    x, right = some()
    policy = chooser(2)
    assert expected_score(policy, x, right).mean().item() == pytest.approx(right.mean().item())
    practise(policy, x, right, 20)
    order = torch.randperm(8)
    assert torch.allclose(chances(policy, x[:, order]), chances(policy, x)[:, order], atol=1e-6)


def test_it_learns_the_feature_that_pays_and_stays_below_the_oracle():
    x, right = some()
    policy = chooser(2)
    log = practise(policy, x, right, 150)
    score = expected_score(policy, x, right)
    assert score.mean() > right.mean() + 0.2
    assert bool((score <= right.max(1).values + 1e-6).all())
    assert log[-1].reward > log[0].reward


def test_sets_of_one_kind_teach_nothing():
    """All right or all wrong: every group has one reward, and the policy stays as it was."""
    x, _ = some(20)
    policy = chooser(2)
    log = practise(policy, x, torch.ones(20, 8), 5)
    assert {p.zero_advantage for p in log} == {1.0}
    assert torch.allclose(chances(policy, x), torch.full((20, 8), 1 / 8))
    with pytest.raises(UserError, match="there are no sets to train on"):
        practise(policy, x[:0], torch.ones(0, 8), 1)
