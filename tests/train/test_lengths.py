"""Rewards for length."""

from __future__ import annotations

from reasonry.core import Cost, Problem, Stop, Trajectory, Verdict
from reasonry.train.lengths import brevity
from reasonry.train.reward import Reward, Weighted, verdict

PROBLEM = Problem("p", "?", "1")


def attempt(tokens: int, passed: bool | None) -> Trajectory:
    score = None if passed is None else float(passed)
    return Trajectory("p", stop=Stop.EOS, cost=Cost(completion_tokens=tokens), verdict=Verdict(score, passed))


def test_kimis_formula_by_hand() -> None:
    """λ = ½ − (T − 10)/(30 − 10): right answers get λ, wrong ones only its negative part."""
    group = [attempt(10, True), attempt(15, False), attempt(20, True), attempt(25, False), attempt(30, True)]
    assert [s and s["length"] for s in brevity(PROBLEM, group)] == [0.5, 0.0, 0.0, -0.25, -0.5]


def test_equal_lengths_and_unscored_attempts() -> None:
    """No spread gives no reward; an attempt without a verdict leaves its group, but its length counts."""
    assert [s and s["length"] for s in brevity(PROBLEM, [attempt(7, True), attempt(7, False)])] == [0.0, 0.0]
    found = brevity(PROBLEM, [attempt(10, True), attempt(20, None), attempt(15, True)])
    assert [s and s["length"] for s in found] == [0.5, None, 0.0]
    assert brevity(PROBLEM, []) == []


def test_it_combines_with_the_verdict() -> None:
    reward = Reward((verdict, brevity), Weighted({"score": 1.0, "length": 0.5}))
    assert [r.reward for r in reward(PROBLEM, [attempt(10, True), attempt(20, False)])] == [1.25, -0.25]
