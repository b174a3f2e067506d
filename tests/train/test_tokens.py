"""A batch that does not hold together is refused where it is made, in a sentence that says how to mend it."""

import re
from typing import Any

import pytest
import torch

from reasonry.core import UserError
from reasonry.train.tokens import Tokens

SOUND: dict[str, Any] = {
    "segment": torch.tensor([0, 0, 1]),
    "trajectory": torch.tensor([0, 1]),
    "prompt": torch.tensor([0, 0]),
    "reward": torch.tensor([1.0, 0.0]),
}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("reward", torch.tensor([1, 0]), "Tokens: reward is int64 but must be floating point; call .float() on it"),
        ("reward", torch.tensor([True, False]), "reward is bool but must be floating point"),
        ("logp_sampler", torch.tensor([-1, -1, -1]), "logp_sampler is int64 but must be floating point"),
        ("segment", torch.tensor([0.0, 0.0, 1.0]), "segment is float32 but must be int64; call .long() on it"),
        ("prompt", torch.tensor([0, 0], dtype=torch.int32), "prompt is int32 but must be int64"),
        ("planning", torch.tensor([0, 1, 0]), "planning is int64 but must be bool; call .bool() on it"),
        ("signals", {"format": torch.tensor([1, 0])}, "signal 'format' is int64 but must be floating point"),
        ("reward", torch.tensor([1.0]), "reward has shape [1] but needs [2]"),
    ],
)
def test_a_field_of_the_wrong_kind_or_shape_is_named(field, value, says):
    with pytest.raises(UserError, match=re.escape(says)):
        Tokens(**{**SOUND, field: value})


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_rewards_of_any_floating_kind_are_taken(kind):
    assert Tokens(**{**SOUND, "reward": SOUND["reward"].to(kind)}).returns.tolist() == [1.0, 0.0]
