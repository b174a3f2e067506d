"""The step profile counts first failures, and its estimates multiply back."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Problem, UserError, Verdict
from reasonry.synth.profile import first_failure, profile, read_steps

CHAIN = Problem("c", "", "9", {"h": 3, "names": ["P", "Q", "R"], "values": ["5", "7.5", "9"]})
steps = st.lists(st.sampled_from([True, False, None]), min_size=4, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P = 5\nQ = 7.5\nR = 9\n#### 9", (True, True, True)),
        ("P = 2+3 = 5\nQ: 15/2\nR = 9", (True, True, True)),
        ("P is 4\nQ = 7\n", (False, False, True)),
        ("P = 4\nwait, P = 5\n", (True, None, True)),
        ("APP = 5 and pP: 5", (None, None, True)),
        ("P = ?\n", (None, None, True)),
    ],
)
def test_steps_are_read_off_the_last_line_that_names_them(text: str, expected: tuple[bool | None, ...]):
    """`2+3 = 5` states 5, a fraction equals its decimal, a name inside a word is none, and the last step is the judge's to decide."""
    assert read_steps(CHAIN, text, Verdict(1.0, True)) == expected


@pytest.mark.parametrize(
    ("attempt", "failed"),
    [
        ((True, True, True), None), ((True, True, False), 3), ((True, False, True), 2), ((None, None, True), None), 
        ((None, None, False), 1), ((True, None, False), 2), ((None, True, False), 3), ((False, False, False), 1), ((True, None, None), 2),
    ],
)  # fmt: skip
def test_the_first_failing_step(attempt: tuple[bool | None, ...], failed: int | None):
    """What is not stated is right when something after it is, and wrong otherwise; what is stated wrong is wrong."""
    assert first_failure(attempt) == failed


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, min_size=1, max_size=30))
def test_the_conditional_chances_multiply_to_the_profile(attempts: list[tuple[bool | None, ...]]):
    found = profile(attempts, p=0.5)
    running = 1.0
    for s, q, sigma in zip(found.s, found.q, found.sigma, strict=True):
        assert (q is None) == (running == 0)
        running *= q or 0.0
        assert s.mean == pytest.approx(running)
        assert s.low <= s.mean <= s.high
        assert sigma == (None if q is None else q / 0.5)
    assert sum(found.first_failures.values()) == round((1 - found.s[-1].mean) * len(attempts))


def test_a_profile_by_hand():
    """Four attempts: one right, one that fails at step 2 but answers right, two that fail at step 1; p from step 1 is 1/2."""
    found = profile([(True, True), (None, False), (False, True), (True, False)])
    assert found.first_failures == Counter({1: 2, 2: 1})
    assert ([s.mean for s in found.s], found.q, found.p) == ([0.5, 0.25], (0.5, 0.5), 0.5)
    assert (found.sigma, found.yardstick, found.short_circuits) == ((1.0, 1.0), (0.5, 0.25), 1)


def test_a_right_answer_by_way_of_a_wrong_step_is_a_short_circuit():
    """A model that knows the source's answers by heart shows here and not in the accuracy."""
    found = profile([(False, True)] * 3 + [(True, True)])
    assert (found.short_circuits, found.s[-1].mean) == (3, 0.25)


def test_profiles_need_attempts_of_one_length_and_a_chance():
    with pytest.raises(UserError, match=r"lengths \[\]"):
        profile([])
    with pytest.raises(UserError, match=r"lengths \[1, 2\]"):
        profile([(True,), (True, True)])
    with pytest.raises(UserError, match="p is 0"):
        profile([(False, False)])
    with pytest.raises(UserError, match="no names and values"):
        read_steps(Problem("x", ""), "", Verdict(0.0, False))
