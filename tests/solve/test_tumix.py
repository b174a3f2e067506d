"""TUMIX whole: the fifteen agents, the judge's stop, the vote, and that every call is in the ledger."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from telling_lm import Say, TellingLM

from reasonry.core import Budget, Cost, Message, Problem, Sampling, Segment, Stop, UserError, Verdict
from reasonry.solve.exchange import Agent, Exchange, Moment, Said, Turn
from reasonry.solve.exchange.core import Rule
from reasonry.solve.exchange.sees import everyone, everything
from reasonry.solve.exchange.simulated import Simulated, level, told, voter
from reasonry.solve.exchange.stops import always, by_margin, not_before, unchanged
from reasonry.solve.exchange.votes import entropy, majority, margin, same_answer
from reasonry.solve.self_consistency import SelfConsistency
from reasonry.solve.tumix import AGENTS, Kit, copies, stopping, tumix
from reasonry.solve.tumix_vote import by_model, confident, judge, read_choice, read_groups
from reasonry.solve.tumix_words import PLAIN, SINGLE_BYTES
from reasonry.tasks.judges import final_answer
from reasonry.tasks.tools import Tool, tool


class Anything:
    """A task that reads any final answer."""

    name = "anything"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(f"p{i}", f"Question {i}?", "7") for i in range(n or 1)]

    def extract(self, text: str) -> str | None:
        return final_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        read = final_answer(answer)
        return Verdict(float(read == problem.answer), read == problem.answer, answer=read)


TASK = Anything()
PROBLEM = TASK.problems("test")[0]


@tool
def python(code: str) -> str:
    """Runs code."""
    return "7"


@tool
def find(query: str) -> str:
    """Finds things."""
    return "seven is 7"


def kit(say: Say, **more: object) -> tuple[TellingLM, Kit]:
    lm = TellingLM(say)
    return lm, Kit(lm, python, {"gs": find, "llm": find, "com": find}, **more)  # type: ignore[arg-type]


def obedient(messages: tuple[Message, ...], sampling: Sampling) -> str:
    """Uses each tool it is offered once, answers 7; as a judge says no."""
    last = messages[-1].content
    if "Decide whether these agents" in last:
        return "<<<no>>>"
    if "you guide another model" in last:
        return "Search, then compute."
    done = [m.content for m in messages if m.role == "assistant"]
    first = messages[0].content.rpartition("Answer the question anew.")[2]
    if "<search>" in first and not any("<search>" in d for d in done):
        return "<search>seven</search>"
    if "```python" in first and not any("```" in d for d in done):
        return "```python\nprint(7)\n```\n"
    return "It is <<<7>>>"


async def test_all_fifteen_answer_and_every_call_is_in_the_ledger():
    """Calls = agents' calls and tool turns of every round + judge calls: the sum over the log, the segments, and what the model saw."""
    lm, k = kit(obedient)
    trace = await tumix(k, TASK, rounds=4)(PROBLEM, Budget(), 0)
    log = trace.meta["exchange"]
    assert log["agents"] == list(AGENTS)
    assert len(AGENTS) == 15
    assert TASK.judge(PROBLEM, trace.answer).passed
    rounds = log["rounds"]
    assert len(rounds) == 4
    for said in rounds:
        assert [s["answer"] for s in said[1:]] == ["7"] * 14  # Base is asked the bare question; all others mark their answers
    roles = Counter(s.role for s in trace.segments)
    assert roles["judge"] == 2  # after rounds 2 and 3; the last needs none
    each = Counter(dict.fromkeys(("Base", "CoT", "CoT-code"), 1) | dict.fromkeys(("S", "C", "C+"), 2))
    per_round = sum(each.values()) + 3 * 3 + 6 * 4  # CS: search, code, answer; guided: steering before
    assert len(lm.costs) == len(trace.segments) == 4 * per_round + 2
    assert trace.cost.calls == sum(s["calls"] for said in rounds for s in said) + roles["judge"]
    assert roles["act"] == sum(1 for s in trace.segments if s.tool is not None) - 4  # CoT-code's block is run in its answer
    for unit in ("prompt_tokens", "completion_tokens"):
        assert getattr(trace.cost, unit) == sum(getattr(c, unit) for c in lm.costs)


def asked_of(source: str, log: list[str]) -> Tool:
    """A search that keeps that it was asked."""

    def search(query: str) -> str:
        """Finds nothing."""
        log.append(source)
        return "x"

    return tool(search)


async def test_agents_differ_in_what_they_are_told_and_may_do():
    """No two kinds of agents are asked alike; C and C+ differ; the source is the only difference among three of a kind."""
    lm, k = kit(obedient)
    await asyncio.gather(*(k.solver(name)(PROBLEM, Budget(), 0) for name in AGENTS))
    prompts = {m[-1].content for m in lm.asked if len(m) == 1}
    assert len(prompts) == 7 + 2 + 2  # Base … CS, two steering prompts, two guided ones
    sources: list[str] = []
    for name in ("S", "CS_gs", "CS_llm", "CS_com"):
        search = {s: asked_of(s, sources) for s in ("gs", "llm", "com")}
        await replace(k, search=search).solver(name)(PROBLEM, Budget(), 0)
    assert sources == ["llm", "gs", "llm", "com"]


async def test_from_the_second_round_all_see_all_that_was_said_last():
    lm, k = kit(obedient)
    await tumix(k, TASK, ("CoT", "C"), rounds=2, by_words=False)(PROBLEM, Budget(), 0)
    later = [m[0].content for m in lm.asked if "several agents" in m[0].content]
    assert later
    for prompt in later:
        assert prompt.startswith("Question 0?")
        assert "[CoT]\nIt is <<<7>>>" in prompt
        assert "[C]\n```python\nprint(7)\n```" in prompt
    common = later[0].partition("Answer the question anew.")[0]
    assert all(prompt.startswith(common) for prompt in later)  # one beginning, so that a cache computes it once


@pytest.mark.parametrize(("says", "rounds"), [("<<<yes>>>", 2), ("<<<no>>>", 5), ("who knows", 5)])
async def test_the_judge_stops_after_two_rounds_at_the_earliest(says: str, rounds: int):
    """Always yes: exactly 2; always no, or nothing that can be read: R_max."""

    def say(messages: tuple[Message, ...], sampling: Sampling) -> str:
        return says if "Decide whether" in messages[-1].content else obedient(messages, sampling)

    _, k = kit(say)
    trace = await tumix(k, TASK, ("CoT", "S"), rounds=5)(PROBLEM, Budget(), 0)
    assert len(trace.meta["exchange"]["rounds"]) == rounds
    assert sum(s.role == "judge" for s in trace.segments) == min(rounds, 4) - 1


def test_yes_is_read_where_it_is_marked():
    assert PLAIN.stops("yes it might, but <<<no>>>") is False
    assert PLAIN.stops("<<<YES>>>")
    assert PLAIN.stops("I would say yes.")
    assert not PLAIN.stops("")
    assert SINGLE_BYTES.stops("y")
    assert not SINGLE_BYTES.stops("n")


async def test_one_agent_one_round_is_that_agent():
    """K = 1, R = 1: the same calls, words and cost."""
    for name in AGENTS:
        _, k = kit(obedient)
        alone = await k.solver(name)(PROBLEM, Budget(), 3)
        trace = await tumix(k, TASK, (name,), rounds=1)(PROBLEM, Budget(), 3)
        assert trace.answer == alone.answer
        assert [s.text for s in trace.segments] == [s.text for s in alone.segments]
        assert trace.cost == alone.cost


def drawing(messages: tuple[Message, ...], sampling: Sampling) -> str:
    """A model whose answer is drawn by its seed alone."""
    return f"<<<{(sampling.seed or 0) % 3}>>>\n#### {(sampling.seed or 0) % 3}"


async def test_copies_and_one_round_are_self_consistency():
    """K copies, R = 1, a vote: over many seeds the same answers as self-consistency gives, about as often."""
    _, k = kit(drawing)
    group = tumix(k, TASK, ("CoT",) * 5, rounds=1, by_words=False)
    plain = SelfConsistency(k.lm, TASK, 5)
    found = []
    for solver in (group, plain):
        made = await asyncio.gather(*(solver(PROBLEM, Budget(), seed) for seed in range(150)))
        assert {m.cost.calls for m in made} == {5}
        shares = sorted(max(Counter(a for a in m.meta["answers"] if a).values()) for m in made)
        found.append(sum(shares) / len(shares))
    assert found[0] == pytest.approx(found[1], abs=0.15)


async def test_all_fifteen_for_one_round_are_a_plain_ensemble():
    """R = 1: nobody sees anybody; each answers as it does alone."""
    lm, k = kit(obedient)
    await tumix(k, TASK, rounds=1)(PROBLEM, Budget(), 0)
    assert not any("several agents" in m.content for messages in lm.asked for m in messages)


async def test_different_models_and_a_last_aggregator_are_a_mixture_of_agents():
    """K models by text alone, then one that reads them all: the exchange with one more seat that speaks last and is taken."""
    models = [TellingLM(lambda m, s, i=i: f"<<<{i}>>>", f"m{i}") for i in range(3)]
    reader = TellingLM(lambda m, s: f"<<<{m[0].content.count('[m')}>>>", "reader")
    agents = [*(Agent(lm.name, Kit(lm).solver("CoT"), PLAIN.ask) for lm in models), Agent("reader", Kit(reader).solver("CoT"), PLAIN.ask)]
    weights = {lm.name: 0.0 for lm in models}
    moa = Exchange(agents, 2, TASK.extract, everything(), by_margin(2.0, same_answer), majority(same_answer, weights=weights))
    trace = await moa(PROBLEM, Budget(), 0)
    assert TASK.extract(trace.answer) == "3"
    assert {s.model for s in trace.segments} == {"m0", "m1", "m2", "reader"}


def said(*answers: str | None) -> tuple[Said, ...]:
    return tuple(Said(f"a{i}", 0, f"text {a}", a) for i, a in enumerate(answers))


def moment(*rounds: tuple[Said, ...], left: Budget = Budget()) -> Moment:
    return Moment(replace(PROBLEM, answer=None), rounds, left, 5)


@pytest.mark.parametrize(
    ("name", "first", "second", "ends"),
    [
        ("fixed", said("1", "1"), said("1", "1"), False),
        ("rule", said("1", "2", "1"), said("1", "1", "2"), True),
        ("rule", said("2", "2", "1"), said("1", "1", "2"), False),
        ("margin", said("1"), said("1", "1", "1", "1", "2"), True),
        ("margin", said("1"), said("1", "1", "1", "2", "2"), False),
        ("confidence", said("1"), said("1", "1", "1", "2", "2"), True),
        ("confidence", said("1"), said("1", "1", "3", "2", "2"), False),
    ],
)
async def test_stops_that_call_nobody(name: str, first: tuple[Said, ...], second: tuple[Said, ...], ends: bool):
    lm = TellingLM(lambda m, s: "")
    ruling = await stopping(name, lm, PLAIN, same_answer)(moment(first, second))
    assert (ruling.why is not None) == ends
    assert not lm.asked


async def test_the_short_way_asks_the_judge_only_where_rule_and_margin_do_not_agree():
    lm = TellingLM(lambda m, s: "<<<yes>>>")
    rule: Rule = stopping("short", lm, PLAIN, same_answer)
    assert (await rule(moment(said("1", "1"), said("1", "1")))).calls == ()
    unsure = await rule(moment(said("1", "2"), said("1", "2")))
    assert unsure.why == "judge"
    assert [c.role for c in unsure.calls] == ["judge"]


async def test_a_judge_that_cannot_be_paid_for_is_not_asked():
    lm = TellingLM(lambda m, s: "<<<yes>>>")
    for left in (Budget(calls=0), Budget(completion_tokens=100), Budget(tokens=30)):
        ruling = await judge(lm, PLAIN)(moment(said("1"), said("1"), left=left))
        assert (ruling.why, ruling.calls) == (None, ())
    assert not lm.asked


async def test_the_judge_sees_the_question_and_the_answers_but_not_the_truth():
    lm = TellingLM(lambda m, s: "<<<yes>>>")
    await judge(lm, PLAIN)(moment(said("1"), said("2", None)))
    (messages,) = lm.asked
    assert messages[-1].content.startswith("Question 0?")
    assert "[a0]\ntext 2" in messages[-1].content
    assert confident(0.5, same_answer)


def helper(groups: str, tie: str = "") -> Say:
    return lambda messages, sampling: groups if "say the same" in messages[-1].content else tie


async def test_a_model_groups_spellings_that_no_rule_joins():
    lm = TellingLM(helper("<<<1,3;2>>>"))
    chosen = await by_model(lm, PLAIN, same_answer)(moment(said("four", "5", "5", "quatre", "vier", "four")))
    # sorted spellings: 5, four, quatre, vier -> the model joins 5 and quatre: 3 votes against 2 and 1
    assert chosen.said is not None
    assert chosen.said.answer == "5"
    assert [c.role for c in chosen.calls] == ["group"]
    assert chosen.choice.share == pytest.approx(3 / 6)


async def test_a_tie_is_settled_by_the_model_or_else_drawn():
    tied = said("1", "2", "2", "1")
    lm = TellingLM(helper("<<<1;2>>>", "<<<2>>>"))
    chosen = await by_model(lm, PLAIN, same_answer)(moment(tied))
    assert chosen.said is not None
    assert chosen.said.answer == "2"
    assert [c.role for c in chosen.calls] == ["group", "tie"]
    unread = TellingLM(helper("?", "?"))
    drawn = {
        c.said.answer
        for seed in range(20)
        if (c := await by_model(unread, PLAIN, same_answer)(replace(moment(tied), seed=seed))).said is not None
    }
    assert drawn == {"1", "2"}


async def test_agreement_costs_no_call():
    lm = TellingLM(helper(""))
    chosen = await by_model(lm, PLAIN, same_answer)(moment(said("1/2", "0.5", ".50", None)))
    assert chosen.calls == ()
    assert chosen.choice.share == 1.0
    nobody = await by_model(lm, PLAIN, same_answer)(moment(said(None, None)))
    assert nobody.said is None


def test_groups_and_choices_are_read_without_trust():
    for text, groups in {
        "<<<1,3;2>>>": [0, 1, 0], "<<<1,2;2,3>>>": [0, 0, 0], "nothing": [0, 1, 2], "<<<9,1>>>": [0, 1, 2], "<<<0,1>>>": [0, 1, 2],
    }.items():  # fmt: skip
        assert read_groups(text, 3, PLAIN.marks) == groups
    assert [read_choice(t, 3, PLAIN.marks) for t in ("<<<2>>>", "<<<9>>>", "2", "<<<x>>>", "<<<-1>>>")] == [1, None, None, None, 0]


def test_votes_do_not_depend_on_order_and_measures_have_their_bounds():
    """Margin and entropy of K votes: entropy 0 exactly where all agree, at most log2 K; margin of a unanimous vote is 1."""
    assert margin(said("1", "1"), same_answer) == 1.0
    assert entropy(said("1/2", "0.5"), same_answer) == 0.0
    assert entropy(said("1", "2", "3", "4"), same_answer) == pytest.approx(2.0)
    assert margin(said("1", "2"), same_answer) == 0.0


def test_a_group_may_hold_an_agent_more_than_once():
    _, k = kit(obedient)
    assert [a.name for a in copies(k, ("C", "C", "CoT", "C"))] == ["C", "C 2", "CoT", "C 3"]


def test_agents_without_their_tools_are_refused_by_name():
    bare = Kit(TellingLM(obedient))
    assert [name for name in AGENTS if bare.can(name)] == ["Base", "CoT"]
    assert [name for name in AGENTS if replace(bare, python=python).can(name)] == ["Base", "CoT", "CoT-code", "C", "C+"]
    with pytest.raises(UserError, match="tumix: C needs code, which is not there"):
        bare.solver("C")
    with pytest.raises(UserError, match="tumix: CS_gs needs the search gs, which is not there"):
        replace(bare, python=python).solver("CS_gs")
    with pytest.raises(UserError, match="'CS' is not an agent; use some of Base, CoT,"):
        bare.can("CS")


async def test_what_others_are_shown_is_cut_alike():
    words = replace(PLAIN, shown=20)
    problem = words.ask(PROBLEM, everything()(_turn(), ((*said("1"), Said("b", 0, "x" * 500 + " <<<2>>>", "2")),)))
    text = problem.messages[-1].content
    assert "x" * 12 + " <<<2>>>" in text
    assert "x" * 13 not in text


def _turn() -> Turn:
    return Turn("a0", 1, ("a0", "b"), 0)


async def test_unanimity_is_absorbing_and_copying_never_adds_an_answer():
    """With agents that only copy, the set of answers shrinks from round to round; a unanimous one stays."""
    problem = Problem("p", "?", "yes")
    agents = [Agent(f"s{i}", Simulated(level(0.5), voter(0.7), options=4), told) for i in range(6)]
    exchange = Exchange(agents, 6, final_answer, everyone(), not_before(9, always()), majority(same_answer))
    for seed in range(30):
        trace = await exchange(problem, Budget(), seed)
        sets = [{s["answer"] for s in r} for r in trace.meta["exchange"]["rounds"]]
        assert all(later <= earlier for earlier, later in pairwise(sets))


async def test_many_problems_run_side_by_side():
    """64 problems, 15 agents, 3 rounds with simulated agents: all end, each with the true cost of its calls."""
    agents = [Agent(f"s{i}", Simulated(level(0.6), voter(0.3)), told) for i in range(15)]
    exchange = Exchange(agents, 3, final_answer, everyone(), not_before(2, unchanged(2, same_answer)), majority(same_answer))
    made = await asyncio.gather(*(exchange(Problem(f"p{i}", "?", "yes"), Budget(), i) for i in range(64)))
    for trace in made:
        rounds = len(trace.meta["exchange"]["rounds"])
        assert trace.stop is Stop.EOS
        assert trace.cost.calls == 15 * rounds == len(trace.segments)


async def test_no_limit_is_broken_by_fifteen_agents():
    """Whatever the budget, calls and tokens stay within it."""
    for budget in (Budget(calls=20), Budget(calls=90), Budget(completion_tokens=700), Budget(tokens=9000)):
        lm, k = kit(obedient)
        trace = await tumix(k, TASK, rounds=3)(PROBLEM, budget, 0)
        real = sum(lm.costs, Cost())
        for unit, limit in budget.limits():
            assert getattr(real, unit) <= limit
            assert getattr(trace.cost, unit) == getattr(real, unit)
        assert isinstance(trace.segments[0], Segment)
