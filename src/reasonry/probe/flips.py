"""What talking did to agents that answered in rounds: who changed, towards what, for better or worse (arXiv 2509.05396, sections 5 and 6).

Between two rounds a turn is one of four: CC, CI (harm), IC (gain), II. Symbols: n agents, Q questions, k peers that gave the agent's own
answer before it changed.

    harm = CI / (CC + CI)      gain = IC / (IC + II)      net = IC − CI      accuracy after − before = net / (n Q), exactly

Invariants. CC + CI + IC + II = n · Q a transition. An unreadable answer is wrong, and counted apart as well: a format lost while reading
long texts looks like a changed mind. A vote's accuracy is its expectation under even tie-breaking. Intervals resample whole questions,
with everything that was said about one. Everything but McNemar's test and the intervals is exact for the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

import numpy as np

from reasonry.core import UserError
from reasonry.probe.exchange_log import Debate, Spoke
from reasonry.probe.stats import Estimate, McNemar, clustered_mean, mcnemar, paired_difference, wilson
from reasonry.probe.votes import by_vote, winners

DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Counts:
    """Transitions of a round to the next, or of all."""

    cc: int
    ci: int
    ic: int
    ii: int
    lost: int
    """Of `ci`: right answers after which none could be read."""
    changed: int
    """Readable answers that became another readable answer."""
    adopted: int
    """Of those: the new one is what some peer that was seen had said."""

    @property
    def net(self) -> int:
        """IC − CI."""
        return self.ic - self.ci


@dataclass(frozen=True, slots=True)
class AtRound:
    """One round."""

    accuracy: Estimate
    """Of the individual agents."""
    vote: Estimate
    """Of their majority, in expectation over ties."""
    ties: float
    """Share of questions whose vote is tied."""
    agreement: float
    """Share of pairs of agents that gave the same answer."""
    unanimous: float
    unreadable: float
    """Share of turns."""
    any_right: float
    """Share of questions where at least one is right: coverage."""


@dataclass(frozen=True, slots=True)
class ByPeers:
    """Turns with k peers of the same answer before."""

    k: int
    turns: int
    flips: Estimate
    """Share that gave another readable answer next."""
    harm: Estimate | None
    """Of those that were right, the share that was wrong next; `None` without any."""
    gain: Estimate | None
    """Of those that were wrong, the share that was right next."""


@dataclass(frozen=True, slots=True)
class Flips:
    """What was found in one group."""

    group: str
    questions: int
    """Different problems."""
    debates: int
    agents: tuple[str, ...]
    rounds: tuple[AtRound, ...]
    by_agent: tuple[tuple[Estimate, ...], ...]
    """[agent][round] accuracy."""
    steps: tuple[Counts, ...]
    """A count for each transition."""
    total: Counts
    harm: Estimate | None
    """`None` where nobody was ever right."""
    gain: Estimate | None
    net: Estimate
    """(IC − CI) a turn, over all transitions."""
    adoption: Estimate | None
    """Of changed answers, the share that a peer had said before."""
    by_peers: tuple[ByPeers, ...]
    vote_change: Estimate
    """Last round's vote − first round's."""
    test: McNemar
    """Questions whose vote alone was right before (`only_a`) and after (`only_b`); a tie is not right."""


def flips(debates: Sequence[Debate], group: str = "", draws: int = DRAWS, seed: int = 0) -> Flips:
    """The analysis of debates with the same agents and number of rounds. Raises UserError for none, or for others among them.

    Debates that ended early count their last round on: nobody speaks, nobody changes.
    """
    if not debates:
        raise UserError(f"flips: the group {group!r} has no debate; give some")
    agents, longest = debates[0].agents, max(len(d.rounds) for d in debates)
    if odd := next((d for d in debates if d.agents != agents), None):
        raise UserError(
            f"flips: {odd.problem!r} has the agents {list(odd.agents)} and others {list(agents)}; put them into groups of their own"
        )
    filled = [(d.problem, (*d.rounds, *([d.rounds[-1]] * (longest - len(d.rounds))))) for d in debates]
    moves = [(p, i, _moves(before, after)) for p, rounds in filled for i, (before, after) in enumerate(pairwise(rounds))]
    clusters = list(dict.fromkeys(p for p, _ in filled))
    place = {p: i for i, p in enumerate(clusters)}

    def share(of: Callable[[_Move], bool], among: Callable[[_Move], bool]) -> Estimate | None:
        top, bottom = np.zeros(len(clusters)), np.zeros(len(clusters))
        for p, _, made in moves:
            for m in made:
                if among(m):
                    bottom[place[p]] += 1
                    top[place[p]] += of(m)
        return _ratio(top, bottom, draws, seed)

    def level(value: Callable[[tuple[Spoke, ...]], float], at: int) -> Estimate:
        found: dict[str, list[float]] = {}
        for p, rounds in filled:
            found.setdefault(p, []).append(value(rounds[at]))
        return clustered_mean(list(found.values()), draws=draws, seed=seed)

    first, last = ([vote_accuracy(rounds[at]) for _, rounds in filled] for at in (0, -1))
    by_question = [[[v for (p, _), v in zip(filled, votes, strict=True) if p == q] for q in clusters] for votes in (first, last)]
    steps = tuple(_counted([m for _, at, made in moves if at == i for m in made]) for i in range(longest - 1))
    everything = [m for _, _, made in moves for m in made]
    better, worse = (share(of, _any) for of in (lambda m: m.gained, lambda m: m.harmed))
    net = _signed(moves, clusters, draws, seed) if better and worse else Estimate(0.0, 0.0, 0.0, len(clusters))
    return Flips(
        group, len(clusters), len(filled), agents,
        tuple(_at(i, level, [rounds[i] for _, rounds in filled]) for i in range(longest)),
        tuple(tuple(level(lambda said, a=a: float(said[a].right), i) for i in range(longest)) for a in range(len(agents))),
        steps, _counted(everything),
        share(lambda m: m.harmed, lambda m: m.was), share(lambda m: m.gained, lambda m: not m.was), net,
        share(lambda m: m.adopted, lambda m: m.changed),
        tuple(_by_peers(k, everything, share) for k in sorted({m.k for m in everything})),
        paired_difference([fmean(v) for v in by_question[1]], [fmean(v) for v in by_question[0]], draws=draws, seed=seed),
        mcnemar([v == 1 for v in first], [v == 1 for v in last]),
    )  # fmt: skip


def vote_accuracy(said: Sequence[Spoke]) -> float:
    """The chance that the majority is right when ties are broken evenly; 0 where nobody answered."""
    chances = by_vote([s.answer for s in said])
    return sum(c for c, s in zip(chances, said, strict=True) if s.right)


@dataclass(frozen=True, slots=True)
class _Move:
    was: bool
    now: bool
    lost: bool
    changed: bool
    adopted: bool
    k: int

    @property
    def harmed(self) -> bool:
        return self.was and not self.now

    @property
    def gained(self) -> bool:
        return self.now and not self.was


def _moves(before: tuple[Spoke, ...], after: tuple[Spoke, ...]) -> list[_Move]:
    made: list[_Move] = []
    for was, now in zip(before, after, strict=True):
        peers = [s.answer for s in before if s.agent != was.agent and (now.saw is None or s.agent in now.saw)]
        changed = was.answer is not None and now.answer is not None and was.answer != now.answer
        k = peers.count(was.answer) if was.answer is not None else 0
        made.append(_Move(was.right, now.right, was.answer is not None and now.answer is None, changed, changed and now.answer in peers, k))
    return made


def _any(m: _Move) -> bool:
    return True


def _counted(moves: Sequence[_Move]) -> Counts:
    kinds = [(m.was, m.now) for m in moves]
    return Counts(
        *(kinds.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))),
        lost=sum(m.lost and m.was for m in moves), changed=sum(m.changed for m in moves), adopted=sum(m.adopted for m in moves),
    )  # fmt: skip


def _by_peers(k: int, moves: Sequence[_Move], share: Callable[..., Estimate | None]) -> ByPeers:
    flipped = share(lambda m: m.changed, lambda m: m.k == k)
    assert flipped is not None  # k comes from the moves themselves
    harm, gain = (share(lambda m: m.now != m.was, lambda m, w=w: m.k == k and m.was == w) for w in (True, False))
    return ByPeers(k, sum(m.k == k for m in moves), flipped, harm, gain)


def _at(i: int, level: Callable[[Callable[[tuple[Spoke, ...]], float], int], Estimate], said: Sequence[tuple[Spoke, ...]]) -> AtRound:
    keys = [[s.answer for s in r] for r in said]
    pairs = [a is not None and a == b for r in keys for a, b in combinations(r, 2)]
    return AtRound(
        level(lambda r: fmean(float(s.right) for s in r), i), level(vote_accuracy, i), fmean(float(len(winners(r)) > 1) for r in keys),
        fmean(map(float, pairs)) if pairs else 1.0, fmean(float(len(set(r)) == 1 and r[0] is not None) for r in keys),
        fmean(float(a is None) for r in keys for a in r), fmean(float(any(s.right for s in r)) for r in said),
    )  # fmt: skip


def _ratio(top: np.ndarray, bottom: np.ndarray, draws: int, seed: int) -> Estimate | None:
    """Σ top / Σ bottom [Q], resampling questions; where all questions agree the half-width is Wilson's for that share of Σ bottom."""
    if not bottom.sum():
        return None
    at = float(top.sum() / bottom.sum())
    held = bottom > 0
    top, bottom = top[held], bottom[held]
    if at in (0.0, 1.0) or len(top) == 1:
        w = wilson(round(at * len(top)), len(top))
        return Estimate(at, min(w.low, at), max(w.high, at), len(top))
    index = np.random.default_rng(seed).integers(0, len(top), (draws, len(top)))
    low, high = np.quantile(top[index].sum(1) / bottom[index].sum(1), [0.025, 0.975])
    return Estimate(at, float(low), float(high), len(top))


def _signed(moves: Sequence[tuple[str, int, list[_Move]]], clusters: Sequence[str], draws: int, seed: int) -> Estimate:
    found: dict[str, list[float]] = {p: [] for p in clusters}
    for p, _, made in moves:
        found[p] += [float(m.gained) - float(m.harmed) for m in made]
    values = [fmean(v) for v in found.values()]
    return paired_difference(values, [0.0] * len(values), draws=draws, seed=seed)
