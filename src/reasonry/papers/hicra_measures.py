"""Every figure of HICRA's experiments, as measures with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from reasonry.core import Measure
from reasonry.papers.hicra_rows import Facts, Plan, Quality, Row, Step, curve, scores, share, speeds, spread
from reasonry.probe.seeds import level

TESTED = {"passed": "test score", "planning": "planning errors", "execution": "execution errors"}
LAST = {
    "entropy": "token entropy", "ratio": "planning token ratio", "sg_entropy": "strategic-gram entropy",
    "execution_perplexity": "execution perplexity", "planning_perplexity": "planning perplexity",
}  # fmt: skip
"""Of a training step, with the words of its measures."""
JUDGED = {"precision": "precision", "recall": "recall", "left": "marked words left without 30 % of the grams"}


def measures(plan: Plan, rows: Sequence[Row], steps: Sequence[Step], facts: Sequence[Facts]) -> tuple[Measure, ...]:
    """Tests of every model, what training took and showed, the simulated reasoner, the extractor, entropy against planning."""
    made: list[Measure] = []
    for arm in dict.fromkeys(r.arm for r in rows):
        for what, words in TESTED.items():
            if e := level(scores(rows, arm, what)):
                made.append(Measure(arm, words, e.mean, e.low, e.high, e.n))
    for arm in dict.fromkeys(s.arm for s in steps):
        mine = [s for s in steps if s.arm == arm]
        seeds = sorted({s.seed for s in mine})
        made.append(_over(arm, "mean pass rate while training", list(speeds(steps, arm).values())))
        spent = [float(max(s.tokens for s in mine if s.seed == seed)) for seed in seeds]
        made.append(Measure(arm, "sampled tokens in training (least and most)", fmean(spent), min(spent), max(spent), len(spent)))
        for what, words in LAST.items():
            for where, part in (("first", slice(None, 5)), ("last", slice(-5, None))):
                values = [fmean(getattr(s, what) for s in [s for s in mine if s.seed == seed][part]) for seed in seeds]
                made.append(_over(arm, f"{words}, {where} 5 steps", values))
    for key in facts[0].agents if facts else ():
        q, _, arm = key.partition("/")
        for mark in (120, plan.updates):
            if mark % plan.marked == 0 and mark <= plan.updates:
                values = [agent[mark // plan.marked - 1] for agent in curve(facts, float(q), arm)]
                made.append(_over(f"simulated, q = {q}: {arm}", f"accuracy after {mark} updates", values))
    every = [x for f in facts for x in f.quality]
    for corpus, top in dict.fromkeys((x.corpus, x.top) for x in every):
        of = [x for x in every if (x.corpus, x.top) == (corpus, top)]
        made += [_over(f"extractor, {corpus}", f"{words} at top {top:.0%}", _values(of, what), True) for what, words in JUDGED.items()]
    for what, words in (
        ("high_planning", "planning share of high-entropy tokens"), ("planning_high", "high-entropy share of planning tokens"),
        ("planning_share", "planning share of all tokens"),
    ):  # fmt: skip
        made += [_over("start", words, [getattr(f, what) for f in facts], True)] if facts else []
    return tuple(made)


def _values(of: Sequence[Quality], what: str) -> list[float]:
    return [getattr(x, what) for x in of]


def _over(arm: str, metric: str, values: Sequence[float], bounded: bool = False) -> Measure:
    e = spread(values)
    assert e is not None
    e = share(e) if bounded else e
    return Measure(arm, metric, e.mean, e.low, e.high, e.n)
