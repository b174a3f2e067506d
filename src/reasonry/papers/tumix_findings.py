"""What TUMIX's experiment is to show: its plan, its claims, the rules by which each holds or fails, and the figures.

Written before a first run, whose outcome led to another teaching and new test questions (see what differs), and unchanged since. The unit
is the question: intervals resample the questions of all seeds together, pairs of arms on the same ones. Seeds differ in questions,
encyclopaedia and sampling; the model is one. A claim about a difference holds where the interval lies above zero and the mean of every seed
does; it fails where the interval lies below zero; everything else is unclear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.agglm_findings import Scores, by_seed, difference, judged, mean_of, percent, points

ALL, BEST, THREE = "fifteen", "best x15", "three x5"
SIX, BEST_SIX = "six", "best of six x6"
"""The first six of the paper's table, none of which has both tools; and copies of the best of them."""
GROUPS = (ALL, BEST, THREE, SIX, BEST_SIX)
ALONE = "self-consistency of "
"""Before `BEST` or `BEST_SIX`: its votes without rounds, over as many sampled tokens as the group used that it is compared with."""
STOPS = ("judge", "rule", "margin", "oracle")


@dataclass(frozen=True)
class Plan:
    """The experiment's sizes. Steps and learning rate of the teaching were chosen in pilots on validation questions."""

    steps: int = 2400
    lr: float = 0.02
    batch: int = 2048
    """Tokens of a teaching step."""
    each: int = 12
    """Test questions of each of the four kinds, a seed."""
    validation: int = 40
    """Questions by which the best agents are chosen."""
    rounds: int = 4
    min_rounds: int = 2
    pool: int = 40
    """Answers of the best agent alone, from which self-consistency draws."""
    margin: float = 0.6
    groups: int = 2000
    """Random groups that are compared."""
    model_questions: int = 4000
    rhos: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One group on one question after one round; a stop is a group of its own, `six, judge`."""

    seed: int
    arm: str
    problem: str
    kind: str
    round: int
    """Counted from 1; of a stop, the round it ended with."""
    average: float
    coverage: float
    vote: float
    """In expectation under even ties."""
    tokens: float
    """Sampled up to here, by judges too."""
    prompt_tokens: float
    calls: float
    to_right: float = 0.0
    """Share of agents that were wrong the round before and are right."""
    to_wrong: float = 0.0


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of one seed that no question carries."""

    seed: int
    arm: str
    metric: str
    value: float


def _claim(id: str, says: str, falsified_if: str, kind: Kind = Kind.EFFECT) -> Claim:
    return Claim(id, kind, says, falsified_if)


_BELOW = "the difference's 95 % interval lies wholly below zero; it holds where that lies wholly above zero and every seed's mean does"
CLAIMS = (
    _claim(
        "blind-spots", "Copies of one agent fail together more than different agents do.",
        "being right is not more correlated between copies than between different agents in any seed; it holds where it is in all",
    ),
    _claim("covers", "Fifteen different agents have more questions right by at least one of them than fifteen copies of the best.", _BELOW),
    _claim("mixture", "Fifteen agents with a judge beat self-consistency of the best agent over as many sampled tokens.", _BELOW),
    _claim(
        "apart", "Where no agent has both tools, six agents with a judge beat self-consistency of the best of them over as many tokens.",
        _BELOW,
    ),
    _claim("exchange", "On questions that need both tools, talking lets six agents answer what they cannot alone: the vote rises from "
           "the first round to the last.", _BELOW),
    _claim("average-rises", "The average accuracy of the fifteen rises from the first round to the second.", _BELOW),
    _claim(
        "coverage-falls", "The coverage of the fifteen falls with rounds: right answers get lost.",
        "coverage after the last round is wholly above that after the first by the 95 % interval; it holds where it is wholly below and no "
        "seed's mean is above",
    ),
    _claim(
        "judge-saves", "The judge's stop keeps 95 % of the best round's vote with 60 % of the tokens of all rounds, its own included.",
        "the vote kept is below 95 % or the tokens above 60 %, over all seeds",
    ),
    _claim(
        "groups", "A group chosen by coverage and average on some questions is better than the average group on others.",
        "the held-out combined score of the best group found is 2 or less in every seed; it holds where it is above 2 in every seed",
    ),
    _claim(
        "model", "In the explicit model the advantage of different agents over copies vanishes as they come to share what copies do.",
        "the advantage at correlation 1 is not zero, or is not larger at 0 than at 0.9", Kind.EXACT,
    ),
)  # fmt: skip


def scores(rows: Sequence[Row], arm: str, field: str = "vote", round: int | None = None, kinds: Sequence[str] = ()) -> Scores:
    """(seed, question) -> a group's score after a round; the last round for `None`."""
    own = [r for r in rows if r.arm == arm and (not kinds or r.kind in kinds)]
    last = max((r.round for r in own), default=0) if round is None and ", " not in arm else round
    return {(r.seed, r.problem): float(getattr(r, field)) for r in own if last is None or r.round == last}


def findings(rows: Sequence[Row], facts: Sequence[Fact]) -> tuple[Finding, ...]:
    """The claims beside what was measured."""

    def compare(id: str, a: Scores, b: Scores, words: str) -> Finding:
        e = difference(a, b)
        result = judged(e, by_seed(a, b)) if e else Result.UNCLEAR
        return Finding(id, result, words.format(a=percent(a), b=percent(b), d=points(e)))

    both = ("mixed",)
    at = "{a} against {b}: {d}"
    return (
        _blind(facts),
        compare("covers", scores(rows, ALL, "coverage", 1), scores(rows, BEST, "coverage", 1), at),
        compare("mixture", scores(rows, f"{ALL}, judge"), scores(rows, ALONE + BEST), at),
        compare("apart", scores(rows, f"{SIX}, judge"), scores(rows, ALONE + BEST_SIX), at),
        compare("exchange", scores(rows, SIX, kinds=both), scores(rows, SIX, round=1, kinds=both), "{a} at the end, {b} alone: {d}"),
        compare("average-rises", scores(rows, ALL, "average", 2), scores(rows, ALL, "average", 1), "{a} against {b}: {d}"),
        _falls(scores(rows, ALL, "coverage"), scores(rows, ALL, "coverage", 1)),
        _saves(rows),
        _groups(facts),
        _model(facts),
    )  # fmt: skip


def values(facts: Sequence[Fact], arm: str, metric: str) -> list[float]:
    """A fact's values, seed by seed."""
    return [f.value for f in facts if (f.arm, f.metric) == (arm, metric)]


def _blind(facts: Sequence[Fact]) -> Finding:
    within, between = (values(facts, "errors", m) for m in ("within", "between"))
    if not within or len(within) != len(between):
        return Finding("blind-spots", Result.UNCLEAR, "not every seed has both correlations")
    more = [a > b for a, b in zip(within, between, strict=True)]
    result = Result.HOLDS if all(more) else Result.UNCLEAR if any(more) else Result.FAILS
    return Finding("blind-spots", result, f"{fmean(within):.2f} between copies, {fmean(between):.2f} between different agents")


def _falls(last: Scores, first: Scores) -> Finding:
    e = difference(last, first)
    seeds = by_seed(last, first)
    if e is None:
        return Finding("coverage-falls", Result.UNCLEAR, "not measured")
    result = Result.HOLDS if e.high < 0 and max(seeds) <= 0 else Result.FAILS if e.low > 0 else Result.UNCLEAR
    return Finding("coverage-falls", result, f"{percent(first)} after the first round, {percent(last)} after the last: {points(e)}")


def kept(rows: Sequence[Row], group: str, stop: str) -> tuple[float, float] | None:
    """(vote as a share of the best fixed round's, tokens as a share of those of all rounds) of a stop; `None` of nothing."""
    rounds = sorted({r.round for r in rows if r.arm == group})
    own = [r for r in rows if r.arm == f"{group}, {stop}"]
    if not rounds or not own:
        return None
    best = max(fmean(scores(rows, group, round=n).values()) for n in rounds)
    whole = fmean(scores(rows, group, "tokens").values())
    return fmean(r.vote for r in own) / best if best else 0.0, fmean(r.tokens for r in own) / whole


def _saves(rows: Sequence[Row]) -> Finding:
    found = kept(rows, ALL, "judge")
    if found is None:
        return Finding("judge-saves", Result.UNCLEAR, "not measured")
    vote, tokens = found
    result = Result.HOLDS if vote >= 0.95 and tokens <= 0.6 else Result.FAILS
    return Finding("judge-saves", result, f"{100 * vote:.1f} % of the best fixed round's vote with {100 * tokens:.0f} % of the tokens")


def _groups(facts: Sequence[Fact]) -> Finding:
    found = values(facts, "groups", "held-out combined score of the best")
    if not found:
        return Finding("groups", Result.UNCLEAR, "not measured")
    above = [v > 2 for v in found]
    result = Result.HOLDS if all(above) else Result.UNCLEAR if any(above) else Result.FAILS
    return Finding("groups", result, f"{fmean(found):.3f} ({min(found):.3f} to {max(found):.3f} over seeds); the average group has 2")


def _model(facts: Sequence[Fact]) -> Finding:
    found = {rho: values(facts, "model", f"advantage at correlation {rho:g}") for rho in (0.0, 0.9, 1.0)}
    if not all(found.values()):
        return Finding("model", Result.UNCLEAR, "not measured")
    free, tied, same = (fmean(v) for v in found.values())
    result = Result.HOLDS if same == 0 and free > tied else Result.FAILS
    said = f"{100 * free:+.1f} points at correlation 0, {100 * tied:+.1f} at 0.9, {100 * same:+.1f} at 1"
    return Finding("model", result, said)


def measures(rows: Sequence[Row], facts: Sequence[Fact]) -> tuple[Measure, ...]:
    """Every group after every round and with every stop: vote, average, coverage, flips, and what it took; by kind; and the facts."""
    found: list[Measure] = []
    arms = list(dict.fromkeys((r.arm, None if ", " in r.arm else r.round) for r in rows))
    for arm, round in arms:
        own = [r for r in rows if r.arm == arm and (round is None or r.round == round)]
        name = arm if round is None or arm.startswith(ALONE) else f"{arm}, round {round}"
        for metric in ("vote", "average", "coverage"):
            found += _measured(name, metric, {(r.seed, r.problem): getattr(r, metric) for r in own})
        for kind in dict.fromkeys(r.kind for r in own):
            found += _measured(name, f"vote, {kind}", {(r.seed, r.problem): r.vote for r in own if r.kind == kind})
        for metric in ("to_right", "to_wrong", "round", "tokens", "prompt_tokens", "calls"):
            told = [float(getattr(r, metric)) for r in own]
            found.append(Measure(name, metric.replace("_", " "), fmean(told), min(told), max(told), len(told)))
    for arm, metric in dict.fromkeys((f.arm, f.metric) for f in facts):
        told = values(facts, arm, metric)
        found.append(Measure(arm, metric, fmean(told), min(told), max(told), len(told)))
    return tuple(found)


def _measured(arm: str, metric: str, found: Scores) -> list[Measure]:
    e = mean_of(found)
    return [] if e is None else [Measure(arm, metric, e.mean, e.low, e.high, e.n)]
