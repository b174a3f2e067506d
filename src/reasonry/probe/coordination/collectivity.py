"""A bundle of agents or a collective? Every score of every group, held against nulls, combined over groups, and a verdict.

Invariant: no score is reported without the mean of its null beside it. A p-value is (1 + #{null ≥ observed}) / (surrogates + 1), or the
plain share where all surrogates there are were made. Groups, not pairs or triplets, are the units of every test over groups.

Riedl, Emergent Coordination in Multi-Agent Language Models (arXiv 2510.05174). Departures: the verdict is ours; so is the functional null's
recipe, which was not published; observed less the null's mean is how "bias-corrected" was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy.special import chdtrc

from reasonry.core import UserError
from reasonry.probe.coordination.differentiation import Ratio, identity_information, ratio_test
from reasonry.probe.coordination.group import Cut, Group
from reasonry.probe.coordination.scores import Moves, joined, measure, moves, triplets
from reasonry.probe.coordination.states import occupied_entropy
from reasonry.probe.coordination.surrogates import COLUMN, COLUMN_SUM, FUNCTIONAL, ROW, Null
from reasonry.probe.coordination.tables import JEFFREYS, Estimator, Floats
from reasonry.probe.stats import Estimate, paired_difference, wilson

LEVEL = 0.05
UNTOUCHED = {"macro_memory": ("row", "column", "block"), "synchrony": ("row",)}
"""Score -> the nulls that leave it as it is, and so cannot test it."""
WILCOXON_NEEDS = 6
"""Groups below which no signed-rank test can reach the level with room to spare; Fisher's combination decides there."""


class Verdict(StrEnum):
    """What a set of groups is."""

    NONE = "none"
    OSCILLATORS = "synchronised oscillators"
    AGGREGATE = "differentiated aggregate"
    COLLECTIVE = "integrated collective"


@dataclass(frozen=True)
class Options:
    """How to look."""

    lag: int = 1
    cut: Cut = field(default_factory=Cut)
    estimator: Estimator = JEFFREYS
    nulls: tuple[Null, ...] = (ROW, COLUMN, FUNCTIONAL)
    surrogates: int = 200
    mean: bool = False
    """Over pairs the mean instead of the median."""
    max_triplets: int = 120
    pool: bool = False
    """Count the transitions of all groups in one table: for games too short to tell anything alone."""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Tested:
    """One score against one null, over groups."""

    score: str
    null: str
    groups: tuple[int, ...]
    """Which groups have it: those with agents enough that move; the first stands for all where they are pooled."""
    observed: Floats
    """[G]"""
    expected: Floats
    """[G], the null's mean."""
    p: Floats
    """[G], one-sided."""
    exact: bool
    """Whether all surrogates there are were made, in every group."""
    corrected: Estimate
    """Observed less expected, mean over groups."""
    fisher: float
    wilcoxon: float | None
    """One-sided, that observed exceeds expected; `None` for too few groups."""
    significant: Estimate
    """Share of groups with p below 0.05, Wilson's interval."""

    @property
    def above(self) -> bool:
        """Whether the score stands above its null: by the signed ranks, or by Fisher's combination where groups are too few."""
        return (self.fisher if self.wilcoxon is None else self.wilcoxon) < LEVEL and self.corrected.mean > 0


@dataclass(frozen=True, eq=False)
class Report:
    """What was found. Made by `collectivity`, read by pages and experiments."""

    groups: tuple[Group, ...]
    options: Options
    tested: tuple[Tested, ...]
    ratios: tuple[Ratio | None, ...]
    """Of numeric groups; empty for categories."""
    identity: tuple[float, ...]
    """p-values of I(agent; state) against the row shuffle in blocks, by group; of categories."""
    dropped: int
    """Series that never move, over all groups."""
    macro_entropy: float
    """Mean over groups, in bits."""

    def of(self, score: str, null: str) -> Tested | None:
        """A score's test; `None` where it was not made."""
        return next((t for t in self.tested if (t.score, t.null) == (score, null)), None)

    @property
    def differentiation(self) -> float | None:
        """Fisher's p over groups that agents differ for good: of random intercepts, or of I(agent; state)."""
        p = [r.p_intercepts for r in self.ratios if r is not None] or list(self.identity)
        return fisher(p) if p else None

    @property
    def slopes(self) -> float | None:
        """Fisher's p over groups that agents drift apart."""
        p = [r.p_slopes for r in self.ratios if r is not None]
        return fisher(p) if p else None

    def above(self, score: str) -> bool:
        """Whether a score stands above every null but the row shuffle, which asks about identity."""
        tests = [t for t in self.tested if t.score == score and t.null != ROW.name]
        return bool(tests) and all(t.above for t in tests)

    @property
    def part_of_whole(self) -> bool:
        """Whether the signal is made of the actions and no null made it anew: agents that persist then tell of it for being in it."""
        anew = {t.null for t in self.tested} & {COLUMN_SUM.name, FUNCTIONAL.name}
        return not anew and any(callable(g.macro) for g in self.groups)

    @property
    def coalitions(self) -> bool:
        """Whether three agents tell of the group's next signal more than any null explains."""
        return self.above("I3") and not self.part_of_whole

    @property
    def verdict(self) -> Verdict:
        """Coalitions above the nulls and agents that differ: a collective. Agents that differ: an aggregate. Agents that move together, or
        coalitions without roles: oscillators. Raw synergy decides nothing, since independent agents that persist have it."""
        different = self.differentiation is not None and self.differentiation < LEVEL
        if different:
            return Verdict.COLLECTIVE if self.coalitions else Verdict.AGGREGATE
        together = any(t.above for t in self.tested if t.score == "synchrony" and t.null in (COLUMN.name, "block"))
        return Verdict.OSCILLATORS if together or self.coalitions else Verdict.NONE


def collectivity(groups: Sequence[Group], options: Options = Options()) -> Report:
    """Measures groups and holds them against the nulls. Groups in which fewer than two agents move are in
    no test. Raises UserError for groups that are too short for the lag."""
    if not groups:
        raise UserError("groups: there is none; give at least one")
    o = options
    for g in groups:
        if len(g.actions) < o.lag + 3:
            raise UserError(f"group {g.name}: has {len(g.actions)} rounds but a lag of {o.lag} needs {o.lag + 3}; leave it out")
    cuts = [o.cut(g) for g in groups]
    moving = [i for i, (_, keep) in enumerate(cuts) if keep.sum() >= 2]
    kept = {int(cuts[i][1].sum()) for i in moving}
    if o.pool and len(kept) > 1:
        raise UserError(f"pool: groups have {min(kept)} to {max(kept)} agents that move; only groups of equally many can be pooled")
    found = _score([moves(cuts[i][0], o.lag) for i in moving], o)
    tested: list[Tested] = []
    for number, null in enumerate(o.nulls):
        rngs = {i: np.random.default_rng([o.seed, number, i]) for i in moving}
        drawn = [null.draw(groups[i], o.cut, o.surrogates, rngs[i]) for i in moving]
        if o.pool:
            drawn = [s.drawn(o.surrogates, rngs[i]) for i, s in zip(moving, drawn, strict=True)]
        expected = _score([moves(s.series, o.lag) for s in drawn], o)
        tested += _tests(null.name, found, expected, [s.exact for s in drawn[: len(found)]], moving)
    numeric = [g for g in groups if g.states is None]
    identity = [_identity(g, o, i) for i, g in enumerate(groups) if g.states is not None]
    entropy = float(np.mean([occupied_entropy(d.macro, d.macro_states)[0] for d, _ in cuts]))
    dropped = sum(len(keep) - int(keep.sum()) for _, keep in cuts)
    return Report(
        tuple(groups), o, tuple(tested), tuple(ratio_test(g.actions) for g in numeric), tuple(identity), dropped, entropy,
    )  # fmt: skip


def fisher(p: Sequence[float] | Floats) -> float:
    """Fisher's combination of independent p-values: −2 Σ ln p against χ² with two degrees of freedom for each (none below 1e-300)."""
    return float(chdtrc(2 * len(p), -2 * float(np.log(np.maximum(p, 1e-300)).sum())))


def p_value(observed: float, null: Floats, exact: bool) -> float:
    """One-sided; values equal but for rounding count as reached."""
    reached = int((null >= observed - 1e-9).sum())
    return reached / len(null) if exact else (1 + reached) / (1 + len(null))


def _score(of: Sequence[Moves], o: Options) -> list[Mapping[str, Floats]]:
    """Scores by group, each [S]; one group where they are pooled."""
    parts = [joined(of)] if o.pool and of else of
    return [measure(m, o.estimator, triplets(m.now.shape[1], o.max_triplets, o.seed), o.mean) for m in parts]


def _tests(
    null: str,
    found: Sequence[Mapping[str, Floats]],
    expected: Sequence[Mapping[str, Floats]],
    exact: Sequence[bool],
    numbers: Sequence[int],
) -> list[Tested]:
    made: list[Tested] = []
    for score in dict.fromkeys(name for group in found for name in group):
        if null in UNTOUCHED.get(score, ()):
            continue
        have = tuple(i for i, f in enumerate(found) if score in f)
        rows = [(found[i][score][0], expected[i][score], exact[i]) for i in have]
        observed = np.array([value for value, _, _ in rows])
        mean = np.array([values.mean() for _, values, _ in rows])
        p = np.array([p_value(value, values, x) for value, values, x in rows])
        share, gain = wilson(int((p < LEVEL).sum()), len(p)), paired_difference(observed, mean)
        whole = all(x for _, _, x in rows)
        of = tuple(numbers[i] for i in have)
        made.append(Tested(score, null, of, observed, mean, p, whole, gain, fisher(p), _wilcoxon(observed - mean), share))
    return made


def _wilcoxon(difference: Floats) -> float | None:
    if len(difference) < WILCOXON_NEEDS:
        return None
    difference = np.where(np.abs(difference) < 1e-9, 0.0, difference)
    if not difference.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(difference, alternative="greater").pvalue)  # type: ignore[attr-defined]  # the result has it


def _identity(group: Group, o: Options, number: int) -> float:
    """The row shuffle in blocks of √T rounds: seats are exchanged for so long, and runs of a state within a block stay whole."""
    K = o.cut.states(group)
    states = o.cut.agents(group, group.actions)
    rng = np.random.default_rng([o.seed, len(o.nulls), number])
    size = max(1, round(len(states) ** 0.5))
    T, N = states.shape
    seats = rng.permuted(np.broadcast_to(np.arange(N), (o.surrogates, -(-T // size), N)), axis=2).repeat(size, axis=1)[:, :T]
    stack = states[np.arange(T)[:, None], seats]
    return p_value(float(identity_information(states[None], K)[0]), identity_information(stack, K), exact=False)
