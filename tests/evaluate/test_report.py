"""What a report says follows from the outcomes by formulas that can be worked out by hand."""

import csv
import io
import json
import random

import pytest

from reasonry.core import Cost, Stop
from reasonry.evaluate import CSV_COLUMNS, Outcome, Report, build_report
from reasonry.evaluate.words import Judgement, headline, judgement, number, p_value, signed
from reasonry.probe.stats import clustered_mean, mcnemar, pass_at_k, wilson


def outcome(solver, problem, score, attempt=0, budget="calls=1", answer=None, stop=Stop.EOS, **cost):
    spent = Cost(**{"prompt_tokens": 10, "completion_tokens": 5, "calls": 1, **cost})
    return Outcome(solver, budget, problem, attempt, score, None if score is None else score == 1, answer, stop, spent, None)


def report(outcomes, solvers=("a", "b"), problems=4, attempts=1, budgets=("calls=1",), kinds=None) -> Report:
    return build_report(outcomes, "toy", solvers, budgets, problems, attempts, 0, kinds or {})


def passes(solver, text, budget="calls=1", **more):
    """One attempt a problem: `1` right, `0` wrong, `-` not scored."""
    return [outcome(solver, f"p{i:03}", {"1": 1.0, "0": 0.0, "-": None}[c], budget=budget, **more) for i, c in enumerate(text)]


def test_one_attempt_a_problem_gives_wilson_mcnemar_and_costs_as_by_hand():
    a, b = "1100" * 10, "1110" * 10
    made = report(passes("a", a) + passes("b", b, completion_tokens=20, peak_kv_bytes=7), problems=40)
    assert made.arm("a", "calls=1").accuracy == wilson(20, 40)
    [pair] = made.pairs
    assert (pair.only_solver, pair.only_baseline, pair.difference.mean, pair.difference.n) == (10, 0, 0.25, 40)
    assert pair.p == pair.p_holm == mcnemar([c == "1" for c in b], [c == "1" for c in a]).p == 2 / 2**10
    cost = made.arm("b", "calls=1")
    assert (cost.mean_cost["tokens"], cost.total_cost["tokens"], cost.total_cost["peak_kv_bytes"]) == (30, 1200, 7)


def test_an_attempt_without_a_score_is_in_no_mean_and_in_no_pair():
    made = report(passes("a", "10-1") + passes("b", "1-11"))
    assert made.arm("a", "calls=1").accuracy == wilson(2, 3)
    assert (made.arm("a", "calls=1").scored, made.arm("a", "calls=1").unscored) == (3, 1)
    assert made.pairs[0].difference.n == 2
    none = report(passes("a", "----") + passes("b", "1111"))
    assert none.arm("a", "calls=1").accuracy is None
    assert none.pairs == ()


def test_kinds_of_problems_are_reported_apart_where_there_are_several():
    outcomes = passes("a", "1100") + passes("b", "1-01")
    made = report(outcomes, kinds={"p000": "easy", "p001": "easy", "p002": "hard", "p003": "hard"})
    assert {(p.name, p.solver): p.accuracy for p in made.parts} == {
        ("easy", "a"): wilson(2, 2),
        ("easy", "b"): wilson(1, 1),
        ("hard", "a"): wilson(0, 2),
        ("hard", "b"): wilson(1, 2),
    }
    assert report(outcomes, kinds=dict.fromkeys(["p000", "p001", "p002", "p003"], "easy")).parts == ()


def test_failed_attempts_have_no_price():
    failed = Outcome("a", "calls=1", "p9", 0, None, None, None, Stop.ERROR, Cost(), "OSError: down")
    made = report([*passes("a", "11"), failed], solvers=("a",), problems=3)
    assert made.arms[0].mean_cost["tokens"] == 15
    assert made.arms[0].stops == {"eos": 2, "error": 1}
    assert made.first_error == "OSError: down"


def test_several_attempts_give_pass_and_majority_at_k_and_a_clustered_interval():
    rows = {"p0": [1, 1, 0, 1], "p1": [0, 0, 0, 1], "p2": [0, 0, 0, 0]}
    outcomes = [outcome("a", p, float(s), i, answer="right" if s else f"wrong{i}") for p, row in rows.items() for i, s in enumerate(row)]
    arm = report(outcomes, solvers=("a",), problems=3, attempts=4).arms[0]
    assert arm.accuracy == clustered_mean([[float(s) for s in row] for row in rows.values()])
    assert [at.k for at in arm.at_k] == [1, 2, 4]
    assert arm.at_k[1].passed.mean == pytest.approx((pass_at_k(4, 3, 2) + pass_at_k(4, 1, 2) + 0) / 3)
    assert arm.at_k[2].majority.mean == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert arm.at_k[0].majority.mean == pytest.approx(arm.at_k[0].passed.mean) == pytest.approx(4 / 12)


def test_graded_scores_are_compared_by_permutation():
    a = [outcome("a", f"p{i}", 0.5) for i in range(6)]
    b = [outcome("b", f"p{i}", 0.75) for i in range(6)]
    [pair] = report(a + b, problems=6).pairs
    assert (pair.test, pair.p) == ("permutation", 2 / 2**6)


def test_the_order_in_which_attempts_finished_changes_nothing():
    """Floating-point sums included: 0.1 added in another order is another number."""
    outcomes = [outcome(s, f"p{i}", float(i % 2), flops=0.1 * i) for s in ("a", "b") for i in range(40)]
    shuffled = random.Random(1).sample(outcomes, len(outcomes))
    assert report(shuffled, problems=40).json() == report(outcomes, problems=40).json()


def test_the_csv_has_the_documented_columns_and_the_report_s_numbers():
    made = report(passes("a", "1100") + passes("b", "1110"))
    rows = list(csv.DictReader(io.StringIO(made.csv())))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert [float(row["accuracy"]) for row in rows] == [0.5, 0.75]
    assert [row["difference"] for row in rows] == ["", "0.25"]
    assert float(rows[1]["difference_low"]) == made.pairs[0].difference.low
    assert json.loads(made.json())["arms"][1]["accuracy"]["mean"] == 0.75


def test_an_arm_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError, match="'c'"):
        report(passes("a", "1") + passes("b", "1"), problems=1).arm("c", "calls=1")


def test_the_headline_claims_a_gain_only_where_interval_and_corrected_test_agree():
    gain = report(passes("a", "1100" * 20) + passes("b", "1110" * 20), problems=80)
    assert judgement(gain.pairs[0]) is Judgement.BETTER
    assert headline(gain).title == "B pays: 25.0 points over a at 1 call"
    loss = report(passes("a", "1110" * 20) + passes("b", "1100" * 20), problems=80)
    assert headline(loss).title.startswith("Nothing beats a here")
    same = report(passes("a", "1100" * 5) + passes("b", "1010" * 5), problems=20)
    assert judgement(same.pairs[0]) is Judgement.NONE
    assert headline(same).title == "No difference from a seen"
    assert "no difference seen for b" in headline(same).sentences[0]


def test_one_of_many_comparisons_that_looks_good_alone_is_called_a_hint():
    """Ten methods, one of them better on 6 problems of 40: p is 0.03 alone and far from it once all ten are counted."""
    names = [f"m{i}" for i in range(10)]
    outcomes = passes("base", "10" * 20) + passes("m0", "11" * 6 + "10" * 14)
    outcomes += [o for name in names[1:] for o in passes(name, "10" * 20)]
    made = report(outcomes, solvers=("base", *names), problems=40)
    pair = made.pair("m0", "calls=1")
    assert pair is not None
    assert pair.p < 0.05 < pair.p_holm
    assert judgement(pair) is Judgement.HINT
    assert headline(made).title == "No difference from base seen"
    assert "m0 gains 15.0 points" in headline(made).sentences[0]
    assert "a hint only" in headline(made).sentences[0]
    assert headline(made).sentences[-1].endswith("does not survive the correction for all 10 comparisons.")


def test_what_was_not_seen_is_said_once_for_all_budgets_with_what_the_intervals_leave_open():
    budgets = ("completion_tokens=64", "completion_tokens=128")
    same = [o for b in budgets for s in ("a", "b") for o in passes(s, "1100" * 5, budget=b)]
    made = report(same, problems=20, budgets=budgets)
    [said] = headline(made).sentences
    assert said == "At 64 and 128 sampled tokens: no difference seen for b (−16.1 to +16.1 remain possible)."
    assert made.pairs[0].difference.high == wilson(0, 20).high


def test_nothing_right_is_not_called_a_draw():
    assert headline(report(passes("a", "0000") + passes("b", "0000"))).title == "No method got anything right"


def test_a_single_method_gets_its_accuracy_as_headline():
    made = report(passes("a", "1110"), solvers=("a",))
    assert headline(made).title == "A is right on 75.0 % of toy"


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (7, "7"), (12345, "12,345"), (12.34, "12.3"), (0.0123, "0.0123"), (1.5e6, "1.5 M"), (3e12, "3 T")]
)
def test_numbers_are_shown_at_a_readable_precision(value, shown):
    assert number(value) == shown


def test_signs_and_small_p_values_are_spelled_with_care():
    assert [signed(x) for x in (0.1234, -0.1234, -0.0001)] == ["+12.3", "−12.3", "0.0"]
    assert [p_value(p) for p in (0.0004, 0.04567)] == ["< 0.001", "0.046"]
