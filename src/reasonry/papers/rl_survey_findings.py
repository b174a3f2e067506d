"""What the survey's experiments claim, and the rules that turn what was measured into verdicts. Written before any result was seen but the
lab's, which is arithmetic.

A seed is the unit of the tournament (one training run of every arm) and of the lab (one set of prompts), with Student's intervals.
Sharpening is measured on problems: intervals are over the problems of all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.rl_survey_lab import PASS_RATES, Bench
from reasonry.probe.seeds import over_seeds
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference, pass_at_k

EXACT = 1e-9
"""Relative error below which float64 sums count as equal."""
BOUNDED = ("grpo", "dr-grpo", "dapo", "gspo", "cispo", "ppo")
UNBOUNDED = ("rloo", "gpg")
"""The tournament's variants with and without a bound on how far one batch can push."""
KS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Plan:
    """How large the experiments are. The stored evidence uses the defaults."""

    model: str = "pocket-1m"
    teaching: int = 6
    """Batches of worked answers it is shown first."""
    task: str = "arithmetic?steps=4"
    """One operation more than the model was trained on: problems out of its reach are common."""
    max_tokens: int = 96
    lab_group: int = 2
    """G of the enumeration: 40^G groups a prompt."""
    weight_group: int = 8
    """G at which the weights of prompts are worked out."""
    staleness: tuple[int, ...] = (1, 8)
    """Optimiser steps on each batch of the tournament."""
    tournament_steps: int = 10
    tournament_problems: int = 100
    steps: int = 60
    """Of the sharpening run."""
    sharpener: str = "dr-grpo"
    problems: int = 40
    """Tested for sharpening, per seed."""
    attempts: int = 128
    """At each of them, before and after."""
    prompts: int = 8
    group: int = 8
    lr: float = 1e-4
    """Chosen on validation problems, of 1e-4 and 3e-4."""
    train_problems: int = 1000


@dataclass(frozen=True)
class Entrant:
    """One run of the tournament."""

    seed: int
    slug: str
    staleness: int
    accuracy: float
    tokens: int
    """Sampled in training."""


@dataclass(frozen=True)
class Drawn:
    """One problem of the sharpening experiment: how many of `n` attempts were right."""

    seed: int
    problem: str
    n: int
    before: int
    again: int
    """Of a second, independent draw from the model before training: what luck alone finds."""
    after: int


CLAIMS = (
    Claim(
        "unbiased", Kind.EXACT, "REINFORCE, RLOO and a perfect critic estimate the gradient of the mean reward without bias.",
        f"any of their expectations differs from the true gradient by more than {EXACT:g} of its norm",
    ),
    Claim(
        "shrunk", Kind.EXACT, "With one's own reward inside the group's mean the gradient keeps its direction and shrinks by (G−1)/G.",
        f"cosine or scale are off by more than {EXACT:g}",
    ),
    Claim(
        "length-baseline", Kind.EXACT, "OPO's length-weighted baseline, which holds one's own reward, is biased, slightly.",
        "its cosine to the true gradient is 1, or below .95",
    ),
    Claim(
        "sd", Kind.EXACT, "Dividing by the group's sd weighs very easy and very hard prompts more than those of medium difficulty.",
        "the weight of a prompt does not grow with the distance of its pass rate from one half",
    ),
    Claim(
        "answer-mean", Kind.EXACT, "The mean over each answer's tokens favours short right answers and long wrong ones.",
        "a step along it does not shorten right answers, and lengthen wrong ones, more than a step along the true gradient does",
    ),
    Claim(
        "stale", Kind.EFFECT, "Objectives that bound the ratio bear many updates on one batch better than those that do not.",
        "what the unbounded (RLOO, GPG) lose from one update a batch to eight is not more than what the bounded lose; holds where the "
        "difference's 95 % interval over seeds is wholly above zero",
    ),
    Claim(
        "sharpening", Kind.EFFECT, "RL sharpens: pass@1 rises, while pass@128 does not.",
        "pass@128 rises with a 95 % interval above zero; holds where pass@1's interval is wholly above zero and pass@128's is not. Nothing "
        "is said where pass@1's is not",
    ),
    Claim(
        "discovery", Kind.EFFECT, "RL discovers: it solves problems that the model before it never solved in 128 attempts.",
        "with none of 128 right before, 128 attempts after training solve no more than another 128 before do; holds where "
        "the 95 % interval is above zero; unclear where pass@1 does not rise",
    ),
)  # fmt: skip


def findings(
    plan: Plan, labs: Mapping[int, Mapping[str, Bench]], weights: Mapping[str, Sequence[float]], entrants: Sequence[Entrant],
    drawn: Sequence[Drawn],
) -> tuple[Finding, ...]:  # fmt: skip
    """A verdict for each claim."""
    worst = max(lab[a].error for lab in labs.values() for a in ("REINFORCE", "RLOO", "perfect critic"))
    G = plan.lab_group
    off = max(max(abs(lab["R − μ"].scale - (G - 1) / G), abs(lab["R − μ"].cosine - 1)) for lab in labs.values())
    opo = [lab["OPO"].cosine for lab in labs.values()]
    sd = weights["(R − μ)/sd"]
    apart = sorted(zip((abs(p - 0.5) for p in PASS_RATES), sd, strict=True))
    grows = all(b[1] >= a[1] * (1 - EXACT) for a, b in pairwise(apart)) and apart[-1][1] > apart[0][1]
    slopes = [lab["R − μ, mean per answer"].slopes for lab in labs.values()]
    right, wrong = fmean(s[0] for s in slopes), fmean(s[1] for s in slopes)
    return (
        Finding("unbiased", _exact(worst < EXACT), f"largest relative error {worst:.1e}"),
        Finding("shrunk", _exact(off < EXACT), f"off by at most {off:.1e} at G = {G}"),
        Finding("length-baseline", _exact(all(0.95 < c < 1 - EXACT for c in opo)), f"cosine {min(opo):.4f} to {max(opo):.4f} at G = {G}"),
        Finding(
            "sd", _exact(grows), f"weight {sd[0]:.2f} at pass rate {PASS_RATES[0]:g}, {apart[0][1]:.2f} at .5, {sd[-1]:.2f} at "
            f"{PASS_RATES[-1]:g} (G = {plan.weight_group}; with right-or-wrong rewards all weights are equal for G of 2 and 3)",
        ),
        Finding(
            "answer-mean", _exact(all(a < 0 < b for a, b in slopes)),
            f"tokens per unit step, less the true gradient's: right answers {right:+.3f}, wrong ones {wrong:+.3f}",
        ),
        _stale(plan, entrants),
        _sharpening(drawn, plan.attempts),
        _discovery(drawn),
    )  # fmt: skip


def _stale(plan: Plan, entrants: Sequence[Entrant]) -> Finding:
    least, most = min(plan.staleness), max(plan.staleness)
    of = {(e.seed, e.slug, e.staleness): e.accuracy for e in entrants}
    gaps: list[float] = []
    for seed in sorted({e.seed for e in entrants}):
        lost = {s: of[seed, s, least] - of[seed, s, most] for s in (*BOUNDED, *UNBOUNDED)}
        gaps.append(fmean(lost[s] for s in UNBOUNDED) - fmean(lost[s] for s in BOUNDED))
    if len(gaps) < 2:
        return Finding(
            "stale", Result.UNCLEAR, f"{len(gaps)} seeds; an interval needs two" + (f"; difference {gaps[0]:+.3f}" if gaps else "")
        )
    e = over_seeds(gaps)
    result = Result.HOLDS if e.low > 0 else Result.FAILS if e.mean <= 0 else Result.UNCLEAR
    return Finding("stale", result, f"accuracy lost by the unbounded less that lost by the bounded: {_signed(e)}")


def _sharpening(drawn: Sequence[Drawn], n: int) -> Finding:
    one, many = (gain(drawn, k) for k in (1, n))
    if one is None or many is None:
        return Finding("sharpening", Result.UNCLEAR, "not run")
    said = f"pass@1 {_signed(one)}; pass@{n} {_signed(many)}"
    if one.low <= 0:
        return Finding("sharpening", Result.UNCLEAR, f"the training did not take: {said}")
    return Finding("sharpening", Result.FAILS if many.low > 0 else Result.HOLDS, said)


def _discovery(drawn: Sequence[Drawn]) -> Finding:
    never = [d for d in drawn if d.before == 0]
    if not never:
        return Finding("discovery", Result.UNCLEAR, "every problem was solved at least once before training")
    one = gain(drawn, 1)
    took = one is not None and one.low > 0
    e = paired_difference([float(d.after > 0) for d in never], [float(d.again > 0) for d in never])
    after, again = (sum(getattr(d, name) > 0 for d in never) for name in ("after", "again"))
    result = Result.UNCLEAR if not took else Result.HOLDS if e.low > 0 else Result.FAILS if e.mean <= 0 else Result.UNCLEAR
    return Finding(
        "discovery",
        result,
        f"of {len(never)} never solved, {after} are solved after training, {again} by another draw before: {_signed(e)}",
    )


def gain(drawn: Sequence[Drawn], k: int) -> Estimate | None:
    """pass@k after less before, paired by problem; `None` of nothing."""
    if not drawn:
        return None
    return paired_difference([pass_at_k(d.n, d.after, k) for d in drawn], [pass_at_k(d.n, d.before, k) for d in drawn])


def measures(
    plan: Plan, labs: Mapping[int, Mapping[str, Bench]], weights: Mapping[str, Sequence[float]], entrants: Sequence[Entrant],
    drawn: Sequence[Drawn],
) -> tuple[Measure, ...]:  # fmt: skip
    """All that was measured, with intervals."""
    rows: list[Measure] = []
    for arm in next(iter(labs.values())):
        for metric in ("cosine", "scale", "noise"):
            rows.append(_measure(f"lab: {arm}", metric, _seeds([getattr(lab[arm], metric) for lab in labs.values()])))
    for arm, w in weights.items():
        rows += [Measure(f"lab: {arm}", f"weight at pass rate {p:g}", x, x, x, 1) for p, x in zip(PASS_RATES, w, strict=True)]
    for staleness in plan.staleness:
        for slug in dict.fromkeys(e.slug for e in entrants):
            mine = [e for e in entrants if (e.slug, e.staleness) == (slug, staleness)]
            name = f"{slug}, {staleness} update{'s' * (staleness > 1)} a batch"
            rows.append(_measure(name, "accuracy", _seeds([e.accuracy for e in mine])))
            rows.append(_measure(name, "training tokens", _seeds([float(e.tokens) for e in mine])))
    for name in ("before", "after") if drawn else ():
        for k in (k for k in KS if k <= plan.attempts):
            rows.append(_measure(name, f"pass@{k}", clustered_mean([[pass_at_k(d.n, getattr(d, name), k)] for d in drawn])))
    return tuple(rows)


def _seeds(values: Sequence[float]) -> Estimate:
    return over_seeds(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], 1)


def _measure(arm: str, metric: str, e: Estimate) -> Measure:
    return Measure(arm, metric, e.mean, e.low, e.high, e.n)


def _exact(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _signed(e: Estimate) -> str:
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}], n = {e.n}"
