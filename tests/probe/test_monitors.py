"""Each monitor speaks when its trouble is there, from about the step it began, and never for noise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.probe.monitors import MONITORS, Level, crossing, examine, gain, noise, rolling_median, window
from reasonry.probe.training_log import Log, Series

LEVELS = {
    "reward": 0.5, "pass_rate": 0.5, "validation": 0.4, "zero_variance": 0.25, "truncated": 0.02, "length": 300.0, "entropy": 0.4,
    "tool_calls": 2.0, "mismatch": 0.01, "mismatch_prob": 0.003, "clip_share": 0.02, "grad_norm": 0.5, "kl_ref": 0.1, "kl_step": 0.002,
    "tool_success": 0.9, "tool_calls_all_wrong": 1.5,
}  # fmt: skip
"""A run in good health."""
SHARES = ("pass_rate", "zero_variance", "truncated", "clip_share", "tool_success")


def points(values: Any) -> Series:
    return Series(np.arange(len(values), dtype=np.float64) + 1, np.asarray(values, dtype=np.float64))


def run(n: int = 120, seed: int = 0, spread: float = 0.1, **changed: Any) -> Log:
    """Series at healthy levels with log-normal noise; `changed` are functions of t in [0, 1) that replace a level."""
    rng, t = np.random.default_rng(seed), np.arange(n) / n
    series = {}
    for name, level in LEVELS.items():
        base = changed[name](t) if name in changed else np.full(n, level)
        values = base * np.exp(rng.normal(0, spread, n))
        series[name] = points(np.minimum(values, 1) if name in SHARES else values)
    return Log("made up", series, {})


def spoken(log: Log) -> dict[str, tuple[str, float]]:
    return {f.monitor: (f.level.value, f.step) for f in examine(log).findings}


@settings(max_examples=60, deadline=None, derandomize=True)  # rare alarms on noise are by design; the draw must not be luck
@given(st.integers(10, 400), st.integers(0, 10**6), st.floats(0, 0.3))
def test_a_flat_healthy_run_raises_nothing(n, seed, spread):
    health = examine(run(n, seed, spread))
    assert health.findings == ()
    assert set(health.quiet) == set(MONITORS)
    assert health.skipped == {}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(30, 400), st.integers(0, 10**6))
def test_a_run_that_learns_raises_nothing(n, seed):
    """Reward and validation rise, entropy halves, answers grow by half, KL grows steadily."""
    log = run(
        n, seed, reward=lambda t: 0.2 + 0.5 * t, pass_rate=lambda t: 0.2 + 0.5 * t, validation=lambda t: 0.2 + 0.4 * t,
        entropy=lambda t: 0.4 - 0.2 * t, length=lambda t: 300 + 150 * t, kl_ref=lambda t: 0.2 * t, grad_norm=lambda t: 0.5 - 0.3 * t,
    )  # fmt: skip
    assert examine(log).findings == ()


def late(start: float, end: float, at: float = 0.5):
    """A level that changes at `at` and stays."""
    return lambda t: np.where(t < at, start, end)


@pytest.mark.parametrize(
    ("monitor", "level", "changed"),
    [
        ("entropy", "alarm", {"entropy": late(0.4, 0.03)}),
        ("entropy", "alarm", {"entropy": late(0.4, 1.2)}),
        ("tool calls", "alarm", {"tool_calls": late(2.0, 0.05)}),
        ("tool failures", "alarm", {"tool_success": late(0.95, 0.5)}),
        ("calls for nothing", "alarm", {"tool_calls_all_wrong": late(1.5, 4.5)}),
        ("zero variance", "alarm", {"zero_variance": late(0.25, 0.8)}),
        ("truncation", "alarm", {"truncated": late(0.02, 0.2)}),
        ("truncation", "hint", {"truncated": late(0.02, 0.075)}),
        ("length", "alarm", {"length": late(300, 900)}),
        ("mismatch", "alarm", {"mismatch": late(0.01, 0.2)}),
        ("mismatch", "alarm", {"mismatch_prob": late(0.003, 0.02)}),
        ("clipping", "alarm", {"clip_share": late(0.02, 0.4)}),
        ("KL", "alarm", {"kl_ref": late(0.1, 2.0)}),
        ("KL", "hint", {"kl_ref": late(0.05, 0.6)}),
        ("KL", "alarm", {"kl_step": late(0.002, 0.1)}),
    ],
)
def test_a_trouble_that_begins_half_way_is_dated_to_the_middle(monitor, level, changed):
    for seed in range(10):
        said = spoken(run(seed=seed, **changed))
        assert list(said) == [monitor]
        assert said[monitor][0] == level
        assert said[monitor][1] == pytest.approx(61, abs=7)


@pytest.mark.parametrize(
    ("monitor", "name", "height"), [("truncation", "truncated", 0.9), ("mismatch", "mismatch", 3.0), ("KL", "kl_ref", 9.0)]
)
def test_two_odd_steps_are_no_trouble(monitor, name, height):
    log = run()
    log.series[name].values[[50, 51]] = height
    assert spoken(log) == {}


def test_a_trouble_that_passes_is_said_to_be_over():
    log = run(truncated=lambda t: np.where((t > 0.3) & (t < 0.6), 0.3, 0.01))
    (found,) = examine(log).findings
    assert not found.ongoing
    assert found.value == pytest.approx(0.3, rel=0.2)
    assert found.threshold == 0.1


def test_zero_variance_says_too_easy_or_too_hard_by_the_pass_rate():
    for rate, word in ((0.95, "too easy"), (0.04, "too hard")):
        log = run(zero_variance=late(0.2, 0.8), pass_rate=lambda t, r=rate: np.full_like(t, r))
        (found,) = examine(log).findings
        assert word in found.says


def test_longer_answers_that_earn_more_are_no_blow_up():
    assert spoken(run(length=late(300, 900), reward=lambda t: 0.2 + 0.5 * t, validation=lambda t: 0.2 + 0.5 * t)) == {}


def test_tools_never_in_use_are_not_given_up():
    assert spoken(run(tool_calls=late(0.01, 0.0))) == {}


def test_failures_that_become_rare_and_calls_that_pay_are_no_trouble():
    assert spoken(run(tool_success=late(0.4, 0.95))) == {}
    assert spoken(run(tool_calls_all_wrong=late(1.5, 4.5), pass_rate=lambda t: 0.2 + 0.5 * t)) == {}


def test_three_spikes_are_a_hint_and_two_are_not():
    log = run()
    log.series["grad_norm"].values[[40, 80]] = 30.0
    assert spoken(log) == {}
    log.series["grad_norm"].values[100] = 45.0
    (found,) = examine(log).findings
    assert (found.monitor, found.level, found.step, found.value) == ("gradient", Level.HINT, 41.0, 45.0)


def test_reward_up_with_validation_flat_is_a_hint_and_with_validation_down_an_alarm():
    rises: dict[str, Any] = {"reward": lambda t: 0.2 + 0.6 * t}
    for seed in range(10):
        assert spoken(run(seed=seed, **rises))["validation"][0] == "hint"
        assert spoken(run(seed=seed, **rises, validation=lambda t: 0.5 - 0.3 * t))["validation"][0] == "alarm"
        assert spoken(run(seed=seed, **rises, validation=lambda t: 0.2 + 0.3 * t)) == {}


def test_stages_that_never_take_off_or_fall_are_named():
    log = run(pass_rate=lambda t: np.select([t < 0.3, t < 0.6], [0.2 + t, 0.7 - t], 0.0))
    health = examine(Log(log.name, {**log.series, "stage": points(np.repeat([0.0, 1.0, 2.0], [36, 36, 48]))}, {}))
    assert [f.monitor for f in health.findings] == ["stages", "stages"]
    assert "stage 1 the pass rate fell" in health.findings[0].says
    assert "Stage 2 (steps 73 to 120)" in health.findings[1].says
    assert [(r.stage, r.first, r.last) for r in health.stages] == [(0, 1, 36), (1, 37, 72), (2, 73, 120)]


def test_a_value_that_is_no_number_is_an_alarm_but_a_sparse_column_is_not():
    log = run()
    log.series["grad_norm"].values[60] = np.nan
    log.series["validation"].values[np.arange(120) % 10 != 0] = np.nan
    (found,) = examine(log).findings
    assert (found.monitor, found.series, found.step) == ("numbers", "grad_norm", 61.0)


def test_what_could_not_be_judged_is_said():
    health = examine(Log("short", {"reward": points(np.ones(4)), "pass_rate": points(np.ones(4))}, {}))
    assert health.findings == ()
    assert health.quiet == ()
    assert health.skipped["entropy"] == "no entropy in the log"
    assert health.skipped["stages"] == "pass_rate has 4 values, fewer than 10"
    assert health.skipped["mismatch"] == "no mismatch or mismatch_prob in the log"


def test_the_statistics_by_hand():
    """Medians of windows; noise of a pure trend is its slope's share only, and σ for Gaussian noise; a gain is last third less first."""
    assert rolling_median(np.array([1.0, 9.0, 2.0, 3.0, 8.0]), 3).tolist() == [2.0, 3.0, 3.0]
    assert noise(np.random.default_rng(0).normal(5, 2, 20_000)) == pytest.approx(2, rel=0.03)
    assert noise(np.array([1.0, 1.0, 1.0, 50.0, 50.0, 50.0])) == 0
    assert gain(points([1, 2, 3, 0, 0, 0, 7, 8, 9]))[0] == 6.0
    assert [window(n) for n in (10, 100, 200, 10_000)] == [5, 5, 10, 25]
    assert crossing(points([0] * 8 + [1] * 4), 0.5) is None
