"""The verifier with known errors: its rates are what it says, and an answer's verdict is its own."""

from __future__ import annotations

import pytest

from reasonry.core import Problem, UserError, Verdict
from reasonry.synth.spec import load
from reasonry.tasks import load_task
from reasonry.tasks.noisy import Noisy

INNER = load_task("arithmetic?steps=1")
PROBLEMS = INNER.problems("train", 400)


def rate(task: Noisy, right: bool) -> float:
    answers = [f"#### {p.answer if right else 'no'} {i}"[: None if not right else -2] for p in PROBLEMS for i in range(1 if right else 4)]
    problems = [p for p in PROBLEMS for _ in range(1 if right else 4)]
    passed = [task.judge(p, a).passed for p, a in zip(problems, answers, strict=True)]
    return sum(map(bool, passed)) / len(passed)


def test_its_confusion_matrix_is_the_one_it_was_given() -> None:
    """Within four standard errors, on 400 right and 1600 wrong answers; precision follows from Bayes' rule."""
    task = Noisy(INNER, recall=0.3, false_positive=0.1)
    assert rate(task, True) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 400) ** 0.5)
    assert rate(task, False) == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 1600) ** 0.5)
    assert task.precision(0.5) == pytest.approx(0.75)
    assert Noisy(INNER, 0.0).precision(0.5) == 0.0


def test_without_errors_it_is_the_task() -> None:
    task = Noisy(INNER)
    assert rate(task, True) == 1.0
    assert rate(task, False) == 0.0
    assert task.problems("test", 5) == INNER.problems("test", 5)


def test_an_answer_is_always_judged_alike_and_another_seed_judges_otherwise() -> None:
    answers = [f"#### {p.answer}" for p in PROBLEMS]
    first, again, other = (
        [Noisy(INNER, 0.5, seed=s).judge(p, a).passed for p, a in zip(PROBLEMS, answers, strict=True)] for s in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_truth_is_not_in_the_verdict_and_unscored_stays_unscored() -> None:
    task = Noisy(INNER, recall=0.0)
    verdict = task.judge(PROBLEMS[0], f"#### {PROBLEMS[0].answer}")
    assert (verdict.passed, verdict.score, verdict.signals) == (False, 0.0, {})

    class Silent:
        name = "silent"
        problems, extract = INNER.problems, INNER.extract

        def judge(self, problem: Problem, answer: str) -> Verdict:
            return Verdict(None, None)

    assert Noisy(Silent(), 0.5).judge(PROBLEMS[0], "x") == Verdict(None, None)


def test_it_is_a_task_spec_around_any_other() -> None:
    task = load("noisy?recall=0.25&of=chain?h=2&of=arithmetic?steps=1")
    assert isinstance(task, Noisy)
    assert (task.recall, task.false_positive) == (0.25, 0.0)
    assert len(task.problems("train", 3)) == 3
    for spec, says in (
        ("noisy?recall=0.3", "names no task"), ("noisy?recall=2&of=arithmetic", "recall is 2"), ("noisy?rate=1&of=word", "'rate' is not"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says):
            load(spec)
