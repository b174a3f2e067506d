"""Rewards: signals apart until combined, unscored is not wrong, TRL's functions fit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reasonry.core import Cost, Message, Problem, Segment, Stop, Trajectory, UserError, Verdict
from reasonry.train.reward import Reward, Weighted, each, overlong, trl_reward, verdict

PROBLEM = Problem("p", "two plus two?", "4", {"level": 3})


def attempt(answer: str, score: float | None = 1.0, tokens: int = 3) -> Trajectory:
    segment = Segment((1,), (7, 8), answer, (0.0, 0.0), Stop.EOS, Cost(completion_tokens=tokens))
    seen = Verdict(score, None if score is None else score > 0.5, signals={"format": 0.25})
    return Trajectory("p", answer=answer, verdict=seen, stop=Stop.EOS).add(segment)


def test_signals_are_kept_beside_the_number_made_of_them() -> None:
    length = each(lambda problem, t: {"length": float(t.cost.completion_tokens)})
    reward = Reward((verdict, length), Weighted({"score": 1.0, "length": -0.1}))
    one, two = reward(PROBLEM, [attempt("4"), attempt("5", 0.0, tokens=6)])
    assert one.signals == {"score": 1.0, "format": 0.25, "length": 3.0}
    assert (one.reward, two.reward) == pytest.approx((0.7, -0.6))


def test_an_attempt_that_any_signal_leaves_unscored_leaves_its_group() -> None:
    picky = each(lambda problem, t: None if t.answer == "?" else {"fine": 1.0})
    kept = Reward((verdict, picky))(PROBLEM, [attempt("4"), attempt("?"), attempt("5", None), attempt("6", 0.0)])
    assert [(r.trajectory.answer, r.reward) for r in kept] == [("4", 1.0), ("6", 0.0)]


def test_a_group_is_combined_together() -> None:
    """The combiner sees the whole group, so a rank or a stratified reward can be written."""
    ranks = Reward((verdict,), lambda group: [float(sum(o["score"] < s["score"] for o in group)) for s in group])
    assert [r.reward for r in ranks(PROBLEM, [attempt("a", 0.5), attempt("b", 0.1), attempt("c", 0.9)])] == [1.0, 0.0, 2.0]


def test_a_trl_function_is_called_once_a_group_with_trl_arguments() -> None:
    calls: list[dict[str, Any]] = []

    def right(prompts: list[str], completions: list[str], answer: list[str], **more: Any) -> list[float | None]:
        calls.append({"prompts": prompts, **more})
        return [None if c == "?" else float(c == a) for c, a in zip(completions, answer, strict=True)]

    kept = Reward((trl_reward(right),), Weighted({"right": 2.0}))(PROBLEM, [attempt("4"), attempt("?"), attempt("5")])
    assert [r.reward for r in kept] == [2.0, 0.0]
    assert calls == [{"prompts": ["two plus two?"] * 3, "level": [3] * 3, "completion_ids": [[7, 8]] * 3}]


def test_a_chat_prompt_gives_trl_messages() -> None:
    def shape(prompts: list[Any], completions: list[Any], **more: Any) -> list[float]:
        assert prompts == [[{"role": "user", "content": "hi"}]]
        return [float(c == [{"role": "assistant", "content": "4"}]) for c in completions]

    chat = Problem("p", (Message("user", "hi"),))
    assert Reward((trl_reward(shape, "s"),), Weighted({"s": 1.0}))(chat, [attempt("4")])[0].reward == 1.0


@pytest.mark.parametrize(("tokens", "value"), [(1, 0.0), (60, 0.0), (80, -0.5), (100, -1.0), (140, -1.0)])
def test_overlong_is_dapos_ramp(tokens: int, value: float) -> None:
    assert overlong(100, 40)(PROBLEM, [attempt("4", tokens=tokens)])[0] == {"overlong": pytest.approx(value)}


def test_mistakes_are_named() -> None:
    for reward, says in [
        (Reward((verdict,), Weighted({"scor": 1.0})), "'scor' has a weight but the signals are"),
        (Reward((each(lambda p, t: {"score": math.nan}),)), "score is nan for an answer to 'p'"),
        (Reward((verdict,), lambda group: [1.0]), "returned 1 values for 2 attempts"),
        (Reward((lambda p, g: [{"score": 1.0}],)), "returned 1 values for 2 attempts"),
    ]:
        with pytest.raises(UserError, match=says):
            reward(PROBLEM, [attempt("4"), attempt("5")])
