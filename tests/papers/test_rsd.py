"""RSD's experiment: its styles are what they say, its rules give the verdicts they should, and a small run ends and resumes."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Result
from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.local import LocalLM
from reasonry.papers.rsd import PAPER, run
from reasonry.papers.rsd_arms import Models, Traces, _Arms
from reasonry.papers.rsd_findings import (
    CLAIMS,
    FEW,
    FOREIGNER,
    HARD,
    IN,
    LONGER,
    MASKED,
    NONE,
    OWN,
    SIBLING,
    TEACHER,
    WHOLE,
    Found,
    Plan,
    Row,
    Solved,
    again,
    correlation,
    findings,
    measures,
    rsd,
)
from reasonry.papers.rsd_page import report
from reasonry.papers.rsd_task import (
    DOUBTFUL,
    OTHER,
    STUDENT,
    Sums,
    chatty,
    documents,
    doubting,
    foreign,
    mostly,
    plain,
    right,
    worked,
)
from reasonry.papers.taught import characters, fresh
from reasonry.train.sft import Example

TINY = Plan(teaching=10, student=40, batch=512, problems=2, trials=1, steps=2, tokens=128, test=2, longest=12, rounds=2)
PLAN = Plan()
OURS = rsd(PLAN.p_th[1])


def test_every_style_works_the_sum_out() -> None:
    """What is said before the mark differs, the answer does not; only the foreign style's digits are unknown."""
    rng = random.Random(0)
    for digits in ([3, 9], [7, 8, 5], [9, 9, 9, 9, 9, 9]):
        a, b, c = (worked(digits, style, right, rng) for style in (plain, chatty, foreign))
        assert all(re.fullmatch(rf".*#{sum(digits)}", said) for said in (a, b, c))
        assert a.count(";") == len(digits) - 1
        assert all(eval(s.partition("=")[0]) == int(s.partition("=")[2]) for s in a.split(";")[:-1])
        assert re.search("hmm|wait|well", b)
        assert set(c.partition("#")[0]) <= set(OTHER + "+=;")
    assert worked([7, 8, 5], mostly(chatty, 0.0), right, rng) == worked([7, 8, 5], plain, right, rng)


def test_doubtful_sums_are_wrong_in_the_same_way() -> None:
    """The same sums for every demonstration of a student, others for its sibling; right often enough to be learnt."""
    rng, made = random.Random(0), {}
    for salt in ("", "b"):
        add = doubting(salt)
        said = {(a, b): [add(a, b, rng) for _ in range(60)] for a in range(2, 40) for b in range(2, 10)}
        made[salt] = {ab for ab, sums in said.items() if set(sums) != {sum(ab)}}
        assert 0.7 * DOUBTFUL < len(made[salt]) / len(said) < 1.3 * DOUBTFUL
        assert all(len(set(sums)) <= 2 for sums in said.values())
        assert all(sum(ab) in said[ab] for ab in made[salt])
    assert made[""] != made["b"]


def test_documents_are_of_the_training_split_alone() -> None:
    tokenizer, task = characters(), Sums(5, 3)
    stream = documents(tokenizer, plain, right, 0)
    asked = {tokenizer.decode(e.ids[: e.mask.index(True)]) for e in (next(stream) for _ in range(400))}
    for split in ("validation", "test"):
        assert not asked & {str(p.prompt) for p in task.problems(split, 200)}


def found(levels: dict[str, float], rare: dict[str, float], seeds: int = 3) -> Found:
    """Arms that solve such shares of a hundred problems, in every seed nearly the same."""
    solved = [
        Solved(s, arm, kind, {str(i): float(i < 100 * share + s) for i in range(100)})
        for s in range(seeds)
        for arm, share in levels.items()
        for kind in (IN, HARD)
    ]
    return Found([Row(s, arm, "rare tokens", x + 1e-6 * s) for s in range(seeds) for arm, x in rare.items()], solved)


LEVELS = {
    NONE: 0.3, TEACHER: 0.1, OWN: 0.5, MASKED: 0.2, rsd(0.001): 0.4, OURS: 0.8, rsd(0.1): 0.6, SIBLING: 0.6, FOREIGNER: 0.1, FEW: 0.7,
    WHOLE: 0.5, LONGER: 0.9, again(3): 0.6,
}  # fmt: skip
SHARES = {TEACHER: 0.04, OURS: 0.0, rsd(0.001): 0.02, OWN: 0.001, MASKED: 0.0}


def test_the_rules_judge_each_way() -> None:
    """As the paper says: all hold. Turned round: all fail. One seed: unclear, for it says nothing of others."""
    assert {f.result for f in findings(PLAN, found(LEVELS, SHARES))} == {Result.HOLDS}
    assert [f.claim for f in findings(PLAN, found(LEVELS, SHARES))] == [c.id for c in CLAIMS]
    turned = {arm: 1 - x for arm, x in LEVELS.items()}
    assert {f.result for f in findings(PLAN, found(turned, {TEACHER: 0.04, OURS: 0.01, OWN: 0.02}))} == {Result.FAILS}
    one = {f.claim: f.result for f in findings(PLAN, found(LEVELS, SHARES, seeds=1))}
    assert {one[c] for c in one if c != "rare"} == {Result.UNCLEAR}
    same = findings(PLAN, found(dict.fromkeys(LEVELS, 0.5), SHARES))
    assert {f.result for f in same if f.claim in ("hurts", "helps", "over-own", "drift")} == {Result.UNCLEAR}


def test_the_correlation_leaves_masked_sets_out() -> None:
    """Their share of rare tokens is nought because the loss was taken off, not because the student knows the text."""
    assert correlation(found(LEVELS, SHARES)) == pytest.approx(dict.fromkeys(range(3), -1.0))
    assert len(measures(found(LEVELS, SHARES))) == 2 * len(LEVELS) + len(SHARES)


async def test_masking_takes_the_loss_off_rare_tokens_alone(tmp_path: Path) -> None:
    tokenizer = characters()
    save_decoder(fresh(STUDENT, 0), tmp_path / "student", tokenizer=tokenizer)
    arms = _Arms(TINY, 0, tokenizer, tmp_path / "student", Models(*[tmp_path / "student"] * 4))
    example = Example(tokenizer.encode("3+4=7;#7"), (False,) * 3 + (True,) * 5)
    async with LocalLM(fresh(STUDENT, 0).requires_grad_(False), tokenizer, "student") as lm:
        logs = await lm.score(example.ids[:1], example.ids[1:])
        masked = await arms.masked(lm, example)
        await arms.told("x", Traces([example]), lm)
    assert masked.ids == example.ids
    assert masked.mask == tuple(on and x >= -4.605170185988091 for on, x in zip(example.mask, (0.0, *logs), strict=True))
    assert [r.value for r in arms.rows if r.metric == "nats a token"] == pytest.approx([-sum(logs[2:]) / 5])
    by_hand = arms.by_hand()
    assert [tokenizer.decode([i for i, on in zip(e.ids, e.mask, strict=True) if on]).rpartition("#")[2] for e in by_hand] == [
        str(p.answer) for p in arms.problems
    ]


@pytest.mark.slow
def test_a_small_run_ends_and_resumes(tmp_path: Path) -> None:
    """Every arm is measured, the page is written, and asking again does nothing anew."""
    first = run(tmp_path, (0, 1), TINY)
    assert {f.claim for f in first.findings} == {c.id for c in PAPER.claims}
    arms = {m.arm for m in first.measures}
    assert {NONE, TEACHER, OWN, MASKED, OURS, SIBLING, FOREIGNER, FEW, WHOLE, LONGER, again(2)} <= arms
    stamp = (tmp_path / "seed-0" / "found.json").stat().st_mtime_ns
    assert run(tmp_path, (0, 1), TINY).findings == first.findings
    assert (tmp_path / "seed-0" / "found.json").stat().st_mtime_ns == stamp
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_the_page_has_every_section(tmp_path: Path) -> None:
    from reasonry.core import Evidence

    made = found(LEVELS, SHARES)
    evidence = Evidence("rsd", "x", "x", "x", "x", "x", (0, 1, 2), "x", measures(made), findings(PLAN, made))
    html = report(replace(PLAN, test=100), made, evidence)
    assert html.count("<svg") == 2
    assert all(title in html for title in ("What learning each set does", "RSD again and again", "The sets"))


def test_arms_are_trained_alike(tmp_path: Path) -> None:
    """The same steps on the same number of tokens at most, from the same weights; three times as many where asked."""
    tokenizer = characters()
    save_decoder(fresh(STUDENT, 0), tmp_path / "student", tokenizer=tokenizer)
    arms = _Arms(TINY, 0, tokenizer, tmp_path / "student", Models(*[tmp_path / "student"] * 4))
    before = fresh(STUDENT, 0)
    one, two = (arms.trained(fresh(STUDENT, 0), arms.by_hand(), times) for times in (1, 3))
    moved = [sum(float((a - b).detach().abs().sum()) for a, b in zip(before.parameters(), d.parameters(), strict=True)) for d in (one, two)]
    assert 0 < moved[0] < moved[1]
    assert not any(p.requires_grad for p in one.parameters())
    untouched = fresh(STUDENT, 0)
    assert arms.trained(untouched, []) is untouched
    asyncio.run(arms.judged("x", one))
    assert {(s.kind, len(s.right)) for s in arms.solved} == {(IN, 2), (HARD, 2)}
