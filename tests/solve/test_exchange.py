"""The exchange: who is asked what and when, what it may spend, what it keeps, and that nothing is swallowed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from scripted_lm import Digits, ScriptedLM

from reasonry.core import Budget, Cost, Message, Problem, Segment, Stop, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.solve.exchange import Agent, Exchange, Moment, Ruling, Seen, in_turn, stops, together
from reasonry.solve.exchange import sees as view
from reasonry.solve.exchange.core import Order, Rule, Sees
from reasonry.solve.exchange.simulated import Simulated, conformist, level, outnumbered, stubborn, told, verifying, voter
from reasonry.solve.exchange.votes import as_spelled, majority
from reasonry.solve.single import Single

TASK = Digits()
PROBLEM = Problem("p", "digit 4?", "5")


@dataclass
class Actor:
    """A solver that says what it is told to, a line a turn, and keeps what it was given."""

    lines: tuple[str, ...]
    name: str = "actor"
    fails: Exception | None = None
    asked: list[tuple[Problem, Budget, int]] = field(default_factory=list)
    cost: Cost = Cost(10, 5, calls=1)

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        self.asked.append((problem, budget, seed))
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        if any(getattr(self.cost, unit) > limit for unit, limit in budget.limits()):
            return Trajectory(problem.id).finish(Stop.BUDGET, "", next(u for u, limit in budget.limits() if getattr(self.cost, u) > limit))
        text = self.lines[min(len(self.asked), len(self.lines)) - 1]
        first = Segment(None, None, "thinking", None, Stop.EOS, Cost(), role="think")
        second = Segment(None, None, text, None, Stop.EOS, self.cost, parent=0)
        return Trajectory(problem.id).add(first, second).finish(Stop.EOS, text)


def shown(problem: Problem, seen: Seen) -> Problem:
    """Writes what is seen into the prompt."""
    lines = [*(f"own {s.round} {s.answer}" for s in seen.own), *(f"{s.agent} {s.round} {s.answer} {s.text!r}" for s in seen.peers)]
    return replace(problem, prompt=(*problem.messages, *(Message("user", line) for line in lines)))


def actors(*lines: tuple[str, ...]) -> list[Agent]:
    return [Agent("abcdefgh"[i], Actor(tuple(f"#### {x}" for x in said)), shown) for i, said in enumerate(lines)]


def exchange(agents: list[Agent], rounds: int = 3, sees: Sees | None = None, stop: Rule | None = None, order: Order = together) -> Exchange:
    return Exchange(agents, rounds, TASK.extract, sees or view.everyone(), stop or stops.never(), majority(as_spelled), order)


def lines_of(agent: Agent, turn: int) -> list[str]:
    assert isinstance(agent.solver, Actor)
    return [m.content for m in agent.solver.asked[turn][0].messages[1:]]


async def test_simultaneous_rounds_show_the_round_before() -> None:
    """Round 0 shows nothing; round t shows everybody's turn of round t − 1, one's own apart."""
    agents = actors(("1", "2", "3"), ("4", "5", "6"), ("7", "8", "9"))
    trace = await exchange(agents)(PROBLEM, Budget(), 0)
    assert lines_of(agents[0], 0) == []
    assert lines_of(agents[0], 1) == ["own 0 1", "b 0 4 '#### 4'", "c 0 7 '#### 7'"]
    assert lines_of(agents[1], 2) == ["own 1 5", "a 1 2 '#### 2'", "c 1 8 '#### 8'"]
    assert trace.meta["answers"] == ["3", "6", "9"]
    assert [[turn["answer"] for turn in said] for said in trace.meta["exchange"]["rounds"]] == [list("147"), list("258"), list("369")]


async def test_in_turn_each_sees_who_spoke_before_it() -> None:
    """From round 1 on; the first answers are still given alone."""
    agents = actors(("1", "2"), ("4", "5"), ("7", "8"))
    await exchange(agents, 2, order=in_turn)(PROBLEM, Budget(), 0)
    assert lines_of(agents[1], 0) == []
    assert lines_of(agents[0], 1) == ["own 0 1", "b 0 4 '#### 4'", "c 0 7 '#### 7'"]
    assert lines_of(agents[2], 1) == ["own 0 7", "a 1 2 '#### 2'", "b 1 5 '#### 5'"]


@pytest.mark.parametrize(
    ("sees", "lines"),
    [
        (view.nobody(), ["own 1 2"]),
        (
            view.everyone(last=None),
            ["own 0 1", "own 1 2", *(f"{a} {t} {x} '#### {x}'" for a, t, x in ("b03", "b14", "c05", "c16", "d07", "d18"))],
        ),
        (view.ring(), ["own 1 2", "b 1 4 '#### 4'", "d 1 8 '#### 8'"]),
        (view.star(2), ["own 1 2", "c 1 6 '#### 6'"]),
        (view.star(0), ["own 1 2", "b 1 4 '#### 4'", "c 1 6 '#### 6'", "d 1 8 '#### 8'"]),
        (view.answers_only(view.everyone()), ["own 1 2", "b 1 4 ''", "c 1 6 ''", "d 1 8 ''"]),
        (view.hidden(view.everyone(), ["b", "d"]), ["own 1 2", "c 1 6 '#### 6'"]),
        (view.everything(), [f"{a} 1 {x} '#### {x}'" for a, x in ("a2", "b4", "c6", "d8")]),
        (view.unrelated(view.ring(), ["#### 9"], TASK.extract), ["own 1 2", "b 1 9 '#### 9'", "d 1 9 '#### 9'"]),
    ],
)
async def test_views(sees: Sees, lines: list[str]) -> None:
    """Each topology and each view shows exactly what its name says."""
    agents = actors(("1", "2", "2"), ("3", "4", "4"), ("5", "6", "6"), ("7", "8", "8"))
    trace = await exchange(agents, sees=sees)(PROBLEM, Budget(), 0)
    assert lines_of(agents[0], 2) == lines
    saw = trace.meta["exchange"]["rounds"][2][0]["saw"]
    assert len(saw) == sum(not line.startswith("own") for line in lines)


async def test_shuffled_peers_are_the_same_ones_in_orders_that_differ() -> None:
    """Nobody is lost, and over seeds every peer comes first."""
    first = set()
    for seed in range(12):
        agents = actors(*((str(i), str(i)) for i in range(1, 5)))
        await exchange(agents, 2, view.shuffled(view.everyone()))(PROBLEM, Budget(), seed)
        peers = [line[0] for line in lines_of(agents[0], 1)[1:]]
        assert sorted(peers) == ["b", "c", "d"]
        first.add(peers[0])
    assert first == {"b", "c", "d"}


async def test_segments_are_spliced_with_their_parents_and_owners() -> None:
    """Indices move to the segment's new place, and the log says whose calls they are."""
    trace = await exchange(actors(("1", "2"), ("3", "4")), 2)(PROBLEM, Budget(), 0)
    assert [s.parent for s in trace.segments] == [None, 0, None, 2, None, 4, None, 6]
    for said in trace.meta["exchange"]["rounds"]:
        for turn in said:
            start, end = turn["segments"]
            assert end - start == 2
            assert trace.segments[end - 1].text == turn["text"]
    assert trace.cost == Cost(40, 20, calls=4)


async def test_seeds_are_of_the_round_and_the_seat() -> None:
    """inner_seed(seed, round, agent), and the attempt's own for the very first turn."""
    agents = actors(("1",), ("2",))
    await exchange(agents, 2)(PROBLEM, Budget(), 7)
    seeds = [[seed for _, _, seed in a.solver.asked] for a in agents]  # type: ignore[attr-defined]
    assert seeds == [[7, inner_seed(7, 1, 0)], [inner_seed(7, 0, 1), inner_seed(7, 1, 1)]]


@pytest.mark.parametrize("order", [together, in_turn])
@pytest.mark.parametrize(
    "budget",
    [Budget(calls=n) for n in range(11)]
    + [Budget(completion_tokens=n) for n in range(0, 60, 4)]
    + [Budget(tokens=99), Budget(tokens=31, calls=4)],
    ids=str,
)
async def test_no_attempt_spends_more_than_it_has(budget: Budget, order: Order) -> None:
    """Whatever is left is divided; as long as one turn can be paid for, somebody speaks."""
    trace = await exchange(actors(("1",), ("2",), ("3",)), order=order)(PROBLEM, budget, 0)
    for unit, limit in budget.limits():
        assert getattr(trace.cost, unit) <= limit
    one = Cost(10, 5, calls=1)
    assert bool(trace.segments) == all(getattr(one, unit) <= limit for unit, limit in budget.limits())
    whole = all(9 * getattr(one, unit) <= limit for unit, limit in budget.limits())
    assert (trace.stop is Stop.BUDGET) == (not whole)
    assert (trace.spent is None) == whole
    assert whole == (trace.cost.calls == 9)


async def test_a_thin_budget_buys_fewer_rounds_then_fewer_agents() -> None:
    """Seven calls for three agents are two rounds; two calls are two agents once."""
    for calls, made in ((9, [3, 3, 3]), (7, [3, 3]), (5, [3]), (2, [2]), (1, [1]), (0, [])):
        trace = await exchange(actors(("1",), ("1",), ("1",)))(PROBLEM, Budget(calls=calls), 0)
        assert [len(said) for said in trace.meta["exchange"]["rounds"]] == made
        assert trace.answer == ("#### 1" if made else "")


async def test_what_is_held_back_is_left_for_the_ruling() -> None:
    """A ruling after each round finds what was promised, and pays from the attempt's budget."""
    seen = list[int]()

    async def judge(moment: Moment) -> Ruling:
        assert moment.problem.answer is None
        seen.append(moment.left.completion_tokens or 0)
        return Ruling(None, (Segment(None, None, "no", None, Stop.EOS, Cost(0, 4, calls=1), role="judge"),))

    base = exchange(actors(("1",), ("2",)), 3, stop=judge)
    trace = await replace(base, held=Cost(0, 4, calls=1))(PROBLEM, Budget(completion_tokens=42), 0)
    assert len(seen) == 2
    assert min(seen) >= 4
    assert trace.cost.completion_tokens == 2 * 5 * 3 + 2 * 4
    assert [s.role for s in trace.segments].count("judge") == 2


async def test_a_failed_turn_is_told_and_the_others_go_on() -> None:
    """Its reason stands in the log, nobody is shown it, it casts no vote; a cancelled call is a failed one."""
    for error in (RuntimeError("line is dead"), asyncio.CancelledError("killed")):
        agents = actors(("1", "1"), ("2", "1"), ("3", "3"))
        bad = agents[2].solver
        assert isinstance(bad, Actor)
        bad.fails = error  # type: ignore[assignment]
        trace = await exchange(agents, 2)(PROBLEM, Budget(), 0)
        assert trace.stop is Stop.EOS
        assert trace.answer == "#### 1"
        failed = [turn for said in trace.meta["exchange"]["rounds"] for turn in said if "error" in turn]
        assert [turn["agent"] for turn in failed] == ["c", "c"]
        assert failed[0]["error"].startswith(type(error).__name__)
        assert lines_of(agents[0], 1) == ["own 0 1", "b 0 2 '#### 2'"]


async def test_a_round_that_fails_whole_is_an_error_and_a_user_error_is_raised() -> None:
    """An attempt nobody spoke in is not a wrong answer; what the user can mend is not data."""
    agents = actors(("1",), ("2",))
    for a in agents:
        a.solver.fails = RuntimeError("line is dead")  # type: ignore[attr-defined]
    trace = await exchange(agents)(PROBLEM, Budget(), 0)
    assert trace.stop is Stop.ERROR
    assert "line is dead" in (trace.error or "")
    agents[1].solver.fails = UserError("key: is wrong")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="key: is wrong"):
        await exchange(agents)(PROBLEM, Budget(), 0)


async def test_cancelling_the_attempt_cancels_its_calls() -> None:
    """Nothing goes on in the background."""
    ended = list[str]()

    @dataclass
    class Slow:
        name: str = "slow"

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            raise AssertionError

    task = asyncio.create_task(exchange([Agent(n, Slow()) for n in "abc"])(PROBLEM, Budget(), 0))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"] * 3


@pytest.mark.parametrize(
    ("rule", "rounds"),
    [
        (stops.never(), 4), (stops.always(), 1), (stops.not_before(2, stops.always()), 2), (stops.unanimous(as_spelled), 3),
        (stops.by_margin(1 / 3, as_spelled), 2), (stops.unchanged(2, as_spelled), 3),
        (stops.first_of([stops.unanimous(as_spelled), stops.by_margin(1 / 3, as_spelled)]), 2),
        (stops.both([stops.by_margin(1 / 3, as_spelled), stops.unchanged(2, as_spelled)]), 3),
    ],
)  # fmt: skip
async def test_stop_rules(rule: Rule, rounds: int) -> None:
    """Votes 1-2-3, 1-1-2, 1-1-1, 1-1-1: each rule ends after the round it should; the log says why."""
    agents = actors(("1", "1", "1", "1"), ("2", "1", "1", "1"), ("3", "2", "1", "1"))
    trace = await exchange(agents, 4, stop=rule)(PROBLEM, Budget(), 0)
    assert len(trace.meta["exchange"]["rounds"]) == rounds
    assert (trace.meta["exchange"]["ended"] == "rounds") == (rounds == 4)


async def test_the_first_call_is_the_one_single_makes_and_one_agent_once_is_that_agent() -> None:
    """One agent in one round is its solver alone, to the last token; several in one round and a vote are a plain ensemble."""
    lm = ScriptedLM()
    for problem in TASK.problems("test", 4):
        alone = await Single(lm)(problem, Budget(), 3)
        solo = await exchange([Agent("a", Single(lm))], 1)(problem, Budget(), 3)
        assert (solo.answer, solo.segments, solo.cost) == (alone.answer, alone.segments, alone.cost)
        three = await exchange([Agent(n, Single(lm)) for n in "abc"], 1)(problem, Budget(), 3)
        assert three.segments[0] == alone.segments[0]
        assert three.meta["answers"] == [TASK.extract(s.text) for s in three.segments]


def test_bad_exchanges_are_refused() -> None:
    """No agents, two of one name, no round."""
    with pytest.raises(UserError, match="no agents"):
        exchange([])
    with pytest.raises(UserError, match="two agents are called 'a'"):
        exchange([Agent("a", Actor(())), Agent("a", Actor(()))])
    with pytest.raises(UserError, match="rounds is 0"):
        exchange(actors(("1",)), 0)


def simulated(agents: list[Simulated], rounds: int) -> Exchange:
    seats = [Agent(f"s{i}", s, told) for i, s in enumerate(agents)]
    return Exchange(seats, rounds, lambda t: t.removeprefix("#### "), view.everyone(), stops.never(), majority(as_spelled))


async def answers(agents: list[Simulated], rounds: int, n: int = 150) -> list[list[list[bool]]]:
    """[question][round][agent]: right or not."""
    solver = simulated(agents, rounds)
    traces = await asyncio.gather(*(solver(Problem(f"q{i}", "?", "x"), Budget(), i) for i in range(n)))
    return [[[turn["answer"] == "x" for turn in said] for said in t.meta["exchange"]["rounds"]] for t in traces]


async def test_stubborn_agents_never_flip_and_identical_sure_ones_agree() -> None:
    """Nothing changes without a rule that changes it."""
    for question in await answers([Simulated(level(0.6))] * 3, 3):
        assert question[0] == question[1] == question[2]
    assert all(all(map(all, q)) for q in await answers([Simulated(level(1.0), voter(1.0))] * 3, 3))


@pytest.mark.parametrize("change", [voter(0.7), conformist(1.0, 2.0), outnumbered(), verifying(voter(1.0), 0.5)])
async def test_unanimity_is_absorbing_where_agents_only_copy(change: object) -> None:
    """Once all agree they stay agreed, and no answer appears that nobody gave."""
    for question in await answers([Simulated(level(0.5), change)] * 3, 4):  # type: ignore[arg-type]
        for before, after in pairwise(question):
            assert set(after) <= set(before)


async def test_a_perfect_check_never_harms() -> None:
    """No right answer is given up, and accuracy never falls."""
    flips = 0
    for question in await answers([Simulated(level(0.5), verifying(voter(1.0)))] * 3, 4):
        for before, after in pairwise(question):
            assert all(b <= a for b, a in zip(before, after, strict=True))
            flips += sum(map(int, after)) - sum(map(int, before))
    assert flips > 30


async def test_outnumbered_keeps_the_vote_of_three() -> None:
    """Each goes over to the majority of the others: individuals move, the vote does not."""
    for question in await answers([Simulated(level(0.6), outnumbered())] * 3, 2):
        assert (sum(question[0]) >= 2) == (sum(question[1]) >= 2)
        assert sum(question[1]) in (0, 3)


async def test_simulated_skill_and_options() -> None:
    """The share of right first answers is the skill; wrong ones are spread over the other options; skill may depend on the problem."""
    n = 600
    solver = Simulated(lambda p: 0.9 if int(p.id) % 2 else 0.3, options=4)
    made = await asyncio.gather(*(solver(Problem(str(i), "?", "x"), Budget(), i) for i in range(n)))
    right = [sum(t.answer == "#### x" for t in made[k::2]) / (n / 2) for k in (1, 0)]
    assert right[0] == pytest.approx(0.9, abs=0.06)
    assert right[1] == pytest.approx(0.3, abs=0.08)
    assert len({t.answer for t in made}) == 4


async def test_sixty_four_problems_of_fifteen_agents_in_three_rounds() -> None:
    """2880 calls at once end without a stall, and the ledger has the true cost of each: segments, attempts and calls counted agree."""
    spent, under_way, most = list[Cost](), 0, 0

    @dataclass(frozen=True)
    class Counted(Simulated):
        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            nonlocal under_way, most
            under_way, most = under_way + 1, max(most, under_way + 1)
            for _ in range(random.Random(seed).randrange(5)):
                await asyncio.sleep(0)
            under_way -= 1
            t = await super().__call__(problem, budget, seed)
            spent.append(t.cost)
            return t

    agents = [Counted(level(0.3 + i / 30), voter(0.5), 3, 30 + i, 10 + i) for i in range(15)]
    solver = simulated(list(agents), 3)
    problems = [Problem(f"q{i}", "?", "x") for i in range(64)]
    made = await asyncio.wait_for(asyncio.gather(*(solver(p, Budget(), i) for i, p in enumerate(problems))), 60)
    assert len(spent) == 64 * 15 * 3 == sum(len(t.segments) for t in made)
    assert most >= 15 * 64 // 2
    for unit in ("prompt_tokens", "completion_tokens", "calls"):
        total = sum(getattr(c, unit) for c in spent)
        assert sum(getattr(t.cost, unit) for t in made) == sum(getattr(s.cost, unit) for t in made for s in t.segments) == total


def test_stubborn_is_the_identity() -> None:
    """Whatever the peers say."""
    assert stubborn("1", ["2", "2"], "2", random.Random(0)) == "1"
