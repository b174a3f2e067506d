"""A student with a teacher at its side as a solver: what it spends, where it stops, which tokens may be trained, how a spec names it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from reasonry.core import Budget, Stop, Trajectory, UserError
from reasonry.evaluate.choices import build_choice
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.taught import SMALL, characters, fresh
from reasonry.solve.opened import Opened
from reasonry.synth.reverse_solver import ReverseSpeculative
from reasonry.synth.reverse_speculative import OWN, Rule, by_lookahead, by_pool, by_steps, pair
from reasonry.tasks import load_task
from reasonry.train.rows import row_of

TOKENIZER = characters()
PROBLEMS = load_task("arithmetic?steps=1").problems("test", 3, 0)
BUDGETS = [
    *(Budget(completion_tokens=n) for n in (1, 2, 3, 9, 30)),
    *(Budget(tokens=n) for n in (5, 40, 130, 150, 160)),
    Budget(calls=1),
    Budget(calls=2),
    Budget(completion_tokens=20, tokens=150),
]


def solver(extend=by_lookahead) -> ReverseSpeculative:
    lms = [LocalLM(fresh(SMALL, seed).requires_grad_(False), TOKENIZER, f"model {seed}") for seed in (0, 1)]
    rule = Rule(p_th=0.004, teacher=OWN, student=OWN, max_tokens=24, proposals=1 if extend is by_lookahead else 2)
    return ReverseSpeculative(pair(lms[0], lms[1]), rule, extend)


@pytest.mark.parametrize("extend", [by_lookahead, by_steps, by_pool])
async def test_no_budget_is_broken_and_the_unit_is_named(extend) -> None:
    s = solver(extend)
    for budget in BUDGETS:
        trace = await s(PROBLEMS[0], budget, 1)
        for unit, limit in budget.limits():
            assert getattr(trace.cost, unit) <= limit
        assert (trace.stop is Stop.BUDGET) == (trace.spent is not None)
    free = await s(PROBLEMS[0], Budget(), 1)
    assert (free.stop, len(free.segments[0].ids or ())) in ((Stop.LENGTH, 24), (Stop.EOS, len(free.segments[0].ids or ())))
    assert free.cost.completion_tokens >= len(free.segments[0].ids or ())


async def test_attempts_replay_and_cost_what_their_segments_do() -> None:
    s = solver()
    alone = [await s(p, Budget(), 4) for p in PROBLEMS]
    together = await asyncio.gather(*(s(p, Budget(), 4) for p in PROBLEMS))
    for a, b in zip(alone, together, strict=True):
        assert (a.answer, a.segments[0].ids, a.meta) == (b.answer, b.segments[0].ids, b.meta)
        for unit in ("prompt_tokens", "completion_tokens", "prefill_tokens", "calls"):
            assert getattr(a.cost, unit) == sum(getattr(x.cost, unit) for x in a.segments)
        assert msgspec.json.decode(msgspec.json.encode(a), type=Trajectory) == a


async def test_only_the_students_own_tokens_may_be_trained() -> None:
    trace = await solver()(PROBLEMS[0], Budget(), 2)
    said, drafted = trace.segments
    row = row_of(said)
    assert said.ids is not None
    assert len(row.trained) == sum(said.mask or ()) == round(trace.meta["fallback_rate"] * len(said.ids))
    assert 0 < len(row.trained) < len(said.ids)
    assert (drafted.role, drafted.ids) == ("teacher", None)


async def test_a_spec_names_the_teacher_and_a_teacher_alone_is_the_answer_without_a_threshold() -> None:
    """Over the shipped pair: the larger writes, the smaller approves."""
    lm, opened = load_lm("pocket-1m"), Opened()
    task = load_task("arithmetic?steps=2")
    problem = task.problems("test", 1, 0)[0]
    assert isinstance(lm, LocalLM)
    async with lm:
        ahead = build_choice("reverse-speculative?teacher=pocket&p_th=0&max_tokens=48", lm, task, opened)
        authors = build_choice("reverse-speculative?teacher=pocket&way=authors&max_tokens=48", lm, task, opened)
        trace = await ahead(problem, Budget(), 0)
        assert trace.meta["fallback_rate"] == 0
        assert ahead.name.startswith("reverse-speculative?teacher=pocket")
        assert (await authors(problem, Budget(), 0)).stop is Stop.EOS
        for spec, said in (
            ("reverse-speculative", "teacher is not given"),
            ("reverse-speculative?teacher=pocket&k=3", "k is not an option"),
            ("reverse-speculative?teacher=pocket&ahead=0", "ahead is 0"),
            ("reverse-speculative?teacher=http://127.0.0.1:1/v1#m", "teacher is an endpoint"),
        ):
            with pytest.raises(UserError, match=said):
                build_choice(spec, lm, task, opened)
    await opened.close()
    with pytest.raises(UserError, match="'/etc' is not there to be used; use one of pocket-1m"):
        build_choice("reverse-speculative?teacher=/etc", lm, task, Opened({("lm", "pocket-1m"): lm}))


def test_the_rule_is_a_value() -> None:
    with pytest.raises(UserError, match=r"p_th is -0\.1"):
        replace(Rule(), p_th=-0.1)
