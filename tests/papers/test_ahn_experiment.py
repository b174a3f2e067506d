"""AHN's experiment: the streams are what they say, the rules follow the figures, and a tiny run resumes to the same evidence."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Result
from reasonry.papers.ahn import PAPER, run
from reasonry.papers.ahn_findings import CE, CLAIMS, FULL, GDN, LEARNED, ONE, PLAIN, POOLED, SWAPPED, Identity, Plan, Row, findings
from reasonry.papers.ahn_task import Notes


@given(seed=st.integers(0, 999), once=st.booleans())
@settings(max_examples=50, deadline=None)
def test_every_answer_is_the_last_note_under_its_key(seed: int, once: bool) -> None:
    """Read with a dictionary: the answer after a question is the value set last, as many tokens ago as the stream says."""
    task = Notes(keys=20 if once else 5, names=32, once=once)
    ids, far = task.stream(random.Random(seed))
    assert len(ids) == len(far) == task.length
    held: dict[int, tuple[int, int]] = {}
    questions, answers = 32 * 16, 32 * 16 + 32
    for t, token in enumerate(ids):
        if token < questions:
            assert not (once and token // 16 in held)
            held[token // 16] = token % 16, t
        elif token >= answers and token < answers + 16 and far[t]:
            value, at = held[ids[t - 1] - questions]
            assert (token - answers, far[t]) == (value, t - at)
        else:
            assert far[t] == 0
    assert max(ids) < task.vocab


def made(plan: Plan, shares: dict[str, float], kind: str = "notes", kl: float = 1.0) -> list[Row]:
    """Rows with a spread over streams around a share, every window and seed alike."""

    def around(middle: float) -> dict[str, float]:
        return {str(i): middle + 0.02 * (i % 3 - 1) for i in range(90)}

    shown = [(seed, arm, w) for seed in (0, 1, 2) for arm in shares for w in plan.windows]
    return [Row(seed, arm, kind, w, around(shares[arm]), around(kl * (1 - shares[arm]))) for seed, arm, w in shown]


def test_verdicts_follow_the_rules() -> None:
    """Figures made up so that each claim holds; then so that each fails; then a teacher that cannot do the task says nothing."""
    plan = Plan()
    good = {FULL: 0.98, GDN: 0.8, PLAIN: 0.3, SWAPPED: 0.35, POOLED: 0.4, CE: 0.7, ONE: 0.72}
    hard = {FULL: 0.95, GDN: 0.31, PLAIN: 0.3, SWAPPED: 0.3, POOLED: 0.3, CE: 0.3, ONE: 0.3}
    found = {
        f.claim: f.result
        for f in findings(plan, made(plan, good) + made(plan, hard, "many keys"), [Identity(1e-12, 2e-5, 30)], (0.467, 0.2595))
    }
    assert set(found) == {c.id for c in CLAIMS}
    assert set(found.values()) == {Result.HOLDS}
    bad = good | {GDN: 0.3, PLAIN: 0.31, SWAPPED: 0.32, POOLED: 0.4, CE: 0.5}
    found = {
        f.claim: f.result for f in findings(plan, made(plan, bad) + made(plan, good, "many keys"), [Identity(1e-3, 1e-3, 30)], (0.5, 0.26))
    }
    assert set(found.values()) == {Result.FAILS}
    weak = {f.claim: f.result for f in findings(plan, made(plan, good | {FULL: 0.6}), [Identity(0, 0, 1)], (0.467, 0.26))}
    assert weak["memory"] is Result.UNCLEAR


def test_a_tiny_run_resumes_to_the_same_evidence(tmp_path: Path) -> None:
    """All arms are distilled once; a second call reads what is there; the page names every claim."""
    plan = Plan(base_steps=2, steps=2, rows=4, streams=6, windows=(8, 16), totals=(14, 24))
    once = run(tmp_path, (0,), plan)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("ahn.safetensors")}
    assert len(stamps) == len(LEARNED)
    again = run(tmp_path, (0,), plan)
    assert msgspec.json.encode(again.measures) == msgspec.json.encode(once.measures)
    assert stamps == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("ahn.safetensors")}
    page = (tmp_path / "report.html").read_text()
    assert all(c.says.split(",")[0] in page.replace("&#39;", "'") for c in CLAIMS)
    identity = next(f for f in once.findings if f.claim == "identity")
    assert identity.result is Result.HOLDS
    assert PAPER.slug == "ahn"


def test_the_plan_tests_windows_it_trains_on_either_side_of() -> None:
    """Every tested window lies inside the range of drawn totals."""
    plan = Plan()
    for w in plan.windows:
        assert min(plan.totals) <= w + plan.sinks + 1 <= max(plan.totals)
