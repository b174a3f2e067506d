"""What the curriculum promises the trainer: the same questions after a restart, and one type for every order of levels."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.train.curriculum import (
    Course,
    Curriculum,
    Lesson,
    Stage,
    absolute,
    focused,
    informative,
    mix,
    no_positive_resampling,
    only,
    ramp,
    rehearsing,
    scaling_inter,
)
from reasonry.train.history import Group, History

POOLS = {level: [Problem(f"{level}-{i}", f"problem {i} of level {level}", str(i)) for i in range(40)] for level in range(1, 5)}


def answered(lesson: Lesson, seed: int, skill: float = 0.5) -> list[Group]:
    """Groups of 8 answers, right with a chance that depends on nothing but the seed."""
    rng = random.Random(seed)
    return [lesson.group(i, sum(rng.random() < skill for _ in range(8)), 8) for i in range(len(lesson.problems))]


def train(course: Course, steps: range, n: int = 6, skill: float = 0.5) -> list[Lesson]:
    lessons = []
    for step in steps:
        lessons.append(course.ask(step, n))
        course.tell(step, answered(lessons[-1], step, skill))
    return lessons


def test_a_ramp_of_one_level_is_standard_training_question_by_question():
    """H = 1 leaves nothing of the curriculum: the same problems, levels and limits at every step under the same seed."""
    a = train(Course(ramp(1, 16, 8, gate=0.7), POOLS, History(), seed=3), range(12))
    assert a == train(Course(only(1, 24), POOLS, History(), seed=3), range(12))
    assert [lesson.problems for lesson in a] == [tuple(by_hand(3, step)) for step in range(12)]


def by_hand(seed: int, step: int) -> list[Problem]:
    """Standard sampling without any curriculum; the level's draw comes first, as the course takes its random numbers."""
    rng = random.Random(f"{seed}/{step}")
    rng.choices([1], k=6)
    return rng.sample(POOLS[1], 6)


def test_a_gate_of_zero_with_one_step_a_stage_is_only_long():
    """Such stages are all passed before the first question: not one step is spent below H."""
    fast = train(Course(ramp(4, 16, 8, gate=0.0, steps_per_stage=1), POOLS, History(), seed=1), range(10))
    long = train(Course(only(4, 48), POOLS, History(), seed=1), range(10))
    assert [(x.problems, x.levels, x.max_new_tokens) for x in fast] == [(x.problems, x.levels, x.max_new_tokens) for x in long]


def test_without_a_gate_every_stage_has_its_steps_and_a_longer_limit():
    lessons = train(Course(ramp(3, 10, 5, steps_per_stage=2), POOLS, History()), range(7))
    assert [x.stage for x in lessons] == [0, 0, 1, 1, 2, 2, 2]
    assert [x.max_new_tokens for x in lessons] == [15, 15, 20, 20, 25, 25, 25]
    assert all(set(x.levels) == {x.stage + 1} for x in lessons)


def test_a_gate_needs_its_whole_window_and_compares_with_the_stage_before():
    """Stage 1 passes at 8/8 of the first 6 prompts; stage 2 needs .7 of that: 5/8 is not enough, 6/8 is."""
    course = Course(Curriculum(ramp(3, 16, 8).stages, gate=0.7, window=6), POOLS, History())
    for step, (n, passes, stage) in enumerate([(5, 8, 0), (5, 8, 1), (6, 5, 1), (6, 6, 2)]):
        lesson = course.ask(step, n)
        course.tell(step, [lesson.group(i, passes, 8) for i in range(n)])
        assert course.stage == stage
    assert course.standing.before == 6 / 8


def test_the_uniform_mix_draws_every_level_alike_and_weights_are_kept():
    levels = Counter(
        level for lesson in train(Course(mix({1: 1, 2: 1, 4: 2}, 64), POOLS, History()), range(300)) for level in lesson.levels
    )
    assert set(levels) == {1, 2, 4}
    assert abs(levels[4] / 1800 - 0.5) < 0.05
    assert abs(levels[1] / 1800 - 0.25) < 0.05


def test_one_step_never_asks_a_problem_twice():
    for lesson in train(Course(mix({1: 1, 2: 1}, 64), POOLS, History()), range(30), n=40):
        assert len({p.id for p in lesson.problems}) == 40


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.floats(0, 1))
def test_a_mixture_of_a_stage_is_a_distribution_that_is_highest_at_its_own_level(level: int, share: float):
    for weights in (focused(level), rehearsing(level, share)):
        assert sum(weights.values()) == pytest.approx(1)
        assert set(weights) <= set(range(1, level + 1))


@pytest.mark.parametrize("k", range(1, 14))
def test_scaling_inter_follows_its_closed_form(k: int):
    """h(k) = rounds[min((k−1) // Δ, n−1)], the step counted from 1."""
    rounds = (5, 10, 15)
    lesson = train(Course(scaling_inter(rounds, 4, 64), POOLS, History()), range(k))[-1]
    assert lesson.max_turns == rounds[min((k - 1) // 4, 2)]


@settings(deadline=None, max_examples=20)
@given(killed=st.integers(0, 12), checkpoint=st.integers(0, 12), torn=st.booleans())
def test_a_course_killed_anywhere_and_resumed_asks_what_an_uninterrupted_one_asks(
    tmp_path_factory: pytest.TempPathFactory, killed: int, checkpoint: int, torn: bool
):
    """The checkpoint may be behind the log, and the log's last line may be torn."""
    checkpoint = min(checkpoint, killed)
    path = tmp_path_factory.mktemp("run") / "history.jsonl"
    curriculum = Curriculum(ramp(4, 16, 8).stages, gate=0.9, steps_per_stage=3, window=6, prompt_filters=(no_positive_resampling,))
    whole = Course(curriculum, POOLS, History(), seed=5)
    expected = train(whole, range(13))

    train(Course(curriculum, POOLS, History(path), seed=5), range(killed))
    if torn and path.exists():
        with open(path, "ab") as file:
            file.write(b'[["1-1",1,4')
    resumed = Course(curriculum, POOLS, History(path, steps=checkpoint), seed=5)
    assert train(resumed, range(checkpoint, 13)) == expected[checkpoint:]
    assert (resumed.stage, resumed.standing, resumed.history.pasts) == (whole.stage, whole.standing, whole.history.pasts)
    assert History(path).steps == whole.history.steps


def test_a_log_behind_its_checkpoint_or_damaged_is_refused(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    train(Course(only(1, 16), POOLS, History(path)), range(2))
    with pytest.raises(UserError, match="holds 2 steps but the checkpoint has 3"):
        History(path, steps=3)
    path.write_bytes(path.read_bytes() + b'{"no": "step"}\n')
    with pytest.raises(UserError, match="line 3: is not a step"):
        History(path)


def test_no_positive_resampling_never_asks_a_mastered_prompt_again():
    """The pass rate is over all attempts: 8/8 is out, and so is 7/8 + 8/8 = .9375; 7/8 alone stays."""
    pools = {1: POOLS[1][:8]}
    course = Course(Curriculum((Stage({1: 1.0}, 16),), prompt_filters=(no_positive_resampling,)), pools, History())
    first = course.ask(0, 8)
    course.tell(0, [first.group(i, 8 if i < 3 else 7, 8) for i in range(8)])
    mastered = {p.id for p in first.problems[:3]}
    assert {p.id for p in course.ask(1, 5).problems} == {p.id for p in pools[1]} - mastered
    course.tell(1, [Group(p.id, 1, 8, 8) for p in first.problems[3:]])
    with pytest.raises(UserError, match="level 1 has 0 problems left"):
        course.ask(2, 1)


def test_groups_without_variance_have_nothing_to_teach():
    assert [informative(r) for r in ([0, 0, 0], [1, 1], [1, 0], [0.5], [0.2, 0.3])] == [False, False, True, False, True]


def test_the_first_verified_solution_is_kept_for_replay_and_survives_a_restart(tmp_path: Path):
    history = History(tmp_path / "h.jsonl")
    for solution in (None, "12+5=17", "5+12=17"):
        history.append([Group("p", 1, 1, 2, solution)])
    assert History(tmp_path / "h.jsonl").pasts["p"].solution == "12+5=17"
    assert history.difficulty() == {"medium": 1}


def test_prompts_are_counted_by_difficulty():
    history = History()
    history.append([Group(str(passes), 1, passes, 8) for passes in range(9)])
    assert history.difficulty() == {"never": 1, "hard": 2, "medium": 3, "easy": 2, "always": 1}


def test_steps_out_of_turn_and_levels_without_problems_are_refused():
    course = Course(only(1, 16), POOLS, History())
    with pytest.raises(UserError, match="step is 1 but the history holds 0"):
        course.ask(1, 2)
    with pytest.raises(UserError, match="level 9 of the curriculum has no problems"):
        Course(only(9, 16), POOLS, History())
    with pytest.raises(UserError, match="no stage would end"):
        Curriculum(ramp(3, 1, 1).stages)
    with pytest.raises(UserError, match="9 passes of 8"):
        Group("p", 1, 9, 8)


def test_a_gate_on_the_plain_pass_rate_waits_for_it():
    course = Course(ramp(2, 16, 8, gate=0.5, steps_per_stage=None, measure=absolute), POOLS, History())
    assert [x.stage for x in train(course, range(30), skill=0.2)] == [0] * 30
