"""What AggLM's experiment is to show: its plan, its claims, the rules by which each holds or fails, and the figures.

Written before a first run, in which test problems shared their arithmetic with practised ones, and unchanged since. The unit is the
problem: a set's score is averaged into its problem, intervals resample problems of all seeds together. A claim about a difference holds
where the interval lies above zero and the mean of every seed does; it fails where the interval lies below zero; everything else is unclear.
The claim about reward models came later, together with those arms and before they were run on test problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.ladder import BEST, BEST_CHECK, CHECKED, MAJORITY, ORACLE, PASS1, WEIGHTED
from reasonry.probe.stats import Estimate

START, HARD, FIVE, FIFTY, NATURAL, EASY = "untrained", "hard only", "5 % easy", "50 % easy", "natural", "easy only"
TRAINED = (HARD, FIVE, FIFTY, NATURAL, EASY)
SHARES: dict[str, float | None] = {HARD: 0.0, FIVE: 5.0, FIFTY: 50.0, NATURAL: None}
MAIN = FIFTY
"""The paper's mixture, and the arm that claims are about."""
ALONE, OTHERS = "without candidates", "with another problem's"
SOLVER = "solver trained instead"
"""The same updates on the solver's own attempts at the same problems; then the majority of as many tokens."""
AT9, AT16, FIRST = "majority@9", "majority@16", "first candidate"
JUDGE, TOLD = "reward model", "reward model told every fact"
JUDGES = (JUDGE, TOLD)
"""Trained on practised problems; and on problems of every fact, the test's arithmetic among them."""
FEATURES = "features: "
"""Before an arm's name: the policy over candidates' features, not the language model."""
FAMILIAR = "practised facts: "
"""Before an arm's name: test problems whose arithmetic was practised, for comparison; claims are about the held-out half."""
SMALL, LARGE = (1, 3), (6, 8)


@dataclass(frozen=True)
class Plan:
    """The experiment's sizes. Temperature and steps were chosen in pilots on validation problems; the learning rate is the
    better of 0.0003 and 0.001 on validation problems of held-out arithmetic."""

    teaching: int = 900
    batch: int = 2048
    """Tokens of a teaching step."""
    heat: float = 1.2
    """Temperature of candidates; aggregations are sampled at 1."""
    m: int = 8
    each: int = 16
    """Candidates of a problem: two sets."""
    train_problems: int = 250
    test_problems: int = 150
    aggregations: int = 2
    """Of each set."""
    steps: int = 40
    prompts: int = 12
    group: int = 8
    lr: float = 3e-4
    check_error: float = 0.2
    """Chance that the step checker misjudges a step."""
    sizes: tuple[int, ...] = (4, 16)
    """Other numbers of candidates the main arm is tried with."""
    order_sets: int = 24
    order_draws: int = 16
    feature_updates: int = 150


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's expected score on one set (`number` −1: on one problem, where sets have no say)."""

    seed: int
    arm: str
    problem: str
    number: int
    size: int
    """Votes of the set's most frequent answer."""
    minority: bool
    """Whether the set is minority-correct."""
    score: float
    tokens: float
    """Sampled for one answer, candidates included."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of one seed that no problem carries: shares of a training run, distances of orders."""

    seed: int
    arm: str
    metric: str
    value: float


BELOW = "the difference's 95 % interval lies wholly below zero; it holds where that lies wholly above zero and every seed's mean does"


def _claim(id: str, says: str, falsified_if: str = BELOW) -> Claim:
    return Claim(id, Kind.EFFECT, says, falsified_if)


CLAIMS = (
    _claim("beats-untrained", "RL makes the aggregator better than the same model that only knows the form."),
    _claim("beats-majority", "Eight candidates and one trained aggregation beat a majority over as many tokens, which is one of nine."),
    _claim(
        "beats-16", "With eight candidates the trained aggregator is at least as good as a majority of sixteen.",
        "the difference's 95 % interval lies wholly below -1 point; it holds where that and every seed's mean lie above -1 point",
    ),
    _claim("minority", "It recovers right answers that the majority misses, more often than a candidate drawn blindly is right there."),
    _claim(
        "reads", "It uses its candidates: without any, or with another problem's, it is worse.",
        "either difference's 95 % interval lies wholly below zero; it holds where both lie wholly above and every seed's means do",
    ),
    _claim("shrinks", "Its gain over the majority is larger where the majority is small (1–3 of 8) than where it is large (6–8)."),
    _claim("mixture", "Mixtures with few easy sets (5 and 50 %) are better than the extremes, hard sets alone and every easy one."),
    _claim("solver-instead", "As many updates on the solver itself give less, at equal tokens."),
    _claim(
        "beats-reward-model", "It beats the best and the weighted vote of nine candidates, as many tokens, by a reward model trained on "
        "practised problems, as it is, and by one trained on problems of every fact.",
        "any of the four differences' 95 % interval lies wholly below zero; it holds where all lie wholly above and every seed's means do",
    ),
    _claim("beats-check", "It beats the vote weighted by a step checker, although it is not told what the checker says."),
    _claim("feature-mixture", "For a policy over vote share and check alone, too, 50 % easy is better than every easy one."),
)  # fmt: skip

Pick = Callable[[Row], bool]


def best_by(judge: str, k: int) -> str:
    """The arm that takes what a reward model scores highest of k candidates."""
    return f"best of {k} by {judge}"


def vote_by(judge: str, k: int) -> str:
    """The arm whose votes of k candidates weigh as a reward model scores them."""
    return f"vote of {k} weighted by {judge}"


def everything(row: Row) -> bool:
    """All rows."""
    return True


def of_size(low: int, high: int) -> Pick:
    """Rows of sets whose majority has so many votes."""
    return lambda row: low <= max(row.size, 1) <= high


def means(rows: Sequence[Row], arm: str, pick: Pick = everything) -> dict[tuple[int, str], float]:
    """(seed, problem) -> an arm's mean score over the rows picked."""
    found: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if row.arm == arm and pick(row):
            found.setdefault((row.seed, row.problem), []).append(row.score)
    return {key: fmean(scores) for key, scores in found.items()}


Scores = dict[tuple[int, str], float]


def combined(rows: Sequence[Row], arms: Sequence[str], pick: Pick = everything) -> Scores:
    """The mean of several arms, problem by problem."""
    each = [means(rows, arm, pick) for arm in arms]
    return {key: fmean(e[key] for e in each) for key in each[0] if all(key in e for e in each)}


def mean_of(scores: Scores) -> Estimate | None:
    """The mean over problems, resampling problems; `None` where there are none."""
    return _resampled([np.array(list(scores.values()))], lambda means: means[0]) if scores else None


def difference(a: Scores, b: Scores) -> Estimate | None:
    """Mean of a − b over the problems that both have, which are resampled together."""
    both = [key for key in a if key in b]
    return _resampled([np.array([a[key] - b[key] for key in both])], lambda means: means[0]) if both else None


def _resampled(groups: Sequence[np.ndarray], value: Callable[[list[np.ndarray]], np.ndarray], draws: int = 4000) -> Estimate:
    """A statistic of the means of independent groups, with a percentile bootstrap of each."""
    rng = np.random.default_rng(0)
    drawn = value([g[rng.integers(0, len(g), (draws, len(g)))].mean(1) for g in groups])
    at = float(value([np.array([g.mean()]) for g in groups])[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(at, float(low), float(high), sum(len(g) for g in groups))


def by_seed(a: Scores, b: Scores) -> list[float]:
    """The mean difference of every seed."""
    seeds = sorted({seed for seed, _ in a})
    return [fmean(a[key] - b[key] for key in a if key in b and key[0] == seed) for seed in seeds if any(k[0] == seed and k in b for k in a)]


def judged(e: Estimate | None, seeds: Sequence[float], least: float = 0.0) -> Result:
    """The rule for differences; with `least` below zero, for *at least as good*."""
    if e is None:
        return Result.UNCLEAR
    if e.low > least and min(seeds) > least:
        return Result.HOLDS
    return Result.FAILS if e.high < least else Result.UNCLEAR


def points(e: Estimate | None) -> str:
    """A difference in words."""
    return "not measured" if e is None else f"{100 * e.mean:+.1f} points ({100 * e.low:+.1f} to {100 * e.high:+.1f})"


def percent(scores: Scores) -> str:
    """A share in words."""
    return f"{100 * fmean(scores.values()):.1f} %" if scores else "none"


def findings(rows: Sequence[Row]) -> tuple[Finding, ...]:
    """The claims beside what was measured."""

    def compare(id: str, a: Scores, b: Scores, words: str, least: float = 0.0) -> Finding:
        e = difference(a, b)
        seeds = by_seed(a, b)
        return Finding(id, judged(e, seeds, least), words.format(a=percent(a), b=percent(b), d=points(e)))

    main = means(rows, MAIN)
    minority: Pick = lambda row: row.minority  # noqa: E731
    gains = {size: (means(rows, MAIN, of_size(*size)), means(rows, MAJORITY, of_size(*size))) for size in (SMALL, LARGE)}
    at9, at16, blind = means(rows, AT9), means(rows, AT16), means(rows, PASS1, minority)
    few, ends = combined(rows, (FIVE, FIFTY)), combined(rows, (HARD, NATURAL))
    features = [means(rows, FEATURES + arm) for arm in (FIFTY, NATURAL)]
    found = [
        compare("beats-untrained", main, means(rows, START), "{a} against {b}: {d}"),
        compare("beats-majority", main, at9, "{a} against {b} for a majority of nine: {d}"),
        compare("beats-16", main, at16, "{a} against {b} for a majority of sixteen: {d}", -0.01),
        compare("minority", means(rows, MAIN, minority), blind, "on minority-correct sets {a}, a blind draw {b}: {d}"),
        _all("reads", rows, main, (ALONE, OTHERS)),
        _shrinks(gains[SMALL], gains[LARGE]),
        compare("mixture", few, ends, "5 and 50 % {a}, hard only and natural {b}: {d}"),
        compare("solver-instead", main, means(rows, SOLVER), "{a} against {b} for a majority of nine by the trained solver: {d}"),
        _all("beats-reward-model", rows, main, [arm(judge, 9) for judge in JUDGES for arm in (best_by, vote_by)]),
        compare("beats-check", main, means(rows, CHECKED), "{a} against {b}: {d}"),
        compare("feature-mixture", features[0], features[1], "50 % {a}, natural {b}: {d}"),
    ]
    return tuple(found)


def _all(id: str, rows: Sequence[Row], main: Scores, arms: Sequence[str]) -> Finding:
    """The rule for claims about several differences."""
    told = [(means(rows, arm), arm) for arm in arms]
    results = [judged(difference(main, b), by_seed(main, b)) for b, _ in told]
    result = Result.FAILS if Result.FAILS in results else Result.UNCLEAR if Result.UNCLEAR in results else Result.HOLDS
    return Finding(id, result, "; ".join(f"{arm} {percent(b)}, the difference {points(difference(main, b))}" for b, arm in told))


def _shrinks(small: tuple[Scores, Scores], large: tuple[Scores, Scores]) -> Finding:
    """The two strata hold different sets, often of different problems: they are resampled apart."""
    gaps = [np.array([a[key] - b[key] for key in a if key in b]) for a, b in (small, large)]
    if not all(len(g) for g in gaps):
        return Finding("shrinks", Result.UNCLEAR, "one of the strata is empty")
    e = _resampled(gaps, lambda means: means[0] - means[1])
    seeds = [x - y for x, y in zip(by_seed(*small), by_seed(*large), strict=False)]
    apart = ", ".join(f"{100 * g.mean():+.1f} points {where}" for g, where in zip(gaps, ("at 1–3", "at 6–8"), strict=True))
    return Finding("shrinks", judged(e, seeds), f"{apart}; the difference {points(e)}")


RUNGS = (FIRST, PASS1, MAJORITY, AT9, AT16, WEIGHTED, BEST, CHECKED, BEST_CHECK, ORACLE)


def arms_of(rows: Sequence[Row]) -> list[str]:
    """Every arm, in the order of first appearance."""
    return list(dict.fromkeys(row.arm for row in rows))


def measures(rows: Sequence[Row], facts: Sequence[Fact]) -> tuple[Measure, ...]:
    """Accuracy of every arm: overall, by size of the majority, and on minority-correct sets; tokens; and the facts."""
    found: list[Measure] = []
    picks: dict[str, Pick] = {
        "accuracy": everything, "accuracy, majority of 1–3": of_size(*SMALL), "accuracy, majority of 4–5": of_size(4, 5),
        "accuracy, majority of 6–8": of_size(*LARGE), "accuracy, minority-correct": lambda row: row.minority,
    }  # fmt: skip
    for arm in arms_of(rows):
        own = [row for row in rows if row.arm == arm]
        for metric, pick in picks.items():
            e = mean_of(means(own, arm, pick if metric == "accuracy" else lambda row, pick=pick: row.number >= 0 and pick(row)))
            if e is not None:
                found.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))
        tokens = [row.tokens for row in own]
        found.append(Measure(arm, "tokens", fmean(tokens), min(tokens), max(tokens), len(tokens)))
    for arm, metric in dict.fromkeys((f.arm, f.metric) for f in facts):
        values = [f.value for f in facts if (f.arm, f.metric) == (arm, metric)]
        found.append(Measure(arm, metric, fmean(values), min(values), max(values), len(values)))
    return tuple(found)
