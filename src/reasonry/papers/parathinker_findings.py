"""What ParaThinker's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was collected.

A seed is one base model with all that is taught from it. Differences are taken within a seed over the same test problems; the interval is
Student's over seeds, or that over all their problems where it is wider (`probe.seeds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import BySeed, gap, level, over_seeds, say, signed
from reasonry.probe.stats import Estimate

BASE, CHAIN, NO_T, FLAT, SHARED, AGAIN = "base chain", "chain of the same paths", "no T", "flattened", "one tag", "re-prefill"
FORCED, UNSEEN, VOTED, HALF, FIRST = "forced regions", "tags never trained", "vote of runs", "half-finish", "first-finish"
VOTE, SAID, ANY = "vote of its paths", "vote of those that say found", "any path right"
ONES, BASES = "vote of one-path runs", "vote of base chains"
WRONG, EMPTY, RELAY = "wrong prefix", "empty prefix", "relay"
RIGHT, TOKENS, STEPS, READS = "right", "tokens", "steps", "right where a path is"
DIFFERENCE = "largest difference from the flattened pass"


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults, set in pilots on validation problems."""

    trained: int = 4
    """Most paths of an example."""
    tags: int = 8
    """Tags that examples draw from."""
    known: int = 12
    """Tags the model has; those beyond `tags` are never trained."""
    whole: float = 0.6
    """Share of examples with all their paths."""
    cut: float = 0.4
    """Share of examples whose paths are cut where one has ended."""
    base_steps: int = 600
    steps: int = 600
    """Of supervised training from the base, every variant: on validation problems all seeds then read a right path whenever there is one.
    A first run had 350, after which one of three seeds did so in three of four cases only."""
    batch: int = 2048
    """Tokens of a step at least."""
    lr: float = 0.02
    B: int = 20
    """Tokens of a path; the longest takes 17."""
    widths: tuple[int, ...] = (1, 2, 4, 8)
    n: int = 120
    """Test problems of a seed."""
    prefixes: tuple[int, ...] = (0, 1, 5, 9, 13)
    """Characters of a wrong path that a chain is made to begin with: a region, then whole tries."""
    rest: int = 36
    """Tokens a chain may take after it."""
    relays: int = 30
    votes: int = 100
    """Votes of four paths on one problem, against the closed form."""
    timed: int = 12
    """Attempts by themselves, for the clock."""

    @property
    def room(self) -> int:
        """What flattened paths are apart: opener, budget, closer."""
        return self.B + 2


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one arm and seed: problem -> value; `""` where it is no problem's."""

    seed: int
    arm: str
    metric: str
    values: dict[str, float]


def para(P: int) -> str:
    """The method's arm."""
    return f"ParaThinker, P = {P}"


def arm(name: str, P: int) -> str:
    """Any other's."""
    return f"{name}, P = {P}"


def prefixed(name: str, n: int) -> str:
    """A chain's that begins with so many characters."""
    return f"{name} of {n}"


def _claim(id: str, says: str, falsified_if: str, kind: Kind = Kind.EFFECT) -> Claim:
    return Claim(id, kind, says, falsified_if)


LOWER = "; it holds where the difference's 95 % interval is wholly above zero, and fails where its mean is not above it"
CLAIMS = (
    _claim(
        "exact", "Decoding with the paths' own keys and values is the flattened forward pass under the two-stage mask.",
        "a sampled token's log-probability differs from that of the flattened pass by more than 0.001 in any seed", Kind.EXACT,
    ),
    _claim("tunnel", "A wrong beginning holds a chain: right answers fall with its length, at a fixed budget after it.",
           "the share right after no prefix is not above that after the longest wrong one, or what the wrong one takes is not more than "
           "what an empty one of the same length takes; both must hold" + LOWER),
    _claim("parallel", "Four paths beat one chain of the base at equal total tokens.", "the base chain is right as often" + LOWER),
    _claim("same-data", "They beat a chain taught from the same paths one after another, at equal total tokens.",
           "that chain is right as often" + LOWER),
    _claim("one-path", "The gain is not the training alone: four paths beat one of the same model.", "one is right as often" + LOWER),
    _claim("vote", "Eight paths and a summary beat the majority vote of eight one-path runs of the same model.",
           "the vote is right as often" + LOWER),
    _claim("path-vote", "Four paths and a summary beat the vote of the same four paths.", "the vote is right as often" + LOWER),
    _claim("base-vote", "Eight paths beat the vote of eight chains of the base.", "the vote is right as often" + LOWER),
    _claim("gap-grows", "The gain over the vote of one-path runs grows with the number of paths.",
           "the gain with eight paths is not above that with two" + LOWER),
    _claim("reuse", "Reading the paths' own keys and values beats handing the same paths over again with the same weights.",
           "re-prefill with eight paths is right as often" + LOWER),
    _claim("more-paths", "Trained with at most four paths, the model gains from eight.", "eight are right no more often than four" + LOWER),
    _claim("thoughts", "Thought embeddings help: without them eight paths are right less often.", "without them as often" + LOWER),
    _claim("flat", "Flattened positions hurt with more paths than trained.", "with them eight paths are right as often" + LOWER),
    _claim("first-finish", "Ending all paths with the first is more accurate than waiting for the last (eight paths).",
           "it is not" + LOWER),
    _claim("first-cheap", "And it takes fewer tokens.", "it takes as many" + LOWER, Kind.COST),
    _claim("with-vote", "Voting over four runs of four paths gains on one run.", "one run is right as often" + LOWER),
    _claim("tags", "The tags themselves make paths differ: what a path begins with depends on its tag.",
           "tags and first characters are no more dependent than when tags are dealt anew within problems, in 19 of 20 deals, in more than "
           "one of three seeds; it holds where they are in every seed"),
    _claim("forced", "Lead-ins that differ make four paths right more often than tags alone.", "as often" + LOWER),
    _claim("unseen", "Tags beyond those trained work as well.",
           "four paths under them are right less often than under trained tags, with an interval wholly below zero; it holds where the "
           "interval lies within five points of zero"),
    _claim("none-right", "Where no path is right the summary finds the answer nevertheless.",
           "it is right there no more often than a guess among the candidates that no path tried" + LOWER),
    _claim("relay", "Where every step needs the one before it width buys nothing: four paths are right no more often than one, for four "
           "times the tokens, and at equal total tokens less often.",
           "four paths of the same length are right more often by an interval wholly above zero, or at equal total tokens the lone path is "
           "not right more often"),
    _claim("bytes", "A step is mostly the weights: at the paper's 1.5B shape sixteen paths of 4096 tokens move less than twice the bytes "
           "of one.", "they move twice as many or more", Kind.COST),
    _claim("latency", "Eight paths take less time here than a chain of as many tokens.",
           "the chain's seconds over those of thinking with eight paths are not above one" + LOWER, Kind.COST),
)  # fmt: skip


def values(cells: Sequence[Cell], arm: str, metric: str = RIGHT) -> BySeed:
    """Seed -> problem -> value."""
    return {c.seed: c.values for c in cells if (c.arm, c.metric) == (arm, metric)}


def minus(a: BySeed, b: BySeed) -> BySeed:
    """a − b where both are."""
    return {s: {p: a[s][p] - b[s][p] for p in a[s] if p in b[s]} for s in a if s in b}


def zero(a: BySeed) -> BySeed:
    """Nothing, for the same problems."""
    return {s: dict.fromkeys(of, 0.0) for s, of in a.items()}


def verdict(e: Estimate | None, seeds: int) -> Result:
    """Of a difference that should be above zero; a single seed says nothing of others."""
    if e is None or seeds < 2:
        return Result.UNCLEAR
    return Result.HOLDS if e.low > 0 else Result.FAILS if e.mean <= 0 else Result.UNCLEAR


def both(*results: Result) -> Result:
    """Of claims with several parts."""
    return Result.FAILS if Result.FAILS in results else Result.UNCLEAR if Result.UNCLEAR in results else Result.HOLDS


def findings(plan: Plan, cells: Sequence[Cell]) -> tuple[Finding, ...]:
    """A verdict for each claim."""

    def of(arm: str, metric: str = RIGHT) -> BySeed:
        return values(cells, arm, metric)

    def above(claim: str, a: str, b: str) -> Finding:
        x, y = of(a), of(b)
        d = gap(x, y)
        spent = [level_of(of(name, TOKENS)) for name in (a, b)]
        tokens = "" if None in spent else ", with {:.0f} tokens against {:.0f}".format(*(e.mean for e in spent if e is not None))
        text = f"{say(level(x))} against {say(level(y))}: {signed(d)}{tokens}"
        return Finding(claim, verdict(d, len(x)), text)

    most, four = max(plan.widths), plan.trained
    return (
        _exact(cells), _tunnel(plan, cells),
        above("parallel", para(four), arm(BASE, four)),
        above("same-data", para(four), arm(CHAIN, four)),
        above("one-path", para(four), para(1)),
        above("vote", para(most), arm(ONES, most)),
        above("path-vote", para(four), arm(VOTE, four)),
        above("base-vote", para(most), arm(BASES, most)),
        _grows(plan, cells),
        above("reuse", para(most), arm(AGAIN, most)),
        above("more-paths", para(most), para(four)),
        above("thoughts", para(most), arm(NO_T, most)),
        above("flat", para(most), arm(FLAT, most)),
        above("first-finish", arm(FIRST, most), para(most)),
        _cheaper(cells, arm(FIRST, most), para(most)),
        above("with-vote", arm(VOTED, four), para(four)),
        _tags(cells),
        above("forced", arm(FORCED, four), para(four)),
        _unseen(plan, cells), _none_right(plan, cells), _relay(plan, cells), _bytes(cells), _latency(cells),
    )  # fmt: skip


def level_of(found: BySeed) -> Estimate | None:
    """A mean that need not be a share: over seeds, or of a single one."""
    means = [fmean(v.values()) for v in found.values() if v]
    return over_seeds(means) if len(means) > 1 else Estimate(means[0], means[0], means[0], 1) if means else None


def _exact(cells: Sequence[Cell]) -> Finding:
    found = [v for c in cells if c.metric == DIFFERENCE for v in c.values.values()]
    worst = max(found, default=1.0)
    return Finding("exact", Result.HOLDS if worst <= 1e-3 else Result.FAILS, f"largest difference {worst:.1e} nats")


def _tunnel(plan: Plan, cells: Sequence[Cell]) -> Finding:
    n = max(plan.prefixes)
    free, wrong, empty = (values(cells, prefixed(*a)) for a in ((WRONG, 0), (WRONG, n), (EMPTY, n)))
    falls, more = gap(free, wrong), gap(empty, wrong)
    shares = ", ".join(f"{say(level(values(cells, prefixed(WRONG, k))))} after {k}" for k in plan.prefixes)
    result = both(verdict(falls, len(free)), verdict(more, len(free)))
    return Finding("tunnel", result, f"{shares}; {say(level(empty))} after {n} empty ones")


def _grows(plan: Plan, cells: Sequence[Cell]) -> Finding:
    gains = {P: minus(values(cells, para(P)), values(cells, arm(ONES, P))) for P in plan.widths if P > 1}
    low, high = min(gains), max(gains)
    d = gap(gains[high], gains[low])
    text = ", ".join(f"{signed(gap(g, zero(g)))} with {P}" for P, g in gains.items())
    return Finding("gap-grows", verdict(d, len(gains[high])), f"{text}; {signed(d)} more")


def _cheaper(cells: Sequence[Cell], a: str, b: str) -> Finding:
    x, y = values(cells, a, TOKENS), values(cells, b, TOKENS)
    d = gap(y, x)
    few, many = level_of(x), level_of(y)
    text = "unknown" if few is None or many is None or d is None else f"{few.mean:.1f} tokens against {many.mean:.1f}"
    return Finding("first-cheap", verdict(d, len(x)), text)


def _tags(cells: Sequence[Cell]) -> Finding:
    seen, chance = (values(cells, "tags", m) for m in ("dependence", "by chance"))
    over = [seen[s][""] > chance[s][""] for s in seen]
    result = Result.HOLDS if over and all(over) else Result.FAILS if sum(over) <= 1 else Result.UNCLEAR
    result = result if len(over) > 1 else Result.UNCLEAR
    text = "; ".join(f"{seen[s]['']:.4f} nats, by chance up to {chance[s]['']:.4f}" for s in seen)
    return Finding("tags", result, text or "unknown")


def _unseen(plan: Plan, cells: Sequence[Cell]) -> Finding:
    x, y = values(cells, arm(UNSEEN, plan.trained)), values(cells, para(plan.trained))
    d = gap(x, y)
    if d is None or len(x) < 2:
        return Finding("unseen", Result.UNCLEAR, signed(d))
    result = Result.FAILS if d.high < 0 else Result.HOLDS if d.low > -0.05 and d.high < 0.05 else Result.UNCLEAR
    return Finding("unseen", result, f"{say(level(x))} against {say(level(y))}: {signed(d)}")


def _none_right(plan: Plan, cells: Sequence[Cell]) -> Finding:
    x, y = (values(cells, arm("none right", plan.trained), m) for m in (RIGHT, "guess"))
    d = gap(x, y)
    return Finding("none-right", verdict(d, len(x)), f"right {say(level(x))}, a guess {say(level(y))}: {signed(d)}")


def _relay(plan: Plan, cells: Sequence[Cell]) -> Finding:
    one, four, short = (values(cells, arm(RELAY, k)) for k in (1, 4, 0))
    wider, same = gap(four, one), gap(one, short)
    more = Result.UNCLEAR if wider is None or len(one) < 2 else Result.FAILS if wider.low > 0 else Result.HOLDS
    text = f"one path {say(level(one))}, four {say(level(four))}, four with its tokens in all {say(level(short))}"
    return Finding("relay", both(more, verdict(same, len(one))), text)


def _bytes(cells: Sequence[Cell]) -> Finding:
    found = values(cells, "counted, 4096 tokens", "bytes, 16 paths over one").get(-1, {}).get("", 9.0)
    return Finding("bytes", Result.HOLDS if found < 2 else Result.FAILS, f"{found:.2f} times")


def _latency(cells: Sequence[Cell]) -> Finding:
    found = {s: of[""] for s, of in values(cells, "clock", "chain over eight paths").items()}
    e = over_seeds(list(found.values())) if len(found) > 1 else None
    above = None if e is None else Estimate(e.mean - 1, e.low - 1, e.high - 1, e.n)
    text = "unknown" if e is None else f"{e.mean:.2f} [{e.low:.2f}, {e.high:.2f}] times as long"
    return Finding("latency", verdict(above, len(found)), text)


def measures(cells: Sequence[Cell]) -> tuple[Measure, ...]:
    """Every figure of every arm, over seeds."""
    found: list[Measure] = []
    for of, metric in dict.fromkeys((c.arm, c.metric) for c in cells):
        by_seed = values(cells, of, metric)
        e = level(by_seed) if metric == RIGHT else level_of(by_seed)
        if e is not None:
            found.append(Measure(of, metric, e.mean, e.low, e.high, e.n))
    return tuple(found)
