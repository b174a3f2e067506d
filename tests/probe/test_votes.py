"""Fair votes: closed forms, and nothing that depends on the order."""

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.probe.stats import maj_at_k
from reasonry.probe.votes import any_one, by_score, by_vote, classes, expected, judged, largest, weights
from reasonry.tasks.judges import numeric
from reasonry.tasks.pool import Candidate

answers = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=9)


def said(answer: str | None) -> Candidate:
    return Candidate(answer or "?", answer, 1)


@given(answers, st.randoms(use_true_random=False))
def test_a_shuffle_moves_the_chances_along_and_changes_none(keys: list[str | None], rng: random.Random):
    order = rng.sample(range(len(keys)), len(keys))
    scores = [len(key or "") + (3 if key == "2" else 0.5) for key in keys]
    for chances in (by_vote, any_one, lambda k: by_vote(k, [2.0 if x == "3" else 0.7 for x in k])):
        assert chances([keys[i] for i in order]) == [chances(keys)[i] for i in order]
    assert by_score([keys[i] for i in order], [scores[i] for i in order]) == [by_score(keys, scores)[i] for i in order]


@given(answers)
def test_no_answer_never_wins_against_an_answer(keys: list[str | None]):
    """However many texts say nothing readable; and where nobody answers, nobody is taken."""
    chances = by_vote([*keys, *[None] * 20])
    assert sum(chances) == pytest.approx(0.0 if all(k is None for k in keys) else 1.0)
    assert all(p == 0 for p, k in zip(chances, keys, strict=False) if k is None)


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=7))
def test_the_expected_majority_is_that_of_maj_at_k(keys: list[str | None]):
    right = [float(k == "1") for k in keys]
    assert expected(by_vote(keys), right) == pytest.approx(maj_at_k(keys, right, len(keys)))


def test_a_majority_of_one_is_pass_at_1():
    for key in ("1", "2"):
        assert expected(by_vote([key]), [float(key == "1")]) == expected(any_one([key]), [float(key == "1")])


def simulated(m: int, q: float, shared: bool) -> float:
    """The expected majority over all 2^m patterns of right and wrong."""
    total = 0.0
    for c in range(m + 1):
        keys = ["right"] * c + ["wrong" if shared else f"wrong {i}" for i in range(m - c)]
        total += comb(m, c) * q**c * (1 - q) ** (m - c) * expected(by_vote(keys), [float(k == "right") for k in keys])
    return total


@pytest.mark.parametrize("m", [1, 2, 5, 8])
@pytest.mark.parametrize("q", [0.2, 0.5, 0.8])
def test_majority_of_independent_answers_has_its_closed_forms(m: int, q: float):
    """All wrong answers distinct: right with two votes or more, or with one that wins the tie of m. One shared wrong answer: P(Bin > m/2)
    + half of P(Bin = m/2)."""
    binomial = [comb(m, c) * q**c * (1 - q) ** (m - c) for c in range(m + 1)]
    assert simulated(m, q, shared=False) == pytest.approx(sum(binomial[2:]) + binomial[1] / m)
    assert simulated(m, q, shared=True) == pytest.approx(sum(p * ((c > m / 2) + 0.5 * (c == m / 2)) for c, p in enumerate(binomial)))


def test_equivalent_spellings_are_one_vote_where_the_judge_says_so():
    """1/2 and 0.5 are the majority together; apart, as spelled, they lose to two threes."""
    candidates = [said("1/2"), said("0.5"), said("3"), said("0.50"), said("3")]

    class Numbers:
        def extract(self, text: str) -> str | None:
            return numeric().extract(text)

        def judge(self, problem: Problem, answer: str):
            return numeric()(problem, answer)

    joined = classes(candidates, judged(Numbers(), Problem("p", "?", "0.5")))
    assert joined == [0, 0, 1, 0, 1]
    assert by_vote(joined)[2] == 0
    assert by_vote(classes(candidates))[2] == 0.5
    assert (largest(joined), largest(classes(candidates))) == (3, 2)


def test_log_probabilities_become_weights_and_an_even_weight_is_a_plain_vote():
    assert weights([-1.0, None, -1.0]) == [1.0, 0.0, 1.0]
    assert weights([0.2, None, 0.0]) == [0.2, 0.0, 0.0]
    keys = ["1", "2", "2", None]
    assert by_vote(keys, [0.3] * 4) == by_vote(keys)
    with pytest.raises(UserError, match="no candidate has a score"):
        weights([None])
