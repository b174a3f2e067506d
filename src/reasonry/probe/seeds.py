"""Intervals of what was trained several times: a seed is one training run of every arm, and the unit.

A difference is taken within each seed, over the same test problems, and its 95 % interval over the seeds is Student's, or that over all
their problems where it is wider: seeds that agree are not certainty. With a single seed the interval is over that seed's problems, and says
nothing of other runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy.special import stdtrit

from reasonry.probe.stats import Estimate, clustered_mean, paired_difference

BySeed = Mapping[int, Mapping[str, float]]
"""Seed -> problem -> value."""


def over_seeds(means: Sequence[float]) -> Estimate:
    """The mean of at least two seeds' means with Student's 95 % interval."""
    n = len(means)
    half = float(stdtrit(n - 1, 0.975)) * stdev(means) / n**0.5
    return Estimate(fmean(means), fmean(means) - half, fmean(means) + half, n)


def wider(a: Estimate, b: Estimate) -> Estimate:
    """`a` with an interval that holds both."""
    return Estimate(a.mean, min(a.low, b.low), max(a.high, b.high), a.n)


def level(found: BySeed) -> Estimate | None:
    """A share's mean: over seeds, or over the problems of a single one; `None` of nothing."""
    if not found:
        return None
    problems = clustered_mean([[v] for of in found.values() for v in of.values()])
    if len(found) == 1:
        return problems
    e = wider(over_seeds([fmean(of.values()) for of in found.values()]), problems)
    return Estimate(e.mean, max(e.low, 0.0), min(e.high, 1.0), e.n)


def gap(a: BySeed, b: BySeed) -> Estimate | None:
    """a − b over the seeds and problems that both have, paired; `None` of nothing."""
    pairs = [[(a[s][p], b[s][p]) for p in a[s] if p in b[s]] for s in a if s in b]
    if not pairs:
        return None
    problems = paired_difference([x for pair in pairs for x, _ in pair], [y for pair in pairs for _, y in pair])
    return problems if len(pairs) == 1 else wider(over_seeds([fmean(x - y for x, y in pair) for pair in pairs]), problems)


def say(e: Estimate | None) -> str:
    """A level with its interval."""
    return "unknown" if e is None else f"{e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]"


def signed(e: Estimate | None) -> str:
    """A difference with its interval."""
    return "unknown" if e is None else f"{e.mean:+.2f} [{e.low:+.2f}, {e.high:+.2f}]"
