"""Advantages for pass@k, against subsets counted one by one."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from reasonry.core import UserError
from reasonry.train.advantage import GroupStd, Outcome, group_mean
from reasonry.train.pass_at_k import PassAtK
from reasonry.train.tokens import Tokens


def group(*rewards: float) -> Tokens:
    n = torch.arange(len(rewards))
    return Tokens(segment=n, trajectory=n, prompt=torch.zeros_like(n), reward=torch.tensor(rewards, dtype=torch.float64))


def test_with_k_1_they_are_those_of_grpo():
    tokens = group(1, 0, 0, 1, 0)
    plain = Outcome(group_mean, GroupStd(correction=0, eps=0.0))
    torch.testing.assert_close(PassAtK(1)(tokens), plain(tokens))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_an_answers_advantage_is_the_mean_over_the_subsets_it_is_in(k: int):
    """Each k-subset's reward is whether it holds a right answer, normalised over subsets; an answer gets the mean of its own."""
    rewards = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    subsets = list(combinations(range(6), k))
    R = torch.tensor([max(rewards[i] for i in s) for s in subsets], dtype=torch.float64)
    A = (R - R.mean()) / R.std(correction=0)
    mean = torch.tensor([float(A[[i in s for s in subsets]].mean()) for i in range(6)], dtype=torch.float64)
    found = PassAtK(k)(group(*rewards))
    torch.testing.assert_close(found, mean)
    assert float(found.sum()) == pytest.approx(0.0, abs=1e-12)


def test_a_group_without_a_difference_teaches_nothing():
    assert not PassAtK(3)(group(0, 0, 0, 0)).any()
    assert not PassAtK(3)(group(1, 1, 0, 1)).any(), "every 3 of them hold a right one"
    with pytest.raises(UserError, match="k is 4 but no group has more than 3 answers"):
        PassAtK(4)(group(1, 0, 0))


def test_a_group_that_lost_attempts_teaches_nothing_and_stops_nobody():
    n = torch.arange(7)
    tokens = Tokens(segment=n, trajectory=n, prompt=torch.tensor([0, 0, 0, 0, 1, 1, 1]), reward=torch.tensor([1.0, 0, 0, 0, 1, 0, 0]))
    found = PassAtK(4)(tokens)
    assert not found.any(), "four of four always hold the right one"
    found = PassAtK(3)(tokens)
    torch.testing.assert_close(found[:4], PassAtK(3)(group(1, 0, 0, 0)).float())
    assert not found[4:].any()
    found = PassAtK(4)(replace(tokens, prompt=torch.tensor([0, 0, 0, 0, 0, 1, 1]), reward=torch.tensor([1.0, 0, 0, 0, 0, 1, 0])))
    assert found[:5].any()
    assert not found[5:].any()
