"""The compute–performance law: its oracles, what a fit recovers, how often its intervals hold, and when it refuses."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.probe.scale_fit import PAPER_MIDPOINTS, Fit, Law, Points, fit, fit_on_grid, fit_power
from reasonry.probe.scale_log import Log
from reasonry.probe.scale_recipe import (
    Options,
    Recipe,
    Verdict,
    compare,
    held_out,
    points,
    recipe,
    truncation,
)

TRUE = Law(0.30, 0.61, 1.92, 2542.0)
EARLY, LONG = np.linspace(1500, 8000, 40), np.linspace(400, 16_000, 40)
SD = 0.007


def drawn(compute, law=TRUE, sd=SD, seed=0, start_weight: float | None = 1.0) -> Points:
    rng = np.random.default_rng(seed)
    R0 = law.R0 + (rng.normal(0, sd) if start_weight is not None else 0.0)
    return Points(compute, law(compute) + rng.normal(0, sd, len(compute)), np.ones(len(compute)), R0, start_weight)


def log(name, law=TRUE, sd=SD, seed=0, last=16_000.0, n=41, truncated=None) -> Log:
    rng = np.random.default_rng([seed, *name.encode()])
    compute = np.linspace(0, last, n)
    return Log(name, compute, law(compute) + rng.normal(0, sd, n), truncated, "compute", "validation", True)


def made(name, law=TRUE, seeds=1, **given) -> Recipe:
    return recipe(name, [log(f"{name}-{i}", law, seed=i, **given) for i in range(seeds)], Options())


# The law.


def test_the_law_has_the_papers_values():
    """f(0) = R_0, f(C_mid) is half-way, f(∞) = A, and the four values worked out by hand."""
    assert TRUE([1500, 5000, 20_000, 1e5]) == pytest.approx([0.382596, 0.543549, 0.604204, 0.609732], abs=5e-7)
    assert TRUE([0.0, TRUE.C_mid, np.inf]) == pytest.approx([0.30, (0.30 + 0.61) / 2, 0.61])


def test_in_logarithms_the_law_is_a_line_of_slope_b():
    """log F = B log C with F = C_mid^B / ((A − R_0)/(R − R_0) − 1), the paper's linear view."""
    C = np.array([3.0, 40.0, 500.0, 6e4])
    F = TRUE.C_mid**TRUE.B / ((TRUE.A - TRUE.R0) / (TRUE(C) - TRUE.R0) - 1)
    assert np.log(F) / np.log(C) == pytest.approx(np.full(4, 1.92), rel=1e-6)


def test_far_beyond_the_middle_the_law_is_a_power_law():
    """R ≈ A − D C^(−B), D = (A − R_0) C_mid^B."""
    C = 1e6
    D = (TRUE.A - TRUE.R0) * TRUE.C_mid**TRUE.B
    assert float(TRUE(C)) == pytest.approx(TRUE.A - D * C**-TRUE.B, abs=1e-8)


@given(st.floats(0.01, 0.9), st.floats(0.2, 8), st.floats(1e-3, 1e6), st.floats(0.02, 0.98))
def test_the_law_rises_and_reach_undoes_it(R0, B, C_mid, share):
    """Monotone in compute; `reach(s)` is where the share s of the gain is gained."""
    law = Law(R0, R0 + 0.1, B, C_mid)
    assert (np.diff(law(np.geomspace(C_mid / 1e3, C_mid * 1e3, 50))) >= 0).all()
    assert float(law(law.reach(share))) == pytest.approx(R0 + 0.1 * share, rel=1e-9)


# The fit.


@pytest.mark.parametrize("law", [TRUE, Law(0.05, 0.99, 0.8, 300.0), Law(-0.6, 0.2, 3.0, 5000.0)])
@pytest.mark.parametrize("start_weight", [None, 1.0])
def test_noiseless_points_give_the_law_back(law, start_weight):
    """Recovery of all four numbers, with R_0 exact and with R_0 measured; the intervals close in on them."""
    found = fit(drawn(LONG, law, sd=0.0, start_weight=start_weight))
    assert found.law == pytest.approx(law, rel=1e-4)
    assert found.A.high - found.A.low < 1e-4
    assert found.refusals() == ()


@given(st.integers(0, 40), st.sampled_from([1e-9, 1 / 3600, 24.0, 6.02e23]))
@settings(max_examples=4, deadline=None)
def test_the_unit_of_compute_scales_c_mid_and_nothing_else(seed, unit):
    """GPU-hours, seconds or FLOPs: C → λC multiplies C_mid and its interval by λ, and leaves A, B, forecasts and refusals alone."""
    data = drawn(EARLY, seed=seed)
    a = fit(data)
    b = fit(Points(data.compute * unit, data.metric, data.weight, data.R0))
    assert (*b.A, *b.B) == pytest.approx((*a.A, *a.B), rel=1e-4)
    assert [c / unit for c in b.C_mid] == pytest.approx(list(a.C_mid), rel=1e-4)
    assert list(b.forecast(2e4 * unit)) == pytest.approx(list(a.forecast(2e4)), rel=1e-4)
    assert len(a.refusals()) == len(b.refusals())
    assert float(fit_power(b.points)(2e4 * unit)) == pytest.approx(float(fit_power(data)(2e4)), rel=1e-6)


def test_for_given_b_and_c_mid_the_fit_is_the_closed_form():
    """Variable projection: at the best (B, C_mid), A − R_0 is the least-squares slope of R − R_0 on the share of gain."""
    data = drawn(EARLY, start_weight=None)
    found = fit(data).law
    x = 1 / (1 + (found.C_mid / EARLY) ** found.B)
    assert pytest.approx(float(x @ (data.metric - data.R0) / (x @ x)), rel=1e-9) == found.A - data.R0
    assert found.R0 == data.R0


def test_the_papers_grid_agrees_with_the_closed_form():
    """On a grid fine enough the paper's procedure ends at the optimum, and never below its error."""
    data = drawn(LONG, start_weight=None)
    best = fit(data).law
    grid = fit_on_grid(data, np.linspace(0.59, 0.63, 41), np.linspace(2300, 2800, 51))
    assert pytest.approx(best.A, abs=2e-3) == grid.A
    assert grid.C_mid == pytest.approx(best.C_mid, rel=0.01)
    assert pytest.approx(best.B, rel=0.02) == grid.B
    errors = [float(((law(LONG) - data.metric) ** 2).sum()) for law in (best, grid, fit_on_grid(data))]
    assert errors[0] <= errors[1] * (1 + 1e-9)
    assert errors[0] <= errors[2] * (1 + 1e-9)


def test_the_papers_grid_takes_the_best_b_of_every_pair():
    """With A and C_mid on the grid, B is not: noiseless points give it back."""
    law = Law(0.3, 0.6, 1.7, float(PAPER_MIDPOINTS[6]))
    found = fit_on_grid(drawn(LONG, law, sd=0.0, start_weight=None))
    assert (found.A, found.C_mid) == pytest.approx((law.A, law.C_mid))
    assert pytest.approx(law.B, rel=1e-3) == found.B


def test_an_asymptote_never_lies_above_the_ceiling():
    """Where free least squares would exceed the metric's maximum, A is the maximum and the rest is refitted."""
    law = Law(0.3, 1.3, 1.5, 9000.0)
    data = drawn(EARLY, law, sd=0.002)
    found = fit(data)
    assert found.law.A <= 1.0 == found.A.high
    assert pytest.approx(1.3, abs=0.1) == fit(data, ceiling=100.0).law.A
    held = fit(data, A=1.0).law
    assert (found.law.B, found.law.C_mid) == pytest.approx((held.B, held.C_mid), rel=1e-3)


def test_weights_count_records():
    """A point of weight 2 is two equal points."""
    data = drawn(LONG)
    twice = Points(np.repeat(LONG, 2), np.repeat(data.metric, 2), np.ones(80), data.R0, 2.0)
    doubled = Points(LONG, data.metric, np.full(40, 2.0), data.R0, 2.0)
    assert fit(doubled).law == pytest.approx(fit(twice).law, rel=1e-5)


@cache
def covered(last: float, start_weight: float | None, runs=60) -> np.ndarray:
    """Share of runs whose 95 % intervals hold the true A, B, C_mid, and R at 20,000; R_0 is measured with noise in all of them."""
    held, compute = np.zeros(4), np.linspace(800, last, 40)
    for seed in range(runs):
        data = drawn(compute, seed=seed)
        found = fit(Points(data.compute, data.metric, data.weight, data.R0, start_weight))
        true = (TRUE.A, TRUE.B, TRUE.C_mid, float(TRUE(20_000)))
        held += [i.low <= t <= i.high for i, t in zip((found.A, found.B, found.C_mid, found.forecast(20_000)), true, strict=True)]
    return held / runs


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    """In 60 simulated runs no number's 95 % interval, nor the forecast's, misses more often than three standard errors (0.085) allow."""
    assert (covered(16_000.0, 1.0) >= 0.865).all()


@pytest.mark.slow
def test_holding_a_measured_start_exact_makes_intervals_too_narrow():
    """Why R_0's own noise is carried (departure 2): held exact, C_mid's interval misses the truth far more often than 1 in 20."""
    assert covered(16_000.0, None)[2] < 0.865 <= covered(16_000.0, 1.0)[2]


def test_correlated_residuals_widen_the_intervals():
    """Noise that lasts several points holds less information than its number of points says."""
    rng = np.random.default_rng(3)
    noise = np.zeros(200)
    for t in range(1, 200):
        noise[t] = 0.8 * noise[t - 1] + rng.normal(0, SD * 0.6)
    C = np.linspace(400, 16_000, 200)
    lasting = fit(Points(C, TRUE(C) + noise, np.ones(200), 0.3))
    shuffled = fit(Points(C, TRUE(C) + rng.permutation(noise), np.ones(200), 0.3))
    assert lasting.inflation > 3
    assert shuffled.inflation < 1.5
    assert lasting.A.high - lasting.A.low > 1.5 * (shuffled.A.high - shuffled.A.low)


# Refusal.


def test_before_the_bend_nothing_is_extrapolated():
    """All points below C_mid: A is unconstrained, and the refusal names both reasons."""
    found = fit(drawn(np.linspace(100, 1500, 40)))
    said = " ".join(found.refusals())
    assert "the bend is not behind the data" in said
    assert "A is not pinned down" in said
    assert found.A.low < TRUE.A < found.A.high


def test_a_flat_log_is_refused_for_being_flat():
    """Noise around a constant has no ceiling to forecast."""
    assert fit(drawn(LONG, Law(0.3, 0.3, 1.0, 1000.0))).refusals() == ("the metric does not rise: a constant fits these points as well",)


def test_a_falling_log_is_refused():
    """The law rises; what falls is not fitted by a law that rises."""
    assert fit(drawn(LONG, Law(0.6, 0.3, 2.0, 3000.0))).refusals()


def test_refusal_depends_on_the_tie_that_is_asked_for():
    """Whoever needs A to 0.001 is told that it is not known to that."""
    found = fit(drawn(LONG))
    assert found.refusals() == ()
    assert "A is not pinned down" in found.refusals(tie=0.001)[0]


@pytest.mark.parametrize("bad", [np.linspace(1, 2, 5), np.zeros(10), np.ones(10)])
def test_what_cannot_be_fitted_is_an_error(bad):
    """Too few points, compute of zero, or one compute only."""
    with pytest.raises(ValueError, match="needs 6 at different C > 0"):
        fit(Points(bad, np.full(len(bad), 0.5), np.ones(len(bad)), 0.3))


# Forecasts.


def test_the_law_forecasts_better_than_a_power_law_on_its_own_curves():
    """The paper's finding: a power law fitted to the same window ends too high."""
    power, law = [], []
    for seed in range(10):
        data = drawn(EARLY, seed=seed)
        law.append(abs(fit(data).forecast(20_000).value - 0.604204))
        power.append(float(fit_power(data)(20_000)) - 0.604204)
    assert max(law) < 0.02
    assert min(power) > 0.02


def test_a_power_law_is_recovered():
    """Its own noiseless points give A, D and B back."""
    C = np.geomspace(10, 1e4, 30)
    found = fit_power(Points(C, 0.7 - 0.9 * C**-0.4, np.ones(30), 0.0))
    assert tuple(found) == pytest.approx((0.7, 0.9, 0.4), rel=1e-3)


def test_the_tested_forecast_sees_nothing_it_is_tested_on():
    """Later values can change without moving the early fit, and the later points are counted whole."""
    whole = log("a")
    changed = Log("a", whole.compute, whole.metric + 0.03 * (whole.compute > 6400), None, "compute", "validation", True)
    a, b = (held_out([one], Options(), fit(points([one], Options())[0])) for one in (whole, changed))
    assert not isinstance(a, str)
    assert not isinstance(b, str)
    assert a.fit.law == b.fit.law
    assert a.predicted == int((whole.compute > 6400).sum())
    assert a.fitted + a.predicted == 40  # the start is R_0; 5 % of the early part is less than the first point
    assert a.sigmoid < b.sigmoid


# Recipes.


def test_the_start_is_measured_and_the_transient_dropped():
    """R_0 is the value at compute 0, not a point; points below 5 % of the compute are left out, or below what is asked for."""
    one = log("a")
    data, at, _ = points([one], Options())
    assert (data.R0, at, data.compute.min()) == (one.metric[0], 0.0, 800.0)
    assert points([one], Options(skip_compute=1500.0))[0].compute.min() == 1600.0
    assert points([one], Options(start=0.3))[0].start_weight is None


def test_long_logs_are_averaged_not_thinned():
    """10,000 records become at most 300 points whose weights still count every record."""
    data, _, _ = points([log("a", n=10_001)], Options(skip=0.0))
    assert len(data) <= 300
    assert data.weight.sum() == 10_000
    assert fit(data).A.low <= TRUE.A <= fit(data).A.high


def test_a_collapsed_run_is_fitted_up_to_its_peak():
    """What comes after the peak is not the law's; the report says so."""
    good = log("a")
    fell = np.where(good.compute > 12_000, good.metric - (good.compute - 12_000) / 20_000, good.metric)
    found = recipe("a", [Log("a", good.compute, fell, None, "compute", "validation", True)], Options())
    (collapse,) = found.collapses
    assert collapse.run == "a"
    assert 10_000 <= collapse.compute <= 14_000
    assert found.fit.points.compute.max() == collapse.compute
    assert abs(found.fit.A.value - TRUE.A) < 0.02
    assert made("b").collapses == ()


def test_truncation_above_a_tenth_is_an_alarm():
    """The alarm names where the mean of five records first passed 10 %; below it there is none."""
    C = np.arange(20.0)
    rising = Log("a", C, C / 40, (C, C / 100), "compute", "validation", True)
    found = truncation(rising)
    assert found is not None
    assert found.above == 13.0  # the mean over 9 … 13 is 0.11
    calm = truncation(Log("a", C, C / 40, (C, np.full(20, 0.03)), "compute", "validation", True))
    assert calm is not None
    assert calm.above is None


def test_the_higher_ceiling_wins_whatever_the_speed():
    """Ceiling first: a slow recipe with a higher A is chosen over a fast one, and where it is still behind is said."""
    slow, fast = made("slow", Law(0.3, 0.61, 1.6, 3500.0)), made("fast", Law(0.3, 0.52, 2.2, 1200.0))
    (c,) = compare([slow, fast], Options())
    assert (c.verdict, c.better) == (Verdict.CEILING, "slow")
    assert c.A.low < 0.09 < c.A.high
    exact = np.linspace(1000, 12_000, 100_000)
    true = exact[slow.fit.law(exact) < fast.fit.law(exact)].max()
    assert c.crossing == pytest.approx(true, rel=0.01)


def test_equal_ceilings_are_compared_by_speed_at_a_common_ceiling():
    """The paper's second step: with A shared, the recipe that needs less compute is better, by the true ratio of compute."""
    quick, late = made("quick", seeds=2), made("late", Law(0.3, 0.61, 1.92, 5000.0), seeds=2, last=24_000.0)
    (c,) = compare([quick, late], Options())
    assert (c.verdict, c.better) == (Verdict.SPEED, "quick")
    assert c.compute_ratio.low < 2542 / 5000 < c.compute_ratio.high
    assert c.common_A == pytest.approx((quick.fit.A.value + late.fit.A.value) / 2, abs=2e-3)


def test_a_larger_b_is_not_speed_where_its_middle_is_later():
    """Departure 3: with a larger B and a later C_mid every level up to 99 % is reached later; speed follows compute, not B."""
    steep, early = Law(0.3, 0.61, 2.6, 6000.0), Law(0.3, 0.61, 1.9, 2500.0)
    C = np.geomspace(1, early.reach(0.99), 1000)
    assert (early(C) >= steep(C)).all()
    (c,) = compare([made("steep", steep, last=30_000.0), made("early", early, last=30_000.0)], Options())
    assert c.B.value > 0
    assert (c.verdict, c.better) == (Verdict.SPEED, "early")


def test_the_same_recipe_twice_is_a_tie():
    """Two draws of one law are not told apart, in either order."""
    a, b = made("a", seeds=2), made("b", seeds=2)
    for pair in ([a, b], [b, a]):
        (c,) = compare(pair, Options())
        assert c.verdict is Verdict.TIE
        assert c.better is None


def test_comparisons_are_antisymmetric():
    """Swapping two recipes swaps the signs and nothing else."""
    a, b = made("a"), made("b", Law(0.3, 0.55, 1.7, 2000.0))
    (c,), (d,) = compare([a, b], Options()), compare([b, a], Options())
    assert [-v for v in (d.A.value, d.A.high, d.A.low)] == pytest.approx(list(c.A), abs=1e-9)
    assert (c.verdict, c.better) == (d.verdict, d.better)


def test_spread_between_seeds_widens_the_difference():
    """Seeds that end apart make a difference in ceiling uncertain, however well each curve is known."""
    laws = [Law(0.3, A, 1.92, 2542.0) for A in (0.58, 0.60)]
    apart = recipe("apart", [log(f"apart-{i}", law, seed=i) for i, law in enumerate(laws)], Options())
    (c,) = compare([apart, made("other", Law(0.3, 0.55, 1.92, 2542.0))], Options())
    assert c.verdict is Verdict.OPEN
    assert c.A.high - c.A.low > 0.2


def test_an_unknown_ceiling_is_not_ranked():
    """A recipe before its bend is not compared by ceiling; only what both have is."""
    (c,) = compare([made("a"), made("young", last=2000.0)], Options())
    assert (c.verdict, c.better) == (Verdict.REFUSED, None)
    assert c.at == 2000.0


def test_fits_are_values():
    """The same points give the same fit, to the last digit."""
    a, b = fit(drawn(EARLY)), fit(drawn(EARLY))
    assert isinstance(a, Fit)
    assert (a.law, a.A, a.B, a.C_mid) == (b.law, b.A, b.B, b.C_mid)
