"""The explicit model of groups, group search, and when to stop: formulas recomputed, and the limits where advantages vanish."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest

from reasonry.core import UserError
from reasonry.probe.groups import average, combined, coverage, independent_coverage, phi, search_groups, shared_errors
from reasonry.solve.tumix_model import World, advantage, chances, first, measured, play, revise, stop_when_not_worth_it, stopped, votes


def test_coverage_of_independent_agents_is_the_formula():
    """1 − Π(1 − p_i) against a draw of many questions; with agents that fail together it is less."""
    p = np.array([0.1, 0.3, 0.5])
    rng = np.random.default_rng(0)
    drawn = rng.random((3, 40_000)) < p[:, None]
    assert independent_coverage(p) == pytest.approx(1 - 0.9 * 0.7 * 0.5)
    assert coverage(drawn) == pytest.approx(independent_coverage(p), abs=0.01)
    together = rng.random(40_000) < p[:, None]
    assert coverage(together) == pytest.approx(0.5, abs=0.01)
    assert average(together) == pytest.approx(p.mean(), abs=0.01)


def test_copying_never_adds_an_answer_and_unanimity_stays():
    """Coverage of agents that only copy does not rise, question by question, and agreement is never left."""
    world = World(copy=1.0)
    rng = np.random.default_rng(1)
    answers = first(world, chances(world, 300, 6, 0.3, rng), range(6), rng)
    for _ in range(8):
        later = revise(world, answers, rng)
        for before, after in zip(answers, later, strict=True):
            assert set(after) <= set(before)
        assert np.all((later == 0).any(1) <= (answers == 0).any(1))
        answers = later
    agreed = np.zeros((5, 4), int)
    assert np.array_equal(revise(World(copy=0.7), agreed, rng), agreed)


def test_the_majority_of_independent_agents_follows_the_binomial_tail():
    """p > 1/2, two answers, an odd number of agents."""
    n, p = 7, 0.7
    world = World(options=1)
    answers = first(world, np.full((60_000, 1), p), [0] * n, np.random.default_rng(2))
    tail = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))
    assert measured(world, answers).vote == pytest.approx(tail, abs=0.006)


def test_the_advantage_vanishes_as_different_agents_share_what_copies_do():
    """Exactly zero at correlation 1, falling on the way, after one round and after four."""
    world = World()
    for rounds in (1, 4):
        found = [advantage(world, rho, 9, 3000, 0, rounds) for rho in (0.0, 0.5, 0.9, 1.0)]
        assert found[-1] == 0.0
        assert all(a > b for a, b in pairwise(found))


def test_errors_that_only_copies_share_are_what_diversity_removes():
    """With skills that are neither good nor bad at any question (no blind spots) there is nothing to gain."""
    blind, clear = World(sharpness=0.3), World(sharpness=200.0)
    assert advantage(blind, 0.0, 9, 3000, 0) > 0.2
    assert abs(advantage(clear, 0.0, 9, 3000, 0)) < 0.05


def test_skills_have_the_mean_and_the_two_humps_that_were_asked_for():
    p = chances(World(skill=0.3), 20_000, 2, 0.5, np.random.default_rng(3))
    assert p.mean() == pytest.approx(0.3, abs=0.02)
    assert np.mean((p < 0.1) | (p > 0.9)) > 0.7
    assert np.corrcoef(p[:, 0], p[:, 1])[0, 1] == pytest.approx(0.45, abs=0.12)
    with pytest.raises(UserError, match=r"rho is 1\.5 but must be from 0 to 1"):
        chances(World(), 1, 1, 1.5, np.random.default_rng(0))


def test_measures_by_hand():
    world = World(options=3)
    answers = np.array([[0, 0, 1, 2], [0, 1, 1, 0], [3, 3, 3, 3]])
    found = measured(world, answers)
    assert found.average == pytest.approx(4 / 12)
    assert found.coverage == pytest.approx(2 / 3)
    assert list(found.right) == [1.0, 0.5, 0.0]
    assert list(found.margin) == [0.25, 0.0, 1.0]
    assert votes(answers, 3).tolist() == [[2, 1, 1, 0], [2, 2, 0, 0], [0, 0, 0, 4]]


def test_a_margin_stop_looks_at_each_question_and_needs_two_rounds():
    rounds = play(World(), chances(World(), 500, 5, 0.0, np.random.default_rng(4)), range(5), 5, 4)
    assert stopped(rounds, 0.0) == (pytest.approx(rounds[1].vote), 2.0)
    assert stopped(rounds, 2.0) == (pytest.approx(rounds[-1].vote), 5.0)
    vote, used = stopped(rounds, 0.6)
    assert 2 < used < 5
    assert 0 < vote < 1


def test_stopping_when_a_round_is_not_worth_its_cost():
    """Where gains per cost only fall it is the best number of rounds, found by trying all; where they rise again it need not be."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        gains, costs, price = np.sort(rng.normal(0.05, 0.1, 6))[::-1], np.full(6, 1.0), rng.random() * 0.1
        net = np.concatenate([[0.0], np.cumsum(gains - price * costs)])
        assert net[stop_when_not_worth_it(gains.tolist(), costs.tolist(), price) - 1] == pytest.approx(net.max())
    assert stop_when_not_worth_it([0.0, 1.0], [1.0, 1.0], 0.1) == 1
    assert stop_when_not_worth_it([0.0, 1.0], [1.0, 1.0], 0.1, min_rounds=2) == 3
    assert stop_when_not_worth_it([], [], 0.1) == 1
    with pytest.raises(UserError, match="1 gains and 2 costs"):
        stop_when_not_worth_it([1.0], [1.0, 1.0], 0.1)


def table(agents: int, questions: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((agents, questions)) < rng.random((agents, 1))


def test_the_average_group_scores_two():
    """Exactly, whatever the groups are."""
    for seed in range(5):
        t = table(8, 30, seed)
        groups = [[0, 1, 2], [3, 4, 5], [5, 6, 7], [0, 4, 7]]
        c, a = [coverage(t[g]) for g in groups], [average(t[g]) for g in groups]
        assert combined(c, a).mean() == pytest.approx(2.0)
    with pytest.raises(UserError, match="no group has a question right"):
        combined([0.0], [0.0])


def test_group_search_finds_the_best_group_and_judges_it_elsewhere():
    """All groups tried: the first is the best of all on the questions it was chosen by; its held-out figures are of the others."""
    t = table(6, 200, 1)
    found = search_groups(t, 2, 1000, 0, keep=15)
    assert len(found) == 15
    assert [g.chosen_by for g in found] == sorted((g.chosen_by for g in found), reverse=True)
    assert np.mean([g.chosen_by for g in found]) == pytest.approx(2.0)
    assert np.mean([g.held_out for g in found]) == pytest.approx(2.0)
    strong = {int(i) for i in np.argsort(-t.mean(1))[:3]}
    assert strong & set(found[0].members)
    assert len({g.members for g in search_groups(table(20, 50, 2), 10, 40, 0, keep=40)}) == 40


@pytest.mark.parametrize(
    ("size", "questions", "says"), [(0, 9, "size is 0"), (9, 9, "the 4 agents there are"), (2, 1, "1 questions cannot be")]
)
def test_a_search_that_makes_no_sense_is_refused(size: int, questions: int, says: str):
    with pytest.raises(UserError, match=says):
        search_groups(np.ones((4, questions)), size, 10, 0)


def test_errors_shared_within_and_between_kinds():
    """Copies that answer alike correlate fully, agents that draw apart do not; one that is always right has no correlation."""
    rng = np.random.default_rng(6)
    a, b = rng.random((2, 4000)) < 0.5
    found = shared_errors([a, a, b, b], ["a", "a", "b", "b"])
    assert found.within == pytest.approx(1.0)
    assert found.between == pytest.approx(0.0, abs=0.05)
    assert shared_errors([a, b], ["a", "b"]).within is None
    assert phi(np.ones(4), a[:4]) is None
    with pytest.raises(UserError, match="1 kinds for 2 agents"):
        shared_errors([a, b], ["a"])
