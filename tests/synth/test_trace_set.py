"""Sets of traces: what is chosen of many attempts, how a killed run goes on, and that a trainer sees the very ids that were sampled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from reasonry.core import Problem, Stop, UserError, open_run
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.rsd_task import Sums
from reasonry.papers.taught import SMALL, characters, fresh
from reasonry.synth.reverse_speculative import OWN, Rule, pair
from reasonry.synth.trace_set import Attempt, Choice, Made, alone, approved, as_lines, attempts, card, choose
from reasonry.train.supervised import read_examples

TOKENIZER = characters()
RULE = Rule(p_th=0.003, teacher=OWN, student=OWN, max_tokens=12)


def lm(seed: int) -> LocalLM:
    return LocalLM(fresh(SMALL, seed).requires_grad_(False), TOKENIZER, f"model {seed}")


def attempt(problem: str, trial: int, n: int, right: bool = True, own: int = 0, text: str = "x</think>y", stop: Stop = Stop.EOS) -> Attempt:
    return Attempt(problem, trial, (7, 8), tuple(range(n)), text, stop, right, (True,) * (n - own) + (False,) * own, None, (-1.0,) * n)


def test_the_shortest_good_attempt_is_chosen_and_each_reason_refuses() -> None:
    """Wrong, cut off, two closing marks, mostly the student's own: none of these, though each is shorter."""
    choice = Choice(trials=6, close="</think>", prefix=3)
    made = [
        attempt("a", 0, 9),
        attempt("a", 1, 8),
        attempt("a", 2, 4, right=False),
        attempt("a", 3, 4, stop=Stop.LENGTH),
        attempt("a", 4, 4, text="x</think></think>"),
        attempt("a", 5, 4, own=3),
    ]
    assert [choice.good(a) for a in made] == [True, True, False, False, False, False]
    (row,) = choose(made, choice)
    assert (row.id, row.kind, row.attempts, row.good) == ("a", "whole", 6, 2)
    assert row.ids == (7, 8, *range(8))
    assert row.mask == (False, False, *[True] * 8)
    (fewer,) = choose(made, replace(choice, trials=1))
    assert fewer.ids == (7, 8, *range(9))
    assert choice.good(attempt("a", 0, 4, own=2))  # exactly half may be its own


def test_of_an_unsolved_problem_the_beginning_is_learnt() -> None:
    """Never the end of the turn, and nothing where beginnings are not wanted."""
    made = [
        attempt("a", 1, 5, right=False),
        attempt("a", 0, 9, right=False),
        attempt("b", 0, 2, right=False),
        attempt("c", 0, 1, right=False),
    ]
    rows = choose(made, Choice(prefix=3))
    assert [(r.id, r.kind, r.ids[2:]) for r in rows] == [("a", "prefix", (0, 1, 2)), ("b", "prefix", (0,))]
    assert choose(made, Choice(prefix=0)) == []
    solved = [attempt("a", 0, 9)]
    assert [r.kind for r in choose(solved, Choice(prefix=3, whole=False))] == ["prefix"]
    told = card(made + solved, rows, Choice(prefix=3))
    assert (told["problems"], told["attempts"], told["right"], told["prefixes"], told["tokens learnt"]) == (3, 5, 1, 2, 4)
    assert told["share of attempts' tokens below 0.01"] == 0.0


@pytest.mark.parametrize(
    ("change", "said"), [({"trials": 0}, "trials is 0"), ({"prefix": -1}, "prefix is -1"), ({"max_fallback": 2.0}, "share from 0 to 1")]
)
def test_a_choice_that_means_nothing_is_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Choice(**change)  # type: ignore[arg-type]


async def test_a_killed_run_ends_with_the_rows_of_one_that_was_not(tmp_path: Path) -> None:
    """What is on disk is not made again; attempts do not depend on what is made beside them."""
    task, calls = Sums(3, 3), list[int]()
    problems = task.problems("train", 4)
    async with lm(0) as teacher, lm(1) as student:
        make = approved(pair(teacher, student), RULE)
        whole = await attempts(make, student, task, problems, 3, 5)

        async def dying(problem: Problem, seed: int) -> Made:
            calls.append(seed)
            if len(calls) == 6:
                raise OSError("gone")
            return await make(problem, seed)

        run = open_run(tmp_path / "run", {}, resume=False)
        with pytest.raises(OSError, match="gone"):
            await attempts(dying, student, task, problems, 3, 5, run, at_once=1)
        run = open_run(tmp_path / "run", {}, resume=True)
        kept, calls = len(list(run.lines("attempts"))), []
        assert 0 < kept < 12

        async def counted(problem: Problem, seed: int) -> Made:
            calls.append(seed)
            return await make(problem, seed)

        assert await attempts(counted, student, task, problems, 3, 5, run) == whole
        assert len(calls) == 12 - kept
        assert len(list(run.lines("attempts"))) == 12


async def test_the_trainer_learns_the_ids_that_were_sampled(tmp_path: Path) -> None:
    """Through the file and back; bytes that are no text survive it."""
    task = Sums(3, 3)
    async with lm(0) as teacher, lm(1) as student:
        made = await attempts(approved(pair(teacher, student), RULE), student, task, task.problems("train", 3), 2, 0)
    rows = choose(made, Choice(prefix=8))
    (tmp_path / "rows.jsonl").write_text(as_lines(rows))
    read = read_examples(tmp_path / "rows.jsonl", TOKENIZER, 512)
    assert [(e.ids, e.mask) for e in read] == [(r.ids, r.mask) for r in rows]
    assert any(TOKENIZER.encode(TOKENIZER.decode(e.ids, skip_special=False)) != e.ids for e in read)
    assert msgspec.json.decode(msgspec.json.encode(made[0]), type=Attempt) == made[0]


async def test_one_models_own_attempts_are_chosen_by_the_same_rule() -> None:
    task = Sums(3, 3)
    async with lm(0) as model:
        for teacher in (True, False):
            (one,) = await attempts(alone(model, OWN.with_(max_tokens=9), teacher), model, task, task.problems("train", 1), 1, 0)
            assert one.fallback_rate == 0.0
            assert len(one.ids) <= 9
            assert (one.log_teacher is None, one.log_student is None) == (not teacher, teacher)
            logs = torch.tensor(one.log_teacher or one.log_student)
            assert logs.tolist() == pytest.approx(await model.score(one.prompt, one.ids), abs=1e-5)


def test_the_sums_students_and_teachers_write() -> None:
    tokenizer: Tokenizer = TOKENIZER
    task = Sums(4, 3)
    (problem,) = task.problems("test", 1)
    assert task.judge(problem, f"1+1=3;#{problem.answer}").passed
    assert not task.judge(problem, f"#{problem.answer};").passed
    assert tokenizer.decode(tokenizer.encode(str(problem.prompt))) == problem.prompt
