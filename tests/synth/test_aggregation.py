"""An aggregator's training data: sets, hardness, the mixture, and the task over them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.synth.aggregation import Aggregation, Example, all_tied_wrong, any_tied_wrong, first_reached, mixture, sets
from reasonry.synth.spec import load
from reasonry.tasks import load_task
from reasonry.tasks.pack import BARE, Packing
from reasonry.tasks.pool import Candidate, Pool, read_pools, write_pools

letters = st.lists(st.lists(st.sampled_from("rrwv?"), min_size=8, max_size=24), min_size=1, max_size=8)


def pool(i: int, marks: list[str], split: str = "train") -> Pool:
    """A problem whose candidates say r (right), w or v (wrong), or nothing readable."""
    told = tuple(Candidate(f"#### {c}{j}", None if c == "?" else c, 10 + j, correct=float(c == "r")) for j, c in enumerate(marks))
    return Pool(Problem(f"p{i}", f"question {i}", "r"), split, told)


def example(marks: str) -> Example:
    made = pool(0, list(marks))
    return Example(made, 0, made.candidates)


@pytest.mark.parametrize(
    ("marks", "by_any", "by_all", "by_first"),
    [
        ("rrw", False, False, False), ("rww", True, True, True), ("rrww", True, False, False), ("wwrr", True, False, True),
        ("??r", False, False, False), ("???", True, True, True), ("wvww", True, True, True), ("rwv", True, False, False),
    ],
)  # fmt: skip
def test_hard_is_a_wrong_majority_and_ties_go_by_a_named_rule(marks: str, by_any: bool, by_all: bool, by_first: bool):
    """No answer never wins, however frequent; where nobody answers the example is hard."""
    e = example(marks)
    assert (any_tied_wrong(e), all_tied_wrong(e), first_reached(e)) == (by_any, by_all, by_first)


@pytest.mark.parametrize("mark", ["r", "w", "?"])
def test_with_one_candidate_an_example_is_hard_iff_it_is_wrong(mark: str):
    assert {any_tied_wrong(example(mark)), all_tied_wrong(example(mark)), first_reached(example(mark))} == {mark != "r"}


@settings(deadline=None, max_examples=40)
@given(letters, st.integers(1, 8), st.integers(0, 3))
def test_sets_share_no_candidate_and_all_have_m(marks: list[list[str]], m: int, seed: int):
    made = sets([pool(i, row) for i, row in enumerate(marks)], m, seed=seed)
    assert {len(e.candidates) for e in made} == {m}
    used = Counter((e.pool.problem.id, c.tokens) for e in made for c in e.candidates)
    assert max(used.values()) == 1
    assert len(made) == sum(len(row) // m for row in marks)


@settings(deadline=None, max_examples=60)
@given(letters, st.sampled_from([0.0, 5.0, 50.0, 100.0, 270.0, None]), st.integers(0, 3))
def test_the_mixture_keeps_every_hard_example_once_and_p_per_cent_of_their_number_easy(marks: list[list[str]], p: float | None, seed: int):
    every = sets([pool(i, row) for i, row in enumerate(marks)], 2, seed=seed)
    kept = mixture(every, p, seed=seed)
    hard, easy = [e.id for e in every if any_tied_wrong(e)], [e for e in every if not any_tied_wrong(e)]
    assert sorted(e.id for e in kept if any_tied_wrong(e)) == sorted(hard)
    chosen = [e for e in kept if not any_tied_wrong(e)]
    assert len(chosen) == (len(easy) if p is None else min(round(p / 100 * len(hard)), len(easy)))
    assert len({e.id for e in kept}) == len(kept)
    used, there = Counter(e.pool.problem.id for e in chosen), Counter(e.pool.problem.id for e in easy)
    spare = [used[id] for id in there if used[id] < there[id]]
    assert not spare or max(used.values(), default=0) <= min(spare) + 1, "none is used r + 2 times while another could be used after r"


def test_p_is_relative_to_the_hard_examples_not_to_all():
    """10 hard and 40 easy: 50 % is 5 easy ones, of 15 in all."""
    pools = [pool(i, ["w", "w"]) for i in range(10)] + [pool(i + 10, ["r", "r"]) for i in range(40)]
    assert Counter(any_tied_wrong(e) for e in mixture(sets(pools, 2), 50)) == {True: 10, False: 5}


def written(folder: Path) -> Path:
    pools = [pool(i, list("rwrr"), "train") for i in range(3)] + [pool(i + 3, list("wwrr"), "train") for i in range(3)]
    return write_pools(folder / "pools.jsonl", [*pools, pool(9, list("rrww"), "test")])


def test_a_pool_file_is_read_as_it_was_written(tmp_path: Path):
    file = written(tmp_path)
    assert write_pools(tmp_path / "again.jsonl", read_pools(file)).read_text() == file.read_text()


def test_the_task_over_a_file_is_a_file_of_prompts_judged_by_the_source(tmp_path: Path):
    """The mixture is of the training split alone; every attempt sees the same candidates in the same order; the source's judge decides."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"prompt": f"question {i}", "answer": "r"}) + "\n" for i in range(10)))
    spec = f"aggregate?file={written(tmp_path)}&m=2&p=0&ties=all&words=bare&of={questions}?judge=exact&split=test"
    task = load(spec)
    assert isinstance(task, Aggregation)
    train, test = task.problems("train"), task.problems("test")
    assert train == load(spec).problems("train")
    assert train
    assert all(p.meta["hard"] for p in train)
    assert len(test) == 2
    assert test[0].messages[-1].content.splitlines()[0] == "question 9"
    assert len(test[0].messages[-1].content.splitlines()) == 3
    assert task.judge(test[0], "so\n#### r").passed is True
    assert task.judge(test[0], "so\n#### w").passed is False
    assert task.extract("so\n#### w") == "w"


def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path):
    task = load_task("arithmetic?steps=1")
    with pytest.raises(UserError, match="m: is 9 but problem 'p0' has 4 candidates"):
        sets([pool(0, list("rrww"))], 9)
    with pytest.raises(UserError, match="p: is -1"):
        mixture([example("rw")], -1)
    with pytest.raises(UserError, match="n is 3 but split 'train' has 2 sets"):
        Aggregation("a", task, [pool(0, list("rrww"))], 2, packing=Packing(BARE), p=None).problems("train", 3)
    with pytest.raises(UserError, match="aggregate: p is 'half'"):
        load(f"aggregate?file={written(tmp_path)}&p=half&of=arithmetic?steps=1")
