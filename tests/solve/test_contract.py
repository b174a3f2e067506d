"""What every solver in `SOLVERS` promises, whatever its method."""

import dataclasses

import msgspec
import pytest
from scripted_lm import Digits, ScriptedLM

from reasonry.core import Budget, Cost, Stop, Trajectory, UserError
from reasonry.solve import SOLVERS, build_solver

TASK = Digits()
PROBLEMS = TASK.problems("test", 6)
SPECS = [
    "single",
    "single?max_tokens=9",
    "self-consistency?k=5",
    "self-consistency?k=7&max_tokens=12",
    "best-of-n?n=4",
    "best-of-n?n=3&score=judge&max_tokens=20",
    "agglm?m=4",
    "agglm?m=3&votes=3&max_tokens=12",
    "agglm?m=2&rounds=2&limit=60",
    "agglm?m=3&words=bare&of=self-consistency?k=2&max_tokens=9",
    "delethink?C=12&m=4&I=6",
    "delethink?C=12&m=4&I=6&keep_head=2&keep_tail=4",
    "delethink?C=12&m=4&I=6&carry=tail",
    "delethink?C=16&m=8&I=4&carry=multi_head&keep_head=1",
    "delethink?C=40&m=24&I=4&carry=summary",
    "deepsearch?n=3&chunk=4&ends=4&depth=5",
    "deepsearch?n=2&chunk=3&ends=3&depth=9&max_tokens=20&backup=all&l2=-0.4&negative=random",
    "interrupted?lo=5&hi=9&answer=6&close=hash",
    "interrupted?lo=12&hi=30&answer=3&phrase=",
    "debate",
    "debate?agents=2&rounds=1&words=revise&share=answers&vote=all&max_tokens=9",
    "debate?agents=4&sees=ring&order=in-turn&gate=yes&stop=unanimous&payoff=yes&critics=1&max_tokens=12",
    "debate?agents=3&rounds=1&words=bare&chances=.9,.6,.6&margin=0.9&of=self-consistency?k=2&max_tokens=9",
    "tool-loop",
    "tool-loop?turns=2&max_tokens=9",
    "vgb",
    "vgb?until=tokens&block=3&depth=8&ahead=2&bound=2",
    "vgb?mode=stationary&until=tokens&block=9&depth=2&steps=12&starts=6&verifier=avoid&letters=7&alpha=0.8&coverage=1.6&need=nothing",
    "guided",
    "guided?way=outcome&until=tokens&block=6&tries=4",
    "guided?way=best-block&until=tokens&block=5&n=3&verifier=avoid&letters=3",
    "guided?way=block-rejection&until=tokens&block=5&n=3&verifier=avoid&letters=3",
    "guided?way=beam&until=tokens&block=6&width=2&n=3",
    "tumix",
    "tumix?agents=Base,CoT,CoT&rounds=4&stop=short&max_tokens=9",
    "parathinker",
    "parathinker?P=3&B=9&max_tokens=12&lead=%23%23%23%23 ",
    "parathinker?P=3&B=6&fuse=vote&k=2",
    "parathinker?P=2&B=8&leads=1|2&max_tokens=9",
]
BUDGETS = [
    Budget(),
    *(Budget(completion_tokens=n) for n in (1, 7, 12, 13, 40, 100, 300)),
    *(Budget(tokens=n) for n in (5, 20, 33, 90, 200, 700)),
    *(Budget(calls=n) for n in (1, 2, 5)),
    Budget(completion_tokens=60, calls=4, tokens=250),
    Budget(verifier_calls=2),
]


def test_every_solver_is_under_the_contract() -> None:
    """A new solver cannot be added without a spec here."""
    assert {spec.partition("?")[0] for spec in SPECS} == set(SOLVERS)


@pytest.mark.parametrize("spec", SPECS)
async def test_cost_is_what_the_model_spent(spec: str) -> None:
    """A trajectory's cost is the sum over its segments, and that is the sum over the calls the model saw."""
    for problem in PROBLEMS:
        lm = ScriptedLM()
        trace = await build_solver(spec, lm, TASK)(problem, Budget(), seed=3)
        assert trace.stop is not None
        assert trace.segments
        for unit in ("prompt_tokens", "completion_tokens", "prefill_tokens", "flops", "layers_run", "calls"):
            spent = sum(getattr(c.cost, unit) for _, _, c in lm.calls)
            assert getattr(trace.cost, unit) == sum(getattr(s.cost, unit) for s in trace.segments) == spent


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
@pytest.mark.parametrize("spec", SPECS)
async def test_no_countable_limit_is_ever_broken(spec: str, budget: Budget) -> None:
    """Tokens, completion tokens, calls and verifier calls stay within the budget to the last one, and BUDGET names the unit."""
    for problem in PROBLEMS[:3]:
        for seed in range(3):
            lm = ScriptedLM()
            trace = await build_solver(spec, lm, TASK)(problem, budget, seed)
            real = sum((c.cost for _, _, c in lm.calls), Cost())
            for unit, limit in budget.limits():
                assert getattr(trace.cost, unit) <= limit
                assert unit == "verifier_calls" or getattr(real, unit) <= limit
            assert (trace.spent is not None) == (trace.stop is Stop.BUDGET)
            assert trace.spent is None or trace.spent in dict(budget.limits())


@pytest.mark.parametrize("spec", SPECS)
async def test_a_budget_of_nothing_makes_no_call(spec: str) -> None:
    """With no room at all a solver says so instead of asking."""
    for budget in (Budget(completion_tokens=0), Budget(calls=0), Budget(tokens=0)):
        lm = ScriptedLM()
        trace = await build_solver(spec, lm, TASK)(PROBLEMS[0], budget, 0)
        assert not lm.calls
        assert (trace.stop, trace.answer) == (Stop.BUDGET, "")
        assert trace.spent in dict(budget.limits())


@pytest.mark.parametrize("budget", [Budget(flops=150.0), Budget(seconds=0.025)], ids=str)
@pytest.mark.parametrize("spec", [s for s in SPECS if s.startswith("delethink")])
async def test_units_known_only_afterwards_stop_the_next_call(spec: str, budget: Budget) -> None:
    """FLOPs and seconds are looked at between calls: before the last call the limit was not yet reached."""
    for problem in PROBLEMS:
        trace = await build_solver(spec, ScriptedLM(), TASK)(problem, budget, 1)
        before = sum((s.cost for s in trace.segments[:-1]), Cost())
        assert budget.spent(before) is None
        assert (budget.spent(trace.cost) is None) == (trace.stop is not Stop.BUDGET) or trace.stop is Stop.EOS


@pytest.mark.parametrize("spec", SPECS)
async def test_the_same_seed_replays_and_another_does_not(spec: str) -> None:
    """The seed decides everything, and it does decide something."""

    async def run(seed: int) -> list[Trajectory]:
        return [await build_solver(spec, ScriptedLM(), TASK)(p, Budget(completion_tokens=90), seed) for p in PROBLEMS]

    first = await run(5)
    assert first == await run(5)
    assert first != await run(6)


async def test_judging_is_paid_out_of_the_same_budget() -> None:
    """Candidates whose judging the budget cannot pay for are not sampled; a lone answer needs no judge and gets all the room."""
    for limit in (10, 63, 90, 180, 260, 400):
        trace = await build_solver("best-of-n?n=6&score=judge&max_tokens=20", ScriptedLM(), TASK)(
            PROBLEMS[0], Budget(completion_tokens=limit), 4
        )
        judged = [s for s in trace.segments if s.role == "judge"]
        texts = {s.text for s in trace.segments if s.role == "answer"}
        assert len(judged) == (len(texts) if trace.meta["candidates"] > 1 else 0)
        assert trace.cost.verifier_calls == len(judged)


@pytest.mark.parametrize("spec", SPECS)
async def test_a_trajectory_survives_json(spec: str) -> None:
    """Written to a log and read again, nothing is lost."""
    trace = await build_solver(spec, ScriptedLM(), TASK)(PROBLEMS[0], Budget(completion_tokens=50), 1)
    assert msgspec.json.decode(msgspec.json.encode(trace), type=Trajectory) == trace


@pytest.mark.parametrize("spec", SPECS)
async def test_every_segment_is_scorable(spec: str) -> None:
    """Each call keeps its own context, the ids it sampled and their log-probabilities, and the name of the model."""
    lm = ScriptedLM()
    trace = await build_solver(spec, lm, TASK)(PROBLEMS[1], Budget(), 2)
    asked = [(context, given.ids, given.logprobs) for context, _, given in lm.calls]
    assert sorted(asked, key=repr) == sorted(((s.context, s.ids, s.logprobs) for s in trace.segments), key=repr)
    assert {s.model for s in trace.segments} == {"scripted"}


@pytest.mark.parametrize("name", list(SOLVERS))
async def test_first_call_is_the_one_single_makes(name: str) -> None:
    """Call 0 of every solver has the seed of `single`: where nothing else differs, the text is the same."""
    lm = ScriptedLM()
    for problem in PROBLEMS:
        plain = await build_solver("single", lm, TASK)(problem, Budget(), 11)
        other = await build_solver(name, lm, TASK)(problem, Budget(), 11)
        assert other.segments[0].ids == plain.segments[0].ids


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("delethonk", "solver: 'delethonk' is not a solver; use one of single, self-consistency, best-of-n, delethink, agglm,"),
        ("agglm?m=0", "agglm: m is 0 but must be at least 1; raise it"),
        ("agglm?pool=a.jsonl&by=pocket", "agglm: pool and by are both given, but candidates come from one place; leave one out"),
        ("delethink?m=9000", "Delethink: m is 9000 but must be smaller than C (8192); lower m or raise C."),
        ("delethink?C=64&m=32&I=0", "Delethink: I is 0 but at least one chunk is needed; raise I."),
        ("delethink?C=64&m=32&keep_head=8&keep_tail=9", "keep_tail is 9 but must be m - keep_head (24), or m (32)"),
        ("delethink?carry=gist", "carry is 'gist' but must be one of head_and_tail, tail, multi_head, summary"),
        ("single?temprature=0", "single: temprature is not an option; use max_tokens, temperature, top_p, top_k, min_p"),
        ("single?temperature=hot", "single: temperature is 'hot' but must be a number; mend it or leave it out"),
        ("single?max_tokens=0", "single: max_tokens is '0' but must be a whole number above 0"),
        ("best-of-n?n=0", "best-of-n: n is 0 but at least one answer is needed; raise n"),
        ("self-consistency?k=-1", "self-consistency: k is -1 but at least one answer is needed; raise k"),
        ("single?top_k=1&top_k=2", "an option is given twice"),
    ],
)
def test_a_bad_spec_is_refused_in_one_sentence(spec: str, says: str) -> None:
    """The error names the field, the value and the mend."""
    with pytest.raises(UserError) as error:
        build_solver(spec, ScriptedLM(), TASK)
    assert says in str(error.value)


def test_the_name_is_the_spec() -> None:
    """Two settings of one method stay apart in a report."""
    solver = build_solver("delethink?C=64&m=32", ScriptedLM(), TASK)
    assert solver.name == "delethink?C=64&m=32"
    assert dataclasses.is_dataclass(solver)
