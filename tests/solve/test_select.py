"""Choosing among candidates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.solve.select import abstain, as_meta, by_score, vote, weighted_vote

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12)


def test_majority_wins_and_a_tie_goes_to_the_answer_seen_first() -> None:
    assert vote(["b", "a", "a"]).index == 1
    assert vote(["b", "a", "a", "b"]).index == 0
    assert vote(["b", "a", "a", "b"]).tally == {"b": 2, "a": 2}


def test_a_text_without_an_answer_casts_no_vote() -> None:
    assert vote([None, None, "a"]).index == 2
    assert vote([None, None, "a"]).share == 1.0
    assert vote([None, None]).index is None
    assert vote([]).index is None


@given(ANSWERS)
def test_the_winner_has_no_fewer_votes_than_any_other(answers: list[str | None]) -> None:
    choice = vote(answers)
    if choice.index is None:
        assert set(answers) <= {None}
    else:
        winner = answers[choice.index]
        assert answers.index(winner) == choice.index
        assert all(answers.count(winner) >= answers.count(a) for a in answers if a is not None)


@given(ANSWERS)
def test_equal_weights_are_a_plain_vote(answers: list[str | None]) -> None:
    assert weighted_vote(answers, [2.5] * len(answers)).index == vote(answers).index


def test_weights_decide_and_the_heaviest_of_the_winners_is_taken() -> None:
    choice = weighted_vote(["a", "b", "b", "a"], [1.0, 1.0, 4.0, 3.0])
    assert (choice.index, choice.share) == (2, 5 / 9)
    with pytest.raises(ValueError, match="negative"):
        weighted_vote(["a"], [-1.0])


def test_the_highest_score_is_taken_and_the_unscored_never() -> None:
    assert by_score([None, -3.0, -1.0, -1.0]).index == 2
    assert by_score([None, -3.0]).index == 1
    assert by_score([None, None]).index is None


def test_abstaining_keeps_the_tally() -> None:
    choice = abstain(vote(["a", "b", "c"]), 0.5)
    assert (choice.index, choice.tally) == (None, {"a": 1, "b": 1, "c": 1})
    assert abstain(vote(["a", "a", "c"]), 0.5).index == 0


def test_meta_has_what_the_selection_gap_needs() -> None:
    meta = as_meta(by_score([0.1, 0.9]), ["x", None], [0.1, 0.9])
    assert meta == {"candidates": 2, "answers": ["x", None], "chosen": 1, "share": 1.0, "scores": [0.1, 0.9]}
