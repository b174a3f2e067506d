"""Parts that learn or look beside the policy: each against an oracle, each through the loop, each resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_lm import Digits, sample, toy_decoder, toy_lm

from reasonry.core import Budget, Sampling, Segment, UserError, open_run
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.train.assemble import beside_for, complete, learns_from_equals, own
from reasonry.train.beside import Beside
from reasonry.train.catalogue import CATALOGUE, find
from reasonry.train.continuations import AtUnlikely, EveryTokens, MonteCarlo, at_lines
from reasonry.train.critic import Critic
from reasonry.train.curriculum import Lesson, every_group, informative, only
from reasonry.train.greedy import GreedyBaseline, at_zero
from reasonry.train.hero import Hero
from reasonry.train.kl import InReward, k3
from reasonry.train.loop import frozen_copy, train
from reasonry.train.network import Reference
from reasonry.train.prm import ImplicitPRM
from reasonry.train.prompt_value import ValueTracker
from reasonry.train.recipe import Recipe, describe, every_segment
from reasonry.train.replay import Place, Replay
from reasonry.train.reward import Reward, Rewarded
from reasonry.train.update import Batch, make_batch
from reasonry.train.vrpo import HardenedHead

TASK = Digits()
PLAIN = Recipe(objective=find("dapo").objective, lr=1e-3, steps=1, prompts=4, group=4)
LESSON = Lesson(tuple(TASK.problems("train", 4)), (1,) * 4, 0, 4, None)
SOLVERS = ["single?max_tokens=4", "self-consistency?k=3&max_tokens=4", "best-of-n?n=2&max_tokens=4", "delethink?C=5&m=3&I=3&keep_head=1"]


PAID = Reward()


async def batch_of(spec: str = SOLVERS[0], reward: Reward = PAID, **more: Any) -> tuple[Batch, list[list[Rewarded]]]:
    async with toy_lm() as lm:
        groups = await sample(build_solver(spec, lm, TASK), reward, **more)
    return make_batch(groups, PLAIN, every_segment, 0), groups


# The critic -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SOLVERS)
async def test_values_are_those_of_each_state_alone_and_in_order(spec: str) -> None:
    """V of a token is the head on the trunk's state before it, row by row on its own context, however the batch is cut."""
    batch, groups = await batch_of(spec)
    critic = Critic(toy_decoder(), 1e-3)
    torch.nn.init.normal_(critic.head.get_parameter("out.weight"), generator=torch.Generator().manual_seed(1))
    got = critic.values(batch)
    critic.part_tokens = 1
    torch.testing.assert_close(critic.values(batch), got, atol=1e-5, rtol=1e-4)
    alone: list[float] = []
    for r in (r for g in groups[:2] for r in g):
        for s in r.trajectory.segments:
            for i in range(len(s.ids or ())):
                cut = replace(s, ids=(s.ids or ())[: i + 1], logprobs=(s.logprobs or ())[: i + 1])
                one = make_batch([[replace(r, trajectory=replace(r.trajectory, segments=(cut,)))]], PLAIN, every_segment, 0)
                alone.append(float(critic.values(one)[-1]))
    torch.testing.assert_close(got[: len(alone)], torch.tensor(alone), atol=1e-5, rtol=1e-4)


async def test_a_critic_learns_the_returns_and_its_explained_variance_rises() -> None:
    """On one batch whose reward is the prompt's digit over three: from nothing to most of the variance; the targets are the returns."""
    pays = Reward((lambda problem, group: [{"score": int(problem.answer) / 3} for _ in group],))
    batch, groups = await batch_of(reward=pays)
    critic = Critic(toy_decoder(), 1e-2)
    told = []
    for step in range(40):
        batch = replace(batch, tokens=await critic.prepare(batch, groups, LESSON, step))
        told.append(critic.learn(batch, step))
    assert told[0]["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert told[-1]["explained_variance"] > 0.9
    assert told[-1]["value_loss"] < 0.05 * told[0]["value_loss"]


async def test_a_value_moves_no_further_than_its_reach() -> None:
    """Past V_old ± reach a token's gradient is exactly zero: before that there is one, after many updates on one batch none is left."""
    batch, groups = await batch_of(reward=Reward((lambda problem, group: [{"score": 1.0} for _ in group],)))
    norms = []
    for updates in (1, 60):
        critic = Critic(toy_decoder(), 3e-3, reach=0.1, updates=updates)
        norms.append(critic.learn(replace(batch, tokens=await critic.prepare(batch, groups, LESSON, 0)), 0)["value_grad_norm"])
    assert norms[0] > 0
    assert norms[1] == 0.0


async def test_the_penalty_in_the_reward_is_part_of_the_returns() -> None:
    """A critic of PPO with KL in the reward learns rewards less penalties: `Reference` brings log π_ref, the charge is the objective's."""
    batch, groups = await batch_of()
    other = toy_decoder(seed=1)
    batch = replace(batch, tokens=await Reference(other).prepare(batch, groups, LESSON, 0))
    kl = InReward(0.5)
    critic = Critic(toy_decoder(), 1e-3, kl=kl)
    batch = replace(batch, tokens=await critic.prepare(batch, groups, LESSON, 0))
    told = critic.learn(batch, 0)
    t = batch.tokens
    charged = kl.charge(t)
    assert charged.token_reward is not None
    returns = [
        float(t.reward[m] + charged.token_reward[t.by_trajectory.of == m][i:].sum())
        for m in range(len(t.reward)) for i in range(int(t.lengths[m]))
    ]  # fmt: skip
    assert told["value_loss"] == pytest.approx(0.5 * sum(R * R for R in returns) / len(returns), rel=1e-4)


async def test_the_hardened_head_is_told_entropy_and_surprise() -> None:
    """Its guides are the frozen model's entropy and the mean surprise so far, 0 at a call's start; its penalty holds both and a KL."""
    batch, groups = await batch_of(SOLVERS[1])
    frozen = toy_decoder(seed=2)
    critic = Critic(toy_decoder(), 1e-2, head=HardenedHead(frozen, Z=4))
    batch = replace(batch, tokens=await Reference(frozen).prepare(batch, groups, LESSON, 0))
    guides = critic.head.guides(batch, critic._layouts(batch))  # type: ignore[operator]
    logp, calls = batch.tokens.logp_ref, batch.tokens.by_segment
    assert logp is not None
    for s in range(5):
        mine = -logp[calls.of == s]
        wanted = torch.cat([torch.zeros(1), mine.cumsum(0)[:-1] / torch.arange(1, len(mine))])
        torch.testing.assert_close(guides[calls.of == s, 1], wanted, atol=1e-4, rtol=1e-4)
    assert bool((guides[:, 0] > 0).all())
    assert bool((guides[:, 0] <= torch.tensor(13.0).log() + 1e-4).all())
    told = []
    for step in range(30):
        batch = replace(batch, tokens=await critic.prepare(batch, groups, LESSON, step))
        told.append(critic.learn(batch, step)["value_loss"])
    assert told[-1] < 0.5 * told[0]
    assert not [name for name, _ in critic.head.named_parameters() if "frozen" in name]


# The process-reward model ---------------------------------------------------------------------------------------------------------------


async def test_process_rewards_begin_at_zero_and_learn_to_tell_right_from_wrong() -> None:
    """φ = ref gives r = 0 and a loss of log 2; trained on one batch's outcomes the sums take their signs."""
    batch, groups = await batch_of(n=4, G=8)
    right = sum(bool(r.trajectory.verdict and r.trajectory.verdict.passed) for g in groups for r in g)
    assert 0 < right < 32
    prm = ImplicitPRM(toy_decoder(), 1e-2, beta=0.5)
    told = []
    for step in range(40):
        tokens = await prm.prepare(batch, groups, LESSON, step)
        told.append(prm.learn(batch, step))
        if step == 0:
            assert tokens.process is not None
            assert float(tokens.process.abs().max()) == 0.0
    assert told[0]["prm_loss"] == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-5)
    assert told[-1]["prm_accuracy"] == 1.0
    assert told[-1]["prm_loss"] < 0.3


async def test_parts_of_a_batch_add_up_for_the_process_reward_model() -> None:
    batch, groups = await batch_of(SOLVERS[3])
    models = [ImplicitPRM(toy_decoder(), 1e-2, part_tokens=n) for n in (1, 10**6)]
    losses = []
    for prm in models:
        for step in range(2):
            await prm.prepare(batch, groups, LESSON, step)
            losses.append(prm.learn(batch, step)["prm_loss"])
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-5)


# The greedy answer ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SOLVERS)
async def test_the_baseline_is_the_reward_of_the_greedy_answer(spec: str) -> None:
    async with toy_lm() as lm:
        solver = build_solver(spec, lm, TASK)
        groups = await sample(solver, Reward())
        batch = make_batch(groups, PLAIN, every_segment, 0)
        greedy = GreedyBaseline(solver, TASK, Reward())
        tokens = await greedy.prepare(batch, groups, LESSON, 0)
        wanted, spent = [], 0
        for group in groups:
            problem = next(p for p in LESSON.problems if p.id == group[0].trajectory.problem_id)
            answer = await at_zero(solver)(problem, LESSON.budget, 99)
            spent += answer.cost.completion_tokens
            wanted += [float(TASK.judge(problem, answer.answer).passed or 0)] * len(group)
    assert tokens.baseline is not None
    assert tokens.baseline.tolist() == wanted
    assert greedy.learn(replace(batch, tokens=tokens), 0) == {"greedy_reward": sum(wanted) / len(wanted), "beside_tokens": spent}


def test_a_solver_without_a_temperature_is_refused() -> None:
    class Fixed:
        name = "fixed"

    with pytest.raises(UserError, match="no field `sampling`"):
        at_zero(Fixed())  # type: ignore[arg-type]


# Continuations --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SOLVERS)
async def test_an_attempt_taken_up_again_keeps_its_beginning_and_spends_what_is_new(spec: str) -> None:
    """From every token of every call: the calls before are the recorded ones, the beginning of the call is kept, only the rest is paid."""
    async with toy_lm() as lm:
        solver = build_solver(spec, lm, TASK)
        problem = LESSON.problems[1]
        attempt = await solver(problem, LESSON.budget, 5)
        for call, segment in enumerate(attempt.segments):
            for token in range(len(segment.ids or ())):
                replay = Replay(lm, attempt, Place(call, token), 77)
                again = await replace(solver, lm=replay)(problem, LESSON.budget, 77)  # type: ignore[type-var]
                assert [s.ids for s in again.segments[:call]] == [s.ids for s in attempt.segments[:call]]
                assert (again.segments[call].ids or ())[:token] == (segment.ids or ())[:token]
                assert again.segments[call].context == segment.context
                assert (again.segments[call].logprobs or ())[:token] == (segment.logprobs or ())[:token]
                new = sum(len(s.ids or ()) for s in again.segments) - sum(len(s.ids or ()) for s in attempt.segments[:call]) - token
                assert replay.spent == new
                assert again.cost.completion_tokens <= LESSON.max_new_tokens


async def test_endings_are_drawn_from_the_policy() -> None:
    """The share of endings that are right from a given first token is the policy's own probability of that, within sampling error."""
    async with toy_lm() as lm:
        solver = build_solver("single?max_tokens=1", lm, TASK)
        problem = LESSON.problems[3]
        context = await lm.encode(problem.messages)
        [logp] = await lm.score(context, (3,))
        attempt = await solver(problem, LESSON.budget, 0)
        K = 2000
        mc = MonteCarlo(lm, solver, TASK, Reward(), every_segment, at_lines, K)
        value, spent = await mc._value(problem, attempt, Place(0, 0), LESSON, 1)
    p = float(torch.tensor(logp).exp())
    assert abs(value - p) < 4 * (p * (1 - p) / K) ** 0.5
    assert spent == K


@pytest.mark.parametrize("spec", SOLVERS)
async def test_steps_cover_the_batch_and_values_belong_to_their_states(spec: str) -> None:
    """Steps never cross calls; a state of several attempts has one value; a wholly kept answer would keep its reward."""
    async with toy_lm() as lm:
        solver = build_solver(spec, lm, TASK)
        groups = await sample(solver, Reward())
        batch = make_batch(groups, PLAIN, every_segment, 0)
        mc = MonteCarlo(lm, solver, TASK, Reward(), own(lm, PLAIN), EveryTokens(2), 3)
        tokens = await mc.prepare(batch, groups, LESSON, 0)
        again = await MonteCarlo(lm, solver, TASK, Reward(), own(lm, PLAIN), EveryTokens(2), 3).prepare(batch, groups, LESSON, 0)
    assert tokens.value is not None
    assert torch.equal(tokens.value, again.value)  # type: ignore[arg-type]
    steps = tokens.by_step
    assert bool((steps.count() <= 2).all())
    assert int(steps.count().sum()) == tokens.segment.numel()
    assert torch.equal(steps.min(tokens.segment.float()), steps.max(tokens.segment.float()))
    assert torch.equal(steps.min(tokens.value), steps.max(tokens.value))
    first = tokens.by_trajectory.rank() == 0
    by_prompt = tokens.prompt[tokens.by_trajectory.of[first]]
    for p in range(tokens.by_prompt.n):
        assert len(set(tokens.value[first][by_prompt == p].tolist())) == 1
    assert {v % (1 / 3) < 1e-6 or 1 / 3 - v % (1 / 3) < 1e-6 for v in tokens.value.tolist()} == {True}
    assert mc.learn(batch, 0)["beside_tokens"] > 0


def test_cuts() -> None:
    """Lines end steps; every second unlikely token begins one."""
    call = Segment((1,), (1, 2, 3, 4), "", tuple(torch.tensor([0.99, 0.5, 0.2, 0.3]).log().tolist()), None, None)  # type: ignore[arg-type]
    assert at_lines(call, ["a", "b\n", "c", "\n"]) == [2]
    assert AtUnlikely(0.9, 2)(call, [""] * 4) == [2]
    assert AtUnlikely(0.9, 1)(call, [""] * 4) == [1, 2, 3]
    assert EveryTokens(3)(call, [""] * 4) == [3]


async def test_a_solver_that_leaves_its_way_is_found_out() -> None:
    async with toy_lm() as lm:
        attempt = await build_solver(SOLVERS[0], lm, TASK)(LESSON.problems[0], Budget(), 0)
        with pytest.raises(UserError, match="is not what was recorded"):
            await Replay(lm, attempt, Place(0, 1), 0).complete("77", Sampling(max_tokens=2))


# The tracked value ----------------------------------------------------------------------------------------------------------------------


async def test_the_tracker_is_a_discounted_mean_and_forgets_as_the_policy_moves() -> None:
    """Unmoved policy: ρ = ρ_max. Replaced policy: D is the k3 of its log-probabilities, and decides ρ. By hand, three steps."""
    batch, groups = await batch_of(n=1, G=1)
    decoder = toy_decoder()
    tracker = ValueTracker(decoder, half=0.06, least=0.5, most=0.9, weight=2.0)
    groups = [[replace(groups[0][0], reward=0.8)]]
    seen = []
    for step in range(2):
        tokens = await tracker.prepare(batch, groups, LESSON, step)
        assert tokens.baseline is not None
        seen.append(float(tokens.baseline))
    alpha, beta = 1.0 + 0.8, 1.0 + 0.2
    assert seen == pytest.approx([0.5, alpha / (alpha + beta)])
    alpha, beta = 0.9 * alpha + 0.8, 0.9 * beta + 0.2
    decoder.load_state_dict(toy_decoder(seed=9).state_dict())
    [known] = tracker.known.values()
    then, now = batch.tokens.logp_sampler, (await Reference(decoder).prepare(batch, groups, LESSON, 0)).logp_ref
    assert then is not None
    assert now is not None
    assert tracker.drift(known) == pytest.approx(float(k3(then, now).mean()), rel=1e-4)
    tokens = await tracker.prepare(batch, groups, LESSON, 2)
    assert float(tokens.baseline) == pytest.approx(alpha / (alpha + beta))  # type: ignore[arg-type]
    rho = min(max(2 ** (-tracker.learn(batch, 2)["tracker_drift"] / 0.06), 0.5), 0.9)
    assert (known.alpha, known.beta) == pytest.approx((rho * alpha + 0.8, rho * beta + 0.2))
    copy = ValueTracker(decoder)
    copy.load_state_dict(tracker.state_dict())
    assert copy.known == tracker.known


async def test_a_reward_outside_the_unit_interval_is_refused() -> None:
    batch, groups = await batch_of(n=1, G=1)
    with pytest.raises(UserError, match="rewards from 0 to 1"):
        await ValueTracker(toy_decoder()).prepare(batch, [[replace(groups[0][0], reward=1.5)]], LESSON, 0)


# Through the loop -----------------------------------------------------------------------------------------------------------------------


async def learn_digits(path: Path, slug: str, recipe: Recipe, spec: str = "single?max_tokens=2", longest: int = 2) -> list[dict[str, Any]]:
    entry = find(slug)
    recipe = complete(entry, recipe, longest, pretrain=3)
    run = open_run(path, describe(recipe), resume=True)
    async with toy_lm() as lm:
        solver, reference = build_solver(spec, lm, TASK), frozen_copy(lm.decoder)
        beside = beside_for(entry, lm, solver, TASK, recipe, K=3)
        curriculum = replace(only(1, longest), group_filter=every_group if learns_from_equals(entry) else informative)
        await train(lm, solver, TASK, curriculum, {1: TASK.problems("train", 4)}, recipe, run, reference, beside)
    return [json.loads(line) for line in (path / "steps.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("slug", ["ppo", "orz", "vc-ppo", "vapo", "vrpo"])
async def test_critic_methods_train_end_to_end(slug: str, tmp_path: Path) -> None:
    """Reward rises, the critic explains more and more, and value pre-training leaves the policy alone."""
    told = await learn_digits(tmp_path / "run", slug, replace(PLAIN, lr=1e-2, steps=30, group=8, save_every=50))
    explained = [r["explained_variance"] for r in told if "explained_variance" in r]
    assert max(explained[-10:]) > max(explained[0], 0.0) + 0.1
    assert sum(r["reward"] for r in told[-5:]) > sum(r["reward"] for r in told[:5]) + 0.5
    if slug in ("vc-ppo", "vapo"):
        assert [r["lr"] for r in told[:4]] == [0.0, 0.0, 0.0, 0.01]
        assert all(abs(r["kl_ref"]) < 1e-6 for r in told[:3])


@pytest.mark.parametrize("slug", ["remax", "prime", "vineppo", "spo-segment", "spo-single-stream", "kimi-k1.5"])
async def test_methods_with_a_part_beside_train_end_to_end(slug: str, tmp_path: Path) -> None:
    told = await learn_digits(tmp_path / "run", slug, replace(PLAIN, lr=1e-2, steps=30, group=8, save_every=50))
    assert sum(r["pass_rate"] for r in told[-5:]) > sum(r["pass_rate"] for r in told[:5]) + 0.5


@pytest.mark.parametrize("slug", ["vapo", "vrpo", "prime", "remax", "vineppo", "spo-single-stream"])
async def test_a_resumed_run_with_parts_beside_is_the_unbroken_one(slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after any step and resumed, the checkpoint, parts beside included, is bit for bit that of a run that was not."""
    recipe = replace(PLAIN, lr=1e-2, steps=6, save_every=2)
    await learn_digits(tmp_path / "whole", slug, recipe)

    class StoppedError(Exception):
        pass

    def stop_at(step: int) -> Any:
        def append(self: Any, name: str, record: Any) -> None:
            if record["step"] == step:
                raise StoppedError
            whole(self, name, record)

        return append

    from reasonry.core import Run

    whole = Run.append
    for step in (3, 5):
        monkeypatch.setattr(Run, "append", stop_at(step))
        with pytest.raises(StoppedError):
            await learn_digits(tmp_path / "broken", slug, recipe)
    monkeypatch.setattr(Run, "append", whole)
    await learn_digits(tmp_path / "broken", slug, recipe)
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "broken"))
    assert _flat(one) == _flat(other)


def _flat(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {k: _flat(v) for k, v in state.items()}
    return [_flat(v) for v in state] if isinstance(state, Sequence) and not isinstance(state, str) else state


NEEDS_MORE = {"hicra": "reads Tokens.planning", "deepsearch": "explore with deepsearch"}
"""Entries that read what a plain recipe does not bring, and what they say then."""


@pytest.mark.parametrize("spec", SOLVERS)
async def test_any_solver_trains_with_any_objective_and_its_real_parts(spec: str, tmp_path: Path) -> None:
    """The grid through the loop, nothing stood in for: a step of every entry with every solver, or an error that names what is missing."""
    pays = Reward((lambda problem, group: [{"score": (0.0, 1.0, 0.0, 0.5)[i % 4], "place": i / 4} for i in range(len(group))],))
    for slug in CATALOGUE:
        recipe = replace(PLAIN, prompts=2, lr=1e-2, reward=replace(pays, combine=Hero(signal="place")) if slug == "hero" else pays)
        if slug in NEEDS_MORE:
            with pytest.raises(UserError, match=NEEDS_MORE[slug]):
                await learn_digits(tmp_path / slug, slug, recipe, spec, 4)
            continue
        [told] = await learn_digits(tmp_path / slug, slug, recipe, spec, 4)
        assert told["grad_norm"] > 0, slug
        assert told["learned"] == 2


async def test_every_part_meets_the_protocol() -> None:
    lm: LocalLM
    async with toy_lm() as lm:
        solver = build_solver(SOLVERS[0], lm, TASK)
        parts: list[Beside] = [
            Critic(lm.decoder, 1.0), ImplicitPRM(lm.decoder, 1.0), Reference(lm.decoder), GreedyBaseline(solver, TASK, Reward()),
            MonteCarlo(lm, solver, TASK, Reward(), every_segment, at_lines, 1), ValueTracker(lm.decoder),
        ]  # fmt: skip
        for part in parts:
            part.load_state_dict(part.state_dict())
