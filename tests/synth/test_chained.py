"""Tasks of chains: their gold values, their splits, and what their prompts give away."""

import json
import random
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from reasonry.core import Problem, Task, UserError
from reasonry.synth import (
    LABEL_PRESERVING,
    PLAIN,
    RE_SOLVE,
    TERSE,
    Chained,
    Wording,
    chain,
    chance_rate,
    from_text,
    read_steps,
    shifted,
    synth,
)
from reasonry.synth.chain import free_names
from reasonry.synth.chained import shuffled
from reasonry.tasks import from_rows, load_task
from reasonry.tasks.judges import hash_answer

ROWS = [
    {
        "question": f"A box number {1000 + i} holds {i + 20} pens. Then {i * i + 3} more pens arrive. How many pens are there?",
        "answer": f"There are {i + 20}+{i * i + 3}=<<{i + 20}+{i * i + 3}={i * i + i + 23}>>{i * i + i + 23} pens.\n#### {i * i + i + 23}",
    }
    for i in range(60)
]
"""GSM8K's form. The box's number is an integer the solution does not use."""


def pens(rows: list[dict[str, str]] = ROWS) -> Task:
    return from_rows(rows, "pens")


def arithmetic(h: int, **more: object) -> Chained:
    return synth(load_task("arithmetic"), h, RE_SOLVE, TERSE, pool=200, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [load_task("arithmetic"), pens()])
def test_chains_of_one_are_the_source_problem_by_problem(task: Task):
    pool, form = (120, RE_SOLVE) if task.name == "arithmetic" else (None, LABEL_PRESERVING)
    source, ones = task.problems("train", pool), synth(task, 1, form, pool=pool).problems("train")
    assert [(p.prompt, p.answer) for p in ones] == [(p.prompt, p.answer) for p in source]
    assert len(ones) >= 40


@pytest.mark.parametrize("h", [2, 4])
def test_the_gold_of_re_solved_chains_follows_from_the_demonstration(h: int):
    """The working's own arithmetic is checked line by line, and it ends in the answer."""
    task = arithmetic(h)
    for problem in task.problems("train", 30):
        working = task.demonstration(problem, random.Random(0))[-1].content
        for line in working.splitlines():
            left, equals, right = line.partition("=")
            if equals and left.strip() not in problem.meta["names"]:
                assert eval(left) == int(right)
        assert hash_answer(working) == problem.answer == problem.meta["values"][-1]
        assert task.judge(problem, working).passed
        assert read_steps(problem, working, task.judge(problem, working)) == (True,) * h


def test_label_preserving_chains_give_every_atom_its_own_text_and_answer_back():
    """Each expression, evaluated with the gold answers, is the number that stood there."""
    texts = {row["question"] for row in ROWS}
    answers = {p.prompt: p.answer for split in ("train", "validation", "test") for p in pens().problems(split)}
    for problem in synth(pens(), 3).problems("train", 20):
        gold = {name: Fraction(v) for name, v in zip(problem.meta["names"], problem.meta["values"], strict=True)}
        for line in str(problem.prompt).splitlines()[1:-1]:
            name, text = line.split(": ", 1)
            resolved = text
            if "(" in text:
                expression = text[text.index("(") : text.index(")") + 1]
                resolved = text.replace(expression, str(eval(expression, dict(gold))))
            assert resolved in texts
            assert answers[resolved] == str(gold[name])
        assert problem.answer == problem.meta["values"][-1]


def test_a_slot_is_never_a_number_the_solution_does_not_use():
    assert all(atom.slot is not None and atom.slot.value < 1000 for atom in synth(pens(), 2).atoms("train"))


@pytest.mark.parametrize(("source", "form", "pool"), [(pens(), LABEL_PRESERVING, None), (load_task("arithmetic"), RE_SOLVE, 150)])
def test_no_atom_is_in_two_splits_whatever_the_seed(source: Task, form: object, pool: int | None):
    task = synth(source, 2, form, pool=pool)  # type: ignore[arg-type]
    used = {
        split: {atom for seed in (0, 1) for p in task.problems(split, 8, seed) for atom in p.meta["atoms"]}
        for split in ("train", "test")
    }  # fmt: skip
    assert used["train"]
    assert used["test"]
    assert not used["train"] & used["test"]


def test_a_seed_replays_and_seeds_differ_and_no_chain_comes_twice():
    task = arithmetic(3)
    first = task.problems("train", 40, seed=1)
    assert first == task.problems("train", 40, seed=1) != task.problems("train", 40, seed=2)
    assert len({p.id for p in first}) == len({p.prompt for p in first}) == 40
    assert all(len(set(p.meta["atoms"])) == 3 for p in first)


def test_a_shuffled_telling_keeps_the_answers():
    """Problems are told out of order in some prompts; names alone say what comes first, and the last is still asked for."""
    told = arithmetic(3, order=shuffled).problems("train", 20)
    orders = {tuple(line.split(":")[0] for line in str(p.prompt).splitlines() if ":" in line) for p in told}
    assert len(orders) > 2
    assert all(str(p.prompt).endswith(f"what is {p.meta['names'][-1]}?") for p in told)


def test_names_avoid_the_words_of_the_problems():
    assert free_names(3, ["p is a letter and Q another"]) == ["R", "S", "T"]
    assert len(set(free_names(60, []))) == 60
    a, b = from_text(Problem("a", "Tom has 5 pens.", "5", {"solution": "5"})), from_text(
        Problem("b", "Vitamin P has 8 forms.", "8", {"solution": "8"})
    )  # fmt: skip
    assert a is not None
    assert b is not None
    made = chain((a, b), (shifted(3),))
    assert made.problem("t").meta["names"] == ["Q", "R"]
    with pytest.raises(UserError, match="'p' already stands"):
        made.prompt(PLAIN, ["p", "q"])
    with pytest.raises(UserError, match="needs 2 different names"):
        made.prompt(PLAIN, ["q", "q"])
    with pytest.raises(UserError, match="each of 0"):
        made.prompt(order=[0, 0])


def test_what_cannot_be_chained_is_refused_with_the_mend():
    with pytest.raises(UserError, match="h is 0"):
        synth(pens(), 0)
    with pytest.raises(UserError, match="say how many"):
        synth(pens(), 2).problems("train")
    bare = pens([{"question": row["question"], "answer": row["answer"].split("#### ")[1]} for row in ROWS])
    with pytest.raises(UserError, match="0 problems with a usable slot"):
        synth(bare, 2).problems("train", 1)
    with pytest.raises(UserError, match="ask for fewer"):
        synth(pens(ROWS[:3]), 2).problems("train", 400)
    with pytest.raises(UserError, match="give pool where the source never ends"):
        synth(load_task("arithmetic"), 2, RE_SOLVE).problems("train", 1)
    a = from_text(Problem("a", "Tom has 5 pens.", "5", {"solution": "5"}))
    assert a is not None
    with pytest.raises(UserError, match="must be given its own value 5"):
        chain((a, a), (shifted(1),))
    with pytest.raises(UserError, match="2 atoms and 0 adapters"):
        chain((a, a), ())


def test_a_file_in_gsm8ks_form_can_be_chained(tmp_path: Path):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    task = synth(load_task(str(path)), 2)
    problem = task.problems("train", 1)[0]
    assert isinstance(task, Task)
    assert task.judge(problem, f"so it is\n#### {problem.answer}").passed
    assert not task.judge(problem, f"#### {problem.answer}1").passed


def test_the_chance_rate_is_what_the_commonest_answer_earns():
    assert chance_rate([Problem(str(i), "", answer) for i, answer in enumerate("0110100000")]) == 0.7


def test_a_wordings_step_says_how_the_working_is_told():
    """In one line a step, the adapter's way included; every equality in it is true, and the last value is the step's."""
    wording = Wording("", "{name}: {text}", "what is {last}?", "{name}={link}{work}")
    task = synth(load_task("arithmetic?steps=1"), 3, RE_SOLVE, wording, pool=100)
    for problem in task.problems("train", 20):
        lines = problem.meta["solution"].splitlines()
        assert len(lines) == 3
        for line, name, value in zip(lines, problem.meta["names"], problem.meta["values"], strict=True):
            left, *parts = line.split("=")
            assert (left, parts[-1]) == (name, value)
            for expression, following in pairwise(parts):
                leads_to = re.match(r"\d+", following)
                assert leads_to
                assert eval(expression) == int(leads_to[0])
