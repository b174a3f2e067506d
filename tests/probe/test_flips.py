"""Flips of debates: exact identities, figures worked out by hand, and logs of both forms."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.cli import cli
from reasonry.core import Budget, Problem, UserError, open_run
from reasonry.evaluate.attempts import compare
from reasonry.evaluate.flips_page import debates_of, examine, finding, flips_html, flips_text
from reasonry.probe.exchange_log import Debate, Spoke, debate_of, groups_of, read_debates
from reasonry.probe.flips import flips, vote_accuracy
from reasonry.solve.exchange import Agent, Exchange, stops
from reasonry.solve.exchange import sees as view
from reasonry.solve.exchange.simulated import Simulated, level, outnumbered, told, voter
from reasonry.solve.exchange.votes import as_spelled, majority


def debate(problem: str, *rounds: str, gold: str = "a", group: str = "") -> Debate:
    """Rounds as words, a letter an agent; `-` is unreadable."""
    turns = [[{"agent": f"s{i}", "answer": None if x == "-" else x} for i, x in enumerate(said)] for said in rounds]
    return debate_of(problem, group, turns, gold, "test")


DEBATES = st.lists(
    st.tuples(st.lists(st.text("abc-", min_size=3, max_size=3), min_size=3, max_size=3), st.sampled_from("abc")), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=40)
@given(DEBATES)
def test_identities(drawn: list[tuple[list[str], str]]) -> None:
    """CC + CI + IC + II = n Q a transition; accuracy moves by (IC − CI) / (n Q), exactly; counts add up over peers."""
    debates = [debate(str(i), *rounds, gold=gold) for i, (rounds, gold) in enumerate(drawn)]
    found = flips(debates, draws=20)
    n = 3 * len(debates)
    for c, (before, after) in zip(found.steps, pairwise(found.rounds), strict=True):
        assert c.cc + c.ci + c.ic + c.ii == n
        assert after.accuracy.mean - before.accuracy.mean == pytest.approx((c.ic - c.ci) / n)
    assert found.net.mean == pytest.approx(found.total.net / (2 * n))
    assert sum(b.turns for b in found.by_peers) == 2 * n
    assert sum(round(b.flips.mean * b.turns) for b in found.by_peers) == found.total.changed
    assert found.total.adopted <= found.total.changed
    assert found.total.lost <= found.total.ci
    if found.harm is not None:
        assert found.harm.mean == pytest.approx(found.total.ci / (found.total.cc + found.total.ci))
        assert found.harm.low <= found.harm.mean <= found.harm.high


@settings(deadline=None, max_examples=25)
@given(DEBATES, st.permutations(range(3)))
def test_the_order_of_agents_is_nothing(drawn: list[tuple[list[str], str]], order: list[int]) -> None:
    """Seats permuted, everything but the list by agent stays."""
    plain = [debate(str(i), *rounds, gold=gold) for i, (rounds, gold) in enumerate(drawn)]
    moved = [Debate(d.problem, "", tuple(tuple(said[i] for i in order) for said in d.rounds)) for d in plain]
    a, b = flips(plain, draws=20), flips(moved, draws=20)
    assert (a.rounds, a.total, a.harm, a.gain, a.by_peers, a.vote_change, a.test) == (
        b.rounds, b.total, b.harm, b.gain, b.by_peers, b.vote_change, b.test,
    )  # fmt: skip


def test_a_debate_by_hand() -> None:
    """Two questions, two transitions, every count known."""
    found = flips([debate("1", "aab", "bab", "bbb"), debate("2", "bca", "aa-", "aaa")])
    first, second = found.steps
    assert (first.cc, first.ci, first.ic, first.ii) == (1, 2, 2, 1)
    assert (second.cc, second.ci, second.ic, second.ii) == (2, 1, 1, 2)
    assert (found.total.lost, found.total.changed, found.total.adopted) == (1, 4, 4)
    assert [r.vote.mean for r in found.rounds] == pytest.approx([(1 + 1 / 3) / 2, 0.5, 0.5])
    assert [r.ties for r in found.rounds] == [0.5, 0, 0]
    assert [r.unreadable for r in found.rounds] == pytest.approx([0, 1 / 6, 0])
    assert found.rounds[0].agreement == pytest.approx(1 / 6)
    assert found.rounds[2].unanimous == 1
    assert found.rounds[0].any_right == 1
    assert {b.k: b.turns for b in found.by_peers} == {0: 6, 1: 6}
    assert found.adoption is not None
    assert found.adoption.mean == 1
    assert (found.test.only_a, found.test.only_b) == (1, 1)


def test_agreement_counts_only_peers_that_were_seen() -> None:
    """`saw` restricts whom a turn can agree with or take over from."""
    seen = [{"agent": "s0", "answer": "b", "saw": ["s1"]}, {"agent": "s1", "answer": "a"}, {"agent": "s2", "answer": "b"}]
    first = [{"agent": f"s{i}", "answer": x} for i, x in enumerate("aab")]
    found = flips([debate_of("1", "", [first, seen], "a", "test")])
    assert (found.total.changed, found.total.adopted) == (1, 0)
    assert {b.k: b.turns for b in found.by_peers} == {0: 1, 1: 2}


def test_votes_in_expectation_over_ties() -> None:
    """A third for a tie of three, nothing where nobody answered, equivalent spellings are one vote."""
    assert vote_accuracy(debate("1", "abc").rounds[0]) == pytest.approx(1 / 3)
    assert vote_accuracy(debate("1", "a--").rounds[0]) == 1
    assert vote_accuracy(debate("1", "---").rounds[0]) == 0
    turns = [[{"agent": x, "answer": y} for x, y in (("p", "1/2"), ("q", "0.5"), ("r", "3"))]]
    assert vote_accuracy(debate_of("1", "", turns, "0.50", "t").rounds[0]) == 1


async def sample(change: Any, n: int, skill: float = 0.7) -> list[Debate]:
    seats = [Agent(f"s{i}", Simulated(level(skill), change), told) for i in range(3)]
    solver = Exchange(seats, 3, lambda t: t.removeprefix("#### "), view.everyone(), stops.never(), majority(as_spelled))
    found = []
    for i in range(n):
        t = await solver(Problem(f"q{i}", "?", "x"), Budget(), i)
        found.append(debate_of(f"q{i}", "", t.meta["exchange"]["rounds"], "x", "simulated"))
    return found


async def test_copying_at_random_is_a_martingale_and_costs_the_vote() -> None:
    """IC − CI is zero within its interval, every change is a peer's answer, the vote falls."""
    found = flips(await sample(voter(0.7), 700, 0.8), draws=1000)
    assert found.net.low < 0 < found.net.high
    assert found.adoption is not None
    assert found.adoption.mean == 1
    assert found.vote_change.high < 0
    assert "Talking made the vote worse" in finding(found)


async def test_joining_the_others_looks_like_progress() -> None:
    """Individuals rise, the vote stays exactly, and the finding says which of the two it is."""
    found = flips(await sample(outnumbered(), 200))
    assert found.rounds[1].accuracy.mean > found.rounds[0].accuracy.mean + 0.03
    assert found.vote_change.mean == 0
    assert (found.test.only_a, found.test.only_b, found.test.p) == (0, 0, 1.0)
    assert "their vote is not" in finding(found)


def test_intervals_resample_questions_not_turns() -> None:
    """A question attempted forty times over is one question: the interval is as wide as Wilson's for one."""
    many = flips([debate("same", "aab", "bbb") for _ in range(40)])
    assert many.questions == 1
    assert many.debates == 40
    assert many.harm is not None
    assert many.harm.high - many.harm.low > 0.7


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    return path


def test_both_forms_of_a_log_are_one_log(tmp_path: Path) -> None:
    """A question a line or a turn a line, shuffled: the same debates."""
    nested, flat = [], []
    for i, rounds in enumerate((("aab", "abb"), ("b-a", "aaa"))):
        held = [[{"agent": f"s{j}", "answer": None if x == "-" else x} for j, x in enumerate(said)] for said in rounds]
        nested.append({"problem": f"q{i}", "group": "g", "answer": "a", "rounds": held})
        flat += [{"problem": f"q{i}", "group": "g", "gold": "a", "round": r, **turn} for r, said in enumerate(held) for turn in said]
    order = [t for t in flat if t["agent"] == "s0" and t["round"] == 0]
    rest = [t for t in flat if t not in order]
    random.Random(0).shuffle(rest)
    one, two = read_debates(lines(tmp_path / "a.jsonl", *nested)), read_debates(lines(tmp_path / "b.jsonl", *order, *rest))
    as_sets = [[{(s.agent, s.answer, s.right) for s in said} for d in log for said in d.rounds] for log in (one, two)]
    assert as_sets[0] == as_sets[1]
    assert list(groups_of(one)) == ["g"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([1], "names no problem"), ({"rounds": []}, "names no problem"), ({"problem": "q", "rounds": []}, "rounds must be a list"),
        ({"problem": "q", "rounds": [[{"agent": "a"}]]}, "a turn has an agent and an answer"),
        ({"problem": "q", "rounds": [[{"agent": "a", "answer": "1"}]]}, "nothing says whether 'a' is right"),
        ({"problem": "q", "answer": "1", "rounds": [[{"agent": "a", "answer": "1", "correct": 1}]]}, "correct is 1"),
        ({"problem": "q", "answer": "1", "rounds": [[{"agent": "a", "answer": "1"}], [{"agent": "b", "answer": "1"}]]}, "each once"),
        ({"problem": "q", "round": 1, "agent": "a", "answer": "1", "correct": True}, "number them 0, 1, 2"),
        ({"problem": "q", "agent": "a", "answer": "1"}, "round is None"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used_are_refused_with_their_place(row: Any, says: str, tmp_path: Path) -> None:
    """One sentence each, and exit code 2."""
    file = lines(tmp_path / "log.jsonl", row)
    with pytest.raises(UserError, match=says):
        read_debates(file)


def test_groups_with_other_agents_are_not_mixed() -> None:
    """They belong into groups of their own."""
    with pytest.raises(UserError, match="groups of their own"):
        flips([debate("1", "aab"), debate("2", "aa")])
    with pytest.raises(UserError, match="no debate"):
        flips([])


def test_the_command_and_its_page(tmp_path: Path) -> None:
    """Text, JSON and page say the same finding; several groups, an early end, a lost format."""
    talks = {"big": ("aab", "abb", "bbb"), "small": ("abb", "aba")}
    rows = [
        {
            "problem": f"q{i}",
            "group": g,
            "answer": "a",
            "rounds": [[{"agent": f"s{j}", "answer": x} for j, x in enumerate(r)] for r in talk],
        }
        for i in range(6)
        for g, talk in talks.items()
    ]
    rows[0]["rounds"][1][0]["answer"] = None
    file = lines(tmp_path / "log.jsonl", *rows)
    page = tmp_path / "flips.html"
    done = CliRunner().invoke(cli, ["probe", "flips", str(file), "--out", str(page)])
    assert done.exit_code == 0, done.output
    told_json = json.loads(CliRunner().invoke(cli, ["probe", "flips", str(file), "--json"]).stdout)
    assert [g["group"] for g in told_json] == ["big", "small"]
    for g in told_json:
        assert g["finding"] in done.output
    assert "lost format" in told_json[0]["finding"]
    html = page.read_text()
    assert "Talking moved the vote by" in html
    assert "<svg" in html


async def test_a_run_directory_of_compare(tmp_path: Path) -> None:
    """Debates logged by an evaluation are read and judged by its own task; other solvers are left out."""
    from reasonry.synth.spec import load

    task = load("arithmetic?steps=1")
    problems = task.problems("test", 4, 0)
    seats = [Agent(f"s{i}", Simulated(level(0.6), voter(0.5)), told) for i in range(3)]
    talk = Exchange(seats, 3, task.extract, view.everyone(), stops.unanimous(as_spelled), majority(as_spelled), name="talk")
    run = open_run(tmp_path / "run", {"task": "arithmetic?steps=1", "split": "test", "problems": 4, "seed": 0}, False)
    await compare([talk, seats[0].solver], task, problems, [Budget()], run, attempts=2)
    debates = debates_of(tmp_path / "run")
    assert len(debates) == 8
    assert {d.group for d in debates} == {"talk"}
    found = examine(debates)
    assert found[0].questions == 4
    assert "talk" in flips_text(found)
    assert flips_html(found, "run")


def test_spoken_values() -> None:
    """An unreadable answer is never right, whatever the log says."""
    turns = [[{"agent": "a", "answer": None, "correct": True}]]
    assert debate_of("q", "", turns, None, "t").rounds == ((Spoke("a", None, False),),)
