"""The oracles of h1 (arXiv 2510.07312) that need no language model."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Problem, UserError
from reasonry.papers.h1_agent import Agent, arms, costs, every_step, final_only, growth
from reasonry.probe.stats import pass_at_k
from reasonry.synth import Adapter, Atom, chain, converted, identity, join, profile, scaled, shifted
from reasonry.synth.atoms import Slot
from reasonry.train.advantage import GroupStd, Outcome, group_mean
from reasonry.train.curriculum import Course, Curriculum, only, ramp
from reasonry.train.history import History
from reasonry.train.objective import loss, score
from reasonry.train.recipes import RECIPES
from reasonry.train.tokens import Tokens

DR_GRPO = next(entry.objective for entry in RECIPES if entry.slug == "h1")


# Chains ---------------------------------------------------------------------------------------------------------------------------------


def affine(a: int, b: int, x: int) -> Atom:
    """f(x) = a·x + b, told with the value x in its slot."""
    text = f"multiply {x} by a secret and add another"

    def solve(value: Fraction) -> Fraction:
        return a * value + b

    return Atom(text, solve(Fraction(x)), Slot(9, 9 + len(str(x)), Fraction(x)), solve)


atoms = st.builds(affine, st.integers(-9, 9).filter(bool), st.integers(-50, 50), st.integers(0, 99))
adapters = st.one_of(
    st.just(identity),
    st.integers(-9, 9).filter(bool).map(scaled),
    st.integers(-99, 99).map(shifted),
    st.just(converted("{y} degrees Celsius in Fahrenheit", Fraction(9, 5), 32)),
)
"""Rational adapters too: gold values are exact."""


def of_length(h: int) -> st.SearchStrategy[tuple[list[Atom], list[Adapter]]]:
    return st.tuples(st.lists(atoms, min_size=h, max_size=h), st.lists(adapters, min_size=h - 1, max_size=h - 1))


chains = st.integers(1, 6).flatmap(of_length)


@settings(deadline=None, max_examples=25)
@given(chains)
def test_executing_the_chain_gives_its_label(parts: tuple[list[Atom], list[Adapter]]):
    """By hand, one atom and one adapter after another, from the first value alone."""
    fs, phis = parts
    made = chain(fs, phis)
    y = None
    for f, phi in zip(fs, [None, *phis], strict=True):
        assert f.slot is not None
        assert f.solve is not None
        x = f.slot.value if phi is None or y is None else phi.scale * y + phi.offset
        y = f.solve(x)
    assert fs[0].slot is not None
    assert y == made.answer == made.run(fs[0].slot.value)


@settings(deadline=None, max_examples=25)
@given(atoms, atoms, atoms, adapters, adapters)
def test_composition_is_associative(a: Atom, b: Atom, c: Atom, phi: Adapter, psi: Adapter):
    one, two, three = (chain((atom,), ()) for atom in (a, b, c))
    left, right = join(join(one, phi, two), psi, three), join(one, phi, join(two, psi, three))
    assert left == right == chain((a, b, c), (phi, psi))


@settings(deadline=None, max_examples=25)
@given(chains, st.randoms(use_true_random=False))
def test_the_label_does_not_depend_on_names_or_on_the_order_of_telling(parts: tuple[list[Atom], list[Adapter]], rng):
    made = chain(*parts)
    names = rng.sample(["foo", "bar", "baz", "qux", "k9", "Zed"], made.h)
    order = rng.sample(range(made.h), made.h)
    plain, changed = made.problem("t"), made.problem("t", names=names, order=order)
    assert (plain.answer, plain.meta["values"]) == (changed.answer, changed.meta["values"])
    assert isinstance(plain.prompt, str)
    renamed = str(changed.prompt)
    for new, old in zip(names, plain.meta["names"], strict=True):
        renamed = renamed.replace(new, old)
    assert sorted(renamed.splitlines()) == sorted(plain.prompt.splitlines())


def test_the_models_own_value_never_enters_the_prompt_or_the_label():
    """The prompt names the earlier answer and shows no y_j but the last one's name."""
    made = chain([affine(3, 1, 5), affine(2, 0, 7)], [shifted(20)])
    problem = made.problem("t")
    assert (made.values, problem.answer) == ((16, 72), "72")
    assert "(P + 20)" in str(problem.prompt)
    assert not any(number in str(problem.prompt) for number in ("16", "36", "72"))


def test_an_atom_that_ignores_its_slot_is_refused():
    """Outcome reward would leak: the chain could be answered without its first step."""
    with pytest.raises(UserError, match="problem 2 does not depend on its slot"):
        chain([affine(3, 1, 5), affine(0, 8, 7)], [identity])


# Theory ---------------------------------------------------------------------------------------------------------------------------------


def simulated(p: float, sigma: float, h: int, n: int = 40_000) -> list[tuple[bool, ...]]:
    theta = np.full(h, np.log(sigma / (1 - sigma)) if sigma < 1 else 50.0)
    return [tuple(map(bool, row)) for row in Agent(p, theta).attempt(n, np.random.default_rng(0))]


def test_without_horizon_losses_the_profile_is_the_yardstick():
    """σ_j = 1: ŝ_h = p^h within four binomial standard errors."""
    p, h = 0.8279, 5
    found = profile(simulated(p, 1.0, h), p)
    assert found.yardstick[1:] == pytest.approx((0.685, 0.567, 0.470, 0.389), abs=1e-3)
    for j in range(h):
        expected = p ** (j + 1)
        assert abs(found.s[j].mean - expected) < 4 * (expected * (1 - expected) / found.n) ** 0.5


def test_a_constant_horizon_loss_makes_log_s_a_line():
    """σ_j = c: the slope of log s_h is log(p·c), and σ̂_j is c at every depth."""
    p, c = 0.9, 0.8
    found = profile(simulated(p, c, 6), p)
    slope, _ = np.polyfit(range(1, 7), [np.log(s.mean) for s in found.s], 1)
    assert slope == pytest.approx(np.log(p * c), abs=0.02)
    assert all(x is not None and abs(x - c) < 0.03 for x in found.sigma)


@pytest.mark.parametrize("h", [1, 3, 6])
def test_the_signal_to_noise_of_an_outcome_reward_is_n_times_s(h: int):
    """Squared mean over second moment of one attempt's REINFORCE gradient, by enumerating all 2^h outcomes, is s_h at every depth; N
    independent attempts have N times it."""
    agent = Agent(0.95, np.linspace(-1, 1, h))
    outcomes = np.array(list(product([False, True], repeat=h)))
    q = agent.p * agent.sigma
    chance = np.prod(np.where(outcomes, q, 1 - q), axis=1)
    gradient = outcomes.all(axis=1, keepdims=True) * agent.score(outcomes)
    mean, square = chance @ gradient, chance @ gradient**2
    np.testing.assert_allclose(mean**2 / square, agent.s[-1], rtol=1e-12)


def test_the_agents_score_is_the_gradient_of_its_log_probability():
    agent, eps = Agent(0.9, np.array([-1.0, 0.3, 2.0])), 1e-6
    for outcome in product([False, True], repeat=3):
        row = np.array([outcome])

        def log_p(theta: np.ndarray, row: np.ndarray = row) -> np.ndarray:
            q = 0.9 / (1 + np.exp(-theta))
            return np.log(np.where(row[0], q, 1 - q))

        slope = (log_p(agent.theta + eps) - log_p(agent.theta - eps)) / (2 * eps)
        np.testing.assert_allclose(agent.score(row)[0], slope, rtol=1e-6)


def test_advantages_of_the_agent_by_hand():
    """Lengths 2, 2, 1, 1. Outcome: r = 1, 0 and 1, 0, each pair about its own mean. Dense: prefixes, step by step."""
    outcomes = np.array([[True, True], [True, False], [True, False], [False, True]])
    lengths = np.array([2, 2, 1, 1])
    assert final_only(outcomes, lengths).tolist() == [[0.5, 0.5], [-0.5, -0.5], [0.5, 0.5], [-0.5, -0.5]]
    assert every_step(outcomes, lengths).tolist() == [[0, 0.5], [0, -0.5], [0.5, 0], [-0.5, 0]]


def test_only_the_longest_costs_exponentially_and_orders_of_practice_polynomially():
    """The exponential line must win for only-H and lose for curriculum, mix and dense reward: that mixing is polynomial too is part of the
    result."""
    lengths, seeds = (2, 3, 4, 5, 6), range(3)
    median = {arm: np.median(costs(arm, lengths, seeds), axis=1) for arm in arms(2, 0.95)}
    grown = {arm: growth(lengths, list(cost)) for arm, cost in median.items()}
    assert {arm: g.exponential for arm, g in grown.items()} == {
        "only-H": True, "uniform mix": False, "curriculum": False, "dense reward": False,
    }  # fmt: skip
    assert median["curriculum"][-1] < median["uniform mix"][-1] < median["only-H"][-1] / 5


def test_a_fit_tells_exponential_from_polynomial_growth():
    lengths = [2, 3, 5, 8]
    powers, exponentials = growth(lengths, [7 * H**2.5 for H in lengths]), growth(lengths, [7 * 3.5**H for H in lengths])
    assert (powers.exponential, exponentials.exponential) == (False, True)
    assert (powers.power, exponentials.factor) == pytest.approx((2.5, 3.5))
    with pytest.raises(UserError, match="at least 3"):
        growth([2, 3], [1, 2])


# Dr.GRPO --------------------------------------------------------------------------------------------------------------------------------


def group(lengths: list[int], rewards: list[float]) -> Tokens:
    M, R = len(lengths), torch.tensor(rewards, dtype=torch.float32)
    segment = torch.repeat_interleave(torch.arange(M), torch.tensor(lengths))
    old = torch.full((len(segment),), -1.0)
    return Tokens(segment=segment, trajectory=torch.arange(M), prompt=torch.zeros(M, dtype=torch.int64), reward=R, logp_old=old)


def test_the_briefs_group_has_its_advantages():
    """Mean only: .75 and −.25, which sum to 0; with GRPO's unbiased standard deviation 1.620 and −.540."""
    tokens = group([1] * 8, [1, 1, 0, 0, 0, 0, 0, 0])
    A = DR_GRPO.advantage(tokens)
    assert A.tolist() == [0.75, 0.75] + [-0.25] * 6
    assert float(A.sum()) == 0
    scaled_A = Outcome(group_mean, GroupStd())(tokens)
    assert scaled_A.tolist() == pytest.approx([1.620] * 2 + [-0.540] * 6, abs=1e-3)


def test_a_longer_neighbour_does_not_change_an_answers_gradient():
    """The constant is the stage's, not the batch's padded width: twice the width, the same gradient on the answers that stayed."""

    def gradient(longest: int) -> torch.Tensor:
        tokens = group([3, 2, longest, 4], [1, 0, 0, 1])
        logp = torch.full((tokens.segment.numel(),), -1.0, requires_grad=True)
        value, _ = loss(DR_GRPO, score(DR_GRPO, tokens), logp)
        return torch.cat([g for i, g in enumerate(torch.autograd.grad(value, logp)[0].split([3, 2, longest, 4])) if i != 2])

    assert torch.equal(gradient(5), gradient(10))
    assert bool(gradient(5).abs().min() > 0)


# Curriculum -----------------------------------------------------------------------------------------------------------------------------

POOLS = {level: [Problem(f"{level}-{i}", "", str(i % 4)) for i in range(10)] for level in (1, 2, 3)}


def trained(curriculum: Curriculum, steps: int = 6) -> torch.Tensor:
    """A softmax policy over four answers for each prompt, trained with Dr.GRPO on what the course asks; one token an answer."""
    course, theta = Course(curriculum, POOLS, History(), seed=2), torch.zeros(40, 4)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        lesson = course.ask(step, 5)
        where = torch.tensor([10 * p[1] + int(p[0].id.split("-")[1]) for p in zip(lesson.problems, lesson.levels, strict=True)])
        policy = theta[where].log_softmax(-1)
        answers = torch.multinomial(policy.exp(), 8, replacement=True, generator=generator)
        right = (answers == torch.tensor([[int(p.answer)] for p in lesson.problems])).float()
        M = torch.arange(40)
        old = policy.gather(1, answers).reshape(-1)
        tokens = Tokens(segment=M, trajectory=M, prompt=M // 8, reward=right.reshape(-1), logp_old=old)
        free = theta.clone().requires_grad_()
        logp = free[where].log_softmax(-1).gather(1, answers).reshape(-1)
        value, _ = loss(DR_GRPO, score(DR_GRPO, tokens), logp)
        theta = theta - 1e4 * torch.autograd.grad(value, free)[0]
        course.tell(step, [lesson.group(i, int(right[i].sum()), 8) for i in range(5)])
    return theta


def test_a_curriculum_of_one_length_trains_the_same_weights_as_standard_training():
    standard = trained(only(1, 20))
    assert torch.equal(trained(ramp(1, 10, 10, gate=0.7)), standard)
    assert bool((standard != 0).any())


def test_a_gate_of_zero_and_one_step_a_stage_trains_the_same_weights_as_only_the_longest():
    long = trained(only(3, 40))
    assert torch.equal(trained(ramp(3, 10, 10, gate=0.0, steps_per_stage=1)), long)
    assert bool((long[:30] == 0).all())
    assert bool((long[30:] != 0).any())


# pass@k ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0, 1, 2, 64, 127, 128])
def test_pass_at_k_at_its_ends(c: int):
    """n = 128 as in the paper's longest: k = 1 is c/n, k = n is whether anything was right."""
    assert pass_at_k(128, c, 1) == pytest.approx(c / 128, abs=1e-15)
    assert pass_at_k(128, c, 128) == (1.0 if c else 0.0)
