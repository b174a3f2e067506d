"""What a group's discrete series say: emergence capacity, the practical criterion, coalitions, synchrony; for all surrogates at once.

Riedl, Emergent Coordination in Multi-Agent Language Models (arXiv 2510.05174). Symbols: X_i agent i's state, V the macro signal, ' a lag
later; Syn, Red, UI of the sources X_i, X_j about the joint target (X_i', X_j'); S_macro = I(V; V') − Σ_i I(X_i; V') (Ψ of Rosas et al.
2020 with a macro target); I3 = I(X_i, X_j, X_k; V'); G3 = I3 − the best pair's I2; Total Stability = I3 / H(V').

Departures: the four scores of triplets are means and, marked so, medians, since the paper leaves it open; synchrony is ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasonry.probe.coordination.group import Discrete
from reasonry.probe.coordination.tables import Estimator, Floats, Ints, Table, count, decompose, i_min, mmi

SCORES = {
    "synergy": "of a pair about the pair's future, beyond each alone (I_min); the emergence capacity",
    "redundancy": "what either of a pair tells about the pair's future (I_min)",
    "unique": "what one of a pair tells and the other does not (I_min)",
    "synergy_mmi": "the capacity with the largest redundancy (MMI)",
    "redundancy_mmi": "the smaller of the two agents' information (MMI)",
    "TDMI": "what a pair tells about its own future together",
    "practical": "S_macro: the group's signal about its own future, less what the agents tell one by one",
    "macro_memory": "the group's signal about its own future",
    "I3": "what three agents tell about the group's next signal",
    "G3": "of that, what no two of the three tell",
    "I3_median": "I3, the median triplet's",
    "G3_median": "G3, the median triplet's",
    "stability": "I3 as a share of the signal's entropy; Total Stability",
    "synchrony": "share of rounds in which two agents are in the same state",
}
"""Score -> what it is, in bits but for the last two."""


@dataclass(frozen=True, eq=False)
class Moves:
    """Transitions over a lag; R of them."""

    now: Ints
    """[S, N, R]"""
    after: Ints
    """[S, N, R]"""
    macro: Ints
    """[S or 1, R]"""
    macro_after: Ints
    """[S or 1, R]"""
    K: int
    macro_states: int


def moves(d: Discrete, lag: int) -> Moves:
    """The transitions of discrete series; T − lag of them."""
    agents = np.ascontiguousarray(np.swapaxes(d.agents, 1, 2), dtype=np.int32)
    return Moves(agents[..., :-lag], agents[..., lag:], d.macro[:, :-lag], d.macro[:, lag:], d.K, d.macro_states)


def joined(parts: Sequence[Moves]) -> Moves:
    """The transitions of several groups as if of one; all need the same agents and surrogates."""
    S = max(m.now.shape[0] for m in parts)

    def along(xs: Sequence[Ints]) -> Ints:
        return np.concatenate([np.broadcast_to(x, (S, *x.shape[1:])) for x in xs], axis=-1)

    return Moves(
        along([m.now for m in parts]), along([m.after for m in parts]), along([m.macro for m in parts]),
        along([m.macro_after for m in parts]), parts[0].K, parts[0].macro_states,
    )  # fmt: skip


def triplets(N: int, most: int, seed: int = 0) -> Ints:
    """Triplets of N agents [P, 3]: all where they are no more than `most`, else so many drawn by the seed."""
    every = np.array(list(itertools.combinations(range(N), 3)), dtype=np.int64).reshape(-1, 3)
    if len(every) <= most:
        return every
    return every[np.sort(np.random.default_rng(seed).choice(len(every), most, replace=False))]


def pair_table(m: Moves, i: Ints, j: Ints, estimator: Estimator) -> Table:
    """The joint table of pairs' states now and their joint state later; variables X_i, X_j, (X_i', X_j')."""
    K = m.K
    counts = count((m.now * K**3 + m.after * K)[:, i] + (m.now * K**2 + m.after)[:, j], K**4)
    return Table(counts.reshape(K, K, K * K, *counts.shape[1:]), 3, estimator)


def measure(m: Moves, estimator: Estimator, triples: Ints, mean: bool = False) -> dict[str, Floats]:
    """Every score of every surrogate, each [S]; `mean`: over pairs the mean instead of the median. Scores that need more agents than there
    are, two for pairs and three for triplets, are absent."""
    S, N, R = m.now.shape
    found: dict[str, Floats] = {}
    if N >= 2 and R:
        found |= _pairs(m, estimator, np.mean if mean else np.median)
    if N >= 1 and R:
        found |= _practical(m, estimator, S)
    if N >= 3 and R:
        found |= coalitions(m, estimator, triples)
    return found


def _pairs(m: Moves, estimator: Estimator, over) -> dict[str, Floats]:
    i, j = np.triu_indices(m.now.shape[1], 1)
    table = pair_table(m, i, j, estimator)
    least, most = decompose(table, i_min(table)), decompose(table, mmi(table))
    return {
        "synergy": over(least.synergy, axis=-1),
        "redundancy": over(least.redundancy, axis=-1),
        "unique": over((least.unique_a + least.unique_b) / 2, axis=-1),
        "synergy_mmi": over(most.synergy, axis=-1),
        "redundancy_mmi": over(most.redundancy, axis=-1),
        "TDMI": over(table.information((0, 1), (2,)), axis=-1),
        "synchrony": (m.now[:, i] == m.now[:, j]).mean((-1, -2)),
    }


def _practical(m: Moves, estimator: Estimator, S: int) -> dict[str, Floats]:
    V = m.macro_states
    own = Table(count(m.macro * V + m.macro_after, V * V).reshape(V, V, -1), 2, estimator).information((0,), (1,))
    codes = m.now * V + m.macro_after[:, None]
    each = Table(count(codes, m.K * V).reshape(m.K, V, S, -1), 2, estimator).information((0,), (1,))
    memory = np.broadcast_to(own, (S,)).copy()
    return {"practical": memory - each.sum(-1), "macro_memory": memory}


def coalitions(m: Moves, estimator: Estimator, triples: Ints) -> dict[str, Floats]:
    """The scores of triplets [P, 3], each [S]."""
    S, K, V = m.now.shape[0], m.K, m.macro_states
    i, j, k = triples.T
    first = m.now * (K * K * V) + m.macro_after[:, None].astype(np.int32)
    counts = count(first[:, i] + (m.now * (K * V))[:, j] + (m.now * V)[:, k], K**3 * V)
    table = Table(counts.reshape(K, K, K, V, S, len(triples)), 4, estimator)
    three = table.information((0, 1, 2), (3,))
    two = np.maximum.reduce([table.information(pair, (3,)) for pair in ((0, 1), (0, 2), (1, 2))])
    H = table.entropy(3)
    share = np.divide(three, H, out=np.zeros_like(three), where=H > 1e-12)
    gain = three - two
    return {
        "I3": three.mean(-1), "G3": gain.mean(-1), "I3_median": np.median(three, -1), "G3_median": np.median(gain, -1),
        "stability": share.mean(-1),
    }  # fmt: skip
