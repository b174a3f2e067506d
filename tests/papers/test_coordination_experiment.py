"""Emergent coordination's experiment: groups are what they say, rules follow the figures, a tiny run resumes to the same evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from reasonry.core import Result
from reasonry.papers.coordination import PAPER, drawn, oracles, run
from reasonry.papers.coordination_agents import ARMS, COMPLEMENTARY, COPIES, IN_SIGHT, OSCILLATORS, PERSONA, PLAIN, exclusive_or, simulate
from reasonry.papers.coordination_findings import CLAIMS, PAIR, Batch, Plan, Row, findings
from reasonry.probe.coordination import Verdict
from reasonry.probe.stats import Estimate

TINY = Plan(agents=4, groups=3, surrogates={"20": 19, "200": 4}, pair_rounds=12)


def test_groups_are_what_they_say() -> None:
    """Within the game's range; copies hear a stranger, others themselves; oscillators swing; complementary agents rest now and then."""
    for arm in ARMS:
        g = simulate(arm, 40, 6, np.random.default_rng(0))
        assert g.actions.shape == (40, 6)
        assert g.condition == arm
        assert (g.feedback is not None) is (arm in COPIES)
        assert 51 <= g.target <= 100
        if arm not in (IN_SIGHT,):
            assert g.actions.min() >= 0
            assert g.actions.max() <= 50
    swing = np.diff(simulate(OSCILLATORS, 40, 6, np.random.default_rng(0)).actions, axis=0)
    assert (np.sign(swing[:-1]) != np.sign(swing[1:])).mean() > 0.9
    still = np.diff(simulate(COMPLEMENTARY, 40, 6, np.random.default_rng(0)).actions, axis=0) == 0
    assert 0.2 < still.mean() < 0.9
    x = exclusive_or(3000, np.random.default_rng(0)).actions.astype(int)
    assert (x[1:, 0] == x[:-1, 0] ^ x[:-1, 1]).mean() > 0.93


def test_the_known_examples_have_no_error() -> None:
    assert oracles() < 1e-12


def batches(
    synergy: dict[str, float], I3: dict[str, tuple[float, float]], differs: dict[str, float], verdicts: dict[str, str]
) -> list[Batch]:
    """Figures made up: synergy above the column shuffle, I3 above the column shuffle and the functional null, p of intercepts."""
    made = []
    for seed in (0, 1, 2):
        for rounds in (20, 200):
            for arm in ARMS:
                rows = []
                for i in range(20):
                    e = 0.002 * ((i + seed) % 5 - 2)
                    column, functional = I3.get(arm, (0.0, -0.1))
                    red = 0.2 + e if arm == COMPLEMENTARY else 0.05 + e
                    scores = {"synergy": 0.3 + e, "I3": 0.2 + e, "G3": e, "redundancy": red, "practical": -1 + e}
                    above = {"synergy": synergy.get(arm, 0.0) + e, "I3": column + e, "G3": e / 2}
                    nulls = {"column": above, "functional": {"I3": functional + e}}
                    rows.append(Row(seed, arm, rounds, i, scores, nulls, {}, differs.get(arm, 0.5), True, {}))
                made.append(Batch(tuple(rows), verdicts.get(arm, Verdict.AGGREGATE.value), {}, {}))
        pair = [Row(seed, PAIR, 51, i, {"synergy": 0.6}, {"column": {"synergy": 0.4 + 0.01 * (i % 3)}}, {"column": {"synergy": 0.02}}, None,
                    False, {}) for i in range(20)]  # fmt: skip
        made.append(Batch(tuple(pair), Verdict.NONE.value, {}, {}))
    return made


def test_verdicts_follow_the_rules() -> None:
    """Figures so that each claim holds; then so that each fails; then nothing was run."""
    seen = {IN_SIGHT: Verdict.COLLECTIVE.value, OSCILLATORS: Verdict.OSCILLATORS.value}
    good = batches({}, {COMPLEMENTARY: (0.2, -0.1), COPIES[2]: (0.2, -0.1)}, {PERSONA: 0.001, COMPLEMENTARY: 0.001}, seen)
    found = {f.claim: f for f in findings(good, 0.0, [0.18872, 0.53100, 1.0], Estimate(0.3, 0.1, 0.5, 60))}
    assert set(found) == {c.id for c in CLAIMS}
    assert {c: f.result for c, f in found.items() if f.result is not Result.HOLDS} == {}
    bad = batches(
        {PLAIN: 0.1}, {COMPLEMENTARY: (-0.2, 0.1), COPIES[2]: (0.2, 0.1)}, {PLAIN: 0.001}, {OSCILLATORS: Verdict.COLLECTIVE.value},
    )  # fmt: skip
    bad = [
        replace(b, rows=tuple(
            replace(r, scores={**r.scores, "redundancy": 0.1, "practical": 0.1}, p={"column": {"synergy": 0.5}},
                    corrected={n: {**of, "G3": 0.1 + 1e-3 * (r.group % 3)} for n, of in r.corrected.items()}) for r in b.rows))
        for b in bad
    ]  # fmt: skip
    found = {f.claim: f for f in findings(bad, 1e-3, [0.2, 0.5, 1.0], Estimate(-0.3, -0.5, -0.1, 60))}
    assert {c: f.result for c, f in found.items() if f.result is not Result.FAILS} == {}
    nothing = {f.claim: f.result for f in findings([], 0.0, [0.18872, 0.531, 1.0], None)}
    assert set(nothing.values()) == {Result.UNCLEAR, Result.HOLDS}


def test_a_tiny_run_resumes_to_the_same_evidence(tmp_path: Path) -> None:
    """Every arm is simulated once; the second call reads what is there, and what is missing is made again alike."""
    once = run(tmp_path, (0,), TINY)
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 1 + 2 * len(ARMS)
    stamps = {p: p.stat().st_mtime_ns for p in files[1:]}
    files[0].unlink()
    again = run(tmp_path, (0,), TINY)
    assert msgspec.json.encode(again.measures) == msgspec.json.encode(once.measures)
    assert stamps == {p: p.stat().st_mtime_ns for p in files[1:]}
    page = (tmp_path / "report.html").read_text()
    assert all(c.says.split(",")[0] in page.replace("&#39;", "'") for c in CLAIMS)
    assert PAPER.slug == "emergent-coordination"


def test_seeds_make_other_groups_and_the_same_seed_the_same() -> None:
    a, b, c = (drawn(PLAIN, 20, TINY, seed) for seed in (0, 0, 1))
    assert all((x.actions == y.actions).all() for x, y in zip(a, b, strict=True))
    assert any((x.actions != y.actions).any() for x, y in zip(a, c, strict=True))
