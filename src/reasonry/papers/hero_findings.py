"""What HERO's experiments claim, and the rules that turn what was measured into verdicts; written before the stored run.

A seed is one table, or one training run of every arm, so it is the unit: a difference is taken within each seed, and its 95 % interval
over the seeds is Student's; for test problems, or that over all their problems where it is wider. "Above" means wholly above zero,
"below" wholly below; anything else is unclear. Against "both alone" the better of verifier and reward model counts, chosen by its mean
over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.hero_lab import BLEND, HERO, MODEL, VERIFIER
from reasonry.papers.hero_task import AMBIGUOUS, KINDS, STRICT
from reasonry.probe.seeds import gap, level, over_seeds, say, signed
from reasonry.probe.stats import Estimate

VERIFIABLE, AMBIGUOUS_ONLY, MIXED = "verifiable", "ambiguous only", "mixed"
REGIMES = (VERIFIABLE, AMBIGUOUS_ONLY, MIXED)
START, SHUFFLED = "start", "HERO, scores shuffled"
ARMS = (VERIFIER, MODEL, BLEND, HERO)
FULL, SPARSE = "recall 1", "recall 0.3"
SD, POOR = "group sd", "poor reward model"
ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.5)
EQUAL = "HERO, no width"
"""α = β = 0 and w = 1 in the table: must be the verifier alone."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment with a language model is. The stored evidence uses the defaults."""

    judging: int = 250
    """Supervised steps of the reward model."""
    teaching: int = 60
    """Further ones of the policy that all arms begin from."""
    steps: int = 24
    """GRPO steps of every arm."""
    prompts: int = 8
    group: int = 8
    lr: float = 5e-4
    train_problems: int = 1000
    """Of each kind in the regime."""
    test_problems: int = 128
    """Of each kind and seed; every arm gets the same ones."""
    updates: int = 300
    """Of the table's arms."""


@dataclass(frozen=True)
class Cell:
    """One arm's accuracy in the table."""

    seed: int
    world: str
    """`recall 1` or `recall 0.3`, then what else differs."""
    arm: str
    update: int
    accuracy: float


@dataclass(frozen=True)
class Row:
    """One test attempt."""

    seed: int
    regime: str
    arm: str
    kind: str
    problem: str
    passed: float
    """1 where the answer is right in any form."""
    careful: float = 0.0
    """1 where every line is written."""


@dataclass(frozen=True)
class Learnt:
    """One step of one arm's training."""

    seed: int
    regime: str
    arm: str
    step: int
    true: float
    """Share of the step's attempts that are right in any form."""
    verified: float
    tokens: int
    """Sampled so far."""
    auc: float | None
    """How often the reward model scores a verified answer above an unverified one to the same problem."""


CLAIMS = (
    Claim(
        "verifier-limit", Kind.EXACT, "With no width and no weight HERO is the verifier alone.",
        "in the table any accuracy differs between the two",
    ),
    Claim(
        "table-full", Kind.EFFECT, "In the table, with a verifier that misses nothing, HERO is above both alone.",
        "after 50 updates at recall 1 HERO's accuracy less the better one's is below zero; it holds where above",
    ),
    Claim(
        "table-sparse", Kind.EFFECT, "So it is with a verifier that passes three right answers in ten.",
        "after 100 updates at recall 0.3 HERO's accuracy less the better one's is below zero; it holds where above",
    ),
    Claim(
        "table-blend", Kind.EFFECT, "A plain blend is unstable: with a reward model that can be hacked it ends below HERO.",
        "after 300 updates at recall 0.3 HERO's accuracy less the blend's is below zero; it holds where above",
    ),
    Claim(
        "table-sd", Kind.EFFECT, "Dividing by the group's sd gives noise inside all-wrong groups the step of real correctness.",
        "after 300 updates at recall 0.3 HERO with mean-only advantages less HERO with the group's sd is below zero; it holds where above",
    ),
    Claim(
        "table-width", Kind.EFFECT, "How wide the strata should be depends on the reward model: α = .5 is faster than .05 with a good one "
        "and worse with a poor one (noise 1, hack 3).",
        "after 50 updates at recall 1, α = .5 less α = .05 is below zero with the good one, or above zero with the poor one after 100; it "
        "holds where above with the good and below with the poor",
    ),
    *(
        Claim(
            f"lm-{regime.split()[0]}", Kind.EFFECT, f"A language model trained on {data} gets better by HERO than by either signal alone.",
            "true accuracy over the test problems of both kinds, HERO's less the better one's, is below zero; it holds where above",
        )
        for regime, data in ((VERIFIABLE, "verifiable problems"), (AMBIGUOUS_ONLY, "ambiguous problems"), (MIXED, "both together"))
    ),
    Claim(
        "ambiguous-more", Kind.EFFECT, "HERO gains more over the verifier on ambiguous problems than on strict ones.",
        "trained on both, (HERO − verifier) on ambiguous problems less that on strict ones is below zero; it holds where above",
    ),
    Claim(
        "placebo", Kind.EFFECT, "Control: what helps is what the scores say. Shuffled inside each group they do not.",
        "trained on both, HERO's true accuracy less that with shuffled scores is below zero; it holds where above",
    ),
)  # fmt: skip


def at(cells: Sequence[Cell], world: str, arm: str, update: int) -> dict[int, float]:
    """Seed -> accuracy."""
    return {c.seed: c.accuracy for c in cells if (c.world, c.arm, c.update) == (world, arm, update)}


def apart(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate | None:
    """a − b over the seeds; `None` with fewer than two."""
    pairs = [a[s] - b[s] for s in a if s in b]
    return over_seeds(pairs) if len(pairs) > 1 else None


def accuracy(rows: Sequence[Row], regime: str, arm: str, kinds: Sequence[str] = tuple(KINDS)) -> dict[int, dict[str, float]]:
    """Seed -> problem -> whether it was answered rightly."""
    found: dict[int, dict[str, float]] = {}
    for r in rows:
        if (r.regime, r.arm) == (regime, arm) and r.kind in kinds:
            found.setdefault(r.seed, {})[f"{r.kind} {r.problem}"] = r.passed
    return found


def carefulness(rows: Sequence[Row], regime: str, arm: str) -> dict[int, dict[str, float]]:
    """Seed -> problem -> whether every line was written, both kinds together."""
    return accuracy([replace(r, passed=r.careful) for r in rows], regime, arm)


def better(rows: Sequence[Row], regime: str) -> str:
    """Which of the two single signals has the higher mean over the seeds."""

    def mean(arm: str) -> float:
        found = [v for of in accuracy(rows, regime, arm).values() for v in of.values()]
        return fmean(found) if found else 0.0

    return max((VERIFIER, MODEL), key=mean)


def _better_cell(cells: Sequence[Cell], world: str, update: int) -> str:
    return max((VERIFIER, MODEL), key=lambda arm: fmean(at(cells, world, arm, update).values() or (0.0,)))


def findings(cells: Sequence[Cell], rows: Sequence[Row]) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""
    none, alone = at(cells, FULL, EQUAL, 100), at(cells, FULL, VERIFIER, 100)
    found = [
        Finding(
            "verifier-limit", Result.UNCLEAR if not none else _all(all(none[s] == alone[s] for s in none)),
            f"accuracy after 100 updates {_mean(none)} and {_mean(alone)}, largest difference "
            f"{max((abs(none[s] - alone[s]) for s in none), default=0.0):.1e}",
        )
    ]  # fmt: skip
    for claim, world, update in (("table-full", FULL, 50), ("table-sparse", SPARSE, 100)):
        other = _better_cell(cells, world, update)
        e = apart(at(cells, world, HERO, update), at(cells, world, other, update))
        means = ", ".join(f"{arm} {_mean(at(cells, world, arm, update))}" for arm in ARMS)
        found.append(Finding(claim, above(e), f"HERO less {other} {signed(e)}; {means}"))
    e = apart(at(cells, SPARSE, HERO, 300), at(cells, SPARSE, BLEND, 300))
    found.append(Finding("table-blend", above(e), f"HERO less blend {signed(e)}; {_mean(at(cells, SPARSE, HERO, 300))} against "
                         f"{_mean(at(cells, SPARSE, BLEND, 300))}"))  # fmt: skip
    with_sd = {arm: at(cells, f"{SPARSE}, {SD}", arm, 300) for arm in ARMS}
    e = apart(at(cells, SPARSE, HERO, 300), with_sd[HERO])
    found.append(
        Finding("table-sd", above(e), f"mean-only less sd {signed(e)}; with sd " + ", ".join(f"{a} {_mean(x)}" for a, x in with_sd.items()))
    )
    good = apart(at(cells, FULL, alpha_arm(0.5), 50), at(cells, FULL, alpha_arm(0.05), 50))
    poor = apart(at(cells, f"{FULL}, {POOR}", alpha_arm(0.5), 100), at(cells, f"{FULL}, {POOR}", alpha_arm(0.05), 100))
    found.append(Finding("table-width", _both(above(good), below(poor)), f"α = .5 less .05 {signed(good)} with the good one, "
                         f"{signed(poor)} with the poor one"))  # fmt: skip
    for regime in REGIMES:
        other = better(rows, regime)
        e = gap(accuracy(rows, regime, HERO), accuracy(rows, regime, other))
        tried = [arm for arm in ARMS if accuracy(rows, regime, arm)]
        means = ", ".join(f"{arm} {say(level(accuracy(rows, regime, arm)))}" for arm in tried)
        found.append(Finding(f"lm-{regime.split()[0]}", above(e), f"HERO less {other} {signed(e)}; {means}"))
    ambiguous, strict = (gap(accuracy(rows, MIXED, HERO, [k]), accuracy(rows, MIXED, VERIFIER, [k])) for k in (AMBIGUOUS, STRICT))
    e = _more(rows)
    found.append(Finding("ambiguous-more", above(e), f"{signed(e)}: gain {signed(ambiguous)} on ambiguous, {signed(strict)} on strict"))
    e = gap(accuracy(rows, MIXED, HERO), accuracy(rows, MIXED, SHUFFLED))
    found.append(Finding("placebo", above(e), f"HERO less shuffled {signed(e)}; shuffled {say(level(accuracy(rows, MIXED, SHUFFLED)))}"))
    return tuple(found)


def _more(rows: Sequence[Row]) -> Estimate | None:
    """The gain over the verifier on ambiguous problems less that on strict ones, over the seeds."""

    def gain(kind: str) -> dict[int, float]:
        a, b = (accuracy(rows, MIXED, arm, [kind]) for arm in (HERO, VERIFIER))
        return {s: fmean(a[s].values()) - fmean(b[s].values()) for s in a if s in b}

    return apart(gain(AMBIGUOUS), gain(STRICT))


def alpha_arm(alpha: float) -> str:
    """An arm of the width sweep."""
    return f"HERO, α = {alpha:g}"


def above(e: Estimate | None) -> Result:
    """Holds where the interval is wholly above zero, fails where wholly below."""
    return Result.UNCLEAR if e is None or e.low <= 0 <= e.high else _all(e.low > 0)


def below(e: Estimate | None) -> Result:
    """The other way round."""
    return Result.UNCLEAR if e is None or e.low <= 0 <= e.high else _all(e.high < 0)


def _both(a: Result, b: Result) -> Result:
    if Result.FAILS in (a, b):
        return Result.FAILS
    return Result.HOLDS if (a, b) == (Result.HOLDS, Result.HOLDS) else Result.UNCLEAR


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _mean(found: Mapping[int, float]) -> str:
    return f"{fmean(found.values()):.3f}" if found else "unknown"


def measures(cells: Sequence[Cell], rows: Sequence[Row], learnt: Sequence[Learnt]) -> tuple[Measure, ...]:
    """Every arm of the table, every model on either kind, and what training sampled."""
    made: list[Measure] = []
    for world, arm, update in dict.fromkeys((c.world, c.arm, c.update) for c in cells if c.update):
        values = list(at(cells, world, arm, update).values())
        e = over_seeds(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], 1)
        low, high = max(e.low, 0.0), min(e.high, 1.0)
        made.append(Measure(f"table, {world}: {arm}", f"accuracy after {update} updates", e.mean, low, high, e.n))
    for regime, arm in dict.fromkeys((r.regime, r.arm) for r in rows):
        for kind in KINDS:
            if e := level(accuracy(rows, regime, arm, [kind])):
                made.append(Measure(f"{regime}: {arm}", f"true accuracy, {kind} problems", e.mean, e.low, e.high, e.n))
        if e := level(carefulness(rows, regime, arm)):
            made.append(Measure(f"{regime}: {arm}", "careful workings", e.mean, e.low, e.high, e.n))
    for regime, arm in dict.fromkeys((x.regime, x.arm) for x in learnt):
        mine = [x for x in learnt if (x.regime, x.arm) == (regime, arm)]
        spent = [float(max(x.tokens for x in mine if x.seed == s)) for s in {x.seed for x in mine}]
        made.append(Measure(f"{regime}: {arm}", "tokens sampled in training", fmean(spent), min(spent), max(spent), len(spent)))
    return tuple(made)
