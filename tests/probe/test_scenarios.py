"""Scenarios are the reference spoilt in the way they say, and in no other."""

import pytest

from reasonry.probe.scenarios import ODD, Worth, gold_of, parts, same, scenarios, wrong_answers
from reasonry.tasks.judges import numeric


@pytest.mark.parametrize(
    ("text", "gold", "cut"),
    [
        ("1+1=2\n#### 2", "2", ("1+1=2\n", "#### ", "2", "", "")),
        ("So \\boxed{1,234}.", "1234", ("So ", "\\boxed{", "1,234", "}", ".")),
        ("<answer> 7 </answer> done", "7", ("", "<answer> ", "7", " </answer>", " done")),
        ("Hence the answer is 3.5.", "3.5", ("Hence the ", "answer is ", "3.5", ".", "")),
        ("it is paris, paris!", "paris", ("it is paris, ", "", "paris", "", "!")),
        ("#### 3\nno, #### 4\n#### 4", "4", ("#### 3\nno, #### 4\n", "#### ", "4", "", "")),
    ],
)
def test_a_text_is_cut_at_its_last_statement_of_the_answer(text, gold, cut):
    p = parts(text, gold)
    assert p is not None
    assert (p.before, p.opening, p.answer, p.closing, p.after) == cut
    assert p.before + p.statement(p.answer) + p.after == text


def test_an_answer_that_is_not_there_is_not_found():
    assert parts("#### 5", "6") is None
    with pytest.raises(ValueError, match="does not hold"):
        scenarios("#### 5", "6", ["7"], "what?")


def test_a_numeric_judge_agrees_with_what_every_scenario_is_worth():
    """The working here does not state the answer, so that even a lenient judge can tell."""
    from reasonry.core import Problem

    judge, problem = numeric(), Problem("p", "how many?", "42")
    made = scenarios("twenty and one, doubled\n#### 42", "42", wrong_answers("42", []), "how many?")
    assert len({s.text for s in made}) == len(made) == 13
    for s in made:
        if "rambling" in s.name or "one by one" in s.name or "in one" in s.name:
            continue
        assert judge(problem, s.text).passed is (s.worth is not Worth.BAD), s.name
    texts = {s.name: s.text for s in made}
    assert len(texts["right, then rambling ×10"]) > 10 * 28
    sprayed = [line.removeprefix("#### ") for line in texts["11 answers one by one"].splitlines() if line.startswith("####")]
    assert sprayed.count("42") == 1
    assert "42" not in (sprayed[0], sprayed[-1])


def test_wrong_answers_are_wrong_and_of_the_same_kind():
    assert wrong_answers("10", [])[:4] == ["11", "9", "12", "8"]
    assert "1.5" in wrong_answers("0.5", [])
    assert wrong_answers("paris", ["rome", "paris", "rome", "oslo"]) == ["rome", "oslo"]
    assert not any(same(w, "aba") for w in wrong_answers("aba", ["aba"]))


def test_golden_answers_are_read_from_any_column():
    assert [gold_of(x) for x in ("18", "work\n#### 18", 18, "", None, [1], True)] == ["18", "18", "18", None, None, None, None]
    assert same("1,000", " 1000.0 ")
    assert not same("1/0", "1")
    assert len(set(ODD.values())) == len(ODD)
