"""What Delethink's experiment claims, and the rules that turn its attempts into verdicts.

Written before any result was seen, except `state-size`, which says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.delethink_cost import Priced
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference

FLOOR = 0.05
"""Where both arms of a comparison are less accurate than this, it says nothing and its claim is unclear."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    model: str = "pocket"
    teaching: int = 90
    """Steps of 4096 tokens on pieces of register workings before anything is measured; 0 leaves the model as it is."""
    C: int = 64
    m: int = 32
    loops: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Of the workings that restate the state."""
    delta_loops: tuple[int, ...] = (8, 32)
    """Of the workings that write changes only."""
    trained: int = 8
    """Loops of the longest whole working in the training text with two operations a loop: length 1×."""
    problems: int = 12
    """Per point and seed."""
    ledger: tuple[int, ...] = (2, 3, 4, 6, 8)
    """Registers."""
    ledger_fits: int = 4
    """Most registers whose latest values fit into the m tokens of the ledger."""
    ledger_steps: int = 16
    """Operations of a ledger program in all, about."""
    small_m: tuple[int, ...] = (4, 8)
    """Carry-overs that cannot hold a loop's number and two register values (9 tokens)."""
    large_m: tuple[int, ...] = (24, 32)
    """Carry-overs that hold a whole restated loop (18 tokens)."""
    control: int = 4
    """Loops of the control with other m."""
    control_problems: int = 6
    identical: int = 10
    """Problems on which one chunk is compared with plain generation."""
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Thinking tokens at which cost is measured."""


@dataclass(frozen=True)
class Row:
    """One attempt, as far as the findings need it."""

    stage: str
    style: str
    x: int
    """Loops; registers in the ledger; m where it is varied."""
    arm: str
    problem: str
    """Unique over seeds."""
    passed: float
    right: float
    """Share of the working's lines before the first mistake."""
    restated: float
    """Share of headers that restate every register."""
    truncated: float
    """1 where the attempt did not end by itself."""


def scores(rows: Iterable[Row], stage: str, style: str, arm: str, xs: Iterable[int], metric: str = "passed") -> dict[str, float]:
    """Problem -> metric, for one arm at some points."""
    points = set(xs)
    return {
        f"{r.x}/{r.problem}": float(getattr(r, metric))
        for r in rows
        if (r.stage, r.style, r.arm) == (stage, style, arm) and r.x in points
    }  # fmt: skip


def mean(found: Mapping[str, float]) -> Estimate | None:
    """With a 95 % interval over problems; `None` of nothing."""
    return clustered_mean([[v] for v in found.values()]) if found else None


def gap(a: Mapping[str, float], b: Mapping[str, float]) -> Estimate | None:
    """a - b over the problems both were scored on, paired."""
    both = [k for k in a if k in b]
    return paired_difference([a[k] for k in both], [b[k] for k in both]) if both else None


CLAIMS = (
    Claim(
        "one-chunk", Kind.EXACT, "Where a chunk holds the whole thought, Delethink is plain generation.",
        "any problem's token ids, text or reason to stop differ from plain generation with the same seed",
    ),
    Claim(
        "parity", Kind.EFFECT, "Within the trained thinking length, tracing with Delethink recovers LongCoT's accuracy.",
        "at most 1× the trained length, restating style, Delethink's accuracy less LongCoT's has a 95 % interval wholly below -0.1; "
        "it holds where the interval is wholly above -0.1",
    ),
    Claim(
        "longer", Kind.EFFECT, "Beyond the trained length LongCoT falls off while Delethink keeps its accuracy.",
        "pooled over lengths beyond 2×, restating style, Delethink's accuracy is not above LongCoT's; "
        "it holds where the difference's 95 % interval is wholly above zero",
    ),
    Claim(
        "carry", Kind.EFFECT, "The carried text is what makes chunks work: the state crosses the boundary in it.",
        "with m = 0 accuracy is not below that with m = C/2; it holds where the difference's 95 % interval is wholly above zero",
    ),
    Claim(
        "state-limit", Kind.EFFECT, "Tasks whose live state does not fit into m tokens are where it fails (CrossWordBench).",
        "Delethink's loss against LongCoT is no larger for ledgers whose latest values do not fit into m than for those that do; "
        "it holds where the 95 % intervals of the two losses do not overlap",
    ),
    Claim(
        "state-size",
        Kind.EFFECT,
        "The carried text must hold the live state: with m too small for it Delethink fails where one long context does not.",
        "on two registers its loss against LongCoT is no larger for m <= 8 than for m >= 24; it holds where the 95 % intervals of the two "
        "losses do not overlap. Added after a first run in which ledgers of three and more registers were too hard for the model",
    ),
    Claim(
        "linear-cost", Kind.COST, "Memory stays constant and compute linear in the thought; below a crossover Delethink costs more.",
        "measured tokens, FLOPs or peak memory differ from the closed form, peak memory depends on the number of chunks, or the measured "
        "crossover is not where the closed form puts it",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What was measured beside the attempts."""

    one_chunk_equal: float
    """Share of problems on which one chunk equalled plain generation."""
    openings: Mapping[str, Estimate]
    """Which style workings open in when it is left to the model: share of each."""


def findings(plan: Plan, rows: Sequence[Row], priced: Sequence[Priced], facts: Facts) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""

    def against(stage: str, xs: Iterable[int], arm: str = "Delethink", baseline: str = "LongCoT") -> Estimate | None:
        points = tuple(xs)
        ours, theirs = (scores(rows, stage, "restate", name, points) for name in (arm, baseline))
        best = max((e.mean for e in (mean(ours), mean(theirs)) if e), default=0.0)
        return gap(ours, theirs) if best >= FLOOR else None

    parity = against("tracing", (x for x in plan.loops if x <= plan.trained))
    longer = against("tracing", (x for x in plan.loops if x > 2 * plan.trained))
    carry = against("control", (plan.control,), "m=C/2", "m=0")
    fits = against("ledger", (r for r in plan.ledger if r <= plan.ledger_fits))
    bursts = against("ledger", (r for r in plan.ledger if r > plan.ledger_fits))
    small, large = against("state", plan.small_m), against("state", plan.large_m)
    exact = sum(p.exact for p in priced)
    return (
        Finding("one-chunk", _all(facts.one_chunk_equal == 1.0), f"equal on {facts.one_chunk_equal:.0%} of the problems compared"),
        Finding("parity", _not_worse(parity, 0.1), f"Delethink less LongCoT at up to 1×: {say(parity)}"),
        Finding("longer", _above(longer), f"Delethink less LongCoT beyond 2×: {say(longer)}; by length {by_length(plan, rows)}"),
        Finding("carry", _above(carry), f"m = C/2 less m = 0: {say(carry)}"),
        Finding(
            "state-limit", _lower(bursts, fits), f"Delethink less LongCoT where the ledger fits: {say(fits)}; where not: {say(bursts)}"
        ),
        Finding("state-size", _lower(small, large), f"Delethink less LongCoT with m of at least 24: {say(large)}; at most 8: {say(small)}"),
        Finding(
            "linear-cost",
            _all(exact == len(priced) and constant_peak(plan, priced) and crosses_as_predicted(plan, priced)),
            f"{exact} of {len(priced)} points equal the closed form; peak memory beyond one chunk "
            f"{'constant' if constant_peak(plan, priced) else 'not constant'}; "
            f"crossover {'as' if crosses_as_predicted(plan, priced) else 'not as'} predicted",
        ),
    )


def constant_peak(plan: Plan, priced: Sequence[Priced]) -> bool:
    """Whether each shape's peak memory is the same at every length of more than one chunk."""
    return len({(p.shape, p.delethink_peak) for p in priced if p.S > plan.C}) == len({p.shape for p in priced})


def crosses_as_predicted(plan: Plan, priced: Sequence[Priced]) -> bool:
    """Whether, at whole-chunk lengths, Delethink is measured cheaper just where the closed form says it pays."""
    return all((p.delethink_flops <= p.longcot_flops) == (p.crossover <= p.S) for p in priced if p.S > plan.C)


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _above(e: Estimate | None) -> Result:
    if e is None or e.low <= 0 < e.mean:
        return Result.UNCLEAR
    return _all(e.low > 0)


def _not_worse(e: Estimate | None, margin: float) -> Result:
    if e is None or e.low <= -margin <= e.high:
        return Result.UNCLEAR
    return _all(e.low > -margin)


def _lower(a: Estimate | None, b: Estimate | None) -> Result:
    if a is None or b is None or (a.mean < b.mean and a.high >= b.low):
        return Result.UNCLEAR
    return _all(a.high < b.low)


def by_length(plan: Plan, rows: Sequence[Row]) -> str:
    """Accuracy of both arms at each multiple of the trained length, so that a verdict does not hide how far both fall."""
    parts = []
    for x in plan.loops:
        ours, theirs = (mean(scores(rows, "tracing", "restate", arm, (x,))) for arm in ("Delethink", "LongCoT"))
        if ours and theirs:
            parts.append(f"{x / plan.trained:g}×: {ours.mean:.2f} against {theirs.mean:.2f}")
    return ", ".join(parts)


def say(e: Estimate | None) -> str:
    """A difference with its interval and problems."""
    return f"nothing to compare, both below {FLOOR:.0%}" if e is None else f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}], n = {e.n}"


METRICS = {
    "passed": "accuracy", "right": "share of lines before the first mistake", "restated": "headers that restate", "truncated": "cut short",
}  # fmt: skip
UNITS = {"tracing": "loops", "ledger": "registers", "state": "tokens carried", "control": "loops"}


def measures(rows: Sequence[Row], priced: Sequence[Priced], facts: Facts) -> tuple[Measure, ...]:
    """Every arm at every point; then cost, measured once and without error."""
    made: list[Measure] = []
    for stage, style, x, arm in dict.fromkeys((r.stage, r.style, r.x, r.arm) for r in rows):
        for metric, words in METRICS.items():
            if e := mean(scores(rows, stage, style, arm, (x,), metric)):
                made.append(Measure(f"{arm}, {style}", f"{stage}: {words} at {x} {UNITS[stage]}", e.mean, e.low, e.high, e.n))
    for p in priced:
        for arm, flops, peak in (("LongCoT", p.longcot_flops, p.longcot_peak), ("Delethink", p.delethink_flops, p.delethink_peak)):
            for value, words in ((flops, "FLOPs"), (peak, "peak key-value tokens")):
                made.append(Measure(f"{arm}, {p.shape}", f"cost: {words} of {p.S} thinking tokens", value, value, value, 1))
    for style, e in facts.openings.items():
        made.append(Measure("any", f"workings that open in style {style}", e.mean, e.low, e.high, e.n))
    return tuple(made)
