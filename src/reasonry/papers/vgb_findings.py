"""What VGB's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was collected.

A seed is one taught model with its trees, its fitted verifiers and its draws, so it is the unit: intervals of differences are Student's
over seeds. Laws on known trees are exact; only models, fits and the runs at equal cost differ by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import over_seeds
from reasonry.probe.stats import Estimate

FIRST, STATIONARY, ACTION, OUTCOME = "VGB, first leaf", "VGB, stationary", "ActionLevelRS", "OutcomeLevelRS"
BEST, REJECTION, BEAM, GREEDY, PLAIN = "block best-of-n", "block rejection", "beam search", "greedy", "the model alone"
TRUE, LATE, FITTED, BLIND, CLIPPED = "true values", "late values", "fitted values", "zeros", "zeros, clipped"
FORWARD = (ACTION, BEST, REJECTION, BEAM, GREEDY)
TEXT = "no e"
EXACT_TABLE = {2: (0.0102, 0.0566), 4: (0.0185, 0.1699), 6: (0.0219, 0.2832), 8: (0.0239, 0.3964)}
"""H -> KL of the first leaf's law and of ActionLevelRS's from π*, ABC at ε = 1."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults; sizes were set in pilots on seed 100."""

    horizons: tuple[int, ...] = (6, 8, 10)
    """Of ABC with a learned verifier."""
    rollouts: tuple[int, ...] = (500, 10_000)
    fits: int = 2
    """Learned verifiers a seed, horizon and number of rollouts."""
    mlp_steps: int = 600
    """Of fitting each of them."""
    teaching: int = 250
    """Steps of the model of brackets, at `batch` tokens."""
    text_teaching: int = 300
    batch: int = 1024
    sizes: tuple[int, ...] = (4, 6, 8)
    """Lengths of words of brackets."""
    shares: tuple[float, ...] = (0.1, 0.3)
    """η, the share of prefixes a verifier is wrong about."""
    fit_rollouts: int = 1000
    fit_steps: int = 150
    candidates: int = 4
    """Of a block, and the beam's width."""
    limit: int = 8000
    """Verifier calls, and tokens, of every decoder at equal cost."""
    near: float = 0.05
    """Total variation that the stationary mode's steps leave."""
    draws: int = 400
    """Of the stationary mode's own law, on words of four brackets."""
    answers: int = 32
    """Texts an arm and seed."""
    length: int = 32
    """Tokens of a text."""
    alpha: float = 0.3
    top_k: int = 16
    """Tokens that may follow, in texts; every arm's."""
    least: float = 0.05
    """What zeros are clipped to."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one arm and seed. `where`: the tree and its verifier, or the texts."""

    seed: int
    arm: str
    where: str
    metric: str
    value: float


def learned(H: int, N: int) -> str:
    """Where: ABC with a fitted verifier."""
    return f"ABC, H = {H}, {N} rollouts"


def brackets(verifier: str, H: int) -> str:
    """Where: words of H brackets."""
    return f"{H} brackets, {verifier}"


def wrong(share: float) -> str:
    """A verifier that is wrong about a share of prefixes."""
    return f"{100 * share:.0f} % wrong"


def _claim(id: str, says: str, falsified_if: str, kind: Kind = Kind.EFFECT) -> Claim:
    return Claim(id, kind, says, falsified_if)


LOWER = (
    "; it holds where the difference's 95 % interval over seeds is wholly on the claimed side of zero, and fails where its mean does not"
)
CLAIMS = (
    _claim(
        "stationary", "The stationary walk's answers have the target's law, whatever the verifier's errors inside.",
        "the exact law differs from π* by 1e-9 on any tree of the experiment whose values are not zero where they should not be, or the "
        "mode's own draws differ from it by more than as many exact draws do in 99 of 100 cases, for more than one seed",
        Kind.EXACT,
    ),
    _claim(
        "amplifies", "Stepwise sampling amplifies a verifier's errors with length, the walk does not: ABC at ε = 1.",
        "the walk's KL is not below ActionLevelRS's at H = 8, or one of the four lengths gives other figures to four digits", Kind.EXACT,
    ),
    _claim(
        "learned", "With a verifier learned from 500 rollouts the first leaf's law is nearer to π* than stepwise sampling's (KL, H = 10).",
        "ActionLevelRS's KL is not larger" + LOWER,
    ),
    _claim(
        "grows", "The gap between the two grows with length and shrinks with rollouts.",
        "the gap at H = 10 is not above that at H = 6 (500 rollouts), or that with 10,000 rollouts not below (H = 10); both must hold"
        + LOWER,
    ),
    _claim(
        "noisy", "With a verifier wrong about 30 % of prefixes the first leaf's law is nearer to π* than stepwise sampling's (8 brackets).",
        "ActionLevelRS's TV is not larger" + LOWER,
    ),
    _claim("late", "So it is with values that are late by one block.", "ActionLevelRS's TV is not larger" + LOWER),
    _claim("fitted", "So it is with a process verifier fitted on rollouts of the model.", "ActionLevelRS's TV is not larger" + LOWER),
    _claim(
        "equal-cost", "At equal verifier calls and equal tokens, with 30 % wrong, the walk finds more of π*'s mass than ActionLevelRS.",
        "its mass of π* found is not larger" + LOWER,
    ),
    _claim("diverse", "There it finds more different right answers than every decoder that only goes forward.",
           "the best forward decoder of a seed finds as many" + LOWER),
    _claim("pays", "With true values it only costs: fewer right answers than ActionLevelRS at equal calls and tokens.",
           "it does not get fewer right answers" + LOWER),
    _claim("fluent", "Texts without the letter are likelier to a second model by the walk than by masking the letter at each step.",
           "their mean log-probability a token is not higher" + LOWER),
    _claim(
        "zeros", "Zeros inside close ways for good, clipping opens them again: with clipped values the first leaf's law is nearer to π*.",
        "its TV is not smaller with clipped values" + LOWER,
    ),
)  # fmt: skip


def values(rows: Sequence[Row], arm: str, where: str, metric: str) -> dict[int, float]:
    """Seed -> the mean of a figure."""
    found: dict[int, list[float]] = {}
    for r in rows:
        if (r.arm, r.where, r.metric) == (arm, where, metric):
            found.setdefault(r.seed, []).append(r.value)
    return {seed: fmean(v) for seed, v in found.items()}


def spread(by_seed: dict[int, float]) -> Estimate | None:
    """Mean and Student's interval over seeds; of a single seed its value alone."""
    v = list(by_seed.values())
    return None if not v else over_seeds(v) if len(v) > 1 else Estimate(v[0], v[0], v[0], 1)


def minus(a: dict[int, float], b: dict[int, float]) -> dict[int, float]:
    """a − b, seed by seed."""
    return {s: a[s] - b[s] for s in a if s in b}


def verdict(difference: dict[int, float]) -> Result:
    """Of a difference that should be above zero; a single seed says nothing of others."""
    e = spread(difference)
    if e is None or len(difference) < 2:
        return Result.UNCLEAR
    return Result.HOLDS if e.low > 0 else Result.FAILS if e.mean <= 0 else Result.UNCLEAR


def said(e: Estimate | None, digits: int = 3) -> str:
    """A level or a difference with its interval."""
    return "not measured" if e is None else f"{e.mean:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]"


def findings(plan: Plan, rows: Sequence[Row]) -> tuple[Finding, ...]:
    """A verdict for each claim."""
    H, noisy = max(plan.sizes), wrong(max(plan.shares))
    far, near, few, many = max(plan.horizons), min(plan.horizons), min(plan.rollouts), max(plan.rollouts)

    def of(arm: str, where: str, metric: str) -> dict[int, float]:
        return values(rows, arm, where, metric)

    def nearer(claim: str, where: str, metric: str = "TV") -> Finding:
        a, b = of(ACTION, where, metric), of(FIRST, where, metric)
        gap = minus(a, b)
        return Finding(claim, verdict(gap), f"{metric} {said(spread(b))} against {said(spread(a))}; {said(spread(gap))} less")

    def gap(H: int, N: int) -> dict[int, float]:
        return minus(of(ACTION, learned(H, N), "KL"), of(FIRST, learned(H, N), "KL"))

    longer, fewer = minus(gap(far, few), gap(near, few)), minus(gap(far, few), gap(far, many))
    both = [verdict(longer), verdict(fewer)]
    grows = Result.FAILS if Result.FAILS in both else Result.UNCLEAR if Result.UNCLEAR in both else Result.HOLDS
    cost, paid = f"brackets, {noisy}", f"brackets, {TRUE}"
    mass, other = (of(arm, cost, "mass of π* found") for arm in (FIRST, ACTION))
    different = of(FIRST, cost, "different")
    forward = [of(arm, cost, "different") for arm in FORWARD]
    best = {s: max(f[s] for f in forward if s in f) for s in different}
    right, walked = of(ACTION, paid, "right"), of(FIRST, paid, "right")
    fluent, masked = (of(arm, TEXT, "log-probability") for arm in (FIRST, ACTION))
    zeros, clip = (of(FIRST, brackets(v, H), "TV") for v in (BLIND, CLIPPED))
    return (
        _stationary(rows),
        _amplifies(rows),
        nearer("learned", learned(far, few), "KL"),
        Finding("grows", grows, f"longer: {said(spread(longer))} more; with fewer rollouts: {said(spread(fewer))} more"),
        nearer("noisy", brackets(noisy, H)),
        nearer("late", brackets(LATE, H)),
        nearer("fitted", brackets(FITTED, H)),
        Finding("equal-cost", verdict(minus(mass, other)), f"mass found {said(spread(mass))} against {said(spread(other))}"),
        Finding(
            "diverse", verdict(minus(different, best)),
            f"{said(spread(different), 1)} different right answers against {said(spread(best), 1)} of the best that goes forward",
        ),
        Finding("pays", verdict(minus(right, walked)), f"{said(spread(walked), 1)} right answers against {said(spread(right), 1)}"),
        Finding(
            "fluent", verdict(minus(fluent, masked)), f"{said(spread(fluent))} nats a token against {said(spread(masked))} for masking"
        ),
        Finding("zeros", verdict(minus(zeros, clip)), f"TV {said(spread(clip))} clipped, {said(spread(zeros))} with the zeros"),
    )  # fmt: skip


def _stationary(rows: Sequence[Row]) -> Finding:
    exact = max((r.value for r in rows if r.metric == "stationary TV"), default=1.0)
    drawn, chance = (values(rows, STATIONARY, "its own draws", m) for m in ("TV", "TV by chance"))
    out = sum(drawn[s] > chance[s] for s in drawn)
    text = f"largest difference of the exact law {exact:.0e}; own draws {said(spread(drawn))}, by chance up to {said(spread(chance))}"
    return Finding("stationary", Result.HOLDS if exact < 1e-9 and drawn and out <= 1 else Result.FAILS, text)


def _amplifies(rows: Sequence[Row]) -> Finding:
    found = {H: [values(rows, arm, f"ABC, H = {H}", "KL").get(-1, -1.0) for arm in (FIRST, ACTION)] for H in EXACT_TABLE}
    same = all(tuple(round(x, 4) for x in found[H]) == EXACT_TABLE[H] for H in EXACT_TABLE)
    text = "; ".join(f"H = {H}: {a:.4f} against {b:.4f}" for H, (a, b) in found.items())
    return Finding("amplifies", Result.HOLDS if same and found[8][0] < found[8][1] else Result.FAILS, text)


def measures(rows: Sequence[Row]) -> tuple[Measure, ...]:
    """Every figure of every arm, over seeds."""
    found: list[Measure] = []
    for arm, where, metric in dict.fromkeys((r.arm, r.where, r.metric) for r in rows):
        e = spread(values(rows, arm, where, metric))
        if e is not None:
            found.append(Measure(arm, f"{where}: {metric}", e.mean, e.low, e.high, e.n))
    return tuple(found)
