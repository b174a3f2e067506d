"""The reward against empty agreement, and that a recipe can ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from reasonry.core import Problem, Trajectory
from reasonry.train.compose import reward_of
from reasonry.train.exchange_reward import agreement
from reasonry.train.settings import Settings


def attempt(*rounds: dict[str, tuple[str, str | None]]) -> Trajectory:
    """Rounds of agent -> (text, answer); everybody sees everybody's last turn."""
    logged = [
        [
            {"agent": a, "text": text, "answer": answer, "saw": [[i - 1, b] for b in said if b != a] if i else []}
            for a, (text, answer) in said.items()
        ]
        for i, said in enumerate(rounds)
    ]
    return Trajectory("p", meta={"exchange": {"rounds": logged}})


def signal(t: Trajectory, answer: Any = "5", **more: float) -> float:
    found = agreement(**more)(Problem("p", "?", answer), [t])[0]
    assert found is not None
    return found["agreement"]


FIRST: dict[str, tuple[str, str | None]] = {"a": ("2+3=5\n#### 5", "5"), "b": ("2+3=6\n#### 6", "6")}


@pytest.mark.parametrize(
    ("second", "value"),
    [
        (FIRST, 0.0),
        ({"a": ("2+3=6\n#### 6", "6"), "b": FIRST["b"]}, -0.5),
        ({"a": ("#### 6", "6"), "b": FIRST["b"]}, -0.5),
        ({"a": ("3+3=6 so\n#### 6", "6"), "b": FIRST["b"]}, 0.0),
        ({"a": FIRST["a"], "b": ("2+3=5\n#### 5", "5")}, 0.0),
        ({"a": FIRST["a"], "b": ("I had miscounted: 2+3=5\n#### 5", "5")}, 0.5),
        ({"a": ("#### 7", "7"), "b": FIRST["b"]}, 0.0),
        ({"a": ("lost", None), "b": FIRST["b"]}, 0.0),
        ({"a": ("2+3=5\n#### 5.0", "5.0"), "b": FIRST["b"]}, 0.0),
    ],
)
def test_going_over_without_a_word_is_paid_for(second: dict[str, tuple[str, str | None]], value: float) -> None:
    """A peer's answer with a peer's words or none costs; a new argument does not; a right one earns; another spelling is no change."""
    assert signal(attempt(FIRST, second)) == pytest.approx(value)


def test_weights_and_attempts_without_an_exchange() -> None:
    """Penalty and bonus are the caller's; nothing to judge is nought; a problem without an answer has no bonus."""
    over = attempt(FIRST, {"a": ("#### 6", "6"), "b": ("so 2+3=5\n#### 5", "5")})
    assert signal(over, penalty=2.0, bonus=0.5) == pytest.approx((0.5 - 2.0) / 2)
    assert signal(over, answer=None) == pytest.approx(-0.5)
    assert signal(Trajectory("p")) == signal(attempt(FIRST)) == 0.0


def test_a_recipe_asks_for_it_by_name() -> None:
    """`agreement = 1.0` in a recipe's file."""
    reward = reward_of(Settings(model="m", task="t", solver="debate", agreement=1.0))
    assert len(reward.signals) == 2
