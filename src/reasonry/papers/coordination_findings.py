"""What the coordination experiment claims, and the rules that turn figures into verdicts. Written before the evidence was collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.coordination_agents import COMPLEMENTARY, COPIES, IN_SIGHT, OSCILLATORS, PERSONA, PLAIN
from reasonry.probe.coordination import Verdict
from reasonry.probe.seeds import BySeed, gap
from reasonry.probe.stats import Estimate

ROUNDS = (20, 200)
"""T: a game of the paper's length, and one long enough to see what the short one hides."""
BITS = 0.01
"""Less than this counts as nothing, in bits."""
NULL = ("row", "column", "functional")
PAIR = "planted pair"


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    agents: int = 10
    groups: int = 60
    """Of every arm, length and seed."""
    surrogates: Mapping[str, int] = field(default_factory=lambda: {"20": 200, "200": 50})
    pair_rounds: int = 51


@dataclass(frozen=True)
class Row:
    """One group."""

    seed: int
    arm: str
    rounds: int
    group: int
    scores: Mapping[str, float]
    """Score -> as observed."""
    corrected: Mapping[str, Mapping[str, float]]
    """Null -> score -> observed less the null's mean."""
    p: Mapping[str, Mapping[str, float]]
    """Null -> score -> one-sided."""
    differs: float | None
    """p of random intercepts."""
    success: bool
    """Whether the target was hit within the first 20 rounds."""
    early: Mapping[str, float]
    """Scores of the first 10 rounds."""


@dataclass(frozen=True)
class Batch:
    """All groups of an arm, a length and a seed."""

    rows: tuple[Row, ...]
    verdict: str
    fisher: Mapping[str, Mapping[str, float]]
    """Null -> score -> p."""
    wilcoxon: Mapping[str, Mapping[str, float]]


CLAIMS = (
    Claim(
        "oracles", Kind.EXACT, "XOR, AND, copied, unique and doubled bits decompose as they must, by I_min and by MMI.",
        "an atom differs from its known value by more than 1e-9",
    ),
    Claim(
        "artefact", Kind.EXACT, "Independent agents that merely persist have synergy 1 − h(r): raw synergy is no emergence.",
        "the formula's synergy at r = 0.75, 0.9 and 1 differs from 0.189, 0.531 and 1 in the third digit",
    ),
    Claim(
        "persistence", Kind.EFFECT, "Raw synergy of groups without interaction is gone once each agent's rhythm is kept in the null.",
        "over 200 rounds the synergy above the column shuffle of plain groups, or of any copies, lies wholly above 0.01 bit; holds where "
        "all of these stay wholly below it while plain groups' raw synergy is wholly above 0.1",
    ),
    Claim(
        "alignment", Kind.EFFECT, "Complementary groups are aligned with the shared signal: I3 above the column shuffle, more than others.",
        "over 200 rounds it is not above that of plain and of persona groups; holds where both differences are wholly above zero",
    ),
    Claim(
        "driver", Kind.EFFECT, "Feedback that all hear passes for coordination with the column shuffle, not with the functional null.",
        "copies of complementary agents, who hear a stranger's feedback, have no I3 above the column shuffle at 200 rounds, or have some "
        "above the functional null; holds where the first is wholly above 0.01 bit and the second wholly below",
    ),
    Claim(
        "gain", Kind.EFFECT, "G3 stays near zero: pairs suffice.",
        "over 200 rounds some game's G3 above the column shuffle is beyond ±0.02 bit, wholly; holds where all three are wholly within",
    ),
    Claim(
        "redundancy", Kind.EFFECT, "Complementary groups are the most redundant in short games.",
        "at 20 rounds their raw redundancy is not above that of plain and of persona groups; holds where both differences are wholly above "
        "zero",
    ),
    Claim(
        "practical", Kind.EFFECT, "The practical criterion is negative for well-aligned groups: it counts what they share many times.",
        "over 200 rounds it is not below zero for complementary groups; holds where it is wholly below",
    ),
    Claim(
        "identity", Kind.EFFECT, "Personas differ from one another for good, plain agents do not.",
        "at 20 rounds the random intercept is significant in fewer than half of the persona or complementary groups, or in more than a "
        "tenth of the plain ones; holds where it is in at least half of both and in at most a tenth",
    ),
    Claim(
        "power", Kind.EFFECT, "Planted synergy of 0.714 bit is found in 50 transitions of a single pair.",
        "fewer than 80 % of the planted pairs reach p < 0.05 against the column shuffle, or the mean synergy above it is below half of "
        "0.714",
    ),
    Claim(
        "verdict", Kind.EFFECT, "The verdict tells a collective from oscillators: agents in sight of one another, and agents that swing.",
        "over 200 rounds groups in sight are not called an integrated collective in every seed, or oscillators or any copies are in one",
    ),
    Claim(
        "performance", Kind.EFFECT, "Synergy and redundancy amplify one another in success.",
        "the interaction of early synergy and early redundancy on success is not above zero in persona and complementary games; holds "
        "where its 95 % interval is wholly above zero",
    ),
)  # fmt: skip


def values(rows: Sequence[Row], arm: str, rounds: int, score: str, null: str | None = None) -> dict[int, dict[str, float]]:
    """Seed -> group -> a score: as observed, or less the mean of a null."""
    found: dict[int, dict[str, float]] = {}
    for r in rows:
        of = r.scores if null is None else r.corrected.get(null, {})
        if (r.arm, r.rounds) == (arm, rounds) and score in of:
            found.setdefault(r.seed, {})[str(r.group)] = of[score]
    return found


def mean(found: BySeed) -> Estimate | None:
    """A score's mean over seeds and groups; it may be negative."""
    return gap(found, {s: dict.fromkeys(of, 0.0) for s, of in found.items()})


def findings(batches: Sequence[Batch], oracles: float, artefact: Sequence[float], interaction: Estimate | None) -> tuple[Finding, ...]:
    """A verdict for each claim; `oracles` is the atoms' largest error, `artefact` the formula's synergies, `interaction` the slope."""
    rows = [r for b in batches for r in b.rows]
    long, short = ROUNDS[1], ROUNDS[0]

    def of(arm: str, score: str, null: str | None = None, rounds: int = long) -> Estimate | None:
        return mean(values(rows, arm, rounds, score, null))

    def over(score: str, null: str | None, rounds: int) -> list[Estimate | None]:
        mine = values(rows, COMPLEMENTARY, rounds, score, null)
        return [gap(mine, values(rows, other, rounds, score, null)) for other in (PLAIN, PERSONA)]

    right = [round(s, 3) for s in artefact] == [0.189, 0.531, 1.0]
    practical = of(COMPLEMENTARY, "practical")
    return (
        Finding("oracles", Result.HOLDS if oracles <= 1e-9 else Result.FAILS, f"largest error {oracles:.1e}"),
        Finding("artefact", Result.HOLDS if right else Result.FAILS, ", ".join(f"{s:.3f}" for s in artefact) + " bit"),
        _persistence(of(PLAIN, "synergy"), {arm: of(arm, "synergy", "column") for arm in (PLAIN, *COPIES)}),
        _both_above("alignment", over("I3", "column", long)),
        _driver(of(COPIES[2], "I3", "column"), of(COPIES[2], "I3", "functional")),
        _gain({arm: of(arm, "G3", "column") for arm in (PLAIN, PERSONA, COMPLEMENTARY)}),
        _both_above("redundancy", over("redundancy", None, short)),
        _ruled("practical", practical, lambda e: e.high < 0, lambda e: e.mean >= 0),
        _identity(rows, short),
        _power([r for r in rows if r.arm == PAIR]),
        _verdict([b for b in batches if b.rows and b.rows[0].rounds == long]),
        _ruled("performance", interaction, lambda e: e.low > 0, lambda e: e.mean <= 0),
    )  # fmt: skip


def _ruled(claim: str, e: Estimate | None, holds, fails) -> Finding:
    if e is None:
        return Finding(claim, Result.UNCLEAR, "not run")
    return Finding(claim, Result.HOLDS if holds(e) else Result.FAILS if fails(e) else Result.UNCLEAR, say(e))


def _both_above(claim: str, found: Sequence[Estimate | None]) -> Finding:
    known = [e for e in found if e is not None]
    if len(known) < 2:
        return Finding(claim, Result.UNCLEAR, "not run")
    result = Result.HOLDS if all(e.low > 0 for e in known) else Result.FAILS if any(e.mean <= 0 for e in known) else Result.UNCLEAR
    return Finding(claim, result, f"over plain {say(known[0])}, over persona {say(known[1])} bit")


def _persistence(raw: Estimate | None, corrected: Mapping[str, Estimate | None]) -> Finding:
    known = {arm: e for arm, e in corrected.items() if e is not None}
    if raw is None or len(known) < len(corrected):
        return Finding("persistence", Result.UNCLEAR, "not run")
    said = f"raw {say(raw)}; above the column shuffle: " + ", ".join(f"{arm} {say(e)}" for arm, e in known.items())
    fails = any(e.low > BITS for e in known.values())
    holds = raw.low > 0.1 and all(e.high < BITS for e in known.values())
    return Finding("persistence", Result.FAILS if fails else Result.HOLDS if holds else Result.UNCLEAR, said)


def _driver(column: Estimate | None, functional: Estimate | None) -> Finding:
    if column is None or functional is None:
        return Finding("driver", Result.UNCLEAR, "not run")
    holds, fails = column.low > BITS and functional.high < BITS, column.mean <= 0 or functional.low > BITS
    said = f"copies' I3 above the column shuffle {say(column)}, above the functional null {say(functional)} bit"
    return Finding("driver", Result.HOLDS if holds else Result.FAILS if fails else Result.UNCLEAR, said)


def _gain(found: Mapping[str, Estimate | None]) -> Finding:
    known = {arm: e for arm, e in found.items() if e is not None}
    if len(known) < len(found):
        return Finding("gain", Result.UNCLEAR, "not run")
    holds = all(e.low > -0.02 and e.high < 0.02 for e in known.values())
    fails = any(e.low > 0.02 or e.high < -0.02 for e in known.values())
    said = ", ".join(f"{arm} {say(e)}" for arm, e in known.items())
    return Finding("gain", Result.HOLDS if holds else Result.FAILS if fails else Result.UNCLEAR, said)


def differing(rows: Sequence[Row], arm: str, rounds: int) -> float | None:
    """Share of an arm's groups whose agents differ with p < 0.05."""
    found = [r.differs for r in rows if (r.arm, r.rounds) == (arm, rounds) and r.differs is not None]
    return sum(p < 0.05 for p in found) / len(found) if found else None


def _identity(rows: Sequence[Row], rounds: int) -> Finding:
    shares = {arm: differing(rows, arm, rounds) for arm in (PLAIN, PERSONA, COMPLEMENTARY)}
    plain, persona, complementary = shares.values()
    if plain is None or persona is None or complementary is None:
        return Finding("identity", Result.UNCLEAR, "not run")
    holds = min(persona, complementary) >= 0.5 and plain <= 0.1
    said = ", ".join(f"{arm} {100 * (share or 0):.0f} %" for arm, share in shares.items())
    return Finding("identity", Result.HOLDS if holds else Result.FAILS, f"significant in {said}")


def _power(rows: Sequence[Row]) -> Finding:
    if not rows:
        return Finding("power", Result.UNCLEAR, "not run")
    found = sum(r.p["column"]["synergy"] < 0.05 for r in rows) / len(rows)
    e = mean(values(rows, PAIR, rows[0].rounds, "synergy", "column"))
    assert e is not None
    holds = found >= 0.8 and e.mean >= 0.714 / 2
    said = f"{100 * found:.0f} % of {len(rows)} pairs; synergy above the column shuffle {say(e)} bit"
    return Finding("power", Result.HOLDS if holds else Result.FAILS, said)


def _verdict(batches: Sequence[Batch]) -> Finding:
    found: dict[str, list[str]] = {}
    for b in batches:
        found.setdefault(b.rows[0].arm, []).append(b.verdict)
    if IN_SIGHT not in found or OSCILLATORS not in found:
        return Finding("verdict", Result.UNCLEAR, "not run")
    true = all(v == Verdict.COLLECTIVE for v in found[IN_SIGHT])
    false = any(v == Verdict.COLLECTIVE for arm in (OSCILLATORS, *COPIES) for v in found.get(arm, []))
    said = "; ".join(f"{arm}: {', '.join(dict.fromkeys(of))}" for arm, of in found.items())
    return Finding("verdict", Result.HOLDS if true and not false else Result.FAILS, said)


def say(e: Estimate) -> str:
    """A figure with its interval, to three digits."""
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def measures(batches: Sequence[Batch]) -> tuple[Measure, ...]:
    """Every score of every arm and length: raw, and above each null; shares of groups that differ and that won."""
    rows = [r for b in batches for r in b.rows]
    return tuple(_measures(rows))


def _measures(rows: Sequence[Row]) -> Iterator[Measure]:
    for arm, rounds in dict.fromkeys((r.arm, r.rounds) for r in rows):
        mine = [r for r in rows if (r.arm, r.rounds) == (arm, rounds)]
        shown = f"{arm}, {rounds} rounds"
        for score in mine[0].scores:
            for null in (None, *NULL):
                e = mean(values(mine, arm, rounds, score, null))
                if e is not None:
                    yield Measure(shown, score if null is None else f"{score}, above {null}", e.mean, e.low, e.high, e.n)
        for name, by in (("success", lambda r: float(r.success)), ("differs, p < 0.05", lambda r: float((r.differs or 1.0) < 0.05))):
            by_seed: dict[int, dict[str, float]] = {}
            for r in mine:
                by_seed.setdefault(r.seed, {})[str(r.group)] = by(r)
            e = mean(by_seed)
            if e is not None:
                yield Measure(shown, name, e.mean, e.low, e.high, e.n)
