"""Number puzzles: the right strategy always solves, wrong ones seldom do, and every phrase of a demonstration is known for what it is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.tasks import load_task
from reasonry.tasks.puzzle import BACK, FILLERS, MODULUS, PLANS, RIGHT, calculations, planning_spans, puzzle, spelled, work

TASK = puzzle()
PROBLEMS = TASK.problems("train", 200)


def final(strategy: str, problem: Problem) -> str:
    return str(work(strategy, problem.meta["numbers"], problem.meta["signs"], problem.meta["goal"])[1])


def test_the_right_strategy_always_solves_and_a_wrong_one_by_luck() -> None:
    assert all(final(RIGHT[p.meta["place"]], p) == p.answer for p in PROBLEMS)
    lucky = [final(s, p) == p.answer for p in PROBLEMS for s in PLANS if s != RIGHT[p.meta["place"]]]
    assert 0 < sum(lucky) / len(lucky) < 2 / MODULUS


@given(st.integers(0, 10**6))
def test_an_answer_put_into_the_question_makes_it_true(seed: int) -> None:
    problem = TASK.draw_from("train", random.Random(seed))
    assert isinstance(problem.prompt, str)
    left, goal = problem.prompt.replace("?", problem.answer).split("=")
    assert (eval(left) - int(goal)) % MODULUS == 0
    assert problem.prompt.count("?") == 1


def test_demonstrations_are_phrases_calculations_and_an_answer_and_nothing_else() -> None:
    known = {*BACK, *FILLERS, *(p for told in PLANS.values() for p in told)}
    rng = random.Random(0)
    for p in PROBLEMS:
        text = TASK.demonstration(p, rng)[-1].content
        *lines, last = text.splitlines()
        assert last.startswith("#### ")
        assert all(calculations(text))
        said = [line for line in lines if not calculations(line)]
        assert set(said) <= known
        assert [text[a:b] for a, b in planning_spans(text)] == [line for line in said if line not in FILLERS]


def test_shares_are_what_the_options_say() -> None:
    sure, never = puzzle(right=1.0), puzzle(right=0.0, again=0.0)
    rng = random.Random(0)
    assert all(sure.judge(p, sure.demonstration(p, rng)[-1].content).passed for p in PROBLEMS)
    assert sum(bool(never.judge(p, never.demonstration(p, rng)[-1].content).passed) for p in PROBLEMS) < 0.4 * len(PROBLEMS)
    assert load_task("puzzle?filler=0").name == "puzzle"
    with pytest.raises(UserError, match="right is 2"):
        puzzle(right=2.0)


def test_calculations_are_judged_on_the_dial_and_can_be_told_in_words() -> None:
    assert calculations("3-5=5\n6+1=0\n2+2=5\nso far so good\n#### 4") == [True, True, False]
    assert spelled("6+1=0\nso far\n#### 4") == "six plus one is zero\nso far\n#### 4"
