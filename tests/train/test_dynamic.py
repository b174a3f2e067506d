"""Dynamic sampling: full batches, nothing asked twice that is in the batch, everything told, the same step again."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonry.core import Problem, Trajectory, UserError, Verdict
from reasonry.train.curriculum import Course, Lesson, ever_passed, only
from reasonry.train.dynamic import fill, partly_right
from reasonry.train.history import History, Past
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import Attempts

PROBLEMS = [Problem(f"p{i}", "?", i) for i in range(12)]


def course(path: Path | None = None) -> Course:
    return Course(only(1, 8), {1: PROBLEMS}, History(path), 3)


class Sampler:
    """Problems with an even number have one right answer of two, the others none; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int]] = []

    async def __call__(self, lesson: Lesson, seed: int) -> tuple[list[Attempts], list[list[Rewarded]]]:
        self.asked.append(([p.id for p in lesson.problems], seed))
        groups: list[Attempts] = []
        paid: list[list[Rewarded]] = []
        for i, p in enumerate(lesson.problems):
            passed = [p.answer % 2 == 0, False]
            group = tuple(Trajectory(p.id, verdict=Verdict(float(ok), ok)) for ok in passed)
            groups.append(Attempts(i, p, group))
            paid.append([Rewarded(t, {}, float(ok)) for t, ok in zip(group, passed, strict=True)])
        return groups, paid


async def test_a_batch_is_filled_with_groups_that_teach() -> None:
    """Four even problems out of twelve, however many draws that takes; each in the batch once; every group drawn is handed on, numbered."""
    sampler = Sampler()
    got = await fill(course(), 0, 4, 20, 3, sampler)
    kept = [g[0].trajectory.problem_id for g in got.kept]
    assert len(kept) == len(set(kept)) == 4
    assert all(int(p[1:]) % 2 == 0 for p in kept)
    assert got.draws == len(sampler.asked) > 1
    assert [g.index for g in got.groups] == list(range(len(got.groups)))
    assert [g.problem for g in got.groups] == list(got.lesson.problems)
    assert len(got.lesson.levels) == len(got.groups) == len(got.rewarded) == sum(len(ids) for ids, _ in sampler.asked)
    assert len({seed for _, seed in sampler.asked}) == got.draws
    taken: set[str] = set()
    for ids, _ in sampler.asked:
        assert not taken & set(ids)
        taken |= {p for p in ids if int(p[1:]) % 2 == 0}


async def test_one_draw_is_plain_sampling_and_a_step_is_the_same_again() -> None:
    """Without further draws it asks what the course alone would; with them the whole of it is a function of seed and step."""
    plain = Sampler()
    got = await fill(course(), 0, 4, 0, 3, plain)
    assert plain.asked[0][0] == [p.id for p in course().ask(0, 4).problems]
    assert (got.draws, len(plain.asked)) == (1, 1)
    first, second = Sampler(), Sampler()
    await fill(course(), 0, 4, 20, 3, first)
    await fill(course(), 0, 4, 20, 3, second)
    assert first.asked == second.asked


async def test_it_ends_short_where_nothing_is_left() -> None:
    """Six problems teach; a batch of eight ends with those six, and with its draws at the limit or the problems used up."""
    got = await fill(course(), 0, 8, 50, 3, Sampler())
    assert len(got.kept) == 6


def test_what_teaches_is_right_and_wrong_answers_not_different_rewards() -> None:
    def group(*passed: bool) -> list[Rewarded]:
        return [Rewarded(Trajectory("p", verdict=Verdict(float(ok), ok)), {}, i / 10) for i, ok in enumerate(passed)]

    assert partly_right(group(True, False, False))
    assert not partly_right(group(True, True))
    assert not partly_right(group(False, False))
    assert not partly_right([])


def test_further_draws_are_asked_in_turn_and_do_not_disturb_the_next_step() -> None:
    c = course()
    first, further = c.ask(0, 3), c.ask(0, 3, 1, {"p0", "p1"})
    assert not {"p0", "p1"} & {p.id for p in further.problems}
    assert c.ask(0, 3) == first
    with pytest.raises(UserError, match="the step needs 3"):
        c.ask(0, 3, 1, {p.id for p in PROBLEMS[:10]})


def test_the_zero_pass_filter_gives_a_problem_its_tries() -> None:
    assert ever_passed(Past(passes=0, attempts=15))
    assert not ever_passed(Past(passes=0, attempts=16))
    assert ever_passed(Past(passes=1, attempts=160))
