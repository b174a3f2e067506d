"""What AHN's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import gap, level
from reasonry.probe.stats import Estimate

FULL, PLAIN, POOLED = "full attention", "sinks and window", "four tokens averaged"
GDN, DN, MAMBA, CE, ONE = "AHN-GDN", "AHN-DN", "AHN-Mamba2", "AHN-GDN, cross-entropy", "AHN-GDN, one window"
SWAPPED = "AHN-GDN, another stream's values"
LEARNED = (GDN, DN, MAMBA, CE, ONE)
RECALL = 0.05
"""A gain below this on exact recall of many keys counts as none."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    base_steps: int = 500
    """Of the model that is patched, trained with full attention on both kinds of stream, `base_rows` streams a step."""
    base_rows: int = 32
    steps: int = 800
    """Of distillation, for every cell."""
    rows: int = 16
    lr: float = 1e-2
    windows: tuple[int, ...] = (8, 16, 24)
    """Tested; one sink each."""
    totals: tuple[int, ...] = (10, 14, 18, 24, 32)
    """Window and sinks together, drawn in distillation; the one window is the middle one tested."""
    sinks: int = 1
    keys: int = 8
    many: int = 32
    streams: int = 200
    """Tested, of each kind and seed."""


@dataclass(frozen=True)
class Row:
    """One arm at one window on one kind of stream, one seed."""

    seed: int
    arm: str
    kind: str
    """`notes` or `many keys`."""
    window: int
    right: Mapping[str, float]
    """Stream -> share right of the answers whose note lies beyond the window; streams without any are not here."""
    kl: Mapping[str, float]
    """Stream -> mean KL to full attention beyond the window, in nats."""


@dataclass(frozen=True)
class Identity:
    """How far the logits of a covered context are from the unpatched model's, at most."""

    double: float
    single: float
    largest: float
    """Logit, in absolute value."""


CLAIMS = (
    Claim(
        "identity", Kind.EXACT, "While window and sinks cover the context the model is the unpatched one, logit by logit.",
        "a logit differs by more than 1e-5 in double precision, in one piece or token by token",
    ),
    Claim(
        "ledger", Kind.COST, "At 128,000 tokens with 32,768 kept, a 3B model needs 46.7 % of the mixing operations, 26.0 % of the cache.",
        "the formulas give other figures to three digits",
    ),
    Claim(
        "memory", Kind.EFFECT, "What left the window is remembered: more answers right beyond it than with sinks and window alone.",
        "at the middle window AHN-GDN's share right is not above the plain window's; holds where the difference's 95 % interval is wholly "
        "above zero. Nothing is said where full attention is right on less than 90 %",
    ),
    Claim(
        "own-memory", Kind.EFFECT, "It is the memory that answers, not the cells' recalibration of the model.",
        "with another stream's values written instead, as many answers are right; holds where the difference's interval is wholly above "
        "zero",
    ),
    Claim(
        "kl", Kind.EFFECT, "Self-distillation brings the predictions beyond the window nearer to full attention's.",
        "the mean KL is not below the plain window's; holds where the difference's interval is wholly below zero",
    ),
    Claim(
        "pooling", Kind.EFFECT, "A learned memory beats averages of four tokens of the same size.",
        "AHN-GDN's share right is not above theirs; holds where the difference's interval is wholly above zero",
    ),
    Claim(
        "recipe", Kind.EFFECT, "Distillation with windows drawn at random beats cross-entropy and one window.",
        "over the three windows AHN-GDN's share right is not above the better of the two; holds where both differences' intervals are "
        "wholly above zero",
    ),
    Claim(
        "recall", Kind.EFFECT, "Exact recall of many keys is not helped: full attention is still needed there.",
        f"on streams with many keys AHN-GDN gains more than {RECALL} over the plain window; holds where the difference's interval is "
        "wholly below that and full attention is above AHN by more than it",
    ),
)  # fmt: skip


def of(rows: Sequence[Row], arm: str, kind: str, window: int | None, metric: str = "right") -> dict[int, dict[str, float]]:
    """Seed -> stream (at a window) -> value; every window where `window` is `None`."""
    found: dict[int, dict[str, float]] = {}
    for r in rows:
        if (r.arm, r.kind) == (arm, kind) and window in (None, r.window):
            values = r.right if metric == "right" else r.kl
            found.setdefault(r.seed, {}).update({f"{r.window}/{stream}": v for stream, v in values.items()})
    return found


def findings(plan: Plan, rows: Sequence[Row], same: Sequence[Identity], ratios: tuple[float, float]) -> tuple[Finding, ...]:
    """A verdict for each claim; `same` is of each seed, `ratios` are of operations and cache.

    The rules are as they were before the evidence was collected, but for one word: the first run measured identity in single precision,
    whose rounding alone passes 1e-5 where logits are in the tens. Both are told.
    """
    middle = plan.windows[len(plan.windows) // 2]

    def right(a: str, b: str, kind: str = "notes", window: int | None = middle) -> Estimate | None:
        return gap(of(rows, a, kind, window), of(rows, b, kind, window))

    solves = level(of(rows, FULL, "notes", middle))
    taught = solves is not None and solves.mean >= 0.9
    memory, own, pooling = right(GDN, PLAIN), right(GDN, SWAPPED), right(GDN, POOLED)
    kl = gap(of(rows, GDN, "notes", middle, "kl"), of(rows, PLAIN, "notes", middle, "kl"))
    swapped_kl = gap(of(rows, SWAPPED, "notes", middle, "kl"), of(rows, PLAIN, "notes", middle, "kl"))
    over = {arm: right(GDN, arm, "notes", None) for arm in (CE, ONE)}
    gain, lack = right(GDN, PLAIN, "many keys"), right(FULL, GDN, "many keys")
    said = "; ".join(f"over {arm.removeprefix('AHN-GDN, ')} {signed(e)}" for arm, e in over.items() if e)
    return (
        Finding(
            "identity", Result.HOLDS if max(i.double for i in same) <= 1e-5 else Result.FAILS,
            f"largest difference {max(i.double for i in same):.1e}; in single precision {max(i.single for i in same):.1e}, of logits up to "
            f"{max(i.largest for i in same):.0f}",
        ),
        Finding(
            "ledger", Result.HOLDS if (round(ratios[0], 3), round(ratios[1], 3)) == (0.467, 0.26) else Result.FAILS,
            f"operations {100 * ratios[0]:.1f} %, cache {100 * ratios[1]:.1f} %",
        ),
        above("memory", memory, "" if taught else "full attention does not solve the task: ", taught),
        above("own-memory", own),
        below("kl", kl, f"; with another stream's values {signed(swapped_kl)}" if swapped_kl else ""),
        above("pooling", pooling),
        Finding("recipe", every_above(list(over.values())), said or "not run"),
        _recall(gain, lack),
    )  # fmt: skip


def above(claim: str, e: Estimate | None, note: str = "", valid: bool = True) -> Finding:
    """Holds wholly above zero, fails at or below it by its mean."""
    if e is None or not valid:
        return Finding(claim, Result.UNCLEAR, note + (signed(e) if e else "not run"))
    return Finding(claim, every_above([e]), note + signed(e))


def below(claim: str, e: Estimate | None, note: str = "") -> Finding:
    """Holds wholly below zero, fails at or above it by its mean."""
    if e is None:
        return Finding(claim, Result.UNCLEAR, "not run")
    return Finding(claim, Result.HOLDS if e.high < 0 else Result.FAILS if e.mean >= 0 else Result.UNCLEAR, signed(e) + note)


def every_above(found: Sequence[Estimate | None]) -> Result:
    """Of several differences that all have to be above zero."""
    known = [e for e in found if e is not None]
    if not known or len(known) < len(found):
        return Result.UNCLEAR
    return Result.HOLDS if all(e.low > 0 for e in known) else Result.FAILS if any(e.mean <= 0 for e in known) else Result.UNCLEAR


def _recall(gain: Estimate | None, lack: Estimate | None) -> Finding:
    if gain is None or lack is None:
        return Finding("recall", Result.UNCLEAR, "not run")
    holds = gain.high < RECALL and lack.low > RECALL
    fails = gain.low > RECALL or lack.high <= RECALL
    said = f"over the plain window {signed(gain)}; full attention over it {signed(lack)}"
    return Finding("recall", Result.HOLDS if holds else Result.FAILS if fails else Result.UNCLEAR, said)


def signed(e: Estimate) -> str:
    """A difference with its interval."""
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def measures(plan: Plan, rows: Sequence[Row]) -> tuple[Measure, ...]:
    """Shares right and KL of every arm, kind of stream and window."""
    found: list[Measure] = []
    for kind in ("notes", "many keys"):
        for arm in dict.fromkeys(r.arm for r in rows):
            for w in plan.windows:
                kl = of(rows, arm, kind, w, "kl")
                nothing = {seed: dict.fromkeys(values, 0.0) for seed, values in kl.items()}
                made = (("right beyond the window", level(of(rows, arm, kind, w))), ("KL to full attention", gap(kl, nothing)))
                found += [Measure(arm, f"{kind}, window {w}: {name}", e.mean, e.low, e.high, e.n) for name, e in made if e]
    return tuple(found)
