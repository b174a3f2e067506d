"""A process verifier fitted on outcomes: what its rows are, and that it comes to say how often a prefix ends well."""

import math
from random import Random
from typing import cast

import pytest
from toy_lm import Characters, toy_decoder

from reasonry.core import Message, UserError
from reasonry.lm.reward_model import RewardModel
from reasonry.lm.tokenizer import Tokenizer
from reasonry.train.reward_fit import Labelled
from reasonry.train.value_fit import Rollout, fit_values, letters, lines, prefixes

ASK = (Message("user", "7"),)


def test_every_prefix_short_of_the_whole_is_a_row() -> None:
    """With the outcome of the whole; blocks put together are the text."""
    found = prefixes([Rollout(ASK, "a\nb\nc", 1.0), Rollout(ASK, "d", 0.0)], lines)
    assert [(d.answer, d.score) for d in found] == [("a\n", 1.0), ("a\nb\n", 1.0)]
    assert "".join(lines("a\n\nb")) == "a\n\nb"
    assert [d.answer for d in prefixes([Rollout(ASK, "123", 0.5)], letters)] == ["1", "12"]


def test_values_come_to_be_chances() -> None:
    """Outcome 1 with chance 0.8 after a 1 and 0.2 after a 2: σ of the scores says so, for the same seed in the same way."""
    rng = Random(0)
    rollouts = [Rollout(ASK, first + str(rng.randrange(10)), float(rng.random() < (0.8 if first == "1" else 0.2))) for first in "12" * 300]
    data = prefixes(rollouts, letters)
    made, losses = [], list[float]()
    for _ in range(2):
        model = RewardModel(toy_decoder(), cast(Tokenizer, Characters()), tokens=4096)
        losses = list(fit_values(model, data, steps=60, lr=3e-3))
        made.append(model.scores(ASK, ["1", "2"]).values)
    assert losses[-1] < losses[0] == pytest.approx(math.log(2), abs=1e-4)
    high, low = (1 / (1 + math.exp(-cast(float, s))) for s in made[0])
    shares = [sum(d.score for d in data if d.answer == x) / 300 for x in "12"]
    assert [high, low] == pytest.approx(shares, abs=0.1)
    assert made[0] == made[1]


def test_outcomes_that_teach_nothing_are_refused() -> None:
    model = RewardModel(toy_decoder(), cast(Tokenizer, Characters()))
    with pytest.raises(UserError, match="a single outcome teach nothing"):
        next(fit_values(model, [Labelled(ASK, "1", 1.0)] * 3, steps=1))
    with pytest.raises(UserError, match="outside 0 to 1"):
        next(fit_values(model, [Labelled(ASK, "1", 2.0)], steps=1))
