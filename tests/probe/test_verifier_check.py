"""The check of process verifiers: its estimates are the formulas' on trees known whole, and its advice follows them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.core import UserError
from reasonry.evaluate.verifier_page import check_html, check_json, check_text
from reasonry.probe.verifier import Answer, Prefix, Scored, check, expanded, read_prefixes

H, P = 4, 0.7
"""Letters of a word; each is good with chance P, and a word is right where all are."""


def every_word(score: dict[bool, float] | None = None) -> tuple[list[Prefix], list[Answer]]:
    """All prefixes in exact proportion, with pairs of outcomes in exact proportion; V̂ = V*, times `score` by the last letter's kind."""
    prefixes, answers = [], []
    for h in range(1, H):
        for good in (True, False):
            n = round(1000 * (P**h if good else 1 - P**h))
            chance = P ** (H - h) if good else 0.0
            for i in range(n):
                # two independent rollouts: both right with chance², one with 2·chance(1 − chance)
                u = (i + 0.5) / n
                both, one = chance**2, 2 * chance * (1 - chance)
                outcomes = (1.0, 1.0) if u < both else (1.0, 0.0) if u < both + one else (0.0, 0.0)
                factor = 1.0 if score is None else score[i % 2 == 0]
                prefixes.append(Prefix(f"p{i % 5}", h, chance * factor, outcomes))
    answers = [Answer(f"p{i % 5}", H, float(i < round(1000 * P**H))) for i in range(1000)]
    return prefixes, answers


def test_a_perfect_verifier_is_found_perfect() -> None:
    """Both means are 1 at every depth, the leaf mass is 1/(2H), a walk takes H² steps."""
    found = check(*every_word())
    for d in found.depths:
        assert d.over.mean == pytest.approx(1, abs=0.02)
        assert d.under.mean == pytest.approx(1, abs=0.02)
        assert d.paired
        assert d.auc is not None
    assert found.error.mean < 0.02
    assert found.leaf_mass.mean == pytest.approx(1 / (2 * H), rel=0.01)
    assert found.steps == pytest.approx(H**2, rel=0.02)
    assert found.closed == 0
    assert "stepwise decoding" in found.advice


def test_errors_are_the_formulas() -> None:
    """V̂ twice too large on every other prefix: E[V̂/V*] = 1.5, E[V*/V̂] = 0.75; a common factor is found by `scale`."""
    found = check(*every_word({True: 2.0, False: 1.0}))
    assert all(d.over.mean == pytest.approx(1.5, abs=0.03) for d in found.depths)
    assert all(d.under.mean == pytest.approx(0.75, abs=0.03) for d in found.depths)
    assert found.error.mean == pytest.approx(0.5, abs=0.04)
    assert found.scaled == pytest.approx(math.sqrt(1.5 * 0.75) - 1, abs=0.03)
    third = check(*every_word({True: 1 / 3, False: 1 / 3}))
    assert third.error.mean == pytest.approx(2, abs=0.05)
    assert third.scaled < 0.05
    assert all(d.scale == pytest.approx(3, rel=0.03) for d in third.depths)
    assert any("badly calibrated" in f for f in third.findings)


def test_single_outcomes_give_a_lower_bound() -> None:
    """Within bins of like score V* is averaged, so underrating can only look smaller; the page says so."""
    pairs, answers = every_word({True: 0.5, False: 1.0})
    rng = Random(0)
    single = [Prefix(p.problem, p.depth, p.score, (rng.choice(p.outcomes),)) for p in pairs]
    true, bound = check(pairs, answers), check(single, answers)
    for a, b in zip(true.depths, bound.depths, strict=True):
        assert not b.paired
        assert b.under.mean <= a.under.mean * 1.05
    assert any("lower bound" in f for f in bound.findings)
    assert "≥ " in check_text(bound)


def test_zeros_before_right_answers_are_an_alarm() -> None:
    pairs, answers = every_word()
    shut = [Prefix(p.problem, p.depth, 0.0 if i % 7 == 0 else p.score, p.outcomes) for i, p in enumerate(pairs)]
    found = check(shut, answers)
    assert found.closed == pytest.approx(1 / 7, abs=0.03)
    assert math.isinf(found.error.mean)
    assert any(f.startswith("ALARM") for f in found.findings)
    assert "clip" in found.advice
    assert json.loads(json.dumps(check_json(found), allow_nan=False))["error"]["mean"] is None
    assert "without limit" in check_html(found, "here")


def test_the_advice_weighs_going_back_against_rejection() -> None:
    """A wrong verifier and rare right answers: the walk; where half are right, rejection."""
    rng = Random(0)

    def rolled(p: float, blocks: int) -> list[Scored]:
        made = []
        for i in range(600):
            word = [rng.random() < p for _ in range(blocks)]
            scores = tuple((p ** (blocks - h) if all(word[:h]) else 0.05) * rng.choice((0.3, 1.0)) for h in range(1, blocks))
            made.append(Scored(f"p{i % 9}", scores, float(all(word))))
        return made

    assert "the walk (vgb)" in check(*expanded(rolled(0.55, 5))).advice
    assert "rejection on outcomes" in check(*expanded(rolled(0.9, 4))).advice


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for line, says in (
        ('{"problem": 1, "scores": [0.5], "outcome": 2}', "line 1: an outcome is 2, but outcomes are 0 to 1"),
        ('{"problem": 1, "scores": [-1], "outcome": 1}', "a score is -1, but values are 0 or more"),
        ('{"problem": 1, "scores": [0.1]}', "line 1 has no 'outcome'"),
        ('{"problem": 1, "depth": 0, "score": 1, "outcomes": [1]}', "depth is below 1"),
        ('{"problem": 1, "depth": 1, "score": 1, "outcomes": []}', "outcomes is empty"),
        ("[]", "it is no object"),
        ("", "has no scores of partial answers"),
    ):
        file.write_text(line + "\n")
        with pytest.raises(UserError, match=says):
            read_prefixes(file)
    with pytest.raises(UserError, match="nothing can be said of right answers"):
        check([Prefix("p", 1, 0.5, (0.0,))])


def test_the_command_reads_the_example(tmp_path: Path) -> None:
    """The documented file: an overrating verifier, found by its means; the page is written."""
    data = Path(__file__).parents[2] / "docs/examples/verifier/answers.jsonl"
    found = CliRunner().invoke(cli, ["probe", "verifier", str(data), "--out", str(tmp_path / "x.html")])
    assert found.exit_code == 0, found.output
    assert "overrates" in found.output
    assert "Verifier check" in (tmp_path / "x.html").read_text()
    assert CliRunner().invoke(cli, ["probe", "verifier", str(data), "--json"]).exit_code == 0
    refused = CliRunner().invoke(cli, ["probe", "verifier", "--model", "pocket-1m"])
    assert isinstance(refused.exception, UserError)
