"""Learning from trees: node values, groups made by one call, stored solutions, hard subsets, and a run that is killed and resumed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_lm import Digits, toy_lm

from reasonry.core import Budget, Problem, Stop, Trajectory, UserError, Verdict, open_run
from reasonry.core.seeds import inner_seed
from reasonry.solve import build_solver
from reasonry.solve.build import build_explorer
from reasonry.solve.explore import Explore, loops
from reasonry.train.advantage import Outcome, group_mean, unscaled
from reasonry.train.catalogue import find
from reasonry.train.credit import NodeValue
from reasonry.train.curriculum import every_group, only
from reasonry.train.hard import Hard, in_rounds, rater
from reasonry.train.loop import train
from reasonry.train.nodes import node_values
from reasonry.train.recipe import Recipe, describe, every_segment
from reasonry.train.reward import Rewarded, overlong
from reasonry.train.rollout import Explorer, rollout
from reasonry.train.solutions import Solutions
from reasonry.train.tokens import Tokens
from reasonry.train.update import make_batch

TASK = Digits()
RECIPE = Recipe(objective=find("deepsearch").objective, lr=3e-3, steps=8, prompts=3, group=4, save_every=2, seed=7, enrich=node_values)
SPEC = "deepsearch?n=3&chunk=2&depth=3&max_tokens=6"


async def groups(spec: str, G: int = 4, stored: Solutions | None = None, n: int = 6) -> list[list[Trajectory]]:
    async with toy_lm() as lm:
        explorer = build_explorer(spec, lm, TASK, stored or Solutions())
        done = [g async for g in rollout(explorer, TASK, TASK.problems("train", n), Budget(completion_tokens=6), G, 0)]
        assert not any(g.failures for g in done)
        return [list(g.trajectories) for g in sorted(done, key=lambda g: g.index)]


async def test_a_group_is_made_by_one_call_and_pays_for_each_token_once() -> None:
    """Ways share segments; the costs of a group are all that was sampled, dead ends included; values end with what the end was worth."""
    async with toy_lm() as lm:
        explorer = build_explorer(SPEC, lm, TASK)
        assert isinstance(explorer, Explorer)
        assert not callable(explorer)
        for problem in TASK.problems("train", 5):
            made = await explorer.group(problem, Budget(completion_tokens=6), 4, 1)
            assert made
            sampled = sum(t.cost.completion_tokens for t in made)
            written = {tuple(i for s in t.segments[: k + 1] for i in s.ids or ()): s for t in made for k, s in enumerate(t.segments)}
            assert sampled >= sum(len(s.ids or ()) for s in written.values())
            assert sum(t.cost.calls for t in made) == 3 * made[0].meta["expansions"]
            for t in made:
                assert len(t.meta["q"]) == len(t.segments)
                assert abs(t.meta["q"][-1]) == 1.0
                assert t.meta["q"][-1] < 0 or t.stop is Stop.EOS
                context = t.segments[0].context or ()
                for s in t.segments:
                    assert s.context == context
                    context += s.ids or ()


async def test_with_chunks_as_long_as_answers_the_tree_is_n_independent_attempts() -> None:
    """Token for token what `single` samples with the seeds of a plain rollout; and so it is with a depth of one."""
    for spec in ("deepsearch?n=4&chunk=6&max_tokens=6", "deepsearch?n=4&chunk=6&depth=1&max_tokens=6"):
        searched = await groups(spec)
        async with toy_lm() as lm:
            plain = build_solver("single?max_tokens=6", lm, TASK)
            done = [g async for g in rollout(plain, TASK, TASK.problems("train", 6), Budget(completion_tokens=6), 4, 0)]
        for mine, theirs in zip(searched, sorted(done, key=lambda g: g.index), strict=True):
            assert [s.ids for t in mine for s in t.segments] == [s.ids for t in theirs.trajectories for s in t.segments]
            assert [t.answer for t in mine] == [t.answer for t in theirs.trajectories]
            assert [t.verdict for t in mine] == [t.verdict for t in theirs.trajectories]


def batch(rewards: Sequence[float], q: Sequence[Sequence[float]]) -> tuple[Tokens, list[Trajectory]]:
    """Trajectories with two tokens a node, one prompt, rewards of 0 or 1."""
    segment, trajectory, made, number = [], [], list[Trajectory](), 0
    for i, values in enumerate(q):
        for _ in values:
            segment += [number, number]
            trajectory.append(i)
            number += 1
        made.append(Trajectory("p", meta={"q": list(values)}))
    R = torch.tensor(rewards, dtype=torch.float32)
    tokens = Tokens(
        segment=torch.tensor(segment), trajectory=torch.tensor(trajectory), prompt=torch.zeros(len(q), dtype=torch.int64), reward=R,
        signals={"score": R},
    )  # fmt: skip
    return tokens, made


def test_node_advantages_have_the_papers_numbers() -> None:
    """tanh on inner values, ends as they are, less the mean of the ends; all tokens of a chunk alike."""
    tokens, made = batch([0, 1], [[1 / 3, -1.0], [1 / 3, 2 / 3, 1.0]])
    A = NodeValue()(node_values(tokens, made))
    inner = torch.tensor([1 / 3, 2 / 3]).tanh()
    expected = [inner[0], inner[0], -1, -1, inner[0], inner[0], inner[1], inner[1], 1, 1]
    assert A.tolist() == pytest.approx([float(x) for x in expected])
    bounded = NodeValue(q_max=0.5, eps_q=0.5)
    assert bounded(node_values(*batch([0, 1], [[100.0, -1.0], [-100.0, 1.0]]))).abs().tolist() == pytest.approx([0.5, 0.5, 1, 1] * 2)


@given(st.floats(-50, 50), st.floats(0.1, 3))
@settings(max_examples=50, deadline=None)
def test_the_soft_clip_is_odd_bounded_and_near_identity_at_zero(q: float, limit: float) -> None:
    def clipped(value: float) -> float:
        tokens, made = batch([0, 1], [[value, -1.0], [0.0, 1.0]])
        return float(NodeValue(limit, limit)(node_values(tokens, made))[0])

    assert clipped(q) == pytest.approx(-clipped(-q), abs=1e-6)
    assert abs(clipped(q)) <= limit * (1 + 1e-6)
    assert clipped(1e-3) == pytest.approx(1e-3, rel=1e-3)


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_with_every_node_worth_its_end_it_is_dapo_with_a_mean_only_advantage(right: list[bool], depth: int) -> None:
    """q := q_end on ways of one node: R − μ on the scale −1…+1, which is twice that of 0…1."""
    R = [float(r) for r in right]
    tokens, made = batch(R, [[2 * r - 1] for r in R])
    plain = Outcome(group_mean, unscaled)(tokens)
    assert torch.allclose(NodeValue()(node_values(tokens, made)), 2 * plain, atol=1e-6)


def test_penalties_are_added_to_every_node_of_a_way() -> None:
    tokens, made = batch([0, 1], [[0.5, -1.0], [0.5, 1.0]])
    punished = replace(tokens, reward=tokens.reward + torch.tensor([-0.5, 0.0]))
    found = node_values(punished, made)
    assert found.value is not None
    assert found.value.tolist() == pytest.approx([0, 0, -1.5, -1.5, 0.5, 0.5, 1, 1])
    assert found.reward.tolist() == pytest.approx([-1.5, 1.0])


def test_inner_nodes_of_failed_ways_gain_where_most_ends_fail() -> None:
    """A property of the formula worth knowing: μ is the ends' mean, so with one right end of eight a first chunk that only failed ways
    passed (q = −1/3) has an advantage above zero; its end has one below."""
    tokens, made = batch([1] + [0] * 7, [[1 / 3, 1.0]] + [[-1 / 3, -1.0]] * 7)
    A = NodeValue()(node_values(tokens, made))
    assert float(A[4]) == pytest.approx(0.75 - 0.3215, abs=1e-3)
    assert float(A[6]) == pytest.approx(-0.25)


def test_attempts_without_values_are_refused() -> None:
    tokens, made = batch([0, 1], [[-1.0], [1.0]])
    with pytest.raises(UserError, match="1 trained calls but none node values"):
        node_values(tokens, [replace(made[0], meta={}), made[1]])


def test_a_penalty_on_length_counts_a_whole_way_whoever_paid_for_it() -> None:
    signal = overlong(8, 4)

    async def ways() -> list[list[Trajectory]]:
        return await groups("deepsearch?n=3&chunk=2&depth=4&max_tokens=8", n=2)

    for group in asyncio.run(ways()):
        got = signal(Problem("p", "?"), group)
        lengths = [sum(len(s.ids or ()) for s in t.segments) for t in group]
        assert [s and s["overlong"] for s in got] == [-min(max((n - 4) / 4, 0), 1) for n in lengths]


async def test_a_stored_solution_means_no_search() -> None:
    """Zero expansions; solutions first, at most their share, then independent attempts; scored under the present weights."""
    stored = Solutions()
    async with toy_lm() as lm:
        problem = TASK.problems("train", 4)[3]
        ids = (*lm.tokenizer.encode("3"), 12)
        stored.kept[problem.id] = [list(ids), [*ids], [*ids]]
        explorer = build_explorer(SPEC + "&share=0.5", lm, TASK, stored)
        made = await explorer.group(problem, Budget(completion_tokens=6), 4, 1)
        assert [bool(t.meta.get("cached")) for t in made] == [True, True, False, False]
        assert not any("expansions" in t.meta for t in made)
        assert all(len(t.segments) == 1 == len(t.meta["q"]) for t in made)
        assert sum(t.cost.completion_tokens for t in made[:2]) == 0
        context = await lm.encode(problem.messages)
        assert made[0].segments[0].logprobs == await lm.score(context, ids)
        assert made[0].segments[0].ids == ids
        pairs = [Rewarded(t, {"score": 1.0}, 1.0) for t in made]
        assert node_values(make_batch([pairs], replace(RECIPE, enrich=lambda t, _: t), every_segment, 0).tokens, made).value is not None


async def test_what_a_search_solves_is_stored_and_what_is_replayed_is_not_again() -> None:
    stored = Solutions(most=1)
    found = [[replace(t, verdict=Verdict(1.0, t.stop is Stop.EOS)) for t in g] for g in await groups(SPEC, G=8, n=10)]
    pairs = [[Rewarded(t, {}, float(bool(t.verdict and t.verdict.passed))) for t in g] for g in found]
    flat = make_batch(pairs, replace(RECIPE, enrich=lambda t, _: t), every_segment, 0)
    await stored.prepare(flat, pairs, None, 0)  # type: ignore[arg-type]
    solved = {t.problem_id for g in found for t in g if t.verdict and t.verdict.passed and t.stop is Stop.EOS}
    assert solved
    assert set(stored.kept) == solved
    assert all(len(ids) == 1 for ids in stored.kept.values())
    cached = [[replace(r, trajectory=replace(r.trajectory, meta={"cached": True, "q": [1.0]})) for r in g] for g in pairs]
    fresh = Solutions()
    await fresh.prepare(flat, cached, None, 0)  # type: ignore[arg-type]
    assert not fresh.kept
    assert fresh.learn(flat, 0)["cached"] == 1.0
    again = Solutions()
    again.load_state_dict(stored.state_dict())
    assert {p: list(again(p)) for p in solved} == {p: list(stored(p)) for p in solved}


async def trained(path: Path, steps: int, stop_at: int | None = None) -> tuple[list[float], dict[str, list[list[int]]]]:
    """Explores, learns and stores; the weights and what is stored. `stop_at` ends the process's work there, before the checkpoint."""
    stored = Solutions()
    run = open_run(path, describe(RECIPE), resume=True)
    async with toy_lm() as lm:
        explorer = build_explorer(SPEC, lm, TASK, stored)

        class DiesError(Exception):
            pass

        def progress(record: Mapping[str, object]) -> None:
            if record["step"] == stop_at:
                raise DiesError

        problems = {1: TASK.problems("train", 6)}
        curriculum = replace(only(1, 6), group_filter=every_group)
        try:
            await train(lm, explorer, TASK, curriculum, problems, replace(RECIPE, steps=steps), run, beside=[stored], progress=progress)
        except DiesError:
            return [], {}
        return [float(p.detach().double().sum()) for p in lm.decoder.parameters()], stored.kept


async def test_a_killed_run_resumes_with_what_was_stored(tmp_path: Path) -> None:
    """The same weights and the same stored solutions, bit for bit, wherever it died."""
    whole = await trained(tmp_path / "whole", 4)
    assert whole[1]
    assert await trained(tmp_path / "cut", 4, 2) == ([], {})
    assert await trained(tmp_path / "cut", 4) == whole


async def test_rounds_shrink_the_hard_subset_and_go_on_where_they_were(tmp_path: Path) -> None:
    """D^{t+1} ⊆ D^t: each round asks only what was hard before; a round's problems are rated once, also after a kill."""
    ten = TASK.problems("train")
    asked: list[int] = []
    trained: list[tuple[set[str], int]] = []

    async def rate(problems: Sequence[Problem], number: int) -> dict[str, float]:
        asked.append(number)
        return {p.id: (int(p.prompt) % 4) / 4 + number / 4 for p in problems if isinstance(p.prompt, str)}

    async def learn(problems: Mapping[int, Sequence[Problem]], upto: int) -> None:
        trained.append(({p.id for p in problems[1]}, upto))

    run = open_run(tmp_path / "run", {}, resume=True)
    await in_rounds(Hard(4, 0.6, 3), 9, run, {1: ten}, rate, learn)
    assert [upto for _, upto in trained] == [3, 6, 9]
    assert trained[2][0] < trained[1][0] < trained[0][0] < {p.id for p in ten}
    before = list(trained)
    await in_rounds(Hard(4, 0.6, 3), 9, run, {1: ten}, rate, learn)
    assert trained[3:] == before
    assert asked == [0, 1, 2]
    with pytest.raises(UserError, match="none of the problems"):
        await in_rounds(Hard(4, 0.01), 9, open_run(tmp_path / "none", {}, resume=True), {1: ten[1:4]}, rate, learn)


async def test_pass1_at_k_is_the_share_of_plain_attempts_that_pass() -> None:
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=3", lm, TASK)
        budget = Budget(completion_tokens=3)
        found = await rater(solver, TASK, budget, Hard(attempts=8), 5)(TASK.problems("train"), 1)
        seed = inner_seed(5, -3)
        for i, problem in enumerate(TASK.problems("train")[:3]):
            texts = [(await solver(problem, budget, inner_seed(seed, i, k))).answer for k in range(8)]
            assert found[problem.id] == sum(bool(TASK.judge(problem, t).passed) for t in texts) / 8
    assert len(set(found.values())) > 1


async def test_an_explorer_that_fails_is_data() -> None:
    class Broken:
        name = "broken"

        async def group(self, problem: Problem, budget: Budget, G: int, seed: int) -> list[Trajectory]:
            raise UserError("broken: on purpose; mend it")

    done = [g async for g in rollout(Broken(), TASK, TASK.problems("train", 2), Budget(), 4, 0)]
    assert Counter(f for g in done for f in g.failures) == {"UserError: broken: on purpose; mend it": 2}


def test_an_answer_cut_short_is_worth_minus_one_whatever_it_says() -> None:
    """Here every answer is right as soon as its first digit is, but only ended ones count."""
    for t in (t for g in asyncio.run(groups("deepsearch?n=4&chunk=1&depth=2&max_tokens=2")) for t in g):
        right = t.verdict == Verdict(1.0, True, answer=t.answer[:1] or None, signals=t.verdict.signals if t.verdict else {})
        assert t.meta["q"][-1] == (1.0 if right and t.stop is Stop.EOS else -1.0)


def test_no_way_is_longer_than_an_attempt_may_be() -> None:
    made = asyncio.run(groups("deepsearch?n=3&chunk=4&max_tokens=100"))
    assert {sum(len(s.ids or ()) for s in t.segments) for g in made for t in g} <= set(range(1, 7))


def test_centred_nodes_sum_to_nothing_and_ends_stay_as_they_were() -> None:
    """Inner advantages less their own mean; ends less the ends' mean."""
    tokens, made = batch([0, 0, 1], [[-1 / 3, -1.0], [0.5, -0.2, -1.0], [0.5, 1.0]])
    enriched = node_values(tokens, made)
    plain, centred = NodeValue()(enriched)[::2], NodeValue(centre="nodes")(enriched)[::2]
    last = [1, 4, 6]
    inner = [i for i in range(7) if i not in last]
    assert torch.allclose(plain[last], centred[last])
    assert float(centred[inner].sum()) == pytest.approx(0.0, abs=1e-6)
    assert torch.allclose(plain[inner] - centred[inner], (plain[inner] - centred[inner])[0].expand(4), atol=1e-6)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ((1, 2) * 4, True),
        ((9, 8, 7, *(1, 2) * 4), True),
        ((5,) * 8, True),
        ((5,) * 7, False),
        ((1, 2) * 3, False),
        ((*(1, 2) * 4, 3), False),
        (tuple(range(40)), False),
        ((), False),
    ],
)
def test_a_loop_is_one_block_said_over_and_over_at_the_end(ids: tuple[int, ...], said: bool) -> None:
    """Four times and eight tokens at least, whatever came before; nothing after it."""
    assert loops(ids) is said


async def test_wrong_attempts_that_loop_leave_the_group_and_their_cost_stays() -> None:
    """With everything wrong dropped only right ends remain, searched or not, and the group still pays for all that was sampled."""
    async with toy_lm() as lm:
        for searches in (True, False):
            explorer = build_explorer(SPEC, lm, TASK)
            assert isinstance(explorer, Explore)
            explorer = replace(explorer, searches=searches)
            for problem in TASK.problems("train", 6):
                every = await explorer.group(problem, Budget(completion_tokens=6), 4, 1)
                right = await replace(explorer, drop=lambda ids: True).group(problem, Budget(completion_tokens=6), 4, 1)
                assert [t.segments[-1].ids for t in right] == [t.segments[-1].ids for t in every if t.meta["q"][-1] > 0]
                if right:
                    assert sum(t.cost.completion_tokens for t in right) == sum(t.cost.completion_tokens for t in every)
