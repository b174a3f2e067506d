"""Debate: the words agents are asked in, the gate, teams, and the protocol's oracles with a model in the loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from scripted_lm import Digits, ScriptedLM

from reasonry.core import Budget, Cost, Message, Problem, Segment, Stop, Trajectory, UserError
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.solve.debate import (
    AGAIN,
    CRITIC,
    OTHERS,
    PAYOFF,
    UNRELATED,
    Gated,
    as_revise,
    bare,
    in_words,
    paid,
    recalculated,
    recalling,
    seat_names,
)
from reasonry.solve.exchange import Exchange, Said, Seen
from reasonry.solve.opened import Opened
from reasonry.tasks.judges import hash_answer
from reasonry.tasks.skills.revise import revise
from reasonry.tasks.spec import load_task

TASK = Digits()
ASKED = Problem("p", (Message("system", "Be brief."), Message("user", "2+3?")), "5")
OWN = Said("me", 0, "2+3=6\n#### 6", "6")
PEERS = (Said("ann", 0, "2+3=5\n#### 5", "5"), Said("bob", 0, "", "7"))
SEEN = Seen((OWN,), PEERS)


def texts(problem: Problem) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in problem.messages]


def test_the_first_question_is_the_problem_itself() -> None:
    """Whatever the words, round 0 asks what anybody would be asked."""
    for ask in (in_words(), in_words({"ann": 0.9}, True, True), as_revise(), bare(), recalling(in_words())):
        assert ask(ASKED, Seen()).messages == ASKED.messages


def test_words_show_own_turn_as_the_assistants_and_peers_after_it() -> None:
    """Anonymous and numbered, or by name and with how often each is right; alone, a second look."""
    plain = texts(in_words()(ASKED, SEEN))
    assert plain[:3] == [*texts(ASKED), ("assistant", OWN.text)]
    assert "Answer 1:\n2+3=5\n#### 5\n\nAnswer 2:\n7" in plain[3][1]
    assert "ann" not in plain[3][1]
    assert plain[3][1].startswith(OTHERS)
    assert plain[3][1].endswith(AGAIN)
    named = texts(in_words({"ann": 0.9}, named=True, critic=True)(ASKED, SEEN))[3][1]
    assert "ann (right in 90 % of questions like this):" in named
    assert "bob:\n7" in named
    assert CRITIC in named
    alone = texts(in_words()(ASKED, Seen((OWN, replace(OWN, text="#### 5")))))
    assert [role for role, _ in alone] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "others" not in alone[-1][1]


def test_revise_is_the_form_of_the_task_of_that_name() -> None:
    """The shipped models are asked as they were taught."""
    shown = texts(as_revise({"ann": 0.72, "bob": 1.0})(ASKED, SEEN))
    assert shown[-1][1] == "2+3?\nyou said 6.\npeer 1 (right 7 of 10): 5.\npeer 2 (right 9 of 10): 7.\nanswer again."
    taught = revise(1, 2).problems("train", 1)[0].messages[0].content.split("\n")
    assert [line.split(" ")[0] for line in taught[1:4]] == ["you", "peer", "peer"]
    assert "peer 1 (right 5 of 10)" in as_revise()(ASKED, SEEN).messages[-1].content


def test_bare_and_payoff() -> None:
    """No words at all; the payoff joins a system message, or makes one."""
    assert bare("|")(ASKED, SEEN).messages[-1].content == "2+3?|2+3=5\n#### 5|7|2+3=6\n#### 6"
    assert bare("|")(ASKED, Seen((), PEERS)).messages[-1].content == "2+3?|2+3=5\n#### 5|7|"
    assert texts(paid(bare())(ASKED, Seen()))[0] == ("system", f"Be brief.\n\n{PAYOFF}")
    assert texts(paid(bare())(Problem("p", "2+3?"), Seen())) == [("system", PAYOFF), ("user", "2+3?")]


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("2+3=5\n#### 5", True), ("2+3=6\n#### 6", False), ("2+3=5\n#### 6", False), ("it is 5\n#### 5", None), ("#### 5", None),
        ("12*3=36\n36 - 6 = 30\n#### 30", True), ("12*3=35\n35-5=30\n#### 30", False), ("1.5 + 2 = 3.5.\n#### 3.5", True),
        ("1000*2 = 2,000\n#### 2,000", True), ("10/4=2.5\n#### 2.5", True), ("7-10=-3\n#### -3", True), ("5/0=1\n#### 1", False),
    ],
)  # fmt: skip
def test_the_calculator_checks_every_equation(text: str, stands: bool | None) -> None:
    """All must hold and the last must be the answer; without an equation it cannot say."""
    assert recalculated(hash_answer)(Problem("p", "?"), text) is stands


@dataclass
class Says:
    """A solver of one text."""

    text: str
    name: str = "says"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        segment = Segment(None, None, self.text, None, Stop.EOS, Cost(5, 4, calls=1))
        return Trajectory(problem.id).add(segment).finish(Stop.EOS, self.text)


@pytest.mark.parametrize(
    ("own", "new", "said", "gate", "checks"),
    [
        ("2+3=5\n#### 5", "2+3=6\n#### 6", "2+3=5\n#### 5", "held", 2),
        ("2+3=6\n#### 6", "#### 7", "#### 7", "let through", 2),
        ("#### 6", "2+3=5\n#### 5", "2+3=5\n#### 5", "let through", 2),
        ("#### 6", "#### 7", "#### 6", "held", 2),
        ("2+3=5\n#### 5", "#### 5", "#### 5", "same", 0),
        (None, "#### 7", "#### 7", "same", 0),
    ],
)  # fmt: skip
async def test_the_gate(own: str | None, new: str, said: str, gate: str, checks: int) -> None:
    """An answer is left only where its own check fails or the new one's passes; each check is paid for."""
    seen = Seen(() if own is None else (Said("me", 0, own, hash_answer(own)),), PEERS)
    asked = recalling(in_words())(ASKED, seen)
    assert asked.messages != ASKED.messages

    def of_the_question(problem: Problem, text: str) -> bool | None:
        assert problem.messages == ASKED.messages
        assert problem.answer is None
        return recalculated(hash_answer)(problem, text)

    t = await Gated(Says(new), of_the_question, hash_answer)(asked, Budget(), 0)
    assert (t.answer, t.meta["gate"], t.cost.verifier_calls) == (said, gate, checks)
    assert t.cost == sum((s.cost for s in t.segments), Cost())
    short = await Gated(Says(new), recalculated(hash_answer), hash_answer)(asked, Budget(verifier_calls=1), 0)
    assert short.cost.verifier_calls == 0
    assert short.answer == (own if checks else new)


def test_unrelated_answers_are_sound() -> None:
    """The control shows no mistakes: every one of its texts passes the check."""
    assert all(recalculated(hash_answer)(ASKED, text) is True for text in UNRELATED)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("debate?agents=0", "agents is 0"), ("debate?rounds=-1", "rounds is -1"), ("debate?chances=.9,.5", "must be 3 numbers"),
        ("debate?chances=.9,x,1", "must be 3 numbers"), ("debate?critics=4", "critics is 4"), ("debate?last=0", "last is '0'"),
        ("debate?critics=1&words=bare", "critics is 1"), ("debate?sees=none", "must be one of all, ring, star, nobody"),
        ("debate?margin=0", "margin is 0"), ("debate?team=scripted,nowhere", "'nowhere' is none of"),
        ("debate?votes=3", "votes is not an option"),
    ],
)  # fmt: skip
def test_bad_specs_are_refused(spec: str, says: str) -> None:
    """One sentence with the field and the mend."""
    with pytest.raises(UserError) as error:
        build_solver(spec, ScriptedLM(), TASK)
    assert says in str(error.value)


def test_a_team_sits_in_its_order_and_models_are_loaded_once() -> None:
    """The model itself under its own name, others from what is held; seats of one model are numbered."""
    held = Opened({("lm", "big"): ScriptedLM("big")})
    solver = build_solver("debate?team=scripted,big,scripted", ScriptedLM(), TASK, held)
    assert isinstance(solver, Exchange)
    assert [a.name for a in solver.agents] == ["scripted 1", "big", "scripted 2"]
    assert seat_names(["a", "b", "a", "a"]) == ["a 1", "b", "a 2", "a 3"]
    with pytest.raises(UserError, match="'other' is not there to be used; use one of big"):
        build_solver("debate?team=other,big", ScriptedLM(), TASK, held)


async def test_no_debate_is_the_vote_alone_and_calls_are_n_times_rounds() -> None:
    """T = 0: after is before. T = 2: three answers an agent, each in the ledger."""
    for T in (0, 1, 2):
        lm = ScriptedLM()
        t = await build_solver(f"debate?rounds={T}&max_tokens=20", lm, TASK)(TASK.problems("test", 1)[0], Budget(), 3)
        assert len(lm.calls) == len(t.segments) == t.cost.calls == 3 * (T + 1)
        rounds = t.meta["exchange"]["rounds"]
        assert len(rounds) == T + 1
        assert t.meta["answers"] == [s["answer"] for s in rounds[-1]]


async def test_pocket_debates_sixteen_questions_at_once() -> None:
    """With a real model, in the form it was taught: nothing stalls, and attempts' costs are those of the engine, call by call."""
    task = load_task("arithmetic?steps=1")
    problems = task.problems("test", 16, 0)
    lm = load_lm("pocket-1m")
    assert isinstance(lm, LocalLM)
    counted = list[Cost]()
    complete = lm.complete

    async def count(*args: object) -> object:
        done = await complete(*args)  # type: ignore[arg-type]
        counted.append(done.cost)
        return done

    object.__setattr__(lm, "complete", count)
    async with lm:
        solver = build_solver("debate?agents=5&rounds=2&words=revise&share=answers&max_tokens=40", lm, task)
        made = await asyncio.wait_for(asyncio.gather(*(solver(p, Budget(), i) for i, p in enumerate(problems))), 120)
    assert len(counted) == 16 * 5 * 3
    for unit in ("prompt_tokens", "completion_tokens", "prefill_tokens", "calls"):
        assert sum(getattr(t.cost, unit) for t in made) == sum(getattr(c, unit) for c in counted)
    assert all(s.ids is not None and s.logprobs is not None for t in made for s in t.segments)
    right = [task.judge(p, t.answer).passed for p, t in zip(problems, made, strict=True)]
    assert sum(map(bool, right)) >= 9
