"""Tricky spellings: a parser's slip looks like a weak model, so each is written down here."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Missing, Problem, UserError
from reasonry.tasks.judges import JUDGES, exact, final_answer, hash_answer, math_verify, numeric, numeric_answer


def ask(gold):
    return Problem("p", "?", gold)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 42", "42"),
        ("so it is 41\n#### 41\nno:\n#### 42", "42"),
        ("####42  ", "42"),
        ("#### 42\n####   ", "42"),
        ("x #### 42", None),
        (r"\boxed{42}", "42"),
        (r"\boxed{\frac{1}{2}} and done", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\text{a} } stays", r"\text{a}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{7", None),
        (r"good \boxed{7} bad \boxed{8", "7"),
        (r"\boxed{}", None),
        ("#### 41\n" + r"so \boxed{42}", "42"),
        (r"\boxed{41}" + "\n#### 42", "42"),
        ("The answer is 42.", "42"),
        ("the answer is: **Paris**.", "Paris"),
        ("Answer: $x+1$", "x+1"),
        ("The answer is 3.5. Bye", "3.5"),
        ("Is the answer is 1? No, the answer is 2", "2"),
        ("answer is B\nor so", "B"),
        ("I think 42", None),
        ("", None),
    ],
)
def test_where_the_final_answer_is_found(text, answer):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 1,234", "1234"), ("#### $1,234.50", "1234.5"), ("#### -$5", "-5"), ("#### $-5", "-5"), ("#### − 5", "-5"),
        ("#### 50%", "50"), (r"#### 50\%", "50"), ("#### 42 apples", "42"), ("#### 42.", "42"), ("#### 42.0", "42"), ("#### .5", "0.5"),
        ("#### +7", "7"), ("#### 007", "7"), ("#### 3/4", "0.75"), ("#### 1 1/2", "1.5"), ("#### -1 1/2", "-1.5"), ("#### 2/3", "2/3"),
        ("#### 4/6", "2/3"), ("#### 3/0", None), ("#### 1e3", "1000"), ("#### 1.5E-2", "0.015"), ("#### 2/6/2020", None),
        (r"\boxed{\frac{1}{2}}", "0.5"), (r"\boxed{\dfrac{-1}{2}}", "-0.5"), (r"\boxed{-\frac{1}{2}}", "-0.5"), (r"\boxed{\frac12}", "0.5"),
        (r"\boxed{2\frac{1}{2}}", "2.5"), (r"\boxed{1{,}000}", "1000"), (r"\boxed{1\,000}", "1000"), (r"\boxed{90^\circ}", "90"),
        (r"\boxed{3 \times 10^5}", "300000"), (r"\boxed{18\text{ dollars}}", "18"), (r"\boxed{\$18}", "18"), (r"\boxed{x = 5}", "5"),
        ("#### 5 or 7", None), ("#### 5-7", None), ("#### 3:30", None), ("#### 1,23", None), ("#### 5x", None), ("#### 5k", None),
        ("#### none", None), ("#### inf", None), ("#### nan", None), ("#### H2O", None), ("#### ٤٢", None), ("#### 1.2.3", None),
        ("#### " + "9" * 1000, None), ("#### 1e9999", None),
        ("the answer is 72 because 48+24 is that", "72"), ("The final answer is $\\boxed{3}$.", "3"),
        ("it costs $3.50 in all", "3.5"), ("37*48 = 1776", "1776"), ("from 10 down to 5-3", "3"), ("so x=-3", "-3"),
        ("12 eggs, then **7**.", "7"), ("no number here", None), ("", None),
    ],
)  # fmt: skip
def test_how_a_number_is_read(text, answer):
    assert numeric_answer(text) == answer


def test_a_marked_answer_that_is_no_number_is_not_replaced_by_another():
    assert numeric_answer("we get 42\n#### unknown") is None


@settings(max_examples=40, deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_integers_survive_every_dress(x):
    for text in (f"#### {x}", f"#### {x:,}", f"\\boxed{{{x}}}", f"the answer is {x}.", f"so {x}", f"#### ${x}", f"#### {x}.00"):
        assert numeric_answer(text) == str(x)


@settings(max_examples=40, deadline=None)
@given(st.integers(-999, 999), st.integers(1, 99))
def test_a_fraction_and_its_spelling_are_the_same_number(top, bottom):
    judge = numeric()
    spelled = numeric_answer(f"#### {top}/{bottom}")
    assert spelled is not None
    assert judge(ask(f"{top}/{bottom}"), f"#### {spelled}").passed
    assert judge(ask(top / bottom), f"#### {spelled}").passed
    assert not judge(ask(f"{top}/{bottom}"), f"#### {top + bottom}/{bottom}").passed


@pytest.mark.parametrize(
    ("gold", "text", "passed"),
    [
        ("1,234", "#### 1234", True), (1234, "#### 1,234.0", True), ("$18", "#### 18", True), ("0.5", "#### 1/2", True),
        (r"\frac{1}{3}", "#### 0.3333333", True), (r"\frac{1}{3}", "#### 0.33", False), (0.1, "#### 0.1", True),
        (1000000, "#### 1000001", False), ("42", "#### 42.0000001", True), ("42", "#### 42.001", False), ("42", "41", False),
        ("42", "no idea", False),
    ],
)  # fmt: skip
def test_numeric_agreement(gold, text, passed):
    verdict = numeric()(ask(gold), text)
    assert verdict.passed is passed
    assert verdict.score == float(passed)


def test_tolerance_is_a_choice():
    assert numeric(0.01)(ask("1/3"), "#### 0.33").passed
    with pytest.raises(UserError, match="tolerance"):
        numeric(-1)


@pytest.mark.parametrize("gold", [None, "", "many", ["a"], {"x": 1}])
def test_an_unreadable_gold_answer_is_not_scored_rather_than_wrong(gold):
    verdict = numeric()(ask(gold), "#### 3")
    assert verdict.score is None
    assert verdict.passed is None
    assert "not scored" in verdict.why


def test_exact_takes_off_the_dress_but_keeps_the_letters():
    for text in ("#### Paris", "The answer is **Paris**.", r"\boxed{Paris}", "answer: `Paris`"):
        assert exact(ask("Paris"), text).passed
    for text in ("#### paris", "#### Paris, France", "Paris", ""):
        assert not exact(ask("Paris"), text).passed
    assert exact(ask(None), "#### x").score is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### " + " " * 200_000 + "x", None), (r"\boxed{" * 100_000, None), ("answer is " * 100_000, None), ("9" * 400_000, None),
        ("1," * 200_000 + " 1", "1"), ("1 " * 200_000 + "/", "1"), ("{" * 400_000, None), (" " * 400_000 + "1", "1"),
        (r"\boxed{" + "{}" * 200_000 + "1}", "1"), ("- " * 200_000 + "1", "-1"),
    ],
    ids=range(10),
)  # fmt: skip
def test_hostile_text_is_read_in_linear_time(text, answer):
    """A pattern that backtracks would turn these into hours, and the suite's time-out into the messenger."""
    assert numeric_answer(text) == answer
    exact(ask("1"), text)
    hash_answer(text)


@settings(max_examples=40, deadline=None)
@given(st.text())
def test_no_text_raises(text):
    for judge in (exact, numeric()):
        judge(ask("1"), text)
        judge(ask(text), "#### 1")


def test_math_verify_compares_by_meaning():
    pytest.importorskip("math_verify")
    judge = math_verify()
    assert judge(ask(r"\frac{1}{2}"), r"so \boxed{0.5}").passed
    assert judge(ask("x^2+2x+1"), r"\boxed{(x+1)^2}").passed
    assert judge(ask(r"\sqrt{8}"), r"#### 2\sqrt{2}").passed
    assert not judge(ask(r"\sqrt{8}"), r"\boxed{3}").passed
    assert not judge(ask("7"), "I do not know").passed
    assert judge(ask(None), r"\boxed{3}").score is None


def test_math_verify_works_in_a_thread():
    """The library's time-outs are signals, which only the main thread may set."""
    pytest.importorskip("math_verify")
    found = []
    thread = threading.Thread(target=lambda: found.append(math_verify()(ask("1/2"), r"\boxed{0.5}")))
    thread.start()
    thread.join()
    assert found[0].passed


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "math_verify", None)
    with pytest.raises(Missing, match=r"reasonry\[math\]"):
        JUDGES["math"]()
