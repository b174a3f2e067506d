"""What TRM's experiment claims, and the rules that turn its puzzles into verdicts.

The rules were written before any test puzzle was looked at; settings were chosen on validation puzzles. Two arms are compared on the same
test puzzles of all seeds, with intervals over puzzles; since those do not see how much training itself varies, a difference counts only
where it has the same sign in every seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.papers.trm_arms import ATTENTION, DEEP, DIRECT, LIVE, ONE_STEP, ONE_SUP, ROLLOUTS, SINGLE, TWO, WHOLE, WRITES, Plan, Read
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference, wilson
from reasonry.worlds.trm import TRM, Mixer, Shape, parameters_of

SIZES = {Mixer.MLP: 5_028_866, Mixer.ATTENTION: 6_828_034}
"""Trained numbers of the paper's networks for 9×9 sudoku."""
FLOOR, CEILING = 0.02, 0.98
"""Where both arms of a comparison solve less or more than this, it says nothing and its claim is unclear."""
HIDDEN = 0.2
"""How far blanks must be ahead of whole grids for the first to hide the second."""

_OVER = (
    "the difference of whole grids' 95 % interval is not wholly above zero, or its sign is not the same in every seed; unclear where both "
    "arms solve next to nothing or next to all"
)

CLAIMS = (
    Claim(
        "sizes", Kind.EXACT, "The network has 5.0 M parameters with the MLP mixer, 6.8 M with attention, and T(n + 1) evaluations a step.",
        "a count of ours differs from the released code's by one",
    ),
    Claim("recursion", Kind.EFFECT, "Recursion beats a direct network of the same size trained with the same FLOPs.", _OVER),
    Claim("depth", Kind.EFFECT, "It beats a direct network of the same depth, with many times the parameters, at the same FLOPs.", _OVER),
    Claim(
        "writing", Kind.EFFECT, "It beats a causal decoder of the same size that writes the grid cell by cell, at the same FLOPs.", _OVER,
    ),
    Claim(
        "refinement", Kind.EFFECT, "The answer improves over the supervision steps at test time.",
        "as for `recursion`, the last trained step less the first",
    ),
    Claim("deep-supervision", Kind.EFFECT, "Supervising many steps beats supervising one, run for one or for many.", _OVER),
    Claim("full-gradient", Kind.EFFECT, "The gradient of a whole recursion beats HRM's of one step (paper: 87.4 against 56.5).", _OVER),
    Claim("single-network", Kind.EFFECT, "One network beats two (paper: 87.4 against 82.4).", _OVER),
    Claim("two-features", Kind.EFFECT, "An answer y beside the latent z beats z alone (paper: 87.4 against 71.9).", _OVER),
    Claim("average", Kind.EFFECT, "Averaged weights beat the last ones (paper: 87.4 against 79.9).", _OVER),
    Claim("mixer", Kind.EFFECT, "On a small grid the MLP along the sequence beats attention (paper: 87.4 against 74.7).", _OVER),
    Claim(
        "halting", Kind.EFFECT, "The halting head tells solved grids from unsolved ones.",
        "the lower ends of the shares it gets right among solved and among unsolved grids (95 %, Wilson) do not sum to more than one",
    ),
    Claim(
        "rollouts", Kind.EFFECT, "Several rollouts with noise, the halting head choosing, beat one without (PTRM, 2605.19943).", _OVER,
    ),
    Claim(
        "blanks", Kind.EFFECT, "Accuracy by cell hides failure: a direct network has most blanks right and few grids.",
        f"for the direct network of the same depth, blanks less whole grids is not above {HIDDEN} (95 % interval)",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One arm less another on the same puzzles."""

    all: Estimate
    by_seed: tuple[float, ...]
    level: tuple[float, float]
    """Share of grids that each arm solves."""

    @property
    def result(self) -> Result:
        """Above zero as a whole and in each seed: holds. The mean not above zero: fails. Else, and where nothing can be told, unclear."""
        if max(self.level) < FLOOR or min(self.level) > CEILING:
            return Result.UNCLEAR
        if self.all.mean <= 0:
            return Result.FAILS
        return Result.HOLDS if self.all.low > 0 and all(d > 0 for d in self.by_seed) else Result.UNCLEAR

    def __str__(self) -> str:
        each = ", ".join(f"{d:+.3f}" for d in self.by_seed)
        levels = " less ".join(f"{level:.3f}" for level in self.level)
        return f"{levels} = {self.all.mean:+.3f} [{self.all.low:+.3f}, {self.all.high:+.3f}]; by seed {each}"


def pair(reads: Sequence[Read], a: str, b: str, at_a: int, at_b: int) -> Pair:
    """Arm a after `at_a` steps less arm b after `at_b`."""
    rows = [(_of(reads, a, seed).right(at_a), _of(reads, b, seed).right(at_b)) for seed in seeds(reads)]
    left, right = ([x for row in rows for x in row[i]] for i in range(2))
    by_seed = tuple(sum(mine) / len(mine) - sum(other) / len(other) for mine, other in rows)
    return Pair(paired_difference(left, right), by_seed, (sum(left) / len(left), sum(right) / len(right)))


def seeds(reads: Sequence[Read]) -> list[int]:
    """In order."""
    return sorted({r.seed for r in reads})


def _of(reads: Sequence[Read], name: str, seed: int) -> Read:
    return next(r for r in reads if r.name == name and r.seed == seed)


def named(reads: Sequence[Read], name: str) -> list[Read]:
    """An arm's rows, a seed each."""
    return [_of(reads, name, seed) for seed in seeds(reads)]


def share(reads: Sequence[Read], name: str, step: int) -> Estimate:
    """Whole grids of an arm after `step` steps, over all seeds' puzzles."""
    return clustered_mean([[x] for r in named(reads, name) for x in r.right(step)])


def halting(reads: Sequence[Read], plan: Plan) -> tuple[Estimate | None, Estimate | None]:
    """Shares that the head gets right among solved and among unsolved grids; `None` where there are none of a kind."""
    said = [(h > 0, bool(x)) for r in named(reads, WHOLE) for h, x in zip(r.halt, r.right(plan.N_sup), strict=True)]
    found = []
    for kind in (True, False):
        mine = [says == right for says, right in said if right is kind]
        found.append(wilson(sum(mine), len(mine)) if mine else None)
    return found[0], found[1]


def sizes() -> dict[Mixer, int]:
    """Parameters of the paper's networks, counted without making them."""
    with torch.device("meta"):
        return {mixer: parameters_of(TRM(Shape(mixer=mixer))) for mixer in Mixer}


def findings(plan: Plan, reads: Sequence[Read]) -> tuple[Finding, ...]:
    """The verdict on every claim."""
    at, counted = plan.N_sup, sizes()
    evaluations = Shape().evaluations
    exact = counted == SIZES and evaluations == 21
    against = {
        "recursion": (DIRECT, 1), "depth": (DEEP, 1), "writing": (WRITES, 1), "full-gradient": (ONE_STEP, at),
        "deep-supervision": (ONE_SUP, max((1, at), key=lambda step: share(reads, ONE_SUP, step).mean)),
        "single-network": (TWO, at), "two-features": (SINGLE, at), "average": (LIVE, at), "mixer": (ATTENTION, at),
    }  # fmt: skip
    pairs = {claim: pair(reads, WHOLE, other, at, step) for claim, (other, step) in against.items()}
    pairs["refinement"] = pair(reads, WHOLE, WHOLE, at, 1)
    pairs["rollouts"] = pair(reads, ROLLOUTS, WHOLE, at, at)
    told = {claim: Finding(claim, p.result, f"{_who(claim, against)}: {p}") for claim, p in pairs.items()}
    told["sizes"] = Finding(
        "sizes", Result.HOLDS if exact else Result.FAILS,
        f"{counted[Mixer.MLP]:,} and {counted[Mixer.ATTENTION]:,} parameters, {evaluations} evaluations a supervision step",
    )  # fmt: skip
    told["halting"] = _halting(reads, plan)
    told["blanks"] = _blanks(reads)
    return tuple(told[claim.id] for claim in CLAIMS)


def _who(claim: str, against: dict[str, tuple[str, int]]) -> str:
    if claim == "refinement":
        return "the last trained step less the first"
    return "rollouts less one run" if claim == "rollouts" else f"trm less {against[claim][0]}"


def _halting(reads: Sequence[Read], plan: Plan) -> Finding:
    solved, unsolved = halting(reads, plan)
    if solved is None or unsolved is None:
        return Finding("halting", Result.UNCLEAR, "all test grids were solved, or none")
    words = f"right on {_words(solved)} of solved grids and {_words(unsolved)} of unsolved ones"
    if solved.low + unsolved.low > 1:
        return Finding("halting", Result.HOLDS, words)
    return Finding("halting", Result.FAILS if solved.mean + unsolved.mean <= 1 else Result.UNCLEAR, words)


def _blanks(reads: Sequence[Read]) -> Finding:
    rows = named(reads, DEEP)
    grids, blanks = share(reads, DEEP, 1), sum(r.blanks[0] for r in rows) / len(rows)
    words = f"{blanks:.3f} of blanks and {_words(grids)} of grids"
    if blanks - grids.high > HIDDEN:
        return Finding("blanks", Result.HOLDS, words)
    return Finding("blanks", Result.FAILS if blanks - grids.mean <= HIDDEN else Result.UNCLEAR, words)


def _words(e: Estimate) -> str:
    return f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"


def measures(plan: Plan, reads: Sequence[Read]) -> tuple[Measure, ...]:
    """Every figure of the evidence."""
    found: list[Measure] = []
    for name in dict.fromkeys(r.name for r in reads):
        rows = named(reads, name)
        last = len(rows[0].exact)
        for step in sorted({1, 2, 4, plan.N_sup, last} & set(range(1, last + 1))):
            e = share(reads, name, step)
            found.append(Measure(name, f"whole grids after {step} steps", e.mean, e.low, e.high, e.n))
        shown = {
            "blanks": [r.blanks[min(plan.N_sup, last) - 1] for r in rows], "training FLOPs": [r.flops for r in rows],
            "parameters": [float(r.parameters) for r in rows], "optimiser steps": [float(r.steps) for r in rows],
            "mean halting step": [r.first_halt for r in rows],
        }  # fmt: skip
        for metric, values in shown.items():
            found.append(Measure(name, metric, sum(values) / len(values), min(values), max(values), len(values)))
    return tuple(found)
