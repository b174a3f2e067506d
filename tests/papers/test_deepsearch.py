"""DeepSearch's experiment: the task's invariant, search without a model, the verdict rules, and a run that is resumed."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Result
from reasonry.evaluate.tree import places, tree_svg
from reasonry.papers.deepsearch import PAPER
from reasonry.papers.deepsearch import run as run_experiment
from reasonry.papers.deepsearch_arms import next_stop
from reasonry.papers.deepsearch_findings import (
    ARMS,
    BACKED,
    BACKED_RANDOM,
    CLAIMS,
    DIRECT,
    FULL,
    NO_CACHE,
    PLAIN_BACKUP,
    RANDOM,
    Lab,
    Plan,
    Probe,
    Row,
    Step,
    Trained,
    findings,
    measures,
)
from reasonry.papers.deepsearch_lab import ENDS, INFORMED, PLAIN, SOLVED, WRONG, measured
from reasonry.papers.deepsearch_task import SLIPS, STEP, TOKENS, check, mod_chains, slips, work

TASK = mod_chains()


def test_demonstrations_pass_exactly_where_nothing_slips() -> None:
    """Also where two slips end in the right digit; and they slip as often as they should."""
    slipped, steps = 0, 0
    for i, problem in enumerate(TASK.problems("train", 300)):
        text = work(problem, random.Random(i))[0].content
        assert len(text) + 1 <= TOKENS
        assert all(len(part) == STEP - 1 for part in text.partition("\n")[0].split(";"))
        assert check(problem, text).passed == (slips(problem, text) == 0)
        slipped += slips(problem, text)
        steps += len(problem.meta["steps"])
    assert slipped / steps == pytest.approx((SLIPS["*"] + SLIPS["+"]) / 2, abs=0.03)


def test_search_without_a_model_is_as_the_brief_found_it() -> None:
    """The exact chance of plain tries; with a telling entropy search finds far more with λ2 < 0, and next to nothing with λ2 > 0."""
    assert pytest.approx(0.3958, abs=1e-4) == SOLVED
    assert ENDS == 0.5
    found = {kind: asyncio.run(measured(kind, 16, 3)) for kind in (PLAIN, INFORMED, WRONG)}
    solved = {kind: sum(n > 0 for n in ends) for kind, ends in found.items()}
    assert solved[INFORMED] > solved[WRONG] + 4
    assert sum(found[PLAIN]) > 16 * ENDS


def trained(scores: dict[str, float], norms: dict[str, float]) -> list[Trained]:
    """Three seeds of every arm with such pass rates; problems differ, arms do so alike."""
    made = []
    for arm in ARMS:
        for seed in range(3):
            rows = [Row(seed, arm, f"{i}", scores.get(arm, 0.3) + (0.1 if i % 2 else -0.1) + 0.001 * seed) for i in range(60)]
            steps = [Step(0, 900, 0.2, 30.0, norms.get(arm, 0.5) + 0.01 * seed, 1e-6), Step(1, 2000, 0.2, 30.0, 0.1)]
            made.append(Trained(arm, seed, steps, rows, [40, 30]))
    return made


PROBES = [Probe(s, f"{i}", how, int(i % 3 < n), 8, 300) for s in range(3) for i in range(60) for how, n in (("search", 2), ("direct", 1))]
LAB = [
    Lab(kind, s, [n if (i + s) % 10 < share else 0 for i in range(100)])
    for kind, share, n in ((PLAIN, 2, 10), (INFORMED, 8, 10), (WRONG, 1, 1))
    for s in range(3)
]
GOOD = trained({FULL: 0.4, PLAIN_BACKUP: 0.3, BACKED: 0.4, BACKED_RANDOM: 0.3, DIRECT: 0.3, NO_CACHE: 0.39}, {PLAIN_BACKUP: 2.0})


def test_the_expected_outcome_holds_and_its_opposite_fails() -> None:
    held = {f.claim: f.result for f in findings(GOOD, PROBES, LAB)}
    assert set(held) == {c.id for c in CLAIMS}
    assert set(held.values()) == {Result.HOLDS}
    worse = {FULL: 0.2, PLAIN_BACKUP: 0.3, BACKED: 0.2, BACKED_RANDOM: 0.3, DIRECT: 0.3, NO_CACHE: 0.39}
    bad = trained(worse, {PLAIN_BACKUP: 0.2, RANDOM: 0.6})
    swapped = [replace_how(p) for p in PROBES]
    lab = [Lab({PLAIN: INFORMED, INFORMED: WRONG, WRONG: PLAIN}[x.how], x.seed, x.right) for x in LAB]
    failed = {f.claim: f.result for f in findings(bad, swapped, lab)}
    for claim in ("better", "constrained", "confident", "cache", "explore", "signal", "sign", "no-signal", "siblings"):
        assert failed[claim] is Result.FAILS, claim


def replace_how(p: Probe) -> Probe:
    return Probe(p.seed, p.problem, {"search": "direct", "direct": "search"}[p.how], p.right, p.ends, p.tokens)


def test_nothing_measured_is_unclear_and_a_mismatch_fails() -> None:
    assert {f.result for f in findings([], [], [])} == {Result.UNCLEAR}
    off = [Trained(t.arm, t.seed, [Step(0, 9, 0.1, 9.0, mismatch_max=0.1)], t.rows, t.hard) for t in GOOD]
    assert {f.claim: f.result for f in findings(off, PROBES, LAB)}["same-tokens"] is Result.FAILS
    assert {m.arm for m in measures(GOOD, PROBES, LAB)} >= set(ARMS)


def test_training_stops_nearest_to_its_tokens() -> None:
    plan = Plan(every=5)
    log = [Step(i, 100 * (i + 1), 0.0, 0.0) for i in range(10)]
    assert next_stop(plan, 5000, []) == 5
    assert next_stop(plan, 5000, log) == 15
    assert next_stop(plan, 1240, log) == 12
    assert next_stop(plan, 1020, log) == 10


def test_a_tree_is_drawn_with_parents_over_their_children() -> None:
    records = [
        {"parent": p, "label": str(i), "depth": d, "visits": 1, "value": v, "terminal": e is not None, "end": e}
        for i, (p, d, v, e) in enumerate(
            [(None, 0, 0.0, None), (0, 1, 0.5, None), (0, 1, -0.5, None), (1, 2, 1.0, 1.0), (1, 2, -1.0, -1.0)]
        )
    ]
    at = places(records)
    assert [y for _, y in at] == [0, -1, -1, -2, -2]
    assert at[1][0] == (at[3][0] + at[4][0]) / 2
    assert len({x for x, _ in (at[2], at[3], at[4])}) == 3
    assert "<svg" in tree_svg(records, "a tree")


SMALL = Plan(
    teaching=2, tokens=700, every=1, rounds=2, pool=6, prompts=2, group=2, n=2, test=4, test_attempts=1, below=2.0, lab_problems=1, probe=2,
    drawn=1, arms=(DIRECT, FULL),
)  # fmt: skip


@pytest.mark.slow
def test_a_run_resumes_to_the_same_evidence(tmp_path: Path) -> None:
    """Tiny from end to end; with some of its results taken away it measures the same again, and every claim has a finding."""
    whole = run_experiment(tmp_path / "run", (0,), SMALL)
    assert {f.claim for f in whole.findings} == {c.id for c in PAPER.claims}
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "seed-0-DeepSearch" / "arm.json").unlink()
    shutil.rmtree(tmp_path / "run" / "seed-0-direct")
    again = run_experiment(tmp_path / "run", (0,), SMALL)
    assert (again.measures, again.findings) == (whole.measures, whole.findings)
    assert json.dumps(again.meta)
    assert replace(SMALL, teaching=3) != SMALL
