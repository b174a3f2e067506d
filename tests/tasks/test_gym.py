"""reasoning-gym's problems, judged by its own scorers. Skipped where the library is not installed."""

import itertools
import sys

import pytest

from reasonry.core import Missing, Task, UserError
from reasonry.tasks import load_task
from reasonry.tasks.gym import Gym, _dataset


@pytest.fixture(scope="module", autouse=True)
def _library():
    pytest.importorskip("reasoning_gym")


def test_its_own_answers_pass_and_others_fail():
    task = load_task("gym:chain_sum?min_terms=2&max_terms=3")
    assert isinstance(task, Task)
    for problem in task.problems("test", 5):
        assert task.judge(problem, f"so <answer>{problem.answer}</answer>").passed
        assert task.judge(problem, f"#### {problem.answer}").passed
        assert not task.judge(problem, f"<answer>{problem.answer}1</answer>").passed
        for text in ("", "no", "<answer></answer>", "<answer>\x00[[[</answer>"):
            assert task.judge(problem, text).passed is False


def test_splits_are_apart_and_a_seed_is_repeatable():
    """A small space of questions, so that plain seeds per split would meet in it."""
    task = Gym("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    held = [{p.prompt for seed in (0, 1) for p in task.problems(s, 15, seed)} for s in ("train", "validation", "test")]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(held, 2))
    assert task.problems("test", 5, 3) == task.problems("test", 5, 3) != task.problems("test", 5, 4)
    with pytest.raises(UserError, match="only"):
        task.problems("test", 10_000)


def test_a_problem_can_be_judged_after_its_generator_is_gone():
    """Judging makes the entry again from seed and index: nothing but JSON is kept."""
    task = load_task("gym:leg_counting")
    problem = task.problems("test", 1)[0]
    _dataset.cache_clear()
    assert load_task("gym:leg_counting").judge(problem, f"<answer>{problem.answer}</answer>").passed
    other = problem.__class__(problem.id, "another question", problem.answer, problem.meta)
    assert task.judge(other, f"<answer>{problem.answer}</answer>").score is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gym:nope", "chain_sum"),
        ("gym:chain_sum?terms=3", "min_terms"),
        ("gym:chain_sum?min_terms=0", "refused"),
        ("gym:chain_sum?seed=3", "not an option"),
    ],
)
def test_a_wrong_name_or_option_is_named(spec, says):
    with pytest.raises(UserError, match=says):
        load_task(spec)


def test_without_the_library_its_extra_is_named(monkeypatch):
    _dataset.cache_clear()
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(Missing, match=r"reasonry\[gym\]"):
        load_task("gym:chain_sum")
