"""What DeepSearch's experiment claims, and the rules that turn its runs into verdicts.

The rules were written before any test problem was asked; settings were chosen on validation problems. After the first run one comparison
was found to be empty: a round's new ends are siblings, so which of them is backed up changes no other node (`siblings`). The claim about
the surest wrong way is therefore tested where only backed-up ways are learned from, with two arms made for it then.

A seed is one training run of every arm from one start, so it is the unit: a difference is taken within each seed on the same test problems,
and its interval is Student's over seeds, or that over all their problems where it is wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import msgspec

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.deepsearch_lab import ENDS, INFORMED, PLAIN, SOLVED, WRONG
from reasonry.probe.seeds import gap, level, over_seeds, signed
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference

START, DIRECT, PREFIX, FULL, PLAIN_BACKUP, RANDOM, NO_CACHE, CENTRED = (
    "start", "direct", "direct, prefix tree", "DeepSearch", "plain backup", "random negative", "no cache", "centred nodes",
)  # fmt: skip
BACKED, BACKED_RANDOM = "backed ways only", "backed ways only, random negative"
ARMS = (DIRECT, PREFIX, FULL, PLAIN_BACKUP, RANDOM, NO_CACHE, CENTRED, BACKED, BACKED_RANDOM)


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    teaching: int = 450
    """Supervised steps of the model that all arms and seeds start from."""
    tokens: int = 30_000
    """Tokens an arm may sample in training, to the nearest step."""
    every: int = 5
    """Steps between checkpoints."""
    rounds: int = 2
    """The hard subset is chosen anew at the beginning of each; a round has half of the tokens."""
    attempts: int = 4
    """K of Pass1@K."""
    below: float = 0.3
    """δ: with four attempts, problems passed at most once."""
    pool: int = 160
    """Training problems that the hard ones are chosen from."""
    prompts: int = 12
    group: int = 8
    lr: float = 1e-3
    n: int = 4
    depth: int = 8
    test: int = 200
    """Test problems a seed, of which the start's hard ones are asked."""
    test_attempts: int = 4
    lab_problems: int = 60
    """Trees a seed in the experiment without a model."""
    drawn: int = 40
    """Training problems that are searched at most, until a tree worth drawing is found."""
    arms: tuple[str, ...] = ARMS
    probe: int = 60
    """Hard test problems a seed that the start searches, and answers directly at as many tokens."""


class Step(msgspec.Struct, frozen=True):
    """One step of an arm's log, as far as the findings need it."""

    step: int
    tokens: int
    """Sampled so far."""
    pass_rate: float
    length: float
    grad_norm: float = 0.0
    mismatch_max: float = 0.0
    cached: float = 0.0
    solved: float = 0.0
    """Share of the step's problems with a right answer."""


class Row(msgspec.Struct, frozen=True):
    """All attempts at one hard test problem by one model."""

    seed: int
    arm: str
    problem: str
    rate: float


class Probe(msgspec.Struct, frozen=True):
    """The start on one hard test problem, searching or answering directly at no fewer tokens."""

    seed: int
    problem: str
    how: str
    right: int
    """Right answers."""
    ends: int
    tokens: int


class Trained(msgspec.Struct, frozen=True):
    """One arm of one seed."""

    arm: str
    seed: int
    steps: list[Step]
    rows: list[Row]
    hard: list[int]
    """Problems of each round."""


class Lab(msgspec.Struct, frozen=True):
    """One kind of search over trees without a model."""

    how: str
    seed: int
    right: list[int]
    """Right ends of each tree."""


CLAIMS = (
    Claim(
        "same-tokens", Kind.EXACT, "Chunks that share a prefix are the sampler's own tokens: before an update every ratio is 1.",
        "in any step a token's log-probability in the trainer differs from the engine's by more than 0.001",
    ),
    Claim(
        "signal", Kind.EFFECT, "Search helps as far as its scores inform: with a telling entropy it solves more than plain tries.",
        "with entropy that tells right steps and λ2 = −.4 not more trees are solved than by plain tries at the same number of chunks",
    ),
    Claim(
        "no-signal", Kind.EFFECT, "Without a telling score it solves fewer problems than plain tries, yet finds more right ends.",
        "without a signal search solves as many, or its mean number of right ends is not above that of plain tries",
    ),
    Claim(
        "sign", Kind.EFFECT, "The sign of λ2 is the task's: the same signal used the other way round solves fewer.",
        "with λ2 = +.4 as many trees are solved as with λ2 = −.4",
    ),
    Claim(
        "explore", Kind.EFFECT, "Search finds a right answer to more of the hard problems than direct sampling at as many tokens.",
        "the share of hard problems with a right answer is not higher by search; it holds where the difference's interval is above zero",
    ),
    Claim(
        "better", Kind.EFFECT, "At equal sampled tokens training with search ends above direct sampling on held-out hard problems.",
        "pass@1 of DeepSearch less that of direct sampling has an interval wholly below zero; it holds where it is wholly above",
    ),
    Claim(
        "constrained", Kind.EFFECT, "The constrained backup is better than the plain one, and its gradients are smaller.",
        "pass@1 is lower with the constraint, or the largest gradient norm larger, with an interval wholly on that side",
    ),
    Claim(
        "siblings", Kind.EXACT, "A round's new ends are siblings: with all ways learned from, training is the same whichever is backed up.",
        "a step of the arm with a random negative differs in any number from that step of DeepSearch",
    ),
    Claim(
        "confident", Kind.EFFECT, "Learning from the wrong way the model was surest of is better than from a random one.",
        "where only backed-up ways are learned from, pass@1 with the surest wrong one less that with a random one has an interval wholly "
        "below zero; it holds where it is wholly above",
    ),
    Claim(
        "cache", Kind.EFFECT, "Replay of verified solutions keeps what search found: at equal sampled tokens pass@1 is not lower.",
        "pass@1 with the cache less that without has an interval wholly below zero; it holds where it is wholly above −.05",
    ),
)  # fmt: skip


def rates(made: Sequence[Trained], arm: str) -> dict[int, dict[str, float]]:
    """Seed -> problem -> pass rate."""
    return {t.seed: {r.problem: r.rate for r in t.rows} for t in made if t.arm == arm}


def findings(made: Sequence[Trained], probes: Sequence[Probe], lab: Sequence[Lab]) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""
    worst = max((s.mismatch_max for t in made for s in t.steps), default=None)

    def less(a: str, b: str) -> Estimate | None:
        return gap(rates(made, a), rates(made, b))

    informed, uninformed = shifted(trees(lab, INFORMED, True), -SOLVED), shifted(trees(lab, PLAIN, True), -SOLVED)
    ends = shifted(trees(lab, PLAIN, False), -ENDS)
    sign = paired_difference(_flags(lab, WRONG), _flags(lab, INFORMED)) if lab else None
    found = gap(*({s: _solved(probes, s, how) for s in {p.seed for p in probes}} for how in ("search", "direct")))
    better, constrained, confident = less(FULL, DIRECT), less(FULL, PLAIN_BACKUP), less(BACKED, BACKED_RANDOM)
    cache, norms = less(FULL, NO_CACHE), _norms(made)
    return (
        Finding(
            "same-tokens", Result.UNCLEAR if worst is None else _yes(worst <= 1e-3),
            "no steps" if worst is None else f"largest difference {worst:.1e}",
        ),
        Finding("signal", above(informed), f"share solved, less plain tries': {signed(informed)}"),
        Finding("no-signal", both(above(negated(uninformed)), above(ends)), f"solved {signed(uninformed)}, right ends {signed(ends)}"),
        Finding("sign", above(negated(sign)), f"share solved with λ2 = +.4 less −.4: {signed(sign)}"),
        Finding("explore", above(found), f"share of hard problems solved, search less direct: {signed(found)}"),
        Finding("better", above(better), f"pass@1, DeepSearch less direct: {signed(better)}"),
        Finding(
            "constrained", both(above(constrained), above(negated(norms))),
            f"pass@1 {signed(constrained)}; largest gradient norm, with less without the constraint: {signed(norms)}",
        ),
        same(made),
        Finding("confident", above(confident), f"pass@1, surest less random: {signed(confident)}"),
        Finding("cache", above(cache, -0.05), f"pass@1, with less without: {signed(cache)}"),
    )  # fmt: skip


def same(made: Sequence[Trained]) -> Finding:
    """Whether a random negative made the same training."""
    steps = {(t.arm, t.seed): t.steps for t in made}
    pairs = [(steps[FULL, s], steps[RANDOM, s]) for a, s in steps if a == FULL and (RANDOM, s) in steps]
    equal = sum(a == b for a, b in pairs)
    return Finding("siblings", _yes(equal == len(pairs)) if pairs else Result.UNCLEAR, f"the same steps in {equal} of {len(pairs)} seeds")


def _flags(lab: Sequence[Lab], how: str) -> list[float]:
    return [float(n > 0) for x in lab if x.how == how for n in x.right]


def trees(lab: Sequence[Lab], how: str, solved: bool) -> Estimate | None:
    """Share of trees solved, or right ends a tree, over all trees of all seeds: they are alike, and none was trained."""
    found = _flags(lab, how) if solved else [float(n) for x in lab if x.how == how for n in x.right]
    return clustered_mean([[n] for n in found]) if found else None


def shifted(e: Estimate | None, by: float) -> Estimate | None:
    """An estimate of x + by."""
    return None if e is None else Estimate(e.mean + by, e.low + by, e.high + by, e.n)


def _solved(probes: Sequence[Probe], seed: int, how: str) -> dict[str, float]:
    return {p.problem: float(p.right > 0) for p in probes if (p.seed, p.how) == (seed, how)}


def _norms(made: Sequence[Trained]) -> Estimate | None:
    largest = {(t.arm, t.seed): max((s.grad_norm for s in t.steps), default=0.0) for t in made}
    seeds = [s for a, s in largest if a == FULL and (PLAIN_BACKUP, s) in largest]
    differences = [largest[FULL, s] - largest[PLAIN_BACKUP, s] for s in seeds]
    return over_seeds(differences) if len(differences) > 1 else None


def above(e: Estimate | None, line: float = 0.0) -> Result:
    """Holds wholly above the line, fails wholly below zero, unclear in between."""
    if e is None:
        return Result.UNCLEAR
    return Result.HOLDS if e.low > line else Result.FAILS if e.high < min(line, 0.0) or e.high < 0 else Result.UNCLEAR


def negated(e: Estimate | None) -> Estimate | None:
    """The other way round."""
    return None if e is None else Estimate(-e.mean, -e.high, -e.low, e.n)


def both(a: Result, b: Result) -> Result:
    """Fails where either fails, holds where both hold."""
    return Result.FAILS if Result.FAILS in (a, b) else Result.HOLDS if a is b is Result.HOLDS else Result.UNCLEAR


def _yes(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def measures(made: Sequence[Trained], probes: Sequence[Probe], lab: Sequence[Lab]) -> tuple[Measure, ...]:
    """Every arm's score and what its training was like; the start's search; the trees without a model."""
    rows: list[Measure] = []

    def add(arm: str, metric: str, e: Estimate | None) -> None:
        if e is not None:
            rows.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))

    for arm in dict.fromkeys(t.arm for t in made):
        mine = [t for t in made if t.arm == arm]
        add(arm, "pass@1 on hard test problems", level(rates(made, arm)))
        told: Mapping[str, list[float]] = {
            "tokens sampled in training": [float(t.steps[-1].tokens) for t in mine if t.steps],
            "steps": [float(len(t.steps)) for t in mine if t.steps],
            "largest gradient norm": [max(s.grad_norm for s in t.steps) for t in mine if t.steps],
            "share of problems solved in a step": [fmean(s.solved for s in t.steps) for t in mine if t.steps],
            "share of replayed attempts, last third": [fmean(s.cached for s in t.steps[-len(t.steps) // 3 :]) for t in mine if t.steps],
            "problems of the last round": [float(t.hard[-1]) for t in mine if t.hard],
        }
        for metric, values in told.items():
            if values:
                rows.append(Measure(arm, metric, fmean(values), min(values), max(values), len(values)))
    for how in dict.fromkeys(p.how for p in probes):
        seeds = sorted({p.seed for p in probes})
        mine = [p for p in probes if p.how == how]
        add(f"start, {how}", "share of hard problems solved", level({s: _solved(probes, s, how) for s in seeds}))
        for metric, value in (("right answers a problem", "right"), ("answers a problem", "ends"), ("tokens a problem", "tokens")):
            means = [fmean(float(getattr(p, value)) for p in mine if p.seed == s) for s in seeds]
            rows.append(Measure(f"start, {how}", metric, fmean(means), min(means), max(means), len(means)))
    for how in dict.fromkeys(x.how for x in lab):
        add(f"trees without a model: {how}", "share of trees solved", trees(lab, how, True))
        add(f"trees without a model: {how}", "right ends a tree", trees(lab, how, False))
    if lab:
        rows += [
            Measure("trees without a model: plain tries", metric, exact, exact, exact, 0)
            for metric, exact in (("share of trees solved", SOLVED), ("right ends a tree", ENDS))
        ]
    return tuple(rows)
