"""Which numbers of a question may become slots."""

from fractions import Fraction

import pytest

from reasonry.core import Message, Problem
from reasonry.synth.atoms import Atom, Slot, depends, from_program, from_text, uses
from reasonry.tasks import load_task
from reasonry.tasks.judges import spell

DUCKS = Problem(
    "ducks",
    "Ducks lay 16 eggs. She eats three and bakes with 4. She sells the rest for $2 each. What does she make?",
    "18",
    {"solution": "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18."},
)


def slot(question: str, answer: str = "9") -> str | None:
    """The text of the slot of a question whose solution names all its numbers."""
    atom = from_text(Problem("p", question, answer, {"solution": f"From {question} follows {answer}."}))
    return None if atom is None or atom.slot is None else spell(atom.slot.value)


@pytest.mark.parametrize(
    "question",
    [
        "What is 1/2 of it?", "What is 3 / 4 of it?", "What is 1 1/2 of it?", r"What is \frac{3}{4} of it?", "What is x^2?", "What is 2^x?",
        "What is y**3?", "What is y^(5)?", "What is f(7)?", "What is max(x, 7)?", "What is f[3]?",
        r"What is \sqrt{49}?", r"What is \log 9?",
        "It takes 3.5 hours.", "It costs $1,200.", "At 10:30 it rings.", "The 3rd is it.", "Take x2 of it.", "It is -5 outside.",
        "From 3-5 of them.", "Agent 007 has it.", "No number at all.",
    ],
)  # fmt: skip
def test_numbers_inside_something_else_are_no_slots(question: str):
    """Fractions, exponents, function arguments, longer numbers, words, signs, ranges."""
    assert slot(question) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Tom has 12 apples.", "12"), ("It costs $12 each.", "12"), ("With 20% off.", "20"), ("Take 7, then go.", "7"), ("Are 8.", "8"),
        ("A 5-year-old child.", "5"), ("Half of 1/2 and 6 more.", "6"), ("Eggs (all 9 of them) break.", "9"),
    ],
)  # fmt: skip
def test_plain_integers_are_slots(question: str, expected: str):
    assert slot(question) == expected


def test_a_value_told_twice_is_no_slot():
    """The second copy would tell what the name hides."""
    assert slot("Tom has 12 apples and Ann has 12 pears and 5 plums.") == "5"


def test_the_slot_gives_the_text_back_and_is_one_the_solution_uses():
    atom = from_text(DUCKS)
    assert atom is not None
    assert atom.slot is not None
    assert (atom.slot.value, atom.answer) == (16, 18)
    assert atom.ask(spell(atom.slot.value)) == DUCKS.prompt
    assert atom.ask("(P - 2)") == str(DUCKS.prompt).replace("16", "(P - 2)")


def test_marked_calculations_are_worked_through():
    """16 leads to 18 by way of 9; 3 is used as well; 5 is nowhere; a number that drops out again does not count."""
    solution = str(DUCKS.meta["solution"])
    answer = Fraction(18)
    assert [uses(solution, Fraction(v), answer) for v in (16, 3, 4, 2, 5)] == [True, True, True, True, False]
    assert not uses("<<7*0=0>> <<0+18=18>>", Fraction(7), answer)
    assert not uses("<<7+1=8>> <<9*2=18>>", Fraction(7), answer)
    assert not uses("<<7+=8>> <<8+10=18>>", Fraction(7), answer)


def test_without_a_solution_or_a_number_as_answer_there_is_no_slot():
    bare = from_text(Problem("p", "Tom has 12 apples.", "12"))
    assert bare is not None
    assert bare.slot is None
    assert from_text(Problem("p", "Who has 12 apples?", "Tom")) is None
    assert from_text(Problem("p", (Message("system", "Be short."), Message("user", "Tom has 12 apples.")), "12")) is None


@pytest.mark.parametrize("task", ["arithmetic", "word"])
def test_generated_problems_bring_their_program(task: str):
    """The program gives the problem's own answer for its own value, and another for another; outside 0..TOP there is none."""
    for problem in load_task(task).problems("train", 60):
        atom = from_program(problem)
        assert atom is not None
        assert atom.slot is not None
        assert atom.solve is not None
        assert atom.ask(spell(atom.slot.value)) == problem.prompt
        assert spell(atom.answer) == problem.answer
        assert atom.solve(atom.slot.value) == atom.answer
        assert depends(atom)
        assert atom.solve(Fraction(1, 2)) is None
        assert atom.solve(Fraction(301)) is None
    assert from_program(DUCKS) is None


def test_dependence_is_found_by_moving_the_slot():
    at = Slot(0, 1, Fraction(5))
    assert depends(Atom("5", Fraction(10), at, lambda x: 2 * x))
    assert not depends(Atom("5", Fraction(8), at, lambda x: Fraction(8)))
    assert not depends(Atom("5", Fraction(0), at, lambda x: Fraction(int(x) // 100)))
