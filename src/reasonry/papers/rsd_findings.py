"""What RSD's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was collected.

A seed is one student with its problems, its traces and the training of every arm on them; the teacher and the other students are one for
all seeds. Accuracies are compared over the same test problems, by the intervals of `probe.seeds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.stats import spearmanr

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import gap, level, over_seeds, signed
from reasonry.probe.stats import Estimate

NONE, TEACHER, OWN, MASKED, HAND = (
    "the student as it was",
    "teacher's traces",
    "own right traces",
    "teacher's, rare tokens masked",
    "by hand",
)
SIBLING, FOREIGNER = "RSD for a sibling", "RSD for another kind of student"
FEW, WHOLE, PREFIXES = "RSD, one attempt", "RSD, one attempt, no beginnings", "RSD, one attempt, beginnings only"
LONGER = "RSD, trained as long as all rounds"
LOST = "RSD, a teacher nobody follows"
IN, HARD = "in style", "harder"
RARE = 0.01
SHARES = ("rare tokens", "right attempts", "fallback rate")
"""Figures that are shares."""


def rsd(p_th: float) -> str:
    """RSD at a threshold."""
    return f"RSD {p_th:g}"


def again(r: int) -> str:
    """RSD's r-th round."""
    return f"RSD, round {r}"


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults; sizes were set in pilots on seed 100 and validation problems."""

    teaching: int = 600
    """Steps of the teacher, at `batch` tokens; a student's are `student`."""
    student: int = 300
    batch: int = 2048
    problems: int = 150
    """That every arm is given to write traces for."""
    trials: int = 6
    prefix: int = 12
    """Tokens of a beginning."""
    p_th: tuple[float, ...] = (0.001, 0.01, 0.1)
    """The middle one is the paper's, and every other RSD arm's."""
    rounds: int = 3
    longest: int = 160
    """Tokens of a trace or an answer."""
    steps: int = 80
    """Of training on traces, at `tokens` tokens, every arm's."""
    tokens: int = 1024
    lr: float = 5e-4
    test: int = 250
    """Test problems of each kind, asked once."""
    split: str = "test"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one arm and seed."""

    seed: int
    arm: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Solved:
    """Which test problems an arm's student solves."""

    seed: int
    arm: str
    kind: str
    right: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """Everything measured."""

    rows: Sequence[Row]
    solved: Sequence[Solved]


def _claim(id: str, says: str, falsified_if: str) -> Claim:
    return Claim(id, Kind.EFFECT, says, falsified_if)


ORDER = (
    "; it holds where the difference's 95 % interval over seeds and problems is wholly on the claimed side, fails where it is wholly on "
    "the other, and is unclear between"
)
CLAIMS = (
    _claim("hurts", "Training a small student on a stronger teacher's right traces makes it worse.",
           "its accuracy in style is not lower than before" + ORDER),
    _claim("helps", "Training on RSD's traces at a threshold of 1 % makes it better.",
           "its accuracy in style is not higher than before" + ORDER),
    _claim("over-teacher", "RSD's traces are better than the teacher's own, at equal problems and equal training tokens.",
           "accuracy in style after RSD is not higher" + ORDER),
    _claim("over-own", "RSD's traces are better than the student's own right ones (rejection sampling without a teacher).",
           "accuracy in style after RSD is not higher" + ORDER),
    _claim("harder", "It makes the student better on the hardest problems too.",
           "accuracy on harder problems after RSD is not higher" + ORDER),
    _claim("rare", "The student finds more than 1 % of the teacher's tokens nearly impossible (below 1 %), and hardly any of RSD's.",
           "for any seed the teacher's share is at most 1 %, or RSD's is above 0.5 %"),
    _claim("predicts", "The share of tokens below 1 % predicts how training on traces ends.",
           "Spearman's correlation, over a seed's arms trained on answers (nothing masked, not beginnings alone, no further rounds) of the "
           "share of tokens below 1 % under the first student and accuracy in style is not negative; it holds where its 95 % interval over "
           "seeds is wholly below zero"),
    _claim("threshold", "A threshold of 1 % is better than 0.1 % and than 10 %.",
           "accuracy in style is not higher than both others'" + ORDER),
    _claim("specific", "RSD's traces are made for one student: those made for another kind of student serve it worse.",
           "accuracy in style after the other's traces is not lower" + ORDER),
    _claim("sibling", "So do those made for a student of the same kind with other data.",
           "accuracy in style after the other's traces is not lower" + ORDER),
    _claim("masking", "It is the text that must change: masking the teacher's rare tokens out of the loss is not as good as RSD.",
           "accuracy in style after RSD is not higher" + ORDER),
    _claim("beginnings", "Beginnings of RSD traces for the unsolved problems help beside the whole ones (one attempt at each problem).",
           "accuracy in style is not higher than without them" + ORDER),
    _claim("drift", "RSD repeated with the student it has trained degrades: three rounds are worse than the first one trained as long.",
           "accuracy in style after three rounds is not lower" + ORDER),
)  # fmt: skip


def solved(found: Found, arm: str, kind: str) -> dict[int, Mapping[str, float]]:
    """Seed -> test problem -> whether it was solved."""
    return {s.seed: s.right for s in found.solved if (s.arm, s.kind) == (arm, kind)}


def values(found: Found, arm: str, metric: str) -> dict[int, float]:
    """Seed -> a figure."""
    return {r.seed: r.value for r in found.rows if (r.arm, r.metric) == (arm, metric)}


def spread(by_seed: Mapping[int, float]) -> Estimate | None:
    """Mean and Student's interval over seeds; of a single seed its value alone."""
    v = list(by_seed.values())
    return None if not v else over_seeds(v) if len(v) > 1 else Estimate(v[0], v[0], v[0], 1)


def known(found: Found, arm: str, metric: str) -> Estimate | None:
    """A figure's mean and interval; none is below 0, and a share not above 1."""
    e = spread(values(found, arm, metric))
    return e and Estimate(e.mean, max(e.low, 0.0), min(e.high, 1.0) if metric in SHARES else e.high, e.n)


def verdict(e: Estimate | None, seeds: int) -> Result:
    """Of a difference that should be above zero; a single seed says nothing of others."""
    if e is None or seeds < 2:
        return Result.UNCLEAR
    return Result.HOLDS if e.low > 0 else Result.FAILS if e.high < 0 else Result.UNCLEAR


def findings(plan: Plan, found: Found) -> tuple[Finding, ...]:
    """A verdict for each claim."""
    ours = rsd(plan.p_th[1])
    seeds = len(solved(found, NONE, IN))

    def better(claim: str, a: str, b: str, kind: str = IN) -> Finding:
        e = gap(solved(found, a, kind), solved(found, b, kind))
        share = (level(solved(found, arm, kind)) for arm in (a, b))
        levels = " against ".join("unknown" if x is None else f"{x.mean:.3f}" for x in share)
        return Finding(claim, verdict(e, seeds), f"{a} {levels} ({b}); {signed(e)}")

    worst = {b: gap(solved(found, ours, IN), solved(found, b, IN)) for b in (rsd(p) for p in plan.p_th if p != plan.p_th[1])}
    marks = [verdict(e, seeds) for e in worst.values()]
    threshold = Result.FAILS if Result.FAILS in marks else Result.UNCLEAR if Result.UNCLEAR in marks else Result.HOLDS
    return (
        better("hurts", NONE, TEACHER),
        better("helps", ours, NONE),
        better("over-teacher", ours, TEACHER),
        better("over-own", ours, OWN),
        better("harder", ours, NONE, HARD),
        _rare(found, ours),
        _predicts(found),
        Finding("threshold", threshold, "; ".join(f"{ours} over {b}: {signed(e)}" for b, e in worst.items())),
        better("specific", ours, FOREIGNER),
        better("sibling", ours, SIBLING),
        better("masking", ours, MASKED),
        better("beginnings", FEW, WHOLE),
        better("drift", LONGER, again(plan.rounds)),
    )


def _rare(found: Found, ours: str) -> Finding:
    theirs, mine = values(found, TEACHER, "rare tokens"), values(found, ours, "rare tokens")
    if not mine:
        return Finding("rare", Result.UNCLEAR, "not measured")
    good = min(theirs.values()) > 0.01 and max(mine.values()) <= 0.005
    shares = [spread(x) for x in (theirs, mine)]
    text = " of the teacher's tokens, ".join(f"{100 * e.mean:.2f} % [{100 * e.low:.2f}, {100 * e.high:.2f}]" for e in shares if e)
    return Finding("rare", Result.HOLDS if good else Result.FAILS, f"{text} of RSD's")


def whole_sets(found: Found) -> Sequence[str]:
    """Arms that train the student as it was on a set of answers: not where rare tokens are masked, and not on beginnings alone."""
    arms = dict.fromkeys(r.arm for r in found.rows if r.metric == "rare tokens")
    return [arm for arm in arms if arm not in (MASKED, PREFIXES, LOST) and not arm.startswith("RSD, round")]


def correlation(found: Found) -> dict[int, float]:
    """Seed -> Spearman's correlation between an arm's share of rare tokens and its accuracy in style."""
    made: dict[int, float] = {}
    for seed in {r.seed for r in found.rows}:
        share = {r.arm: r.value for r in found.rows if (r.seed, r.metric) == (seed, "rare tokens") and r.arm in whole_sets(found)}
        right = {s.arm: fmean(s.right.values()) for s in found.solved if (s.seed, s.kind) == (seed, IN)}
        arms = [arm for arm in share if arm in right]
        if len(set(share.values())) > 1 and len({right[arm] for arm in arms}) > 1:
            made[seed] = float(spearmanr([share[a] for a in arms], [right[a] for a in arms]).statistic)  # type: ignore[attr-defined]
    return made


def _predicts(found: Found) -> Finding:
    by_seed = correlation(found)
    e = spread(by_seed)
    below = None if e is None else Estimate(-e.mean, -e.high, -e.low, e.n)
    return Finding("predicts", verdict(below, len(by_seed)), f"Spearman's correlation {signed(e)} over the arms trained on traces")


def measures(found: Found) -> tuple[Measure, ...]:
    """Every figure of every arm, over seeds."""
    made: list[Measure] = []
    for arm, kind in dict.fromkeys((s.arm, s.kind) for s in found.solved):
        e = level(solved(found, arm, kind))
        if e is not None:
            made.append(Measure(arm, f"accuracy {kind}", e.mean, e.low, e.high, e.n))
    for arm, metric in dict.fromkeys((r.arm, r.metric) for r in found.rows):
        e = known(found, arm, metric)
        if e is not None:
            made.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))
    return tuple(made)
