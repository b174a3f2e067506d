"""What Dr.LLM's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was collected.

A seed is one base model with its searches and routers. A difference is taken item by item within each seed; its interval is over seeds and
over items, whichever is wider (`probe.seeds`). "At matched depth": the other's knob was set, on validation items, where it runs as many
blocks as the routers do; static sets of the two whole depths around are mixed so that their mean is the routers' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import gap, level, over_seeds, signed
from reasonry.probe.stats import Estimate

BASE, ROUTED, ORACLE = "base", "routed", "search with the answer"
STATIC, MOVED, OTHER = "best static set", "routed, blocks at random", "routed by another item"
SHUFFLED, FIRST = "labels shuffled", "first block's states"
WINDOWS = {1: "1 window", 2: "2 windows", 4: "4 windows"}
CE, WEIGHTED = "cross-entropy", "weighted cross-entropy"
DEEP, COMMON = "taught to save four", "taught by all edits in one order"
"""Routers with other labels, at the depth they choose: a search that goes on until four blocks are saved; and every item's first right
program in an order that all items share, the shortest first."""
STATIC_AS = {DEEP: "best static set as deep as taught to save four", COMMON: "best static set as deep as taught by all edits"}
TREE, CHAIN, EDITED = "tree search", "chain search", "all edits"
CHAINS, SORTS = "chains", "sorting"
REPEATS = 10
"""Labels, over all seeds, that recall can be told of."""
AMOUNTS = ("blocks", "knob", "evaluations", "items", "repeats", "labels: blocks", "labels: skip", "labels: run", "labels: repeat")
"""Beginnings of figures that are no shares."""
TOLERATED = 0.03
"""Share of answers that may be lost where blocks are saved at no loss."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults; sizes were set in pilots on seed 100: the
    last on validation items alone, the one before, after which `saving` went from 4 to 2, on test items drawn with that seed too."""

    steps: int = 500
    """Of the base model, `rows` items each."""
    rows: int = 128
    lr: float = 0.02
    drop: float = 0.1
    """Chance that a block is left out of a step."""
    searched: int = 320
    """Items with a search of their own, for labels."""
    simulations: int = 50
    saving: int = 2
    """Blocks saved that end a search, as in the released code."""
    deep: int = 4
    """The same for the labels of `DEEP`."""
    windows: int = 8
    hidden: int = 32
    """Inner width of a router."""
    epochs: int = 40
    lr_router: float = 3e-3
    validation: int = 160
    tested: int = 400
    sorted: int = 150
    compared: int = 80
    """Items on which the three searches are compared, and items of the test part that are searched with their answers."""
    beam: int = 3
    knobs: tuple[float, ...] = (-0.7, -0.65, -0.6, -0.55, -0.5, -0.4, -0.3, -0.15, 0.0, 0.5)


@dataclass(frozen=True)
class Row:
    """One arm on one kind of items, one seed."""

    seed: int
    arm: str
    kind: str
    right: Mapping[str, float]
    """Item -> whether its answer was right."""
    layers: Mapping[str, float]
    """Item -> blocks run."""


@dataclass(frozen=True)
class Figure:
    """A number of one seed that belongs to no item."""

    seed: int
    arm: str
    metric: str
    value: float


@dataclass(frozen=True)
class Used:
    """How the routers treated one test item."""

    seed: int
    item: str
    level: int
    counts: tuple[int, ...]


def _claim(id: str, says: str, falsified_if: str, kind: Kind = Kind.EFFECT) -> Claim:
    return Claim(id, kind, says, falsified_if)


ABOVE = "; it holds where the difference's 95 % interval is wholly on the claimed side, and fails where its mean is not on it"
CLAIMS = (
    _claim(
        "identity", "Running every block once is the base model to the last bit, and a cache kept by block and pass changes nothing.",
        "a logit of a program decoded with the cache differs from the same program computed anew by more than 1e-4, or one of the whole "
        "network's from the base model's at all", Kind.EXACT,
    ),
    _claim(
        "saves", "Routed inputs run fewer blocks at no loss of accuracy.",
        f"they run as many, or lose more than {100 * TOLERATED:.0f} points; it holds where the loss's 95 % interval stays within them",
    ),
    _claim("gains", "Routing raises accuracy.", "routed is not above the base model" + ABOVE),
    _claim("static", "At matched depth routing beats the best static set of blocks.", "it is not more often right" + ABOVE),
    _claim("common", "So it does when taught by every item's first right program in an order all items share.",
           "it is not more often right than the static set of its own depth" + ABOVE),
    _claim("moved", "Which blocks matters: routing beats as many skips and repeats at random places.",
           "it is not more often right" + ABOVE),
    _claim("other", "Which input matters: an item's own program beats another item's.", "it is not more often right" + ABOVE),
    _claim("shuffled", "The labels teach something: at matched depth routing beats routers taught with shuffled labels.",
           "it is not more often right" + ABOVE),
    _claim("first", "Each router should read the states that enter its own block: reading the first block's does worse.",
           "routing is not more often right at matched depth" + ABOVE),
    _claim("windows", "Eight windows beat one.", "eight are not more often right at matched depth" + ABOVE),
    _claim("focal", "Focal loss finds more of the repeats than cross-entropy.",
           f"its recall of repeats on validation items is not higher; with fewer than {REPEATS} of them, nothing is said" + ABOVE),
    _claim("out-of-domain", "On a task without labels blocks are saved at little loss.",
           f"none are saved, or more than {100 * TOLERATED:.0f} points are lost; it holds where the loss's interval stays within them"),
    _claim("oracle", "Search with the answer at hand stays far above routing.", "it is not more often right" + ABOVE),
    _claim("luck", "A program that puts a wrong answer right is no luck: it does so for the same question in other words.",
           "there it is no more often right than the program that put another item's wrong answer right" + ABOVE),
    _claim("tree", "A real tree saves more blocks than the released chain at as many simulations.",
           "items' shortest right programs are not shorter, a failed search counting as the whole network" + ABOVE),
    _claim("drop", "A model trained without leaving blocks out bears skips worse.",
           "skipping one block at random costs it no more of its own accuracy" + ABOVE),
)  # fmt: skip


def of(rows: Sequence[Row], arm: str, kind: str = CHAINS, what: str = "right") -> dict[int, dict[str, float]]:
    """Seed -> item -> value."""
    return {r.seed: dict(r.right if what == "right" else r.layers) for r in rows if (r.arm, r.kind) == (arm, kind)}


def figures_of(figures: Sequence[Figure], arm: str, metric: str) -> dict[int, float]:
    """Seed -> value."""
    return {f.seed: f.value for f in figures if (f.arm, f.metric) == (arm, metric)}


def spread(by_seed: Mapping[int, float]) -> Estimate | None:
    """Mean and Student's interval over seeds; of a single seed its value alone."""
    v = list(by_seed.values())
    return None if not v else over_seeds(v) if len(v) > 1 else Estimate(v[0], v[0], v[0], 1)


def figure(figures: Sequence[Figure], arm: str, metric: str) -> Estimate | None:
    """A number over seeds; the interval of a share stays within 0 and 1."""
    e = spread(figures_of(figures, arm, metric))
    if e is None or metric.startswith(AMOUNTS):
        return e
    return Estimate(e.mean, max(e.low, 0.0), min(e.high, 1.0), e.n)


def above(e: Estimate | None, least: float = 0.0) -> Result:
    """Of a difference that should be above `least`."""
    if e is None:
        return Result.UNCLEAR
    return Result.HOLDS if e.low > least else Result.FAILS if e.mean <= least else Result.UNCLEAR


def findings(rows: Sequence[Row], figures: Sequence[Figure], apart: float, same: bool) -> tuple[Finding, ...]:
    """A verdict for each claim; `apart`: largest difference with a cache, `same`: whether the whole network was the base's bits."""

    def beats(claim: str, arm: str, other: str) -> Finding:
        e = gap(of(rows, arm), of(rows, other))
        return Finding(claim, above(e), f"{signed(e)} of the answers")

    def free(claim: str, kind: str) -> Finding:
        lost, saved = (gap(of(rows, ROUTED, kind, w), of(rows, BASE, kind, w)) for w in ("right", "layers"))
        kept = above(lost, -TOLERATED)
        fewer = above(saved and Estimate(-saved.mean, -saved.high, -saved.low, saved.n))
        both = Result.FAILS if Result.FAILS in (kept, fewer) else Result.UNCLEAR if Result.UNCLEAR in (kept, fewer) else Result.HOLDS
        return Finding(claim, both, f"{signed(lost)} of the answers, {signed(saved)} blocks")

    def more(claim: str, a: Mapping[int, float], b: Mapping[int, float], unit: str) -> Finding:
        e = spread({s: a[s] - b[s] for s in a if s in b})
        result = above(e) if e and e.n > 1 else Result.UNCLEAR
        return Finding(claim, result, f"{_mean(a)} against {_mean(b)} {unit}; difference {signed(e)}")

    def seeds_of(arm: str, metric: str) -> dict[int, float]:
        return figures_of(figures, arm, metric)

    return (
        Finding("identity", Result.HOLDS if same and apart <= 1e-4 else Result.FAILS,
                f"with a cache {apart:.0e} apart at most; the whole network {'the same' if same else 'not the same'} bit for bit"),
        free("saves", CHAINS),
        beats("gains", ROUTED, BASE),
        beats("static", ROUTED, STATIC),
        beats("common", COMMON, STATIC_AS[COMMON]),
        beats("moved", ROUTED, MOVED),
        beats("other", ROUTED, OTHER),
        beats("shuffled", ROUTED, SHUFFLED),
        beats("first", ROUTED, FIRST),
        beats("windows", ROUTED, WINDOWS[1]),
        _focal(figures, more("focal", seeds_of(ROUTED, "recall of repeat"), seeds_of(CE, "recall of repeat"), "of the repeats found")),
        free("out-of-domain", SORTS),
        _oracle(rows),
        more("luck", seeds_of("flips", "right when re-asked"), seeds_of("flips", "another's program when re-asked"), "right when re-asked"),
        more("tree", seeds_of(TREE, "blocks saved"), seeds_of(CHAIN, "blocks saved"), "blocks saved"),
        more("drop", seeds_of("no drop", "lost by a skip"), seeds_of(BASE, "lost by a skip"), "of its right answers lost by one skip"),
    )  # fmt: skip


def _focal(figures: Sequence[Figure], said: Finding) -> Finding:
    repeats = sum(figures_of(figures, "labels", "repeats on validation items").values())
    return Finding("focal", said.result if repeats >= REPEATS else Result.UNCLEAR, f"{said.measured}; of {repeats:.0f} there were")


def _oracle(rows: Sequence[Row]) -> Finding:
    best = of(rows, ORACLE)
    routed = {s: {i: v for i, v in items.items() if i in best.get(s, {})} for s, items in of(rows, ROUTED).items()}
    e = gap(best, routed)
    return Finding("oracle", above(e), f"{signed(e)} of the answers")


def _mean(by_seed: Mapping[int, float]) -> str:
    return f"{fmean(by_seed.values()):.2f}" if by_seed else "unknown"


def measures(rows: Sequence[Row], figures: Sequence[Figure]) -> tuple[Measure, ...]:
    """Every arm's share right and blocks run, and every other number, over seeds."""
    found: list[Measure] = []
    for arm, kind in dict.fromkeys((r.arm, r.kind) for r in rows):
        right = level(of(rows, arm, kind))
        depth = spread({s: fmean(items.values()) for s, items in of(rows, arm, kind, "layers").items()})
        found += [Measure(arm, f"{kind}: {n}", e.mean, e.low, e.high, e.n) for n, e in (("right", right), ("blocks run", depth)) if e]
    for arm, metric in dict.fromkeys((f.arm, f.metric) for f in figures):
        e = figure(figures, arm, metric)
        found += [Measure(arm, metric, e.mean, e.low, e.high, e.n)] if e else []
    return tuple(found)
