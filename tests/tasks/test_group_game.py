"""The group guessing game: simultaneous moves, only the sum's sign comes back, and what cannot be read is flagged."""

import pytest

from reasonry.core import GroupEnv, Problem, UserError
from reasonry.tasks.group_game import CONDITIONS, OTHERS, PERSONAS, GroupGame, GuessingGame, guess_in, instructions


def said(*guesses: int) -> list[str]:
    return [f"I think so.\nFINAL GUESS: {g}" for g in guesses]


def test_a_game_by_hand():
    """15 + 20 is too high for 30, 10 + 10 too low, 10 + 20 is right and ends it."""
    env: GroupEnv = GuessingGame(30, agents=2, rounds=9)
    assert len(env.reset()) == env.agents == 2
    high, low, hit = env.step(said(15, 20)), env.step(said(10, 10)), env.step(said(10, 20))
    assert [s[0].info["feedback"] for s in (high, low, hit)] == ["too HIGH", "too LOW", "CORRECT"]
    assert high[0].observation == "Round 1: you guessed 15. The group was too HIGH."
    assert [s[0].done for s in (high, low, hit)] == [False, False, True]
    assert hit[1].reward == 1.0
    with pytest.raises(ValueError, match="done is True"):
        env.step(said(1, 2))


def test_nobody_is_told_what_others_guessed_nor_how_many_they_are():
    env = GuessingGame(60, agents=3)
    env.reset()
    for step, own, other in zip(env.step(said(11, 22, 33)), (11, 22, 33), (22, 33, 11), strict=True):
        assert str(own) in step.observation
        assert str(other) not in step.observation
        assert "66" not in step.observation
    assert "3" not in GroupGame(agents=3, targets=(10, 30)).problems("test", 1)[0].messages[0].content


def test_what_cannot_be_read_repeats_the_last_guess_and_is_flagged():
    """First the middle, then the own last guess; beyond the range is moved to its end and counts as read."""
    env = GuessingGame(99, agents=3, rounds=3)
    first = env.step(["no idea", "final guess: 7", "FINAL GUESS: 4 or rather FINAL GUESS: 90"])
    assert [(s.info["guess"], s.info["parsed"]) for s in first] == [(25, False), (7, True), (50, True)]
    second = env.step(["", "", ""])
    assert [s.info["guess"] for s in second] == [25, 7, 50]
    assert not any(s.info["parsed"] for s in second)
    assert env.step(said(1, 1, 1))[0].done
    assert [guess_in(t) for t in ("#### 12", "FINAL GUESS:-3", "12")] == [12, -3, None]


def test_games_are_the_same_everywhere_and_within_their_targets():
    task = GroupGame(agents=3, targets=(10, 30))
    a, b = task.problems("test", 30), task.problems("test", 30)
    assert a == b
    assert {p.id for p in a}.isdisjoint(p.id for p in task.problems("train", 30))
    assert all(10 <= int(p.answer) <= 30 for p in a)
    assert [p.id for p in task.problems("test", 5, seed=1)] != [p.id for p in a[:5]]
    assert task.judge(a[0], f"GROUP SUM: {a[0].answer}").passed
    assert not task.judge(a[0], "GROUP SUM: 1").passed
    assert not task.judge(a[0], "nothing").passed
    assert task.extract("GROUP SUM: 5\nGROUP SUM: 9") == "9"


def test_conditions_differ_by_persona_and_by_the_others():
    """Ten different personas, drawn anew by the seed; a third of the conditions' words is shared."""
    told = {c: instructions(c, 10) for c in CONDITIONS}
    assert len(set(told["plain"])) == 1
    assert len(set(told["persona"])) == len(set(told["persona-others"])) == 10
    assert all(OTHERS in t for c in ("others", "persona-others") for t in told[c])
    assert instructions("persona", 10, seed=1) != told["persona"] == instructions("persona", 10)
    assert len(instructions("persona", 60)) == 60
    assert len(set(PERSONAS)) == len(PERSONAS) >= 20


def test_rows_are_a_log():
    task = GroupGame(agents=2, targets=(20, 40))
    rows = task.rows(Problem("g", "", "30"), [said(15, 20), [said(10)[0], "?"]], ["a", "b"], condition="plain")
    assert [(r["round"], r["agent"], r["action"], r["parsed"]) for r in rows] == [
        (0, "a", 15, True), (0, "b", 20, True), (1, "a", 10, True), (1, "b", 20, False),
    ]  # fmt: skip
    assert [r["feedback"] for r in rows] == [1, 1, 0, 0]
    assert all(r["success"] and r["target"] == 30 and r["condition"] == "plain" for r in rows)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GroupGame(agents=1), "agents is 1"),
        (lambda: GroupGame(agents=3, targets=(51, 200)), "targets are 51 to 200"),
        (lambda: instructions("shy", 3), "condition: 'shy' is unknown"),
        (lambda: GroupGame().problems("final", 1), "split"),
    ],
)
def test_what_is_wrong_is_said(make, says):
    with pytest.raises(UserError, match=says):
        make()
