"""HERO beside its formulas (`test_advantage`): any verifier with any scorer, the weight and its running mean, failures, logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import pstdev

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from toy_lm import Digits, sample, toy_lm

from reasonry.core import Cost, Message, Problem, Stop, Trajectory, UserError, Verdict, open_run
from reasonry.lm.scorer import Scores
from reasonry.solve import build_solver
from reasonry.train.advantage import GroupStd, Outcome, group_mean, times_weight
from reasonry.train.assemble import beside_for, complete
from reasonry.train.catalogue import CATALOGUE, find
from reasonry.train.compose import recipe_of
from reasonry.train.curriculum import Lesson, every_group, only
from reasonry.train.entry import Entry
from reasonry.train.equations import true_equations
from reasonry.train.hero import Hero, VarianceWeight, broken, hero_reward, scored_by
from reasonry.train.loop import frozen_copy, train
from reasonry.train.recipe import Recipe, describe, every_segment
from reasonry.train.reward import Reward, Signals, verdict
from reasonry.train.settings import Settings, read
from reasonry.train.update import make_batch

TASK = Digits()
SOLVERS = ["single?max_tokens=4", "self-consistency?k=2&max_tokens=4", "best-of-n?n=2&max_tokens=4", "delethink?C=5&m=3&I=3&keep_head=1"]
LESSON = Lesson(tuple(TASK.problems("train", 4)), (1,) * 4, 0, 4, None)


@dataclass(frozen=True)
class Looks:
    """Scores an answer by what it looks like; fails for answers that end with `fail`."""

    fail: str = "never"
    name: str = "looks"

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        values = tuple(None if a.endswith(self.fail) else len(a) + 0.01 * sum(map(ord, a)) for a in answers)
        return Scores(values, Cost(verifier_calls=len(answers)))


PLAIN, LOOKS = Hero(), Looks()


def attempt(answer: str, passed: bool, stop: Stop = Stop.EOS, read_: bool = True) -> Trajectory:
    return Trajectory("p", (), answer, stop, verdict=Verdict(float(passed), passed, answer=answer if read_ else None))


def paid(group: Sequence[Trajectory], hero: Hero = PLAIN, scorer: Looks = LOOKS) -> list[float]:
    return [r.reward for r in hero_reward(scorer, hero)(Problem("p", "?"), group)]


# The reward -----------------------------------------------------------------------------------------------------------------------------


def test_a_group_is_paid_as_the_worked_example_says() -> None:
    """v = (0, 0, 0, 1, 1), s = (−2, 0, 2, −1, 3), α = β = .05."""
    group = [{"score": v, "reward_model": s} for v, s in zip((0, 0, 0, 1, 1), (-2, 0, 2, -1, 3), strict=True)]
    assert Hero()(group) == pytest.approx([-0.05, 0, 0.05, 0.95, 1.05], abs=1e-6)
    assert Hero(0, 0)(group) == [0, 0, 0, 1, 1]


def test_a_lone_answer_stands_at_the_lower_end_or_where_it_is_told() -> None:
    one: list[Signals] = [{"score": 1.0, "reward_model": 3.0}]
    assert Hero()(one) == pytest.approx([0.95])
    assert Hero(lone=0.5)(one) == pytest.approx([1.0])


@for_all(
    st.lists(st.tuples(st.booleans(), st.floats(-10, 10), st.booleans()), min_size=1, max_size=8), st.floats(0, 0.5), st.floats(0, 0.5)
)
def test_no_wrong_answer_outranks_a_right_one(group: list[tuple[bool, float, bool]], alpha: float, beta: float) -> None:
    """Whatever the scores; a broken answer counts as wrong. Inside a verdict the scores rank."""
    signals = [{"score": float(v), "reward_model": s, "broken": float(b)} for v, s, b in group]
    r = Hero(alpha, beta)(signals)
    v, s = Hero(alpha, beta).read(signals)
    right, wrong = [x for x, on in zip(r, v, strict=True) if on], [x for x, on in zip(r, v, strict=True) if not on]
    assert not right or not wrong or min(right) >= max(wrong) - 1e-9
    for stratum in (0, 1):
        ranked = sorted((float(a), b) for a, b, c in zip(s, r, v, strict=True) if c == stratum)
        assert [b for _, b in ranked] == sorted(b for _, b in ranked)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": 0.5, "beta": 0.6}, r"must not exceed 1 - beta = 0\.4"), ({"alpha": -1.0}, "alpha is -1"), ({"w_min": 4.0}, "w_max, 3"),
        ({"k": -1.0}, "k is -1"), ({"decay": 1.0}, "decay is 1"), ({"lone": 2.0}, "lone is 2"), ({"beta": 2.0}, "beta is 2"),
        ({"scale": "log"}, "scale is log"), ({"weight_on": "loss"}, "weight_on is loss"),
    ],
)  # fmt: skip
def test_options_that_break_the_order_or_mean_nothing_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Hero(**options)  # type: ignore[arg-type]


def test_a_truncated_or_unreadable_answer_is_wrong_with_the_least_score() -> None:
    """Both, whatever they were scored and even where the judge read a right answer out of the torso."""
    whole, torso, garbled = attempt("22", True), attempt("2222222", True, Stop.LENGTH), attempt("999999", False, read_=False)
    other, lowest = attempt("55", False), attempt("5", False)
    r = paid([whole, torso, garbled, other, lowest])
    assert r == pytest.approx([0.95, -0.05, -0.05, 0.05, -0.05], abs=1e-6)
    assert broken(Problem("p", "?"), [whole, torso, garbled]) == [{"broken": 0.0}, {"broken": 1.0}, {"broken": 1.0}]
    assert paid([torso, garbled]) == pytest.approx([-0.05, -0.05])


def test_an_answer_whose_scoring_failed_leaves_its_group() -> None:
    group = [attempt("11", True), attempt("12", False), attempt("123", False), attempt("1x", False)]
    kept = hero_reward(Looks(fail="x"))(Problem("p", "?"), group)
    assert [r.trajectory.answer for r in kept] == ["11", "12", "123"]
    assert [r.reward for r in kept] == pytest.approx([0.95, -0.05, 0.05], abs=1e-6)
    assert {r.signals["scored"] for r in kept} == {0.75}


def test_any_verifier_and_any_further_signal_go_with_it() -> None:
    """The gate may be a signal of one's own; what is added besides is added after the strata."""

    def shape(problem: Problem, group: Sequence[Trajectory]) -> list[Signals]:
        return [{"even": float(len(t.answer) % 2 == 0), "penalty": -float(len(t.answer))} for t in group]

    hero = Hero(gate="even", also={"penalty": 0.1})
    r = Reward((shape, scored_by(Looks())), hero)(Problem("p", "?"), [attempt("a", True), attempt("ab", False), attempt("abcd", True)])
    assert [x.reward for x in r] == pytest.approx([-0.05 - 0.1, 0.95 - 0.2, 1.05 - 0.4], abs=1e-6)
    with pytest.raises(UserError, match="'reward_model' is not among the signals"):
        Reward((verdict,), Hero())(Problem("p", "?"), [attempt("a", True)])


def test_equations_are_checked_line_by_line() -> None:
    assert true_equations(["17+25=42\n42*2=85\n#### 85", "no sums", "6 / 3 = 2 and 1-4=-3", "1/0=1", "1.5*2=3.0"]) == [0.5, 0, 1, 0, 1]
    assert true_equations([[{"role": "assistant", "content": "1+1=2"}]], answer=[2]) == [1]


def unbroken(hero: Hero = PLAIN, scorer: Looks = LOOKS) -> Reward:
    """HERO without a look at truncation: the toy model seldom ends by itself."""
    return Reward((verdict, scored_by(scorer)), hero)


# The weight -----------------------------------------------------------------------------------------------------------------------------


async def batch_of(hero: Hero, scorer: Looks = LOOKS, seed: int = 0):
    async with toy_lm() as lm:
        groups = await sample(build_solver(SOLVERS[0], lm, TASK), unbroken(hero, scorer), seed=seed)
    recipe = Recipe(objective=find("hero").objective, lr=1e-3, steps=1)
    return make_batch(groups, recipe, every_segment, 0), groups


async def test_the_running_mean_begins_at_the_first_batch_and_moves_by_its_decay() -> None:
    """σ̄ moves before a batch is weighed, is in the state, and weights follow the formula at that mean."""
    hero = Hero(decay=0.8)
    weigh = VarianceWeight(hero)
    means: list[float] = []
    for seed in (0, 1):
        batch, groups = await batch_of(hero, seed=seed)
        sigma = [pstdev(hero.read([r.signals for r in g])[1].tolist()) for g in groups]
        tokens = await weigh.prepare(batch, groups, LESSON, seed)
        now = sum(sigma) / len(sigma)
        means.append(now if not means else 0.8 * means[-1] + 0.2 * now)
        assert weigh.state_dict() == {"mean": pytest.approx(means[-1])}
        wanted = [0.4 + 2.6 / (1 + 2.718281828459045 ** (-6 * (s - means[-1]))) for s, g in zip(sigma, groups, strict=True) for _ in g]
        assert tokens.weight is not None
        assert tokens.weight.tolist() == pytest.approx(wanted, rel=1e-4)
    again = VarianceWeight(hero)
    again.load_state_dict(weigh.state_dict())
    batch, groups = await batch_of(hero, seed=2)
    one, other = [(await w.prepare(batch, groups, LESSON, 2)).weight for w in (weigh, again)]
    assert one is not None
    assert other is not None
    assert one.tolist() == other.tolist()


async def test_a_group_with_a_failed_score_is_weighed_but_does_not_move_the_mean() -> None:
    hero = Hero()
    batch, groups = await batch_of(hero)
    spoilt = [[replace(r, signals={**r.signals, "scored": 0.5, "reward_model": 100.0 * i}) for i, r in enumerate(groups[0])], *groups[1:]]
    weigh = VarianceWeight(hero)
    tokens = await weigh.prepare(batch, spoilt, LESSON, 0)
    sigma = [pstdev(hero.read([r.signals for r in g])[1].tolist()) for g in groups[1:]]
    assert weigh.mean == pytest.approx(sum(sigma) / len(sigma))
    assert tokens.weight is not None
    assert float(tokens.weight[0]) == pytest.approx(3.0)
    nothing = VarianceWeight(hero)
    await nothing.prepare(batch, [[replace(r, signals={**r.signals, "scored": 0.5}) for r in g] for g in groups], LESSON, 0)
    assert nothing.state_dict() == {"mean": None}


async def test_a_relative_scale_does_not_know_the_unit_of_the_scores() -> None:
    @dataclass(frozen=True)
    class Larger(Looks):
        def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
            found = super().scores(messages, answers)
            return Scores(tuple(None if v is None else 50 * v for v in found.values), found.cost)

    weights = []
    for scorer in (Looks(), Larger()):
        hero = Hero(scale="relative")
        batch, groups = await batch_of(hero, scorer)
        weights.append((await VarianceWeight(hero).prepare(batch, groups, LESSON, 0)).weight)
    torch.testing.assert_close(*weights)
    assert len(set(weights[0].tolist())) > 1


async def test_a_weight_on_the_reward_is_cancelled_by_the_group_sd_and_one_on_the_advantage_is_not() -> None:
    """Through the real parts: with GRPO's normaliser the first leaves advantages as they were, the second multiplies them."""
    estimator = Outcome(group_mean, GroupStd(eps=0.0))
    found = {}
    for where in ("reward", "advantage"):
        hero = Hero(weight_on=where)  # type: ignore[arg-type]
        batch, groups = await batch_of(hero)
        tokens = await VarianceWeight(hero).prepare(batch, groups, LESSON, 0)
        objective = hero.objective(find("grpo").objective)
        assert (times_weight in objective.reshape) == (where == "advantage")
        A = estimator(tokens)
        found[where] = A if tokens.weight is None else times_weight(A, tokens)
        plain = estimator(batch.tokens)
    torch.testing.assert_close(found["reward"], plain, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found["advantage"], plain, atol=1e-2)


async def test_the_record_tells_strata_and_how_well_the_scores_know_the_verdict() -> None:
    hero = Hero()
    right, wrong = {"score": 1.0, "scored": 1.0}, {"score": 0.0, "scored": 1.0}
    batch, groups = await batch_of(hero)
    made = [
        [right | {"reward_model": 3.0}, wrong | {"reward_model": 1.0}, wrong | {"reward_model": 4.0}, wrong | {"reward_model": 3.0}],
        [wrong | {"reward_model": 0.0}] * 4, [right | {"reward_model": 5.0}] * 4, [wrong | {"reward_model": float(i)} for i in range(4)],
    ]  # fmt: skip
    groups = [[replace(r, signals=s) for r, s in zip(g, signals, strict=True)] for g, signals in zip(groups, made, strict=True)]
    weigh = VarianceWeight(hero)
    await weigh.prepare(batch, groups, LESSON, 0)
    told = weigh.learn(batch, 0)
    assert told["hero_all_wrong"] == 0.5
    assert told["hero_all_right"] == 0.25
    assert told["hero_auc"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert told["hero_verified"] == pytest.approx((3 + 4 * 5) / 5)
    assert told["hero_unverified"] == pytest.approx((1 + 4 + 3 + 6) / 11)
    assert sum(told[f"hero_weight_{i}"] for i in range(1, 5)) == pytest.approx(1.0)


# Through the loop -----------------------------------------------------------------------------------------------------------------------


async def learn_digits(path: Path, entry: Entry, recipe: Recipe, spec: str) -> list[dict[str, float]]:
    async with toy_lm() as lm:
        solver = build_solver(spec, lm, TASK)
        recipe = complete(entry, recipe, 4)
        curriculum = replace(only(1, 4), group_filter=every_group)
        parts = beside_for(entry, lm, solver, TASK, recipe, K=1)
        run = open_run(path, describe(recipe), resume=True)
        await train(lm, solver, TASK, curriculum, {1: TASK.problems()}, recipe, run, frozen_copy(lm.decoder), parts)
        return [json.loads(line) for line in run.lines("steps")]


REFUSE = {
    "maxrl": "rewards of zero or more", "spo-single-stream": "rewards from 0 to 1", "hicra": "reads Tokens.planning",
    "deepsearch": "explore with deepsearch|reads Tokens.step",
}  # fmt: skip
"""Objectives that say that they cannot learn from r̂ below zero or above one, or that need what this solver and recipe do not bring."""


async def test_it_goes_with_every_objective(tmp_path: Path) -> None:
    """A step of each, with strata, weights and the objective's own parts; or the objective's own refusal, by name."""
    for slug, entry in CATALOGUE.items():
        if entry.missing:
            continue
        recipe = Recipe(objective=entry.objective, lr=1e-2, steps=1, prompts=1, group=3, reward=unbroken())
        if slug in REFUSE:
            with pytest.raises(UserError, match=REFUSE[slug]):
                await learn_digits(tmp_path / slug, entry, recipe, SOLVERS[0])
            continue
        [told] = await learn_digits(tmp_path / slug, entry, recipe, SOLVERS[0])
        assert told["grad_norm"] > 0, slug
        assert told["hero_sigma"] > 0, slug


@pytest.mark.parametrize("spec", SOLVERS[1:])
async def test_it_goes_with_every_solver(spec: str, tmp_path: Path) -> None:
    for slug in ("hero", "cispo", "ppo"):
        recipe = Recipe(objective=find(slug).objective, lr=1e-2, steps=1, prompts=2, group=3, reward=unbroken())
        [told] = await learn_digits(tmp_path / slug, find(slug), recipe, spec)
        assert told["grad_norm"] > 0
        assert told["hero_sigma"] > 0


async def test_a_resumed_run_goes_on_with_the_same_mean(tmp_path: Path) -> None:
    """Stopped after two steps of four and resumed: the same records to the last digit as in one go, σ̄ among them."""
    recipe = Recipe(objective=find("hero").objective, lr=1e-2, steps=4, prompts=2, save_every=2, reward=unbroken())
    whole = await learn_digits(tmp_path / "whole", find("hero"), recipe, SOLVERS[0])
    begun = tmp_path / "cut"
    async with toy_lm() as lm:
        solver = build_solver(SOLVERS[0], lm, TASK)
        made = complete(find("hero"), recipe, 4)
        run = open_run(begun, describe(made), resume=True)
        curriculum = replace(only(1, 4), group_filter=every_group)

        def stop(record: object) -> None:
            if record["step"] == 2:  # type: ignore[index]
                raise KeyboardInterrupt

        parts = beside_for(find("hero"), lm, solver, TASK, made)
        with pytest.raises(KeyboardInterrupt):
            await train(lm, solver, TASK, curriculum, {1: TASK.problems()}, made, run, None, parts, progress=stop)
    cut = await learn_digits(begun, find("hero"), recipe, SOLVERS[0])
    assert [r["hero_sigma_mean"] for r in cut] == [r["hero_sigma_mean"] for r in whole]
    assert [r["grad_norm"] for r in cut] == [r["grad_norm"] for r in whole]


# As a recipe ----------------------------------------------------------------------------------------------------------------------------


def settings(**more: object) -> Settings:
    return read(Settings, {"model": "pocket-1m", "task": "arithmetic", **more})


FUNCTION = "reasonry.train.equations:true_equations"


def test_keys_of_a_recipe_make_the_reward_and_the_objective() -> None:
    s = settings(objective="cispo", functions=[FUNCTION], hero={"signal": "true_equations", "alpha": 0.1, "weight_on": "advantage"})
    recipe = recipe_of(s)
    assert recipe.reward.combine == Hero(alpha=0.1, signal="true_equations")
    assert recipe.objective.reshape[-1] is times_weight
    penalised = recipe_of(settings(objective="hero", functions=[FUNCTION], hero={"signal": "true_equations"}, overlong=[64, 8]))
    assert penalised.reward.combine == Hero(signal="true_equations", also={"overlong": 1.0})
    assert recipe_of(settings(objective="cispo")).objective.reshape == find("cispo").objective.reshape


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"objective": "hero"}, "no signal 'reward_model'; set reward_model"),
        ({"hero": {"width": 1}}, "'width' is not an option; use alpha"),
        ({"hero": {"alpha": 1.0}}, "must not exceed"),
        ({"hero": {}, "reward_model": "no/folder"}, "is no folder here"),
    ],
)
def test_bad_keys_are_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipe_of(settings(**more))
