"""Reward lint: does a reward tell a group's answers apart, track quality, pay for dawdling; and what does each scenario earn?

Policy gradients see a reward only through differences *within a group*, so every statistic here is within groups: what a whole data
set's mean says about a reward is invisible to training. Intervals are bootstraps of whole groups. Checks after ACE-RL (arXiv
2509.04903; spread within groups) and mem-agent; scale is left out of judgement, since advantages are usually divided by the group's.

Letters: P groups, G answers in one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reasonry.core import Problem
from reasonry.probe.scenarios import ODD, Worth, gold_of, parts, scenarios, wrong_answers
from reasonry.probe.stats import Estimate

Score = Callable[[Problem, Sequence[str]], Sequence[float | None]]
"""(problem, its group's answers) -> the reward of each, `None` for one that is not scored."""

DRAWS = 2000
LENGTH = 0.1
"""Rank correlation with length, at equal quality, that an interval must exclude on either side."""
FEW = 5
"""Groups below which a correlation is a hint, however sure it looks."""
AUC = 0.6
"""Below it, of two answers in a group the better one earns more hardly oftener than by a coin (0.5)."""
EQUAL = 0.05
"""Share of problems on which a bad scenario may earn as much as the right answer."""
ZERO_VARIANCE = 0.5
SLOW = 1.0
"""Seconds for one odd text."""


class Level(StrEnum):
    """How much a finding weighs."""

    ALARM = "alarm"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with several answers to it."""

    problem: Problem
    completions: tuple[str, ...]
    lengths: tuple[int, ...]
    """Of each answer: tokens where they are known, else characters."""
    quality: tuple[float | None, ...] | None = None
    """What the reward should track: a judge's score, or a column of the data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do."""

    check: str
    level: Level
    says: str
    advice: str


@dataclass(frozen=True, slots=True)
class Earned:
    """What one scenario earned over all problems it could be made for."""

    scenario: str
    worth: Worth
    mean: float | None
    """`None` where it was never scored."""
    low: float | None
    high: float | None
    n: int
    as_much: float
    """Share of problems on which it earned at least as much as the right answer."""
    more: float
    """Share on which it earned more."""


@dataclass(frozen=True, slots=True)
class Lint:
    """Everything the lint saw. Numbers are `None` where the data do not allow them."""

    groups: int
    answers: int
    unscored: int
    low: float | None
    high: float | None
    spread: float | None
    """Mean standard deviation within groups."""
    zero_variance: float | None
    """Share of groups with one reward."""
    blind: float | None
    """Share of groups whose answers differ in quality and earn the same."""
    auc: Estimate | None
    """Chance that of two answers in a group the better one earns more, ties half."""
    rank: Estimate | None
    """Rank correlation of reward and quality within groups."""
    length: Estimate | None
    """Rank correlation of reward and length within groups."""
    length_partial: Estimate | None
    """The same among answers of equal quality in a group."""
    scenarios: tuple[Earned, ...]
    skipped: str
    """Why there are no scenarios, or nothing."""
    findings: tuple[Finding, ...]


_NOTHING = Lint(0, 0, 0, None, None, None, None, None, None, None, None, None, (), "the reward does not run", ())


def lint(score: Score, groups: Sequence[Group], most_scenarios: int = 50, seed: int = 0) -> Lint:
    """Runs every check. `most_scenarios` problems get the table of scenarios. A reward that raises is a finding, not an error."""
    findings: list[Finding] = []
    rewards: list[list[float | None]] = []
    for g in groups:
        given = _ask(score, g.problem, g.completions)
        if isinstance(given, str):
            says = f"The reward {given} on ordinary answers to {g.problem.id!r}."
            broken = Finding("runs", Level.ALARM, says, "Mend that first; nothing else could be checked.")
            return replace(_NOTHING, groups=len(groups), findings=(broken,))
        rewards.append(given)
    flat = [r for rs in rewards for r in rs]
    known = [r for r in flat if r is not None and math.isfinite(r)]
    findings += _finite(flat, known)
    findings += _repeatable(score, groups, rewards, seed)
    used = [_Numbers.of(g, rs) for g, rs in zip(groups, rewards, strict=True)]
    several = [u for u in used if len(u.reward) > 1]
    spread = float(np.mean([u.reward.std() for u in several])) if several else None
    zero = float(np.mean([np.ptp(u.reward) == 0 for u in several])) if several else None
    judged = [u for u in several if u.quality is not None and np.ptp(u.quality) > 0]
    blind = float(np.mean([np.ptp(u.reward) == 0 for u in judged])) if judged else None
    auc = _ratio(np.array([u.pairs() for u in judged]).reshape(-1, 2), seed)
    rank = _correlation([u.products(u.reward, u.quality, None) for u in judged if u.quality is not None], seed)
    length = _correlation([u.products(u.reward, u.length, None) for u in several], seed)
    partial = _correlation([u.products(u.reward, u.length, u.quality) for u in several if u.quality is not None], seed)
    findings += _spread(several, zero, blind) + _tracks(auc) + _dawdles(length, partial, any(u.quality is not None for u in several))
    earned, failed, skipped = _earn(score, groups, most_scenarios)
    findings += failed + _hacks(earned) + _odd(score, groups)
    return Lint(
        len(groups), len(flat), sum(r is None for r in flat), min(known, default=None), max(known, default=None), spread, zero, blind, auc,
        rank, length, partial, tuple(earned), skipped, tuple(sorted(findings, key=lambda f: f.level)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Numbers:
    """A group's scored answers."""

    reward: NDArray[np.float64]
    length: NDArray[np.float64]
    quality: NDArray[np.float64] | None

    @classmethod
    def of(cls, g: Group, rewards: Sequence[float | None]) -> _Numbers:
        quality = g.quality if g.quality is not None and not all(q is None for q in g.quality) else None
        kept = [i for i, r in enumerate(rewards) if r is not None and math.isfinite(r) and (quality is None or quality[i] is not None)]
        judged = None if quality is None else np.array([quality[i] for i in kept], dtype=np.float64)
        return cls(np.array([rewards[i] for i in kept], dtype=np.float64), np.array([g.lengths[i] for i in kept], dtype=np.float64), judged)

    def pairs(self) -> tuple[float, float]:
        """(pairs in which the better answer earns more, ties half; pairs that differ in quality)."""
        assert self.quality is not None
        better = self.quality[:, None] > self.quality[None, :]
        wins = (self.reward[:, None] > self.reward[None, :]) + 0.5 * (self.reward[:, None] == self.reward[None, :])
        return float(wins[better].sum()), float(better.sum())

    def products(self, x: NDArray[np.float64], y: NDArray[np.float64], within: NDArray[np.float64] | None) -> tuple[float, float, float]:
        """(Σxy, Σxx, Σyy) of ranks, centred; `within` strata of equal value where it is given."""
        total = np.zeros(3)
        for value in [None] if within is None else np.unique(within):
            part = slice(None) if value is None else within == value
            a, b = _ranks(x[part]), _ranks(y[part])
            total += (a @ b, a @ a, b @ b)
        return float(total[0]), float(total[1]), float(total[2])


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, ties shared, less their mean, over their number: groups of any size count alike per answer."""
    below = (x[:, None] > x[None, :]).sum(1) + 0.5 * ((x[:, None] == x[None, :]).sum(1) - 1)
    return (below - below.mean()) / len(x)


def _ratio(sums: NDArray[np.float64], seed: int) -> Estimate | None:
    """Σ first / Σ second over groups [P, 2], with a bootstrap of groups; `None` without anything to divide by."""
    return _estimate(sums, lambda s: s[..., 0] / s[..., 1], seed, len(sums)) if len(sums) and sums[:, 1].sum() > 0 else None


def _correlation(products: Sequence[tuple[float, float, float]], seed: int) -> Estimate | None:
    """Σxy / √(Σxx Σyy) over groups; `None` where fewer than 3 groups have both sides varying."""
    sums = np.array([p for p in products if p[1] > 0 or p[2] > 0]).reshape(-1, 3)
    both = int(((sums[:, 1] > 0) & (sums[:, 2] > 0)).sum())
    if both < 3:
        return None
    return _estimate(sums, lambda s: s[..., 0] / np.sqrt(s[..., 1] * s[..., 2]), seed, both)


def _estimate(sums: NDArray[np.float64], value: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int, n: int) -> Estimate:
    drawn = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanquantile(value(sums[drawn].sum(1)), [0.025, 0.975])
        return Estimate(float(value(sums.sum(0))), float(low), float(high), n)


def _ask(score: Score, problem: Problem, texts: Sequence[str]) -> list[float | None] | str:
    """The rewards, or what went wrong as a phrase."""
    try:
        given = list(score(problem, texts))
        if len(given) != len(texts):
            return f"returned {len(given)} values for {len(texts)} answers"
        return [None if r is None else float(r) for r in given]
    except Exception as error:  # the reward is foreign code: what it raises is what is asked about
        return f"raised {type(error).__name__} ({' '.join(str(error).split())[:120]})"


def _finite(flat: Sequence[float | None], known: Sequence[float]) -> list[Finding]:
    bad = sum(r is not None and not math.isfinite(r) for r in flat)
    found: list[Finding] = []
    if bad:
        says = f"{bad} of {len(flat)} rewards are not finite."
        found.append(Finding("finite", Level.ALARM, says, "Return a finite number, or None for an answer that cannot be scored."))
    if known and max(map(abs, known)) > 100:
        says = f"Rewards reach {max(known, key=abs):.4g}: without division by the group's deviation this is the learning rate's factor."
        found.append(Finding("bounded", Level.HINT, says, "Bring rewards to about −1 … 1."))
    if flat and sum(r is None for r in flat) > 0.5 * len(flat):
        says = "More than half of the answers are not scored."
        found.append(Finding("scored", Level.ALARM, says, "Not scored answers leave their group; give a number wherever there is one."))
    return found


def _repeatable(score: Score, groups: Sequence[Group], rewards: Sequence[Sequence[float | None]], seed: int) -> list[Finding]:
    """The same answers again, in another order, and each alone."""
    rng = np.random.default_rng(seed)
    again = moved = alone = 0
    for g, first in zip(groups, rewards, strict=True):
        again += not _alike(_ask(score, g.problem, g.completions), first)
        order = rng.permutation(len(g.completions))
        shuffled = _ask(score, g.problem, [g.completions[i] for i in order])
        moved += not _alike(shuffled, [first[i] for i in order])
    if again:
        says = f"Asked twice, the reward differed for {again} of {len(groups)} groups."
        return [Finding("deterministic", Level.ALARM, says, "Fix its seed or sampling temperature, or average several calls.")]
    if moved:
        says = f"The order of the answers changed their rewards in {moved} of {len(groups)} groups."
        return [Finding("order", Level.ALARM, says, "Score each answer by itself, or compare all pairs in both orders.")]
    looked = groups[:20]
    for g, first in zip(looked, rewards, strict=False):
        singles = [_ask(score, g.problem, [text]) for text in g.completions]
        alone += any(not _alike(single, [r]) for single, r in zip(singles, first, strict=True))
    if alone:
        says = f"In {alone} of {len(looked)} groups an answer's reward depends on the others beside it."
        advice = "Fine for a reward that compares; then read the table of scenarios with care, whose group they all share."
        return [Finding("alone", Level.HINT, says, advice)]
    return []


def _alike(given: list[float | None] | str, wanted: Sequence[float | None]) -> bool:
    """Equal rewards but for rounding; NaN equals NaN."""
    if isinstance(given, str) or [r is None for r in given] != [r is None for r in wanted]:
        return False
    known = [[math.nan if r is None else r for r in rewards] for rewards in (given, wanted)]
    return bool(np.allclose(*known, rtol=1e-9, atol=1e-12, equal_nan=True))


def _spread(several: Sequence[_Numbers], zero: float | None, blind: float | None) -> list[Finding]:
    if zero is None:
        says = "No group has two scored answers, so nothing is known of how the reward tells them apart."
        return [Finding("spread", Level.ALARM, says, "Sample at least 4 answers to each prompt.")]
    if blind is not None and blind > 0.1:
        says = f"In {100 * blind:.0f} % of the groups whose answers differ in quality, all earn the same."
        return [
            Finding("spread", Level.ALARM, says, "Make the reward finer: partial credit, a checklist, or a score instead of a threshold.")
        ]
    if zero > ZERO_VARIANCE:
        says = f"{100 * zero:.0f} % of groups have one reward only and would teach nothing."
        return [Finding("spread", Level.HINT, says, "Choose problems the model solves sometimes, or a reward with more levels.")]
    return []


def _tracks(auc: Estimate | None) -> list[Finding]:
    if auc is None or (auc.high >= AUC and auc.mean >= AUC):
        return []
    level = Level.ALARM if auc.high < AUC else Level.HINT
    says = f"The better of two answers earns more in {100 * auc.mean:.0f} % of cases ({100 * auc.low:.0f} to {100 * auc.high:.0f})."
    return [Finding("tracks quality", level, says, "Training on it would not raise quality; change what it measures.")]


def _dawdles(length: Estimate | None, partial: Estimate | None, judged: bool) -> list[Finding]:
    said, where = (partial, "of equal quality in a group") if judged else (length, "in a group (quality unknown)")
    if said is None:
        return []
    figures = f"rank correlation {said.mean:+.2f} ({said.low:+.2f} to {said.high:+.2f}) in {said.n} groups"
    if said.low > LENGTH:
        level = Level.ALARM if judged and said.n >= FEW else Level.HINT
        advice = "Cap or drop what grows with length; even a small slope is magnified where all else in a group is equal."
        return [Finding("pays for dawdling", level, f"Among answers {where} the longer ones earn more: {figures}.", advice)]
    if said.high < -LENGTH:
        advice = "Fine if brevity is wanted; else it will shorten the working until answers suffer."
        return [Finding("pays for brevity", Level.HINT, f"Among answers {where} the shorter ones earn more: {figures}.", advice)]
    return []


def reference(g: Group) -> tuple[str, str] | None:
    """(a right answer's text, the bare answer): the group's shortest best answer that states it, else one made up with `####`; `None`
    without a gold answer."""
    gold = gold_of(g.problem.answer)
    if gold is None:
        return None
    worth = g.quality or (1.0,) * len(g.completions)
    best = max((q for q in worth if q is not None), default=0.0)
    fit = [
        t
        for t, q in zip(g.completions, worth, strict=True)
        if q is not None and q == best > 0 and (p := parts(t, gold)) and p.opening and p.before
    ]
    return min(fit, key=len, default=f"Working it out step by step gives the result.\n#### {gold}"), gold


def _earn(score: Score, groups: Sequence[Group], most: int) -> tuple[list[Earned], list[Finding], str]:
    """What scenarios earn, problem by problem, all of a problem's in one call (one by one where that fails)."""
    found = [(g, *r) for g in groups if (r := reference(g)) is not None][:most]
    if not found:
        return [], [], "no problem has an answer to make scenarios from"
    others = [gold for _, _, gold in found]
    rows: dict[int, list[tuple[float, float | None]]] = {}
    failed: dict[str, str] = {}
    made = []
    for g, text, gold in found:
        prompt = "\n".join(m.content for m in g.problem.messages)
        made = scenarios(text, gold, wrong_answers(gold, others), prompt)
        given = _ask(score, g.problem, [s.text for s in made])
        if isinstance(given, str):
            each = [_ask(score, g.problem, [s.text]) for s in made]
            failed |= {s.name: one for s, one in zip(made, each, strict=True) if isinstance(one, str)}
            given = [None if isinstance(one, str) else one[0] for one in each]
        if (right := given[0]) is not None:
            for i, r in enumerate(given):
                rows.setdefault(i, []).append((right, r))
    broken: list[Finding] = []
    if failed:
        first = next(iter(failed))
        says = f"The reward fails on {_named(list(failed))}; on '{first}' it {failed[first]}."
        broken = [Finding("scenarios", Level.ALARM, says, "Catch it and return the reward of a wrong answer.")]
    return (
        [_summary(s.name, s.worth, rows[i]) for i, s in enumerate(made) if i in rows],
        broken,
        "" if rows else "no right answer was scored",
    )


def _named(names: Sequence[str]) -> str:
    """At most four names, and how many more."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(f"'{name}'" for name in names[:4]) + more


def _summary(name: str, worth: Worth, rows: Sequence[tuple[float, float | None]]) -> Earned:
    own = [(right, r) for right, r in rows if r is not None]
    earned = [r for _, r in own]
    as_much, more = sum(r >= right for right, r in own) / len(rows), sum(r > right for right, r in own) / len(rows)
    mean = float(np.mean(earned)) if earned else None
    return Earned(name, worth, mean, min(earned, default=None), max(earned, default=None), len(own), as_much, more)


def _hacks(earned: Sequence[Earned]) -> list[Finding]:
    found: list[Finding] = []
    for e in earned:
        if e.worth is Worth.BAD and e.as_much > EQUAL:
            level = Level.ALARM if e.as_much >= 0.5 else Level.HINT
            says = f"'{e.scenario}' earns as much as the right answer on {100 * e.as_much:.0f} % of {e.n} problems."
            found.append(Finding("scenarios", level, says, "A policy will find this; make the reward tell the two apart."))
        if e.worth is Worth.FAIR and e.more > EQUAL:
            says = f"'{e.scenario}' earns more than the right answer itself on {100 * e.more:.0f} % of {e.n} problems."
            found.append(Finding("scenarios", Level.ALARM, says, "A policy will learn to do so everywhere; cap what it is paid for."))
    return found


def _odd(score: Score, groups: Sequence[Group]) -> list[Finding]:
    """Texts that rewards crash on, each by itself."""
    crashed: dict[str, str] = {}
    slow: dict[str, float] = {}
    unsound: list[str] = []
    for name, text in ODD.items():
        began = time.perf_counter()
        given = _ask(score, groups[0].problem, [text])
        if (seconds := time.perf_counter() - began) > SLOW:
            slow[name] = seconds
        if isinstance(given, str):
            crashed[name] = given
        elif given[0] is not None and not math.isfinite(given[0]):
            unsound.append(name)
    found: list[Finding] = []
    if crashed:
        first = next(iter(crashed))
        says = f"The reward fails on {len(crashed)} of {len(ODD)} odd texts, {_named(list(crashed))}; on '{first}' it {crashed[first]}."
        advice = "Catch it and return the reward of a wrong answer; models do write such things."
        found.append(Finding("odd text", Level.ALARM, says, advice))
    if unsound:
        says = f"The reward is not finite on odd texts: {', '.join(unsound)}."
        found.append(Finding("odd text", Level.ALARM, says, "Return a finite number, or None."))
    if slow:
        worst = max(slow, key=lambda name: slow[name])
        says = f"The reward takes {slow[worst]:.1f} s for the odd text '{worst}'."
        found.append(Finding("odd text", Level.HINT, says, "Bound what it reads: a slow reward stalls every step."))
    return found
