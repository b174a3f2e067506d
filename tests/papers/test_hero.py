"""HERO's experiments: the task's verifier and truth, the table, the arms, the verdict rules, and a whole small run that resumes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Cost, Message, Result
from reasonry.lm.scorer import Scores
from reasonry.papers import hero_findings as rules
from reasonry.papers.hero import run
from reasonry.papers.hero_arms import BASE, Shuffled, reward_of
from reasonry.papers.hero_findings import (
    AMBIGUOUS_ONLY,
    ARMS,
    CLAIMS,
    EQUAL,
    FULL,
    HERO,
    MIXED,
    MODEL,
    REGIMES,
    SHUFFLED,
    SPARSE,
    VERIFIER,
    Cell,
    Plan,
    Row,
    alpha_arm,
    findings,
)  # fmt: skip
from reasonry.papers.hero_lab import BLEND, Arm, Schedule, World, learn
from reasonry.papers.hero_start import CAREFUL, JUDGE, LONGEST, POLICY, UNFINISHED, documents, habit, working
from reasonry.papers.hero_task import AMBIGUOUS, FORMS, KINDS, STRICT, lines_of, sums, truth
from reasonry.papers.taught import characters
from reasonry.train.hero import SCORE, Hero

TINY = Plan(teaching=1, judging=1, steps=1, prompts=1, group=2, train_problems=2, test_problems=1, updates=2)


# The task -------------------------------------------------------------------------------------------------------------------------------


def test_the_verifier_passes_no_wrong_answer_and_misses_the_forms_it_does_not_know() -> None:
    """Strict problems: recall 1. Ambiguous ones: a third, whichever form is written; the truth knows all forms."""
    for kind, recall in ((STRICT, 1.0), (AMBIGUOUS, 1 / 3)):
        task = sums(kind)
        problems = task.problems("train", 300)
        texts = [task.demonstration(p, random.Random(i))[-1].content for i, p in enumerate(problems)]
        passed = [bool(task.judge(p, t).passed) for p, t in zip(problems, texts, strict=True)]
        assert sum(passed) / 300 == pytest.approx(recall, abs=0 if recall == 1 else 4 * (2 / 9 / 300) ** 0.5)
        assert all(truth(p, t) for p, t in zip(problems, texts, strict=True))
        for p in problems[:50]:
            for form in FORMS:
                wrong = f"#### {form.format((p.meta['value'] + 1) % 10)}"
                assert not truth(p, wrong)
                assert not task.judge(p, wrong).passed
                assert truth(p, f"#### {form.format(p.meta['value'])}")
    for form in range(len(FORMS)):
        fixed = [bool(task.judge(p, f"#### {FORMS[form].format(p.meta['value'])}").passed) for p in problems]
        assert sum(fixed) / 300 == pytest.approx(1 / 3, abs=4 * (2 / 9 / 300) ** 0.5)


def test_nothing_in_a_question_tells_its_form_and_kinds_share_their_splits() -> None:
    strict, ambiguous = (sums(kind).problems("test", 50) for kind in KINDS)
    assert all(p.prompt.endswith("=") for p in strict if isinstance(p.prompt, str))
    train = {str(p.prompt)[:-1] for p in sums(STRICT).problems("train", 200)}
    assert not train & {str(p.prompt)[:-1] for p in ambiguous}


def test_a_habit_is_what_its_lines_say() -> None:
    """A careful working is right, an unfinished one answers what stood before the last line, a guess has no line."""
    for seed, p in enumerate(sums(STRICT).problems("train", 60)):
        texts = {how: working(p, how, STRICT, random.Random(seed)) for how in POLICY}
        assert [habit(texts[how]) for how in texts] == list(texts)
        assert truth(p, texts[CAREFUL])
        assert texts[UNFINISHED].split("#### ")[0] == texts[CAREFUL].rsplit("\n", 2)[0] + "\n"
        assert truth(p, texts[UNFINISHED]) == (p.meta["steps"][-1][1] == 0)
    assert lines_of(3, [["+", 9], ["-", 4]]) == (["3+9=2", "2-4=8"], 8)


def test_documents_have_their_shares_of_habits() -> None:
    tokenizer = characters()
    for shares in (JUDGE, POLICY):
        texts = [
            tokenizer.decode(i for i, on in zip(e.ids, e.mask, strict=True) if on)
            for _, e in zip(range(400), documents(tokenizer, 0, shares), strict=False)
        ]
        for how, share in shares.items():
            assert sum(habit(t) == how for t in texts) / 400 == pytest.approx(share, abs=4 * (0.25 / 400) ** 0.5 if share else 0)


def test_the_longest_answer_fits() -> None:
    tokenizer = characters()
    for _, example in zip(range(50), documents(tokenizer, 0, JUDGE), strict=False):
        assert sum(example.mask) <= LONGEST


# The table ------------------------------------------------------------------------------------------------------------------------------


def test_without_width_and_weight_the_table_is_the_verifiers() -> None:
    few = Schedule(10, at=(5, 10))
    assert learn(Arm(HERO, hero=Hero(0, 0, 1, 1)), World(), 0, few) == learn(Arm(VERIFIER), World(), 0, few)


def test_the_table_learns_by_each_reward_what_it_says() -> None:
    """After 30 updates: HERO above the verifier, and the reward model alone led to its hack, in a world where the hack is worth it."""
    few = Schedule(30, at=(30,))
    found = {arm: learn(Arm(arm), World(hack=3.0 if arm == MODEL else 0.8), 0, few) for arm in (VERIFIER, MODEL, HERO, BLEND)}
    assert found[HERO][30] > found[VERIFIER][30] > found[HERO][0]
    assert found[MODEL][30] < found[MODEL][0]


# The arms -------------------------------------------------------------------------------------------------------------------------------


class Fixed:
    name = "fixed"

    def scores(self, messages: tuple[Message, ...], answers: tuple[str, ...]) -> Scores:
        return Scores(tuple(float(len(a)) for a in answers), Cost())


def test_arms_differ_in_their_reward_alone() -> None:
    assert BASE.reshape == ()
    hero = reward_of(HERO, MIXED, Fixed()).combine  # type: ignore[arg-type]
    assert isinstance(hero, Hero)
    assert (hero.alpha, hero.beta, hero.signal) == (0.1, 0.1, SCORE)
    assert reward_of(HERO, rules.VERIFIABLE, Fixed()).combine.alpha == 0.05  # type: ignore[arg-type,union-attr]
    assert replace(hero.objective(BASE), reshape=()) == BASE


def test_the_placebo_gives_the_same_scores_to_other_answers() -> None:
    answers = ["a", "ab", "abc", "abcd"]
    shuffled = Shuffled(Fixed())  # type: ignore[arg-type]
    first, again = (shuffled.scores((Message("user", "?"),), answers).values for _ in range(2))
    assert first == again
    assert sorted(v or 0 for v in first) == [1, 2, 3, 4]
    assert first != (1, 2, 3, 4)


# The rules ------------------------------------------------------------------------------------------------------------------------------


def rows_of(accuracy: dict[tuple[str, str], float], n: int = 100) -> list[Row]:
    return [
        Row(seed, regime, arm, kind, str(i), float((i + seed) % 100 < 100 * share))
        for (regime, arm), share in accuracy.items() for seed in range(3) for kind in KINDS for i in range(n)
    ]  # fmt: skip


def cells_of(accuracy: dict[tuple[str, str, int], float]) -> list[Cell]:
    return [Cell(seed, world, arm, update, share + 0.001 * seed) for (world, arm, update), share in accuracy.items() for seed in range(3)]


def test_verdicts_follow_the_rules_in_both_directions() -> None:
    better = {(r, a): {VERIFIER: 0.4, MODEL: 0.3, BLEND: 0.4, HERO: 0.8}[a] for r in REGIMES for a in ARMS} | {(MIXED, SHUFFLED): 0.5}
    good = cells_of(
        {(w, a, u): {VERIFIER: 0.4, MODEL: 0.1, BLEND: 0.5, HERO: 0.8}[a] for w in (FULL, SPARSE) for a in ARMS for u in (50, 100, 300)}
        | {(f"{SPARSE}, group sd", a, 300): 0.5 for a in ARMS} | {(FULL, EQUAL, 100): 0.4}
        | {(FULL, alpha_arm(0.5), 50): 0.9, (FULL, alpha_arm(0.05), 50): 0.7}
        | {(f"{FULL}, poor reward model", alpha_arm(0.5), 100): 0.1, (f"{FULL}, poor reward model", alpha_arm(0.05), 100): 0.6}
    )  # fmt: skip
    found = {f.claim: f.result for f in findings(good, rows_of(better))}
    assert list(found) == [c.id for c in CLAIMS]
    assert {k for k, v in found.items() if v is not Result.HOLDS} == {"ambiguous-more"}
    swapped = {(r, a): 1 - share for (r, a), share in better.items()}
    worse = [replace(c, accuracy=1 - c.accuracy if c.arm != EQUAL else 0.0) for c in good]
    found = {f.claim: f.result for f in findings(worse, rows_of(swapped))}
    assert {k for k, v in found.items() if v is not Result.FAILS} == {"ambiguous-more"}
    equal = dict.fromkeys(better, 0.5)
    assert {f.result for f in findings([], rows_of(equal))} == {Result.UNCLEAR}
    assert {f.result for f in findings([], [])} == {Result.UNCLEAR}


def test_a_larger_gain_on_ambiguous_problems_is_seen() -> None:
    rows = [
        replace(r, passed=float(r.kind == AMBIGUOUS)) if (r.regime, r.arm) == (MIXED, HERO) else r
        for r in rows_of({(MIXED, VERIFIER): 0.0, (MIXED, HERO): 0.0})
    ]
    noisy = [replace(r, passed=1.0) if (r.arm, r.kind, r.problem) == (HERO, STRICT, "0") and r.seed == 1 else r for r in rows]
    assert {f.claim: f.result for f in findings([], noisy)}["ambiguous-more"] is Result.HOLDS
    assert AMBIGUOUS_ONLY in REGIMES


# The whole ------------------------------------------------------------------------------------------------------------------------------


def test_a_small_run_writes_its_page_and_resumes_to_the_same(tmp_path: Path) -> None:
    evidence = run(tmp_path, (0,), TINY)
    page = (tmp_path / "report.html").read_text()
    assert [f.claim for f in evidence.findings] == [c.id for c in CLAIMS]
    assert "True accuracy while training on both kinds" in page
    assert {m.metric for m in evidence.measures} >= {"true accuracy, strict problems", "true accuracy, ambiguous problems"}
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    again = run(tmp_path, (0,), TINY)
    assert again.measures == evidence.measures
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == stamps
