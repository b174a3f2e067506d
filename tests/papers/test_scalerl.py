"""ScaleRL's experiment: the task, the verdict rules, the law on synthetic truth, and a run that is resumed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Result
from reasonry.papers.scalerl import PAPER, forecast_of, log_of
from reasonry.papers.scalerl import run as run_experiment
from reasonry.papers.scalerl_findings import CLAIMS, findings
from reasonry.papers.scalerl_found import ARMS, DAPO, GRPO, NO_FILTER, SCALERL, Curve, Found, Plan, Stale, Thought
from reasonry.papers.scalerl_law import EXAMPLE, Drawn, draw, law_values
from reasonry.papers.scalerl_runs import curriculum, objective, recipe
from reasonry.papers.scalerl_stale import stale_recipe
from reasonry.papers.scalerl_task import ESTIMATES, LONGEST, Sums, documents
from reasonry.papers.taught import characters
from reasonry.probe.head_precision import BF16, FP32, MIXED, Disagreement
from reasonry.probe.scale_recipe import HeldOut
from reasonry.tasks.skill import split_of
from reasonry.train.catalogue import find
from reasonry.train.ratio import itself

TASK = Sums()
NOTHING = Found((), (), {}, (), (), ())


def test_demonstrations_are_right_unless_they_estimate() -> None:
    """A working without `~` is right; about half of the steps are estimated, and every working fits the limit."""
    steps = estimated = right = 0
    for i, problem in enumerate(TASK.problems("train", 400)):
        text = TASK.work(problem, random.Random(i))
        steps, estimated = steps + 2, estimated + text.count("~")
        verdict = TASK.judge(problem, text)
        assert verdict.passed or "~" in text
        assert eval(str(problem.prompt)) == int(problem.answer or "")
        assert 1 <= len(text) < LONGEST
        right += verdict.passed is True
    assert 0.42 < estimated / steps < 0.58
    assert (1 - ESTIMATES) ** 2 * 0.8 < right / 400 < 0.6


@pytest.mark.parametrize(("text", "read"), [("=19=10", "10"), ("~20~15", "15"), ("=4=-3", "-3"), ("=19=", None), ("19", None), ("", None)])
def test_the_last_step_is_the_answer(text: str, read: str | None) -> None:
    assert TASK.extract(text) == read


def test_the_start_sees_training_problems_only() -> None:
    tokenizer, made = characters(), documents(characters(), 0)
    for _ in range(50):
        example = next(made)
        question = tokenizer.decode(example.ids[: example.mask.index(True)])
        assert split_of(question) == "train"
        assert all(example.mask[example.mask.index(True) :])


def test_arms_differ_from_the_recipe_in_one_part_each() -> None:
    """The recipe is the catalogue's own value."""
    whole, plan = find("scalerl").objective, Plan()
    assert objective(SCALERL) == objective(NO_FILTER) == whole
    assert replace(objective(DAPO), surrogate=whole.surrogate) == whole != objective(DAPO)
    assert replace(objective(GRPO), aggregate=whole.aggregate) == whole != objective(GRPO)
    filters = {arm: curriculum(plan, arm).group_filter for arm in ARMS}
    assert [arm for arm in ARMS if filters[arm] is not filters[SCALERL]] == [NO_FILTER]
    assert len({str(replace(recipe(plan, arm, 0), objective=whole)) for arm in ARMS}) == 1
    plain, ignored = stale_recipe(plan, True, 0), stale_recipe(plan, False, 0)
    assert plain.objective == whole
    assert ignored.objective.ratio is not None
    assert ignored.objective.ratio.over is itself
    assert replace(ignored, objective=whole) == plain


def test_the_law_has_the_briefs_values_and_forecasts_curves_like_the_papers() -> None:
    """Four curves, ten times ahead: the law is off by less than .015 on average, the power law by more on every one, and too high."""
    off, slope = law_values()
    assert off < 1e-6
    assert slope == pytest.approx(EXAMPLE.B)
    drawn = draw(0, 4)
    assert sum(abs(d.law_error) for d in drawn) / 4 < 0.015
    assert all(d.power_error > max(0.02, abs(d.law_error)) for d in drawn)
    assert draw(0, 1)[0] == drawn[0]


def curve(arm: str = SCALERL, seed: int = 0, noise: float = 0.005) -> Curve:
    """A run that follows a law, its bend early."""
    rng, law = random.Random(f"{arm}/{seed}"), EXAMPLE
    at = [800.0 * i for i in range(31)]
    return Curve(arm, seed, tuple(at), tuple(float(law(C)) + rng.gauss(0, noise) for C in at), 0.0, 0.2, 10.0, 1e9)


def test_a_forecast_sees_the_first_part_of_a_run_only() -> None:
    whole = curve()
    found = forecast_of(Plan(), whole)
    assert isinstance(found, HeldOut)
    assert found.sigmoid < 0.02 < found.power
    spoiled = replace(whole, rates=(*whole.rates[:13], *(r + 0.1 for r in whole.rates[13:])))
    other = forecast_of(Plan(), spoiled)
    assert other is not None
    assert other.fit.law == found.fit.law
    assert log_of(whole).compute[0] == 0
    assert forecast_of(Plan(), replace(whole, tokens=whole.tokens[:9], rates=whole.rates[:9])) is None


def verdicts(found: Found) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(found)}


def test_every_claim_has_one_finding_and_nothing_measured_decides_nothing() -> None:
    got = verdicts(NOTHING)
    assert list(got) == [c.id for c in CLAIMS]
    assert got.pop("law") is Result.HOLDS
    assert set(got.values()) == {Result.UNCLEAR}


def test_coverage_fails_where_intervals_miss_too_often() -> None:
    def drawn(inside: int, power: float) -> list[Drawn]:
        return [Drawn(0, 0.005 * (-1) ** i, power + 0.001 * i, i < inside, False) for i in range(60)]

    assert verdicts(replace(NOTHING, drawn=drawn(58, 0.07)))["coverage"] is Result.HOLDS
    assert verdicts(replace(NOTHING, drawn=drawn(45, 0.07)))["coverage"] is Result.FAILS
    assert verdicts(replace(NOTHING, drawn=drawn(58, 0.07)[:20]))["coverage"] is Result.UNCLEAR
    assert verdicts(replace(NOTHING, drawn=drawn(58, 0.07)))["power-law"] is Result.HOLDS
    assert verdicts(replace(NOTHING, drawn=drawn(58, -0.2)))["power-law"] is Result.FAILS


def forecast(error: float, power: float) -> HeldOut:
    found = forecast_of(Plan(), curve())
    assert found is not None
    return replace(found, sigmoid=error, power=power)


@pytest.mark.parametrize(
    ("errors", "seeds", "result"),
    [([0.01, 0.012, 0.011], 3, Result.HOLDS), ([0.06, 0.062, 0.061], 3, Result.FAILS), ([0.01, 0.06, 0.03], 3, Result.UNCLEAR),
     ([0.01], 1, Result.UNCLEAR)],
)  # fmt: skip
def test_a_forecast_is_judged_over_seeds(errors: list[float], seeds: int, result: Result) -> None:
    """Three runs that agree decide; three that do not, or a single seed, do not."""
    found = replace(NOTHING, forecasts={(SCALERL, s): forecast(errors[s], errors[s] + 0.05) for s in range(seeds)})
    got = verdicts(found)
    assert got["forecast"] is result
    assert got["rival"] is (Result.HOLDS if seeds > 1 else Result.UNCLEAR)


def stale(k: int, corrected: bool, seed: int, rate: float) -> Stale:
    rng = random.Random(f"{k}/{seed}")
    return Stale(k, corrected, seed, {f"p{i}": rate + rng.uniform(-0.01, 0.01) for i in range(40)}, k / 2, k, 3.0, 2.0)


def test_staleness_is_judged_on_the_same_problems_over_seeds() -> None:
    def found(eight: float, with_ratio: float, without: float) -> Found:
        rates = {(1, True): 0.8, (1, False): 0.8, (8, True): eight, (32, True): with_ratio, (32, False): without}
        return replace(NOTHING, stale=[stale(k, c, s, r) for (k, c), r in rates.items() for s in range(3)])

    names = ("stale-8", "ratio-32", "staleness")
    assert [verdicts(found(0.79, 0.7, 0.5))[n] for n in names] == [Result.HOLDS] * 3
    assert [verdicts(found(0.6, 0.5, 0.7))[n] for n in names] == [Result.FAILS, Result.FAILS, Result.HOLDS]
    assert verdicts(found(0.8, 0.8, 0.8))["staleness"] is Result.FAILS


def test_heads_and_interruptions_are_judged_by_their_thresholds() -> None:
    def heads(bf16: float, fp32: float) -> Found:
        return replace(NOTHING, heads=[Disagreement(n, 9, m, m, m, m) for n, m in ((BF16, bf16), (FP32, fp32), (MIXED, bf16))])

    assert verdicts(heads(7e-3, 3e-7))["fp32-head"] is Result.HOLDS
    assert verdicts(heads(7e-3, 3e-4))["fp32-head"] is Result.FAILS
    assert verdicts(heads(1e-4, 3e-7))["fp32-head"] is Result.FAILS

    def thoughts(plain: int, interrupted: int) -> Found:
        of = {"single": plain, "interrupted": interrupted}
        return replace(NOTHING, thoughts=[Thought(s, f"p{i}", 0, 0.0, float(i < n), 0.0, 9) for s, n in of.items() for i in range(200)])

    assert verdicts(thoughts(90, 1))["interruption"] is Result.HOLDS
    assert verdicts(thoughts(90, 40))["interruption"] is Result.FAILS
    assert verdicts(thoughts(1, 1))["interruption"] is Result.FAILS
    assert verdicts(thoughts(90, 9))["interruption"] is Result.UNCLEAR


TINY = Plan(
    arms=(SCALERL,), teaching=2, updates=7, every=1, prompts=2, group=3, passes=1, train_problems=30, problems=2, attempts=2, curves=1,
    staleness=(1, 3), stale_updates=2, texts=2, thoughts=2,
)  # fmt: skip


def test_the_experiment_runs_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """A run that lost its results, but not its checkpoints, ends with the same figures."""
    first = run_experiment(tmp_path, (0,), TINY)
    assert first.paper == PAPER.slug
    assert "<svg" in (tmp_path / "report.html").read_text()
    for lost in ("report.html", "thoughts-seed0/thoughts.json", "k3-rho-seed0/stale.json"):
        (tmp_path / lost).unlink()
    again = run_experiment(tmp_path, (0,), TINY)
    assert (again.measures, again.findings) == (first.measures, first.findings)
