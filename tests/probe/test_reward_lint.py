"""The reward lint finds each planted fault, finds none in a sound reward, and its statistics are what hand counts give."""

import math
import random

import pytest

from reasonry.core import Problem
from reasonry.probe.reward_lint import Group, Level, Score, lint
from reasonry.tasks.judges import hash_answer


def groups(n: int = 12, size: int = 6, judged: bool = True) -> list[Group]:
    """Answers right or wrong at random, with workings of random length that has nothing to do with it."""
    rng, made = random.Random(0), []
    for i in range(n):
        gold = str(100 + 7 * i)
        right = [rng.random() < 0.5 for _ in range(size)]
        texts = tuple("step by step\n" * rng.randint(1, 9) + f"#### {gold if r else '5'}" for r in right)
        quality = tuple(map(float, right)) if judged else None
        made.append(Group(Problem(f"p{i}", f"question {i}?", gold), texts, tuple(map(len, texts)), quality))
    return made


def strict(problem: Problem, texts) -> list[float | None]:
    return [float(hash_answer(text) == problem.answer) for text in texts]


def checks(score: Score, data: list[Group] | None = None) -> dict[str, Level]:
    return {f.check: f.level for f in lint(score, data or groups()).findings}


def each(function) -> Score:
    return lambda problem, texts: [function(problem, text) for text in texts]


def right(problem: Problem, text: str) -> float:
    return float(hash_answer(text) == problem.answer)


def test_a_sound_reward_has_no_findings():
    found = lint(strict, groups())
    assert found.findings == ()
    assert (found.low, found.high, found.unscored, found.answers) == (0.0, 1.0, 0, 72)
    assert found.auc is not None
    assert found.auc.mean == 1
    assert found.blind == 0
    assert found.length_partial is None
    earned = {e.scenario: (e.mean, e.as_much) for e in found.scenarios}
    assert earned["the right answer"] == (1, 1)
    assert earned["a wrong answer"] == earned["empty"] == earned["the prompt echoed"] == (0, 0)


@pytest.mark.parametrize(
    ("check", "score"),
    [
        ("pays for dawdling", each(lambda p, t: right(p, t) + 0.001 * len(t))),
        ("pays for brevity", each(lambda p, t: right(p, t) - 0.001 * len(t))),
        ("scenarios", each(lambda p, t: float(p.answer in t))),
        ("tracks quality", each(lambda p, t: float(t.count("step")))),
        ("tracks quality", each(lambda p, t: 1 - right(p, t))),
        ("spread", each(lambda p, t: 0.5)),
        ("finite", each(lambda p, t: right(p, t) or math.nan)),
        ("bounded", each(lambda p, t: 1000 * right(p, t))),
        ("scored", each(lambda p, t: right(p, t) or None)),
        ("order", lambda p, ts: [right(p, t) + 0.1 * i for i, t in enumerate(ts)]),
        ("alone", lambda p, ts: [right(p, t) - sum(right(p, u) for u in ts) / len(ts) for t in ts]),
        ("odd text", each(lambda p, t: float(int(t.split("####")[1]) == int(p.answer)))),
        ("runs", lambda p, ts: [1.0]),
        ("runs", lambda p, ts: 1 / 0),
    ],
)
def test_a_planted_fault_is_found(check, score):
    assert check in checks(score)


def test_a_reward_that_rolls_dice_is_not_deterministic():
    rng = random.Random(0)
    assert checks(each(lambda p, t: right(p, t) + 0.1 * rng.random()))["deterministic"] is Level.ALARM


def test_spraying_is_caught_where_any_answer_counts_and_not_where_the_last_does():
    said = [f.says for f in lint(each(lambda p, t: float(f"#### {p.answer}" in t.splitlines())), groups()).findings]
    assert any("'11 answers one by one' earns as much as the right answer on 100 % of 12 problems" in s for s in said)
    assert lint(strict, groups()).findings == ()


def test_what_a_reward_fails_on_is_named_and_the_rest_still_earns():
    found = lint(each(lambda p, t: float(int(t.split("####")[1]) == int(p.answer))), groups())
    said = next(f.says for f in found.findings if f.check == "scenarios")
    assert "fails on 'right, then rambling ×10', 'no answer'" in said
    assert "ValueError" in said
    assert {e.scenario: e.mean for e in found.scenarios}["the right answer"] == 1


def test_without_quality_length_is_only_a_hint_and_without_answers_there_is_no_table():
    assert checks(each(lambda p, t: 0.001 * len(t)), groups(judged=False))["pays for dawdling"] is Level.HINT
    bare = [Group(Problem(g.problem.id, "?"), g.completions, g.lengths, g.quality) for g in groups()]
    found = lint(each(lambda p, t: float(len(t))), bare)
    assert found.scenarios == ()
    assert "no problem has an answer" in found.skipped


def test_the_statistics_of_two_small_groups_by_hand():
    """Group 1: qualities 1, 0, 0 with rewards 2, 2, 1: of two pairs one is won and one tied. Group 2: 1, 0 with 0, 3: lost.
    AUC = (1 + ½ + 0) / 3. Spread: the mean of √(2/9) and 3/2."""
    data = [
        Group(Problem("a", "?"), ("x", "y", "z"), (1, 2, 3), (1.0, 0.0, 0.0)),
        Group(Problem("b", "?"), ("x", "y"), (1, 2), (1.0, 0.0)),
    ]
    table = {("a", "x"): 2, ("a", "y"): 2, ("a", "z"): 1, ("b", "x"): 0, ("b", "y"): 3}
    found = lint(each(lambda p, t: table.get((p.id, t), 0)), data)
    assert found.auc is not None
    assert found.auc.mean == pytest.approx(0.5)
    assert found.spread == pytest.approx((math.sqrt(2 / 9) + 1.5) / 2)
    assert (found.zero_variance, found.blind) == (0, 0)
