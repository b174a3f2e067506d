"""Explicit dynamics against what is known of them: martingales, the loss of the ensemble's gain, and the figures of the brief's table."""

from __future__ import annotations

import numpy as np
import pytest

from reasonry.solve.exchange.dynamics import conformist, course, dcm, outnumbered, run, talk_pays, voter

Q = 200_000


@pytest.mark.parametrize(
    ("chances", "mean", "vote"),
    [
        ((0.8,) * 3, (0.8, 0.8, 0.8), (0.897, 0.822, 0.805)),
        ((0.4,) * 3, (0.4, 0.4, 0.4), (0.353, 0.389, 0.398)),
        ((0.8, 0.4, 0.4), (8 / 15,) * 3, (0.544, 0.534, 0.533)),
        ((0.8,) * 5, (0.8, 0.8, 0.8), (0.943, 0.871, 0.835)),
    ],
)
def test_the_voter_model_keeps_the_mean_and_loses_the_vote(
    chances: tuple[float, ...], mean: tuple[float, ...], vote: tuple[float, ...]
) -> None:
    """λ = .7, two rounds: individuals stay where they are, the majority's gain goes, as many flips to wrong as to right."""
    found = course(run(chances, voter(0.7), 2, Q))
    assert found.mean == pytest.approx(mean, abs=0.004)
    assert found.vote == pytest.approx(vote, abs=0.004)
    assert found.ci == pytest.approx(found.ic, abs=0.004)
    if chances == (0.8,) * 3:
        assert found.ci[0] == pytest.approx(0.8 * 0.2 * 0.7, abs=0.002)
        right = run(chances, voter(0.7), 2, Q)
        assert [(right[0] & ~right[2]).mean(), (~right[0] & right[2]).mean()] == pytest.approx([0.107, 0.107], abs=0.003)
        assert found.vote[0] == pytest.approx(0.8**2 * (3 - 1.6), abs=0.003)


def test_consensus_is_worth_one_agent() -> None:
    """After many rounds all agree, and are right as often as the mean agent was alone."""
    right = run((0.8, 0.6, 0.4), voter(0.9), 40, 50_000)
    assert np.all(right[-1] == right[-1][:, :1])
    assert course(right).vote[-1] == pytest.approx(0.6, abs=0.006)


def test_outnumbered_agents_join_their_vote() -> None:
    """The vote of three does not move, individuals reach it: talk that looks like progress and holds no information."""
    right = run((0.8,) * 3, outnumbered, 1, Q)
    found = course(right)
    assert np.array_equal(right[0].sum(1) >= 2, right[1].sum(1) >= 2)
    assert found.vote == pytest.approx((0.896, 0.896), abs=0.003)
    assert found.mean == pytest.approx((0.8, 0.89), abs=0.01)


def test_super_linear_conformity_amplifies_the_majority() -> None:
    """With power 2 the mean of agents above one half rises although nobody learnt anything, and below one half it falls."""
    assert np.diff(course(run((0.8,) * 3, conformist(0.7, 2.0), 2, 60_000)).mean).min() > 0.005
    assert np.diff(course(run((0.3,) * 3, conformist(0.7, 2.0), 2, 60_000)).mean).max() < -0.005
    assert course(run((0.8,) * 3, conformist(0.7, 1.0), 2, Q)).mean == pytest.approx((0.8,) * 3, abs=0.004)


@pytest.mark.parametrize("tilt", [0.2, 0.3, -0.2, -0.3])
def test_persuasion_tilts_the_flips(tilt: float) -> None:
    """In the first round CI / IC = (1 − s) / (1 + s), and the mean moves with the sign."""
    found = course(run((0.8, 0.6, 0.6), voter(0.6, tilt), 2, Q))
    assert found.ci[0] / found.ic[0] == pytest.approx((1 - tilt) / (1 + tilt), rel=0.03)
    assert np.sign(np.diff(found.mean)).tolist() == [np.sign(tilt)] * 2


@pytest.mark.parametrize("weight", [0.5, 2.0, 20.0])
def test_counting_agents_are_a_martingale(weight: float) -> None:
    """Adding up what peers say leaves a random agent's chance to be right where it was."""
    assert course(dcm((0.8, 0.5, 0.5), weight, 4, 100_000)).mean == pytest.approx((0.6,) * 5, abs=0.006)


def test_where_talk_pays() -> None:
    """Without conformity nothing moves; with it talk costs the vote unless the truth is the more persuasive."""
    delta = talk_pays((0.8,) * 3, (0.0, 0.5, 1.0), (-0.3, 0.0, 0.3), 2, 40_000)
    assert np.all(delta[0] == 0)
    assert np.all(delta[1:, :2] < -0.02)
    assert np.all(np.diff(delta[1:], axis=1) > 0)


def test_equal_seeds_are_equal_runs() -> None:
    """And others are not."""
    a, b, c = (run((0.6,) * 3, voter(0.5), 2, 500, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
