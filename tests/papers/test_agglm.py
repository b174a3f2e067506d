"""AggLM's experiment: its task, its rules on made-up rows, and a whole run that is killed and resumed."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Result
from reasonry.lm.reward_model import load_reward_model
from reasonry.papers import agglm, agglm_arms, agglm_start
from reasonry.papers.agglm_arms import distance, slug, swapped
from reasonry.papers.agglm_findings import (
    ALONE,
    AT9,
    AT16,
    CLAIMS,
    FEATURES,
    FIFTY,
    FIVE,
    HARD,
    JUDGE,
    JUDGES,
    MAIN,
    NATURAL,
    OTHERS,
    SOLVER,
    START,
    Plan,
    Row,
    best_by,
    findings,
    measures,
    vote_by,
)  # fmt: skip
from reasonry.papers.agglm_reward import Fit, ranked, rings
from reasonry.papers.agglm_task import (
    OPERATIONS,
    STEPS,
    Chains,
    Facts,
    apply,
    held_out,
    noisy_check,
    read_answer,
    right_steps,
    slipped,
    values,
    worked,
)
from reasonry.probe.ladder import CHECKED, MAJORITY, PASS1
from reasonry.probe.stats import pass_at_k
from reasonry.tasks.pool import Candidate, Pool, write_pools

TASK = Chains()
JUDGED = [arm(judge, 9) for judge in JUDGES for arm in (best_by, vote_by)]


def test_every_operation_is_a_bijection():
    """So a slip is never mended by a later step alone, and wrong values stay wrong."""
    for operation in OPERATIONS:
        assert sorted(apply(value, operation) for value in range(10)) == list(range(10))


def test_gold_is_computed_and_every_solution_has_one_length():
    for p in TASK.problems("test", 40):
        question = str(p.prompt)
        truth = worked(question, values(question))
        assert TASK.judge(p, truth).passed is True
        assert right_steps(truth) == [True] * STEPS
        wrong = worked(question, slipped(question, 1.0, random.Random(p.id)))
        assert len(wrong) == len(truth)
        assert not any(right_steps(wrong))
    assert [read_answer(t) for t in ("7c0f6", "7c0f", "", "7", " 7c0\n")] == ["6", None, None, None, "0"]


def test_splits_share_no_problem():
    train, test = ({p.id for p in TASK.problems(split, 200)} for split in ("train", "test"))
    assert not train & test


def test_held_out_arithmetic_is_never_practised():
    """No true step of a practised problem is held out, every one of a test problem is; and both kinds are about half of all facts."""
    assert 45 <= sum(held_out(value, op) for value in range(10) for op in OPERATIONS) <= 75
    both: tuple[tuple[Facts, bool], ...] = (("practised", False), ("held out", True))
    for facts, wanted in both:
        for p in Chains(facts).problems("test", 60):
            question = str(p.prompt)
            ways = zip([int(question[0]), *values(question)], question[1:], strict=False)
            assert {held_out(value, op) for value, op in ways} == {wanted}


def test_the_checker_errs_as_often_as_it_is_told():
    rng = random.Random(0)
    text = worked("7cfah", values("7cfah"))
    assert noisy_check(text, 0.0, rng) == 1.0
    assert noisy_check("no solution", 0.0, rng) == 0.0
    assert sum(noisy_check(text, 0.2, rng) for _ in range(2000)) / 2000 == pytest.approx(0.8, abs=0.02)


def test_the_start_learns_its_form_from_random_picks():
    """An aggregation's demonstration is one of the candidates shown; right and wrong ones are picked as often as they are there."""
    rng = random.Random(1)
    picked = there = 0.0
    for _ in range(400):
        question = str(TASK.draw_from("train", rng).prompt)
        shown = [c.text for c in agglm_start.candidates(question, rng)]
        right = [all(right_steps(t)) for t in shown]
        there += sum(right) / len(right)
        picked += right[rng.randrange(len(right))]
    assert picked / 400 == pytest.approx(there / 400, abs=0.07)


def test_distances_and_swaps():
    assert distance(["1", "1", "2"], ["1", "2", "1"]) == pytest.approx(0.0)
    assert distance(["1", "1"], ["2", None]) == pytest.approx(1.0)
    pools = [Pool(p, "test", (Candidate(str(p.prompt), None, 1),)) for p in TASK.problems("test", 3)]
    assert all(new.candidates != old.candidates and new.problem == old.problem for new, old in zip(swapped(pools), pools, strict=True))


def rows(better: float) -> list[Row]:
    """Arms that differ from all others by `better`, more where the majority is small; 60 problems of 3 seeds."""
    made: list[Row] = []
    rng = random.Random(0)
    arms = [PASS1, MAJORITY, CHECKED, START, HARD, FIVE, FIFTY, NATURAL, ALONE, OTHERS, FEATURES + FIFTY, FEATURES + NATURAL]
    for seed in range(3):
        for i in range(60):
            base, size = rng.random() * 0.5 + 0.25, (2, 7)[i % 2]
            for arm in arms:
                gain = better * (1.5 if size == 2 else 0.5) * (arm in (MAIN, FIVE, FEATURES + FIFTY))
                made.append(Row(seed, arm, f"p{i}", 0, size, i % 3 == 0, base + gain, 90))
            made += [Row(seed, arm, f"p{i}", -1, 0, False, base, 90) for arm in (AT9, AT16, SOLVER, *JUDGED)]
    return made


@pytest.mark.parametrize(("better", "result"), [(0.2, Result.HOLDS), (-0.2, Result.FAILS)])
def test_the_rules_say_holds_and_fails(better: float, result: Result):
    found = findings(rows(better))
    assert [f.claim for f in found] == [c.id for c in CLAIMS]
    assert {f.result for f in found} == {result}


def test_equal_arms_are_unclear_but_for_as_good_as():
    found = {f.claim: f.result for f in findings(rows(0.0))}
    assert found.pop("beats-16") is Result.HOLDS
    assert set(found.values()) == {Result.UNCLEAR}


def test_a_claim_needs_every_seed():
    """One seed that points the other way leaves it unclear, however narrow the interval."""
    made = [r if (r.seed, r.arm) != (0, MAIN) else Row(0, MAIN, r.problem, 0, r.size, r.minority, r.score - 0.5, 90) for r in rows(0.4)]
    assert {f.claim: f.result for f in findings(made)}["beats-untrained"] is Result.UNCLEAR


def made_up(problems: int, split: str) -> list[Pool]:
    """Pools of two sets, some easy and some hard."""
    rng = random.Random(split)
    pools: list[Pool] = []
    for p in TASK.problems(split, problems, 0):
        question = str(p.prompt)
        texts = [worked(question, slipped(question, rng.choice((0.05, 0.4)), rng)) for _ in range(16)]
        made = (Candidate(t, read_answer(t), 10, "m", -rng.random(), rng.random(), float(read_answer(t) == p.answer)) for t in texts)
        pools.append(Pool(p, split, tuple(made)))
    return pools


def test_a_reward_model_that_knows_the_truth_reaches_the_oracle():
    """The best by a score that is the truth is right wherever a right candidate is there; candidates cost what they cost."""
    knowing = [replace(p, candidates=tuple(replace(c, score=c.correct) for c in p.candidates)) for p in made_up(12, "test")]
    found = {(r.arm, r.problem, r.number): r for r in ranked(0, JUDGE, knowing, 8)}
    for p in knowing:
        right = [c.correct == 1 for c in p.candidates]
        for number, half in enumerate((right[:8], right[8:])):
            assert found[best_by(JUDGE, 8), p.problem.id, number].score == any(half)
        assert found[JUDGED[0], p.problem.id, -1].score == pytest.approx(sum(any((right * 2)[i : i + 9]) for i in range(16)) / 16)
        assert found[JUDGED[0], p.problem.id, -1].tokens == pytest.approx(90)
    mean = sum(found[JUDGED[0], p.problem.id, -1].score for p in knowing) / 12
    oracle = sum(pass_at_k(16, sum(c.correct == 1 for c in p.candidates), 9) for p in knowing) / 12
    assert mean == pytest.approx(oracle, abs=0.05), "rings of nine stand for all subsets of nine"


def test_every_candidate_is_in_as_many_rings():
    pool = made_up(1, "test")[0]
    seen = [c for s in rings(pool, 9) for c in s.candidates]
    assert all(sum(c is other for other in seen) == 9 for c in pool.candidates)


def test_a_run_writes_its_page_and_a_second_one_does_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = Plan(
        teaching=1, batch=256, train_problems=8, test_problems=6, aggregations=1, steps=1, prompts=2, group=2, order_sets=1, order_draws=2,
        feature_updates=2,
    )  # fmt: skip
    monkeypatch.setattr(agglm_arms, "FIT", Fit(problems=8, each=2, steps=2))
    folder = tmp_path / "seed-0"
    folder.mkdir()
    write_pools(folder / "train.jsonl", made_up(8, "train"))
    write_pools(folder / "test.jsonl", made_up(6, "test"))
    write_pools(folder / "familiar.jsonl", made_up(6, "test"))
    for judge in JUDGES:
        write_pools(folder / f"{slug(judge)}-data.jsonl", made_up(8, "train"))
    evidence = agglm.run(tmp_path, (0,), plan)
    assert {f.claim for f in evidence.findings} == {c.id for c in CLAIMS}
    assert {m.arm for m in evidence.measures} >= {START, MAIN, SOLVER, ALONE, OTHERS, f"{MAIN}, 16 candidates", FEATURES + HARD, *JUDGED}
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert load_reward_model(folder / "reward-model").head.weight.any()
    monkeypatch.setattr(agglm, "examined", None)
    assert agglm.run(tmp_path, (0,), plan).measures == evidence.measures
    assert measures([], []) == ()
