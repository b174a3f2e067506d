"""What the aggregator shows, in which order, and what it does when there is little room."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_lm import Digits, ScriptedLM

from reasonry.core import Budget, Message, Problem, Sampling, UserError
from reasonry.probe.votes import by_vote
from reasonry.solve import build_solver
from reasonry.solve.agglm import ROLE, Aggregate, Prepared, Sampled
from reasonry.solve.select import drawn
from reasonry.tasks.pack import BARE, PLAIN, Packing, characters, pack
from reasonry.tasks.pool import Candidate, Pool, read_pools, without_thinking, write_pools

TASK = Digits()
PROBLEM = TASK.problems("test", 1)[0]
QUESTION = (Message("system", "be brief"), Message("user", "what is {text}?"))
texts = st.lists(st.text("ab {}\n", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=9)


def said(text: str, answer: str | None = None) -> Candidate:
    return Candidate(text, answer, len(text))


@settings(deadline=None)
@given(texts, st.integers(0, 200), st.integers(0, 5))
def test_a_candidate_is_shown_whole_or_not_at_all(written: list[str], limit: int, seed: int):
    """Whatever the room: those shown stand in the prompt in full, in the order drawn, and no piece of another is there."""
    packed = pack(QUESTION, [said(t) for t in written], Packing(BARE, limit=limit), seed)
    content = packed.messages[-1].content
    assert content == "\n".join(["what is {text}?", *(written[i].strip() for i in packed.shown)])
    assert len(packed.shown) + packed.dropped == len(written)
    assert not packed.shown or characters(packed.messages) <= limit
    assert packed.messages[0] == QUESTION[0]
    assert len(set(packed.shown)) == len(packed.shown)


def test_orders_are_even_over_seeds():
    """No place is a candidate's own: over 600 seeds each of four stands first about as often."""
    firsts = [pack(QUESTION, [said(c) for c in "abcd"], Packing(), seed).shown[0] for seed in range(600)]
    assert all(110 < firsts.count(i) < 190 for i in range(4))


def test_thinking_is_left_out_unless_asked_for():
    """An unfinished thought says nothing, and what says nothing is not shown."""
    candidates = [said("<think>long</think> short"), said("<think>never ended"), said("plain")]
    shown = pack(QUESTION, candidates, Packing(PLAIN), 0).messages[-1].content
    kept = pack(QUESTION, candidates, Packing(PLAIN, keep_thinking=True), 0).messages[-1].content
    assert "long" not in shown
    assert "never" not in shown
    assert "short" in shown
    assert "<think>long</think> short" in kept
    assert without_thinking("a</think>b</think> c") == "c"


async def test_only_the_last_call_is_the_aggregators():
    """Role `aggregate`: what a recipe trains alone. It has read every candidate."""
    lm = ScriptedLM()
    t = await build_solver("agglm?m=3&words=bare", lm, TASK)(PROBLEM, Budget(), 5)
    assert [s.role for s in t.segments] == ["answer"] * 3 + [ROLE]
    read = bytes(i - 100 for i in t.segments[-1].context or ()).decode()
    order = t.meta["shown"][0]
    assert read == "\n".join([str(PROBLEM.prompt), *(t.segments[i].text.strip() for i in order)])


async def test_prepared_candidates_are_the_same_for_every_attempt_of_a_group():
    """The group differs in the aggregation alone, and the gold answer's verdict never comes along."""
    pool = Pool(PROBLEM, "train", tuple(Candidate(f"#### {i}", str(i), 3, correct=1.0) for i in range(1, 9)))
    solver = Aggregate(ScriptedLM(), TASK, Prepared({PROBLEM.id: pool}), 4, Packing(BARE), Sampling(max_tokens=9))
    made = [await solver(PROBLEM, Budget(), seed) for seed in range(6)]
    assert len({tuple(sorted(t.meta["answers"])) for t in made}) == 1
    assert len({s.context for t in made for s in t.segments}) > 1, "but in orders of their own"
    assert all(len(t.segments) == 1 for t in made)
    with pytest.raises(UserError, match="has no candidates for problem 'other'"):
        await solver(Problem("other", "?"), Budget(), 0)


async def test_without_room_for_an_aggregation_the_majority_answers():
    """A budget of a few tokens buys candidates, and a vote costs nothing."""
    t = await build_solver("agglm?m=5&max_tokens=30", ScriptedLM(), TASK)(PROBLEM, Budget(completion_tokens=12), 3)
    assert {s.role for s in t.segments} == {"answer"}
    assert t.answer in {s.text for s in t.segments}


async def test_rounds_and_votes_make_the_calls_they_say():
    for spec, calls in (("m=4", 5), ("m=4&votes=3", 7), ("m=4&rounds=3", 13), ("m=2&of=self-consistency?k=3", 7)):
        t = await build_solver(f"agglm?{spec}", ScriptedLM(), TASK)(PROBLEM, Budget(), 1)
        assert t.cost.calls == calls


async def test_a_pool_file_feeds_the_solver(tmp_path: Path):
    """Made by one solver, written, read, aggregated."""
    found = await Sampled(ScriptedLM(), TASK, Sampling(max_tokens=12))(PROBLEM, 4, Budget(), 0)
    file = write_pools(tmp_path / "pool.jsonl", [Pool(PROBLEM, "test", found.candidates)])
    assert [c.answer for c in read_pools(file, TASK)[0].candidates] == [c.answer for c in found.candidates]
    t = await build_solver(f"agglm?m=4&pool={file}", ScriptedLM(), TASK)(PROBLEM, Budget(), 1)
    assert (t.meta["candidates"], t.cost.calls) == (4, 1)


def test_a_drawn_tie_falls_either_way_evenly():
    taken = [drawn(by_vote(["1", "2", "2", "1", None]), random.Random(i)).index for i in range(400)]
    assert 140 < sum(i in (0, 3) for i in taken) < 260
    assert None not in taken
    assert drawn(by_vote([None]), random.Random(0)).index is None
