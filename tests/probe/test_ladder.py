"""The aggregation ladder: exact values on small files, invariances, and the command."""

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.core import Problem, UserError
from reasonry.evaluate.ladder_page import finding, ladder_html, ladder_json, ladder_text
from reasonry.probe.ladder import AGGREGATOR, BEST, BEST_CHECK, CHECKED, MAJORITY, ORACLE, PASS1, WEIGHTED, Ladder, ladder
from reasonry.probe.stats import maj_at_k, pass_at_k
from reasonry.tasks.pool import Aggregated, Candidate, Pool, read_pools, write_pools


def pool(i: int, answers: str, checks: str = "", aggregated: str = "") -> Pool:
    """Candidates that answer letters; `r` is right. `checks` are digits, of ten."""
    told = tuple(
        Candidate(
            f"#### {a}",
            None if a == "?" else a,
            10,
            score=float(-j),
            check=int(checks[j]) / 10 if checks else None,
            correct=float(a == "r"),
        )
        for j, a in enumerate(answers)
    )
    made = tuple(Aggregated(f"#### {a}", a, 4, correct=float(a == "r"), set=n) for n, a in enumerate(aggregated))
    return Pool(Problem(f"p{i}", f"question {i}", "r"), "test", told, made)


POOLS = [pool(0, "rrwv", "9911", "r"), pool(1, "rwww", "9111", "r"), pool(2, "wwvv", "1199", "r"), pool(3, "rrww", "1199", "w")]


def accuracy(found: Ladder) -> dict[str, float]:
    return {r.name: r.accuracy.mean for r in found.rungs}


def test_every_rung_by_hand():
    """Ties are halves; the check finds the minority where it is right and is fooled where it is not; synthesis may pass the oracle."""
    found = ladder(POOLS)
    assert accuracy(found) == pytest.approx({
        PASS1: (2 / 4 + 1 / 4 + 0 + 2 / 4) / 4, MAJORITY: (1 + 0 + 0 + 0.5) / 4, WEIGHTED: (1 + 1 + 0 + 1) / 4, BEST: 3 / 4,
        CHECKED: (1 + 1 + 0 + 0) / 4, BEST_CHECK: (1 + 1 + 0 + 0) / 4, AGGREGATOR: 3 / 4, ORACLE: 3 / 4,
    })  # fmt: skip
    assert {r.name: r.tokens for r in found.rungs} == {
        **dict.fromkeys((MAJORITY, WEIGHTED, BEST, CHECKED, BEST_CHECK, ORACLE), 40), PASS1: 10, AGGREGATOR: 44,
    }  # fmt: skip
    assert found.minority == 1
    recovered = {r.name: r.recovered.mean for r in found.rungs if r.recovered is not None}
    assert (recovered[MAJORITY], recovered[CHECKED], recovered[PASS1]) == (0, 1, 0.25)
    vote = found.rung(MAJORITY)
    assert vote is not None
    assert vote.gap == pytest.approx(3 / 4 - 1.5 / 4)
    assert vote.by_size == {"1–2": pytest.approx((1 + 0 + 0.5) / 3), "3": 0.0}


def test_the_curves_are_the_exact_ones_of_all_candidates():
    found = ladder([pool(0, "rrwvw?rr"), pool(1, "wwwrrrv?")], m=4)
    for k, tokens, value in found.curve:
        rows = ("rrwvw?rr", "wwwrrrv?")
        exact = [maj_at_k([None if a == "?" else a for a in row], [float(a == "r") for a in row], k) for row in rows]
        assert (tokens, value) == (10 * k, pytest.approx(sum(exact) / 2))
    for k, _, value in found.oracle:
        assert value == pytest.approx((pass_at_k(8, 4, k) + pass_at_k(8, 3, k)) / 2)
    assert found.sets == 4
    assert found.silent == 2 / 16


def test_a_copier_never_passes_the_oracle_and_order_changes_nothing():
    """An aggregator that copies some candidate stays at or below pass@m on every set; shuffling candidates moves no rung."""
    rng = random.Random(0)
    rows = ["".join(rng.choice("rrwvu?") for _ in range(8)) for _ in range(40)]
    pools = [pool(i, row, "".join(rng.choice("0123456789") for _ in row), rng.choice(row)) for i, row in enumerate(rows)]
    found = accuracy(ladder(pools))
    assert found[AGGREGATOR] <= found[ORACLE]
    mixed = [Pool(p.problem, p.split, tuple(rng.sample(p.candidates, 8)), p.aggregated) for p in pools]
    assert accuracy(ladder(mixed)) == pytest.approx(found)


def test_rungs_that_the_candidates_do_not_allow_are_not_there():
    plain = [Pool(p.problem, p.split, tuple(Candidate(c.text, c.answer, 1, correct=c.correct) for c in p.candidates)) for p in POOLS]
    found = ladder(plain)
    assert [r.name for r in found.rungs] == [PASS1, MAJORITY, ORACLE]
    assert "Give the candidates a score" in finding(found)


def test_intervals_are_over_problems_not_over_sets():
    """Ten times the same sets of four problems are no more evidence than four problems."""
    few, many = ladder(POOLS), ladder([Pool(p.problem, p.split, p.candidates * 10) for p in POOLS], m=4)
    for a, b in zip((r for r in few.rungs if r.name != AGGREGATOR), many.rungs, strict=True):
        assert (a.accuracy.low, a.accuracy.high, a.accuracy.n) == pytest.approx((b.accuracy.low, b.accuracy.high, b.accuracy.n))


def test_an_aggregator_is_compared_with_a_majority_of_its_cost():
    """44 tokens lie between 4 candidates and more: where no more were sampled, the last point of the curve stands in."""
    found = ladder(POOLS)
    assert found.same_cost == pytest.approx(found.curve[-1][2])
    assert "The aggregator takes 44 tokens" in finding(found)


def test_the_command_reads_a_file_and_writes_a_page(tmp_path: Path):
    file, page = write_pools(tmp_path / "pools.jsonl", POOLS), tmp_path / "page.html"
    said = CliRunner().invoke(cli, ["probe", "ladder", str(file), "--out", str(page)])
    assert said.exit_code == 0, said.output
    assert ladder_text(ladder(POOLS)) in said.output
    assert "<svg" in page.read_text()
    told = CliRunner().invoke(cli, ["probe", "ladder", str(file), "--json"])
    assert json.loads(told.output) == json.loads(json.dumps(ladder_json(ladder(POOLS))))
    assert "Aggregation ladder" in ladder_html(ladder(POOLS), "here") or "aggregation ladder" in ladder_html(ladder(POOLS), "here")


def test_plain_lists_of_texts_are_read_with_a_judge(tmp_path: Path):
    """The reward lint's format: prompt, completions, answer."""
    file = tmp_path / "plain.jsonl"
    file.write_text(json.dumps({"prompt": "2+2?", "answer": "4", "completions": ["so #### 4", "\n#### 4", "\n#### 5"]}) + "\n")
    said = CliRunner().invoke(cli, ["probe", "ladder", str(file), "--judge", "numeric", "--json"])
    assert said.exit_code == 0, said.output
    assert {r["name"]: r["accuracy"]["mean"] for r in json.loads(said.output)["rungs"]}[MAJORITY] == 1.0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "?"}, "has no candidates; give a list of objects with text"),
        ({"prompt": "?", "candidates": [{"text": "a"}]}, "has no answer and nothing reads it out of the text; add answer, or name a judge"),
        ({"prompt": "?", "candidates": [{"score": 1}]}, "has neither text nor answer"),
        ({"prompt": "?", "candidates": [{"answer": "a", "score": "high"}]}, "score is 'high' but must be a number"),
        ({"prompt": "?", "candidates": [{"answer": "a"}]}, "a candidate is not judged; give correct, or the gold answer and a judge"),
    ],
)
def test_an_unusable_line_is_refused_with_its_place(row: dict[str, object], says: str, tmp_path: Path):
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError) as error:
        ladder(read_pools(file))
    assert says in str(error.value)
