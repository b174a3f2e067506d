"""The debate experiment: its tasks and texts are what they say, its rules decide as written, and it runs and resumes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Problem, Result
from reasonry.papers.agglm_task import Chains
from reasonry.papers.talk import PAPER, run
from reasonry.papers.talk_cells import CELLS, CLAIMS, CLOSE, GROUPS, HIGH, KINDS, LOW, MIXED, WEAK_MAJORITY, Cell, Plan
from reasonry.papers.talk_findings import findings, martingale, measures
from reasonry.papers.talk_start import OWN, believed, revision, solution
from reasonry.papers.talk_task import BARE, checked, read_bare, values, worked, wrong_values
from reasonry.probe.exchange_log import Debate, Spoke, read_debates
from reasonry.probe.flips import flips
from reasonry.tasks.skill import split_of

TINY = Plan(teaching=2, further=1, batch=128, questions=2, calibration=2, simulated=2_000)
FEW = tuple(c for c in CELLS if c.group == WEAK_MAJORITY)


def test_bare_questions_are_chains_whose_answers_may_stand_alone() -> None:
    """The same chains in the same splits; a derivation and its digit are both right."""
    for p in BARE.problems("test", 40, 1):
        chain = str(p.prompt).rstrip("?")
        assert split_of(chain) == "test"
        assert p.answer == str(values(chain)[-1])
        assert BARE.judge(p, worked(chain, values(chain))).passed
        assert BARE.judge(p, p.answer).passed
    assert [read_bare(t) for t in ("5", "1a2", "1a2b4\n")] == ["5", "2", "4"]
    assert [read_bare(t) for t in ("", "12", "1a", "x")] == [None] * 4


@pytest.mark.parametrize("task", [Chains(), BARE])
def test_the_check_is_the_judge_where_a_derivation_is_shown(task: Chains) -> None:
    """It sees no answer and agrees with the judge on right and slipped derivations; a bare answer it cannot check."""
    rng = random.Random(0)
    for p in task.problems("test", 60, 0):
        chain = str(p.prompt).rstrip("?")
        for found in (values(chain), wrong_values(chain, rng)):
            text = worked(chain, found)
            assert checked(replace(p, answer=None), text) is task.judge(p, text).passed is (found == values(chain))
        assert checked(p, worked("1abcd", values("1abcd"))) is (chain == "1abcd")
    assert checked(Problem("x", "1abcd?"), "5") is None
    assert checked(Problem("x", "1abcd"), "no derivation") is None


@pytest.mark.parametrize("c", [0.5, 0.95])
def test_revisions_show_peers_that_are_right_with_chance_c(c: float) -> None:
    """The share of right peers and own answers is what the texts claim; what is demonstrated is right wherever anybody shows it."""
    rng, peers, own, said = random.Random(1), list[bool](), list[bool](), list[bool]()
    for _ in range(1500):
        asked, answer = revision(rng, c)
        question, *others, mine = asked.split("\n")
        chain = question.rstrip("?")
        assert split_of(chain) == "train"
        right = str(values(chain)[-1])
        assert all(len(o) == (1 if question.endswith("?") else len(right) + 8) for o in (answer, *others))
        peers += [o[-1] == right for o in others]
        own.append(mine[-1] == right)
        said.append(answer[-1] == right)
        assert said[-1] == (own[-1] or right in [o[-1] for o in others])
    assert sum(peers) / len(peers) == pytest.approx(c, abs=0.03)
    assert sum(own) / len(own) == pytest.approx(OWN, abs=0.05)


def test_strengths_are_nested_shares_of_doubt() -> None:
    """A weaker model's solutions are wrong wherever a stronger one's may be, and more often; without doubt they are right."""
    rates = []
    for doubtful in (0.0, 0.04, 0.2, 0.4):
        rng = random.Random(0)
        made = [solution(rng, doubtful) for _ in range(400)]
        rates.append(
            sum(text[: len(text.rstrip("ABCD"))] == worked(q.partition("?")[0], values(q.partition("?")[0])) for q, text in made) / 400
        )
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[3] < 0.6 < rates[1]
    assert all(believed(v, op, 0.0, random.Random(0)) == believed(v, op, 0.0, random.Random(9)) for v in range(10) for op in "ajl")


def made_up(before: tuple[bool, ...], after: tuple[bool, ...], n: int = 30, share: float = 1.0) -> list[Debate]:
    """Debates that all go from one pattern to another; `share` of them, the others stay."""
    found = []
    for i in range(n):
        ends = after if i < share * n else before
        rounds, names = (before, ends, ends), ("strong", *(f"weak {j}" for j in range(1, len(before))))
        found.append(
            Debate(f"q{i}", "", tuple(tuple(Spoke(a, "x" if r else "y", r) for a, r in zip(names, said, strict=True)) for said in rounds))
        )
    return found


def told(**changes: list[Debate]) -> dict[str, Result]:
    """The findings' results where every cell is `calm`, but for modes or `low` given."""
    calm = made_up((True, False, True), (True, False, True))
    cells = {}
    for c in CELLS:
        key = "low" if c.prior == LOW else c.mode if c.prior == HIGH else "calm"
        if f"{key}_{c.kind}" in changes:
            key = f"{key}_{c.kind}"
        cells[c] = changes.get(key, calm)
    chances = {s: {f"{k} {m}": p for k in KINDS for m, p in (("weak", 0.5), ("middle", 0.7), ("strong", 0.9))} for s in (0, 1, 2)}
    return {f.claim: f.result for f in findings(dict.fromkeys((0, 1, 2), cells), chances, TINY)}


def test_rules_decide_as_they_are_written() -> None:
    """Harm, its opposite and calm are told apart by every rule that speaks of it."""
    harmed = made_up((True, True, False), (False, True, False), share=0.8)
    mended = made_up((True, False, False), (True, True, False), share=0.8)
    calm = told()
    assert calm["harm"] is Result.FAILS
    assert calm["isolated"] is Result.HOLDS
    bad = told(debate=harmed)
    assert [bad[c] for c in ("harm", "vote", "prior", "noise", "gate")] == [Result.HOLDS] * 5
    good = told(debate=mended)
    assert [good[c] for c in ("harm", "vote")] == [Result.FAILS] * 2
    assert told(debate_bare=harmed)["checkable"] is Result.HOLDS
    assert told(debate_chain=harmed)["checkable"] is Result.FAILS
    assert told(isolated=harmed)["isolated"] is Result.FAILS
    assert told(debate=harmed, gate=harmed)["gate"] is Result.FAILS
    assert told(low=harmed)["prior"] is Result.FAILS
    alone = [Debate(d.problem, "", d.rounds[:1]) for d in made_up((True,) * 9, (True,) * 9)]
    assert told(debate=harmed, alone=alone)["compute"] is Result.HOLDS


def test_the_grid_is_the_paper_s_ten_groups() -> None:
    """Three of each, and every mixture of the three strengths by two and one, and all three."""
    assert len(GROUPS) == 10
    assert len({tuple(sorted(g)) for g in GROUPS.values()}) == 10
    assert set(CLOSE) <= set(MIXED)
    assert len({c.slug for c in CELLS}) == len(CELLS)
    assert {c.id for c in CLAIMS} == {c.id for c in PAPER.claims} == {f.claim for f in findings_of_nothing()}


def findings_of_nothing() -> list:  # type: ignore[type-arg]
    calm = made_up((True, False, True), (True, False, True))
    chances = {0: {f"{k} {m}": 0.6 for k in KINDS for m in ("weak", "middle", "strong")}}
    return list(findings({0: dict.fromkeys(CELLS, calm)}, chances, TINY))


def test_martingale_is_exact() -> None:
    """With the run's number of questions."""
    assert martingale(Plan().simulated).result is Result.HOLDS


def test_the_experiment_runs_and_resumes(tmp_path: Path) -> None:
    """A tiny one, from teaching to the page; a second run finds everything there; its cells are logs that the probe reads."""
    evidence = run(tmp_path, (0,), TINY, FEW)
    assert {f.claim for f in evidence.findings} == {c.id for c in CLAIMS}
    assert "strong + 2 weak" in (tmp_path / "report.html").read_text()
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jsonl")}
    assert len(times) == len(FEW)
    again = run(tmp_path, (0,), TINY, FEW)
    assert (again.measures, again.findings) == (evidence.measures, evidence.findings)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jsonl")} == times
    cell = Cell("chain", HIGH, WEAK_MAJORITY)
    found = flips(read_debates(tmp_path / "seed-0" / "cells" / f"{cell.slug}.jsonl"))
    assert found.agents == ("strong", "weak 1", "weak 2")
    assert measures(
        {0: {cell: read_debates(tmp_path / "seed-0" / "cells" / f"{cell.slug}.jsonl")}}, {0: {"chain strong": 0.9, "chain weak": 0.6}}
    )
