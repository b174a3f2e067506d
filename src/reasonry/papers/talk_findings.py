"""What the debate experiment shows: the rules by which each claim holds or fails, and the figures.

Written before the evidence run. The unit is the question, within its seed; intervals are over seeds, or over all their questions where that
is wider (`probe.seeds`). Rates that divide by how often agents were right resample questions of all seeds together. A vote counts with its
expectation over ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import fsum
from statistics import fmean

import numpy as np

from reasonry.core import Finding, Measure, Result
from reasonry.papers.talk_cells import CLOSE, HIGH, KINDS, LOW, MIXED, WEAK_MAJORITY, Cell, Chances, Found, Plan
from reasonry.probe.exchange_log import Debate, Spoke
from reasonry.probe.flips import flips, vote_accuracy
from reasonry.probe.seeds import BySeed, gap, level, say, signed
from reasonry.probe.stats import Estimate
from reasonry.probe.votes import by_vote
from reasonry.solve.exchange.dynamics import course, dcm, run, voter
from reasonry.solve.exchange.votes import log_odds

Value = Callable[[Debate], float]


def pick(found: Found, groups: Sequence[str], kinds: Sequence[str], prior: float = HIGH, mode: str = "debate") -> list[Cell]:
    """The cells that were run, of these groups and kinds."""
    return [c for g in groups for k in kinds if (c := Cell(k, prior, g, mode)) in next(iter(found.values()))]


def by_problem(found: Found, cells: Sequence[Cell], value: Value) -> dict[int, dict[str, float]]:
    """Seed -> question -> the mean of a value over the cells that asked it."""
    told: dict[int, dict[str, float]] = {}
    for seed, held in found.items():
        seen: dict[str, list[float]] = {}
        for cell in cells:
            for d in held[cell]:
                seen.setdefault(d.problem, []).append(value(d))
        told[seed] = {p: fmean(v) for p, v in seen.items()}
    return told


def net(d: Debate) -> float:
    """IC − CI a turn."""
    return fmean(float(b.right) - float(a.right) for before, after in pairwise(d.rounds) for a, b in zip(before, after, strict=True))


def changed(d: Debate) -> float:
    """Share of turns that give another answer than the turn before."""
    return fmean(float(a.answer != b.answer) for before, after in pairwise(d.rounds) for a, b in zip(before, after, strict=True))


def vote_at(round: int) -> Value:
    """The vote's accuracy after a round."""
    return lambda d: vote_accuracy(d.rounds[round])


def mean_at(round: int) -> Value:
    """The mean agent's accuracy."""
    return lambda d: fmean(float(s.right) for s in d.rounds[round])


def every_round(d: Debate) -> float:
    """The vote over all answers of all rounds."""
    return vote_accuracy([s for said in d.rounds for s in said])


def stopped(d: Debate) -> float:
    """The vote where a unanimous first round ends the debate."""
    first = d.rounds[0]
    return vote_accuracy(first if len({s.answer for s in first}) == 1 else d.rounds[-1])


def weighted(chances: Mapping[str, float], kind: str, round: int) -> Value:
    """The vote by log-odds."""
    odds = {a: max(w, 0.0) for a, w in log_odds(chances).items()}

    def value(d: Debate) -> float:
        said: Sequence[Spoke] = d.rounds[round]
        p = by_vote([s.answer for s in said], [odds[f"{kind} {s.agent.split(' ')[0]}"] for s in said])
        return fsum(x for x, s in zip(p, said, strict=True) if s.right)

    return value


def weighted_by_seed(found: Found, chances: Chances, cells: Sequence[Cell], round: int) -> dict[int, dict[str, float]]:
    """`by_problem` of the weighted vote, with each seed's own weights."""
    told: dict[int, dict[str, list[float]]] = {}
    for seed, held in found.items():
        for cell in cells:
            for d in held[cell]:
                told.setdefault(seed, {}).setdefault(d.problem, []).append(weighted(chances[seed], cell.kind, round)(d))
    return {seed: {p: fmean(v) for p, v in of.items()} for seed, of in told.items()}


Rate = tuple[np.ndarray, np.ndarray]
"""(given up, were right) [Q]: per question of all seeds."""


def harm_of(found: Found, cells: Sequence[Cell], step: int | None = None) -> Rate:
    """How many right answers there were, and how many were given up in the next round (or in one transition alone)."""
    lost: dict[tuple[int, str], float] = {}
    right: dict[tuple[int, str], float] = {}
    for seed, held in found.items():
        for cell in cells:
            for d in held[cell]:
                for i, (before, after) in enumerate(pairwise(d.rounds)):
                    for a, b in zip(before, after, strict=True):
                        if a.right and step in (None, i):
                            right[seed, d.problem] = right.get((seed, d.problem), 0.0) + 1
                            lost[seed, d.problem] = lost.get((seed, d.problem), 0.0) + (not b.right)
    return np.array(list(lost.values())), np.array(list(right.values()))


def of_rates(rates: Sequence[Rate], value: Callable[[list[np.ndarray]], np.ndarray], draws: int = 4000) -> Estimate | None:
    """A statistic of several harm rates, resampling the questions of each; `None` where nobody was right."""
    if not all(r[1].sum() for r in rates):
        return None
    rng = np.random.default_rng(0)
    drawn = []
    for top, bottom in rates:
        index = rng.integers(0, len(top), (draws, len(top)))
        drawn.append(top[index].sum(1) / bottom[index].sum(1))
    at = float(value([np.array([t.sum() / b.sum()]) for t, b in rates])[0])
    low, high = np.quantile(value(drawn), [0.025, 0.975])
    return Estimate(at, float(low), float(high), sum(len(t) for t, _ in rates))


def _sided(e: Estimate | None, above: bool = True) -> Result:
    """Holds where the interval lies wholly on the claimed side of zero, fails where wholly on the other."""
    if e is None:
        return Result.UNCLEAR
    low, high = (e.low, e.high) if above else (-e.high, -e.low)
    return Result.HOLDS if low > 0 else Result.FAILS if high < 0 else Result.UNCLEAR


def zero(like: BySeed) -> dict[int, dict[str, float]]:
    """Nought for every question."""
    return {s: dict.fromkeys(of, 0.0) for s, of in like.items()}


def findings(found: Found, chances: Chances, plan: Plan) -> tuple[Finding, ...]:
    """The claims beside what was measured."""
    mixed, close = pick(found, MIXED, KINDS), pick(found, CLOSE, KINDS)
    few = pick(found, [WEAK_MAJORITY], KINDS)
    nets = by_problem(found, mixed, net)
    e = gap(nets, zero(nets))
    per = {c: fmean(v for of in by_problem(found, [c], net).values() for v in of.values()) for c in mixed}
    never = all(fmean(per[c] for c in mixed if c.group == g) >= 0 for g in {c.group for c in mixed})
    harm = Result.FAILS if never else _sided(e, above=False)
    told = [Finding("harm", harm, f"IC − CI is {signed(e)} a turn; below zero in {sum(v < 0 for v in per.values())} of {len(per)} cells")]

    before, after = by_problem(found, few, vote_at(0)), by_problem(found, few, vote_at(-1))
    e = gap(after, before)
    told.append(Finding("vote", _sided(e, above=False), f"{say(level(before))} before, {say(level(after))} after: {signed(e)}"))

    low, high = (by_problem(found, pick(found, CLOSE, KINDS, c), changed) for c in (LOW, HIGH))
    at, e = level(low), gap(high, low)
    assert at is not None
    assert e is not None
    bad, good = at.low > 0.1 or e.high < 0, at.high <= 0.1 and e.low > 0
    result = Result.FAILS if bad else Result.HOLDS if good else Result.UNCLEAR
    told.append(Finding("prior", result, f"{say(at)} of turns change at 50 %, {say(level(high))} at 95 %: {signed(e)} more"))

    told.append(_rates(found, "checkable", "a bare answer", pick(found, MIXED, ["bare"]), "a derivation", pick(found, MIXED, ["chain"])))
    told.append(_isolated(found))
    chains = pick(found, CLOSE, ["chain"])
    told.append(_rates(found, "noise", "peers", chains, "unrelated answers", pick(found, CLOSE, ["chain"], mode="noise")))
    told.append(_gate(found, close))
    plain, by_odds = by_problem(found, few, vote_at(-1)), weighted_by_seed(found, chances, few, -1)
    e = gap(by_odds, plain)
    told.append(Finding("weights", _sided(e), f"{say(level(plain))} without, {say(level(by_odds))} with: {signed(e)}"))
    talk, alone = by_problem(found, close, vote_at(-1)), by_problem(found, pick(found, CLOSE, KINDS, mode="alone"), vote_at(0))
    e = gap(alone, talk)
    told.append(Finding("compute", _sided(e), f"{say(level(alone))} for nine answers, {say(level(talk))} after debate: {signed(e)}"))
    rates = [harm_of(found, mixed, step) for step in (1, 0)]
    e = of_rates(rates, lambda r: r[0] - r[1])
    told.append(Finding("later", _sided(e), f"{_rate(rates[1])} given up in the first, {_rate(rates[0])} in the second: {signed(e)}"))
    told.append(martingale(plan.simulated))
    return tuple(told)


def _rate(rate: Rate) -> str:
    return say(of_rates([rate], lambda r: r[0]))


def _rates(found: Found, id: str, a: str, more: Sequence[Cell], b: str, less: Sequence[Cell]) -> Finding:
    rates = [harm_of(found, more), harm_of(found, less)]
    e = of_rates(rates, lambda r: r[0] - r[1])
    return Finding(id, _sided(e), f"of right answers {_rate(rates[0])} are given up with {a}, {_rate(rates[1])} with {b}: {signed(e)}")


def _isolated(found: Found) -> Finding:
    cells = pick(found, CLOSE, KINDS, mode="isolated")
    before, after = by_problem(found, cells, mean_at(0)), by_problem(found, cells, mean_at(-1))
    e = gap(after, before)
    assert e is not None
    inside, outside = max(-e.low, e.high) <= 0.05, e.low > 0.05 or e.high < -0.05
    result = Result.HOLDS if inside else Result.FAILS if outside else Result.UNCLEAR
    return Finding("isolated", result, f"{say(level(before))} before, {say(level(after))} after two looks: {signed(e)}")


def _gate(found: Found, close: Sequence[Cell]) -> Finding:
    gated = pick(found, CLOSE, KINDS, mode="gate")
    rates = [harm_of(found, close), harm_of(found, gated)]
    less = of_rates(rates, lambda r: r[0] / 2 - r[1])
    e = gap(by_problem(found, gated, vote_at(-1)), by_problem(found, gated, vote_at(0)))
    assert e is not None
    bad = (less is not None and less.high < 0) or e.high < -0.01
    result = Result.FAILS if bad else Result.HOLDS if less is not None and less.low > 0 and e.low > -0.05 else Result.UNCLEAR
    return Finding("gate", result, f"given up {_rate(rates[0])} without, {_rate(rates[1])} with; the vote then moves by {signed(e)}")


def martingale(questions: int) -> Finding:
    """The explicit dynamics against their arithmetic."""
    off = 0.0
    for chances in ((0.8,) * 3, (0.4,) * 3, (0.8, 0.4, 0.4)):
        copied, counted = course(run(chances, voter(0.7), 2, questions)), course(dcm(chances, 4.0, 2, questions))
        off = max(off, *(abs(m - fmean(chances)) for m in (*copied.mean, *counted.mean)))
        off = max(off, *(abs(a - b) for a, b in zip(copied.ci, copied.ic, strict=True)))
    vote = course(run((0.8,) * 3, voter(0.7), 2, questions)).vote
    off = max(off, abs(vote[0] - 0.8**2 * (3 - 1.6)))
    falls = all(b < a for a, b in pairwise(vote))
    words = f"off by at most {off:.4f}; three agents right in .8: the vote goes {', '.join(f'{v:.3f}' for v in vote)}"
    return Finding("martingale", Result.HOLDS if off <= 0.005 and falls else Result.FAILS, words)


def measures(found: Found, chances: Chances) -> tuple[Measure, ...]:
    """Every cell's figures over all seeds, the treatments that need no further calls, and the calibration."""
    told: list[Measure] = []

    def add(arm: str, metric: str, e: Estimate | None) -> None:
        if e is not None:
            told.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))

    for cell in next(iter(found.values())):
        of = [[cell], ["accuracy", "vote"]]
        last = len(next(iter(found.values()))[cell][0].rounds)
        for round in range(last):
            for name, value in zip(of[1], (mean_at(round), vote_at(round)), strict=True):
                add(str(cell), f"{name}, round {round}", level(by_problem(found, [cell], value)))
        if last == 1:
            continue
        f = flips(pooled(found, [cell]), str(cell))
        for name, e in (("harm", f.harm), ("gain", f.gain), ("IC − CI a turn", f.net), ("adopted of changed", f.adoption)):
            add(str(cell), name, e)
        c = f.total
        for name, n in (("CC", c.cc), ("CI", c.ci), ("IC", c.ic), ("II", c.ii), ("CI, unreadable", c.lost)):
            told.append(Measure(str(cell), name, n, n, n, len(found)))
        before, after = (by_problem(found, [cell], vote_at(r)) for r in (0, -1))
        add(str(cell), "vote after − before", gap(after, before))
        add(str(cell), "ties of the vote, last round", Estimate(f.rounds[-1].ties, f.rounds[-1].ties, f.rounds[-1].ties, f.debates))
        if cell.mode == "debate" and cell.prior == HIGH:
            add(str(cell), "vote over all rounds", level(by_problem(found, [cell], every_round)))
            add(str(cell), "vote, ended where unanimous", level(by_problem(found, [cell], stopped)))
            for round, name in ((0, "before"), (-1, "after")):
                add(str(cell), f"vote by log-odds, {name}", level(weighted_by_seed(found, chances, [cell], round)))
    for name in next(iter(chances.values())):
        values = [of[name] for of in chances.values()]
        told.append(Measure(name, "right alone, calibration", fmean(values), min(values), max(values), len(values)))
    return tuple(told)


def pooled(found: Found, cells: Sequence[Cell]) -> list[Debate]:
    """The debates of cells over all seeds, questions of different seeds kept apart, agents by their seat."""
    return [
        Debate(f"{seed}/{d.problem}", "", tuple(tuple(_seated(s, i) for i, s in enumerate(said)) for said in d.rounds))
        for seed, held in found.items()
        for cell in cells
        for d in held[cell]
    ]


def _seated(s: Spoke, seat: int) -> Spoke:
    return Spoke(f"seat {seat}", s.answer, s.right)
