"""Coordination: exact decompositions, a naive twin, invariances, nulls that are calibrated, and verdicts on groups of known make."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_coordination import scores as naive
from scipy.stats import kstest, multivariate_normal

from reasonry.core import UserError
from reasonry.papers.coordination import KNOWN, artefact, known_table
from reasonry.papers.coordination_agents import COMPLEMENTARY, IN_SIGHT, OSCILLATORS, PLAIN, exclusive_or, persistent, simulate
from reasonry.probe.coordination import (
    BLOCK,
    COLUMN,
    COLUMN_SUM,
    FUNCTIONAL,
    JEFFREYS,
    MILLER_MADOW,
    NULLS,
    PLUGIN,
    ROW,
    Cut,
    Group,
    Options,
    Verdict,
    collectivity,
    total,
)
from reasonry.probe.coordination.collectivity import fisher, p_value
from reasonry.probe.coordination.differentiation import boundary_p, identity_information, ratio_test
from reasonry.probe.coordination.group import Discrete, agreement
from reasonry.probe.coordination.performance import interaction, logistic, mediated
from reasonry.probe.coordination.power import i3_limit, planted, power, rounds_needed, strength
from reasonry.probe.coordination.scores import joined, measure, moves, triplets
from reasonry.probe.coordination.states import clustered, detrended, quantile_bins
from reasonry.probe.coordination.surrogates import block, simulated_alone
from reasonry.probe.coordination.tables import Table, count, decompose, i_min, mmi


def h(p: float) -> float:
    """The entropy of a coin."""
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def series(seed: int, T: int = 40, N: int = 4, K: int = 2) -> Discrete:
    rng = np.random.default_rng(seed)
    return Discrete(rng.integers(0, K, (1, T, N)), rng.integers(0, 2, (1, T)), K, 2)


def group(seed: int, T: int = 20, N: int = 5, persists: float = 0.0) -> Group:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(T, N))
    for t in range(1, T):
        x[t] += persists * x[t - 1]
    return Group(str(seed), x, total)


# tables


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("redundancy", [i_min, mmi])
def test_known_examples(name, redundancy):
    """XOR, AND, copied, unique and doubled bits; MMI equals I_min on all five."""
    table = Table(known_table(name), 3, PLUGIN)
    atoms = decompose(table, redundancy(table))
    assert (atoms.redundancy, atoms.unique_a, atoms.unique_b, atoms.synergy) == pytest.approx(KNOWN[name], abs=1e-12)


@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([PLUGIN, JEFFREYS, MILLER_MADOW]))
@settings(max_examples=60, deadline=None)
def test_atoms_add_up_and_redundancy_is_bounded_and_symmetric(seed, alpha):
    counts = np.random.default_rng(seed).integers(0, 4, (2, 3, 4)).astype(float)
    counts[0, 0, 0] += 1
    table, swapped = Table(counts, 3, alpha), Table(counts.swapaxes(0, 1), 3, alpha)
    for redundancy in (i_min, mmi):
        red = redundancy(table)
        atoms = decompose(table, red)
        both = table.information((0, 1), (2,))
        assert atoms.redundancy + atoms.unique_a + atoms.unique_b + atoms.synergy == pytest.approx(both, abs=1e-12)
        assert redundancy(swapped) == pytest.approx(red, abs=1e-12)
        if alpha is not MILLER_MADOW:
            assert -1e-12 <= red <= min(table.information((0,), (2,)), table.information((1,), (2,))) + 1e-12


def test_williams_and_beer_as_dit_has_it():
    """Random tables against the library dit, where it is installed."""
    dit = pytest.importorskip("dit")
    from dit.pid import PID_WB

    rng = np.random.default_rng(0)
    for _ in range(3):
        p = rng.dirichlet(np.ones(16)).reshape(2, 2, 4)
        outcomes = list(product(range(2), range(2), range(4)))
        pid = PID_WB(dit.Distribution(outcomes, [p[o] for o in outcomes]), [[0], [1]], [2])
        table = Table(p, 3, PLUGIN)
        atoms = decompose(table, i_min(table))
        theirs = [pid.get_pi(node) for node in (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))]
        assert [atoms.redundancy, atoms.unique_a, atoms.unique_b, atoms.synergy] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("estimator", [PLUGIN, JEFFREYS])
@pytest.mark.parametrize(("N", "K"), [(3, 2), (5, 2), (4, 3)])
def test_the_naive_twin_agrees(estimator, N, K):
    """Every score of several surrogates at once equals loops over one table at a time."""
    rng = np.random.default_rng(N + K)
    d = Discrete(rng.integers(0, K, (3, 23, N)), rng.integers(0, 2, (3, 23)), K, 2)
    found = measure(moves(d, 2), estimator, triplets(N, 120))
    for s in range(3):
        x, v = d.agents[s].tolist(), d.macro[s].tolist()
        for name, value in naive(x[:-2], x[2:], v[:-2], v[2:], K, 2, estimator.alpha).items():
            assert found[name][s] == pytest.approx(value, abs=1e-12), name


def test_estimators_reach_the_truth():
    """XOR dynamics with 100,000 rounds: Jeffreys and Miller–Madow tend to 1 − h(0.05), redundancy to 0."""
    g = exclusive_or(100_001, np.random.default_rng(0))
    d, _ = Cut()(g)
    for estimator in (PLUGIN, JEFFREYS, MILLER_MADOW):
        found = measure(moves(d, 1), estimator, triplets(2, 1))
        assert found["synergy"][0] == pytest.approx(1 - h(0.05), abs=0.01)
        assert found["redundancy"][0] == pytest.approx(0, abs=1e-3)


def test_miller_madow_takes_off_the_first_order_bias():
    """Of information between independent coins, which is zero."""
    rng = np.random.default_rng(0)
    counts = count(rng.integers(0, 4, (4000, 60)), 4).reshape(2, 2, 4000)
    plain, corrected = (Table(counts, 2, e).information((0,), (1,)).mean() for e in (PLUGIN, MILLER_MADOW))
    assert plain > 0.008
    assert abs(corrected) < 0.001


# scores


def test_independent_agents_that_persist_have_synergy():
    """The two-bit-copy artefact: 1 − h(r) without any interaction, all of it gone above the column shuffle, hardly any above the row's."""
    assert [artefact(r) for r in (0.75, 0.9, 1.0)] == pytest.approx([1 - h(0.75), 1 - h(0.9), 1.0], abs=1e-12)
    long, _ = Cut()(persistent(50_000, 2, 0.9, np.random.default_rng(0)))
    limit = measure(moves(long, 1), JEFFREYS, triplets(2, 1))
    assert [limit[name][0] for name in ("synergy", "redundancy")] == pytest.approx([1 - h(0.9)] * 2, abs=0.02)
    groups = [persistent(400, 4, 0.9, np.random.default_rng(i)) for i in range(12)]
    found = collectivity(groups, Options(surrogates=40, nulls=(ROW, COLUMN)))
    row, column = found.of("synergy", "row"), found.of("synergy", "column")
    assert row is not None
    assert column is not None
    assert row.corrected.low > 0.3
    assert column.corrected.low < 0.01
    assert abs(column.corrected.mean) < 0.015
    assert not column.above


def test_parity_and_copy_of_the_group():
    """The next signal is the parity of three agents: I3 = G3 = 1 and no pair tells anything. It is one agent's state: I3 = 1, G3 = 0."""
    every = np.array(list(product((0, 1), repeat=3)) * 2)
    for macro, gain in ((every.sum(1) % 2, 1.0), (every[:, 0], 0.0)):
        d = Discrete(np.vstack([every, every[:1]])[None], np.concatenate([[0], macro])[None], 2, 2)
        found = measure(moves(d, 1), PLUGIN, triplets(3, 1))
        assert found["I3"][0] == pytest.approx(1, abs=1e-12)
        assert found["G3"][0] == pytest.approx(gain, abs=1e-12)
        assert found["stability"][0] == pytest.approx(1, abs=1e-12)


def test_one_agent_that_is_the_group_has_no_practical_surplus():
    d = series(0, N=1)
    d = replace(d, macro=d.agents[..., 0])
    assert measure(moves(d, 1), JEFFREYS, triplets(1, 1))["practical"][0] == 0.0


def test_what_coins_score_at_the_lengths_of_games():
    """iid coins, N = 10: plug-in synergy near 0.19 and I3 near 0.36 in 19 transitions, which the prior shrinks, and time cures."""
    for T, estimator, synergy, I3 in ((19, PLUGIN, 0.19, 0.34), (19, JEFFREYS, 0.064, 0.126), (200, JEFFREYS, 0.013, 0.025)):
        rng = np.random.default_rng(0)
        d = Discrete(rng.integers(0, 2, (60, T + 1, 10)), rng.integers(0, 2, (60, T + 1)), 2, 2)
        found = measure(moves(d, 1), estimator, triplets(10, 120))
        assert found["synergy"].mean() == pytest.approx(synergy, rel=0.08)
        assert found["I3"].mean() == pytest.approx(I3, rel=0.08)


@given(seed=st.integers(0, 1000), order=st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_names_and_labels_change_nothing(seed, order):
    """Agents in another order, labels swapped, actions negated: every score stays."""
    g = group(seed)
    d, _ = Cut()(g)
    base = measure(moves(d, 1), JEFFREYS, triplets(5, 120))
    negated, _ = Cut()(replace(g, actions=-g.actions))
    others = [replace(d, agents=d.agents[..., list(order)]), replace(d, agents=1 - d.agents, macro=1 - d.macro), negated]
    for other in others:
        for name, value in measure(moves(other, 1), JEFFREYS, triplets(5, 120)).items():
            assert value[0] == pytest.approx(base[name][0], abs=1e-12), name


def test_a_constant_agent_changes_nothing_unless_a_prior_fills_its_empty_cells():
    """With the plug-in it tells nothing; smoothed it would; so it is left out, and counted."""
    g = group(3)
    more = replace(g, actions=np.column_stack([g.actions, np.full(20, 7.0)]))
    base = measure(moves(Cut()(g)[0], 1), JEFFREYS, triplets(5, 120))
    d, kept = Cut()(more)
    assert kept.tolist() == [True] * 5 + [False]
    signal = replace(d, macro=Cut()(g)[0].macro)
    assert measure(moves(signal, 1), JEFFREYS, triplets(5, 120))["practical"] == pytest.approx(base["practical"])
    constant = np.concatenate([Cut()(g)[0].agents, np.zeros((1, 20, 1), dtype=int)], axis=2)
    with_it = Discrete(constant, Cut()(g)[0].macro, 2, 2)
    for estimator, same in ((PLUGIN, True), (JEFFREYS, False)):
        alone = measure(moves(Cut()(g)[0], 1), estimator, triplets(5, 120))["practical"][0]
        beside = measure(moves(with_it, 1), estimator, triplets(5, 120))["practical"][0]
        assert bool(abs(alone - beside) < 1e-12) is same
    assert collectivity([more], Options(surrogates=19)).dropped == 1


def test_lags_look_further_ahead():
    """Agents that do what they did two rounds ago are told by a lag of two, not by one."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (400, 3))
    for t in range(2, 400):
        x[t] = x[t - 2] ^ (rng.random(3) < 0.1)
    d = Discrete(x[None], x[None, :, 0], 2, 2)
    by = [measure(moves(d, lag), JEFFREYS, triplets(3, 1))["TDMI"][0] for lag in (1, 2)]
    assert by[1] > by[0] + 0.5


def test_pooled_groups_count_as_one_longer_one():
    """The transitions of two groups, none across their seam."""
    a, b = series(1, 20), series(2, 31)
    both = joined([moves(a, 1), moves(b, 1)])
    assert both.now.shape == (1, 4, 49)
    x = [*a.agents[0, :-1].tolist(), *b.agents[0, :-1].tolist()]
    after = [*a.agents[0, 1:].tolist(), *b.agents[0, 1:].tolist()]
    v = [*a.macro[0, :-1].tolist(), *b.macro[0, :-1].tolist()]
    v_after = [*a.macro[0, 1:].tolist(), *b.macro[0, 1:].tolist()]
    found = measure(both, JEFFREYS, triplets(4, 120))
    for name, value in naive(x, after, v, v_after, 2, 2, 0.5).items():
        assert found[name][0] == pytest.approx(value, abs=1e-12)
    report = collectivity([group(i, 8) for i in range(6)], Options(surrogates=19, pool=True))
    assert {len(t.p) for t in report.tested} == {1}


def test_triplets_are_all_or_a_fixed_draw():
    assert len(triplets(10, 120)) == 120
    assert triplets(40, 120).shape == (120, 3)
    assert (triplets(40, 120) == triplets(40, 120)).all()
    assert (triplets(40, 120, seed=1) != triplets(40, 120)).any()


# states


@given(st.lists(st.integers(0, 6), min_size=4, max_size=25), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_bins_keep_order_and_do_not_care_for_signs(values, bins):
    """A larger value is never in a lower bin, equal ones share theirs, and a negated series has the same partition."""
    x = np.array(values, dtype=float)
    found, negated = quantile_bins(x, bins), quantile_bins(-x, bins)
    order = np.argsort(x, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert all(len(set(found[x == v])) == 1 for v in set(values))
    if bins == 2:
        assert len(set(zip(found.tolist(), negated.tolist(), strict=True))) == len(set(found.tolist()))
    if len(set(values)) == len(values):
        assert np.ptp(np.bincount(found, minlength=bins)) <= 1


def test_ties_leave_the_more_even_bins():
    """Three quarters at the top would leave nothing above the median; they go above together."""
    assert quantile_bins(np.array([1.0, 5, 5, 5, 5, 2, 5, 5]), 2).tolist() == [0, 1, 1, 1, 1, 0, 1, 1]
    assert len(set(quantile_bins(np.full(9, 3.0), 2))) == 1


def test_a_straight_line_is_taken_off():
    t = np.arange(12.0)
    assert detrended(3 * t - 7) == pytest.approx(np.zeros(12), abs=1e-12)
    rising = [Group(str(i), np.arange(40.0)[:, None] + np.random.default_rng(i).normal(size=(40, 4)), total) for i in range(8)]
    raw, residual = (collectivity(rising, Options(cut=Cut(detrend=d), surrogates=39, nulls=(COLUMN,))) for d in (False, True))
    assert raw.above("I3")
    assert not residual.above("I3")


def test_texts_fall_into_clusters():
    vectors = np.array([[0.0, 0], [0.1, 0], [5, 5], [5.1, 5], [0, 0.1]])
    assert clustered(vectors, 2).tolist() == [0, 0, 1, 1, 0]
    assert clustered(np.ones((3, 2)), 4).tolist() == [0, 0, 0]


# nulls


def test_what_each_null_keeps():
    """Row: each round's set. Column: each agent's circle. Column-sum: V of the shifted. Block: runs. All: shapes."""
    g = group(1, 30, 4)
    d, _ = Cut()(g)
    drawn = {name: null.draw(g, Cut(), 7, np.random.default_rng(0)).series for name, null in NULLS.items()}
    assert {s.agents.shape for s in drawn.values()} == {(7, 30, 4)}
    assert (np.sort(drawn["row"].agents, axis=2) == np.sort(d.agents, axis=2)).all()
    circle = "".join(map(str, d.agents[0, :, 0])) * 2
    for name in ("column", "column-sum"):
        assert all("".join(map(str, s[:, 0])) in circle for s in drawn[name].agents)
    assert (drawn["column"].macro == d.macro).all()
    assert (drawn["column-sum"].macro != d.macro).any()
    assert (np.sort(drawn["block"].agents, axis=1) == np.sort(d.agents, axis=1)).all()
    assert (drawn["block"].agents != d.agents).any()
    whole = block(30).draw(g, Cut(), 3, np.random.default_rng(0)).series.agents
    assert all("".join(map(str, s[:, 0])) in circle for s in whole)


def test_few_shifts_are_all_made_and_give_exact_p_values():
    """Two agents over 12 rounds have 144 pairs of shifts: p is a multiple of 1/144, and never 0, since no shift is one of them."""
    pairs = [Group("", np.random.default_rng(i).integers(0, 2, (12, 2)).astype(float), total, states=2) for i in range(3)]
    found = collectivity(pairs, Options(surrogates=200, nulls=(COLUMN,))).of("synergy", "column")
    assert found is not None
    assert found.exact
    assert found.p * 144 == pytest.approx(np.round(found.p * 144), abs=1e-9)
    assert (found.p > 0).all()


def test_shifting_both_of_a_pair_alike_leaves_nearly_all_of_it():
    """Such shifts are one in T of all and differ by the seam alone: a perfect pair's p is seldom far below 1/T, however many are drawn."""
    found = []
    for i in range(10):
        pair = exclusive_or(20, np.random.default_rng(i), resampled=0.0)
        made = COLUMN.draw(pair, Cut(), 400, np.random.default_rng(0))
        null = measure(moves(made.series, 1), JEFFREYS, triplets(2, 1))["synergy"].reshape(20, 20)
        assert made.exact
        assert np.abs(np.diag(null) - null[0, 0]).max() < 0.25
        found.append(p_value(float(null[0, 0]), null.ravel(), exact=True))
    assert np.median(found) > 0.002


def test_p_values_count_ties_as_reached():
    assert p_value(1.0, np.array([1.0, 0.5, 0.2]), exact=False) == 0.5
    assert p_value(1.0, np.array([1.0, 0.5, 0.2, 0.1]), exact=True) == 0.25


def test_null_p_values_are_uniform_and_fishers_too():
    """Agents that do nothing together, 300 groups: each score's p passes Kolmogorov and Smirnov's test, combined as well."""
    groups = [group(i, 25, 4) for i in range(300)]
    found = collectivity(groups, Options(surrogates=59, nulls=(COLUMN_SUM,), max_triplets=4))
    for score in ("synergy", "I3"):
        tested = found.of(score, "column-sum")
        assert tested is not None
        assert kstest(tested.p, "uniform").pvalue > 0.01, score
    uniform = np.random.default_rng(0).random((300, 20))
    assert kstest([fisher(p) for p in uniform], "uniform").pvalue > 0.01


def test_persistence_alone_is_seldom_called_coordination():
    """AR(0.8) agents: at most 6 of 100 groups, and chance, reach p < 0.05 against the column shuffle; against the row shuffle most do."""
    groups = [group(i, 60, 3, persists=0.8) for i in range(200)]
    found = collectivity([replace(g, macro=np.random.default_rng(i).normal(size=60)) for i, g in enumerate(groups)],
                         Options(surrogates=39, nulls=(ROW, COLUMN), max_triplets=1))  # fmt: skip
    column, row = found.of("synergy", "column"), found.of("synergy", "row")
    assert column is not None
    assert row is not None
    assert column.significant.mean <= 0.06 + 0.03
    assert row.significant.mean > 0.5


def test_the_functional_null_keeps_each_agents_answers():
    """Simulated alone: recorded changes only, from the recorded start, the same direction after the same feedback."""
    g = simulate(PLAIN, 40, 4, np.random.default_rng(0))
    made = simulated_alone(g, 20, np.random.default_rng(1))
    assert (made[:, 0] == g.actions[0]).all()
    for i in range(4):
        assert set(
            np.unique(np.diff(made[:, :, i], axis=1)[(made[:, 1:, i] > g.actions.min()) & (made[:, 1:, i] < g.actions.max())])
        ) <= set(np.diff(g.actions[:, i]))
    heard = replace(g, feedback=np.sign(g.signal))
    assert g.answers_itself
    assert not heard.answers_itself
    assert np.abs(simulated_alone(heard, 40, np.random.default_rng(1)).sum(2) - g.target).mean() > np.abs(made.sum(2) - g.target).mean()
    words = Group("w", np.random.default_rng(0).integers(0, 3, (30, 3)).astype(float), agreement, states=3)
    assert set(np.unique(simulated_alone(words, 5, np.random.default_rng(0)))) <= {0, 1, 2}


# differentiation


def test_the_ratio_is_that_of_the_likelihoods():
    """The closed form against multivariate normal densities on contrasts free of the rounds' means, at the fitted variances."""
    y = np.random.default_rng(0).normal(size=(6, 4)) + np.array([0, 1, 2, 3.0])
    r = ratio_test(y, whiten=False)
    assert r is not None
    centred = y - y.mean(1, keepdims=True)
    basis = np.linalg.svd(np.eye(4) - 0.25)[0][:, :3]
    z = (centred @ basis).T.ravel()  # 3 contrasts of 6 rounds
    t = np.arange(6) - 2.5
    one, line = np.full((6, 6), 1 / 6), np.outer(t, t) / (t @ t)
    sums = [sum(float(c @ m @ c) for c in z.reshape(3, 6)) for m in (one, line, np.eye(6) - one - line)]

    def deviance(a, b, e):
        cov = np.kron(np.eye(3), a * one + b * line + e * (np.eye(6) - one - line))
        return -2 * multivariate_normal(np.zeros(18), cov).logpdf(z)

    everything, between = sum(sums) / 18, sums[0] / 3
    within = (sums[1] + sums[2]) / 15
    assert r.intercepts == pytest.approx(deviance(everything, everything, everything) - deviance(between, within, within), abs=1e-8)


def test_differences_are_found_and_the_ratio_agrees_with_the_row_shuffle():
    """A larger ratio is a smaller p by permutation: both grow with F."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(20, 6)) + 0.5 * rng.normal(size=6)
    observed = ratio_test(y, whiten=False)
    shuffled = [ratio_test(rng.permuted(y, axis=1), whiten=False) for _ in range(200)]
    assert observed is not None
    assert observed.p_intercepts < 0.01
    by_permutation = (1 + sum(s is not None and s.icc >= observed.icc for s in shuffled)) / 201
    assert by_permutation < 0.02
    ratios = [(s.icc, s.intercepts) for s in shuffled if s is not None]
    assert all(b[1] >= a[1] - 1e-9 for a, b in zip(sorted(ratios), sorted(ratios)[1:], strict=False))
    drifting = ratio_test(rng.normal(size=(30, 6)) + np.arange(30)[:, None] * rng.normal(size=6), whiten=False)
    assert drifting is not None
    assert drifting.p_slopes < 1e-6


def test_persistence_does_not_pass_for_identity():
    """AR(0.8) agents over 200 rounds: nearly all groups are significant as they are, few once freed of it."""
    found = [(ratio_test(g.actions), ratio_test(g.actions, whiten=False)) for g in (group(i, 200, 6, 0.8) for i in range(60))]
    freed = [a.p_intercepts < 0.05 for a, _ in found if a is not None]
    as_is = [b.p_intercepts < 0.05 for _, b in found if b is not None]
    assert np.mean(freed) <= 0.1
    assert np.mean(as_is) > 0.8
    assert boundary_p(0.0) == 1.0
    assert boundary_p(2.705543) == pytest.approx(0.05, abs=1e-6)
    assert ratio_test(np.ones((20, 3))) is None


def test_identity_of_states():
    """Each agent has a state of its own: knowing who acts tells all; all alike: nothing."""
    own = np.broadcast_to(np.arange(4), (1, 10, 4))
    assert identity_information(own, 4)[0] == pytest.approx(2)
    assert identity_information(np.zeros((1, 10, 4), dtype=int), 4)[0] == pytest.approx(0)


# verdicts, performance, power


def of_words(make, n: int = 8) -> list[Group]:
    return [Group(str(i), make(np.random.default_rng(i)).astype(float), agreement, states=3) for i in range(n)]


def test_verdicts_of_groups_of_known_make():
    """Coins: none. Swinging copies: oscillators. Each its own place: aggregate. In sight of one another, with places: collective."""
    o = Options(surrogates=29, max_triplets=20)

    def verdict(groups):
        return collectivity(groups, o).verdict

    assert verdict([group(i, 60, 5) for i in range(8)]) is Verdict.NONE
    assert verdict([simulate(OSCILLATORS, 60, 6, np.random.default_rng(i)) for i in range(8)]) is Verdict.OSCILLATORS
    apart = [group(i, 60, 5) for i in range(8)]
    assert verdict([replace(g, actions=g.actions + 3 * np.arange(5)) for g in apart]) is Verdict.AGGREGATE
    assert verdict([simulate(IN_SIGHT, 200, 10, np.random.default_rng(i)) for i in range(8)]) is Verdict.COLLECTIVE
    assert verdict(of_words(lambda rng: rng.integers(0, 3, (40, 4)))) is Verdict.NONE
    roles = of_words(lambda rng: np.where(rng.random((40, 4)) < 0.8, np.arange(4) % 3, rng.integers(0, 3, (40, 4))))
    assert verdict(roles) is Verdict.AGGREGATE


def test_a_common_driver_fools_the_column_shuffle_and_not_the_functional_null():
    """Complementary agents who hear a stranger's feedback share it, and nothing else."""
    groups = [simulate(f"{COMPLEMENTARY} copies", 100, 6, np.random.default_rng(i)) for i in range(10)]
    found = collectivity(groups, Options(surrogates=39, nulls=(COLUMN, FUNCTIONAL, BLOCK), max_triplets=20))
    column, functional = found.of("I3", "column"), found.of("I3", "functional")
    assert column is not None
    assert functional is not None
    assert column.above
    assert not functional.above
    assert not found.above("I3")


def test_being_part_of_the_sum_is_no_coalition():
    """Loners that persist are told of by their own sum: above the column shuffle, which keeps it, not above nulls that make it anew."""
    groups = [persistent(200, 4, 0.9, np.random.default_rng(i)) for i in range(8)]
    kept = collectivity(groups, Options(surrogates=39, nulls=(COLUMN,)))
    assert kept.above("I3")
    assert kept.part_of_whole
    assert kept.verdict is Verdict.NONE
    for null in (COLUMN_SUM, FUNCTIONAL):
        anew = collectivity(groups, Options(surrogates=39, nulls=(COLUMN, null)))
        assert not anew.above("I3")
        assert anew.verdict is Verdict.NONE


def test_the_same_seed_gives_the_same_report():
    groups = [group(i) for i in range(3)]
    a, b, c = (collectivity(groups, Options(surrogates=29, seed=s)) for s in (0, 0, 1))
    assert [t.fisher for t in a.tested] == [t.fisher for t in b.tested]
    assert [t.fisher for t in a.tested] != [t.fisher for t in c.tested]


def test_what_cannot_be_measured_is_said():
    with pytest.raises(UserError, match="group 0: has 3 rounds but a lag of 1 needs 4"):
        collectivity([group(0, 3)])
    with pytest.raises(UserError, match="two agents or more"):
        group(0, 5, 1)
    with pytest.raises(UserError, match="column-sum makes the macro signal anew"):
        collectivity([replace(group(0), macro=np.arange(20.0))], Options(nulls=(COLUMN_SUM,)))
    still = collectivity([Group("s", np.ones((20, 4)), total)])
    assert (still.tested, still.verdict) == ((), Verdict.NONE)


def test_logistic_finds_what_was_put_in():
    """Slopes within three errors of the truth; weights of one change no coefficient; a fit is the stationary point."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    y = (rng.random(4000) < 1 / (1 + np.exp(-(0.3 + X @ [0.8, -0.5])))).astype(float)
    fit = logistic(y, X)
    assert (np.abs(fit.coefficients - [0.3, 0.8, -0.5]) < 3 * fit.errors).all()
    robust = logistic(y, X, np.ones(4000))
    assert robust.coefficients == pytest.approx(fit.coefficients)
    assert robust.errors == pytest.approx(fit.errors, rel=0.1)
    apart = logistic((X[:, 0] > 0).astype(float), X)
    assert np.isfinite(apart.coefficients).all()


def test_interaction_and_mediation():
    """A product that helps is found; an effect that goes through a mediator is, one beside it is not."""
    rng = np.random.default_rng(1)
    s, r = rng.normal(size=(2, 3000))
    won = rng.random(3000) < 1 / (1 + np.exp(-0.5 * s * r))
    e = interaction(won.astype(float), s, r)
    assert e.low > 0.25
    assert e.high < 0.8
    with pytest.raises(UserError, match="fared alike"):
        interaction(np.ones(10), s[:10], r[:10])
    told = (np.arange(1500) % 2).astype(float)
    through, beside = told + rng.normal(size=1500), rng.normal(size=1500)
    success = (rng.random(1500) < 1 / (1 + np.exp(-through))).astype(float)
    yes, no = mediated(told, through, success, draws=60), mediated(told, beside, success, draws=60)
    assert yes.low > 0.05
    assert abs(no.mean) < 0.01


def test_power_grows_with_rounds_and_the_planted_strength_is_what_it_says():
    q = strength(6, 0.1)
    assert q is not None
    assert i3_limit(6, q) == pytest.approx(0.1, abs=1e-9)
    assert i3_limit(3, 1.0) == pytest.approx(1)
    assert strength(10, 0.5) is None
    long = planted(6, 20_001, q, np.random.default_rng(0))
    assert measure(moves(long, 1), PLUGIN, triplets(6, 120))["I3"][0] == pytest.approx(0.1, abs=0.01)
    table = power(6, 3, bits=(0.1,), rounds=(10, 100), games=12)
    assert table[0].chance < table[1].chance
    assert rounds_needed(table, 0.1) == 100
    assert rounds_needed(table[:1], 0.1) is None
    with pytest.raises(UserError, match="3 agents or more"):
        power(2, 1)
