"""From a log's values to the discrete states that information is counted over.

Invariants. Every series is cut within its own group, over time, by its own quantiles: what is left is when it was high and when low. A tied
value goes to one side whole, the one that leaves the more even bins; where both do, the side of the series' earliest other value. So no tie
is broken by time, which would make every frozen agent turn at the same round, and negating a series only swaps its labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reasonry.probe.coordination.tables import Floats, Ints, plogp


def quantile_bins(x: Floats, bins: int) -> Ints:
    """Series [..., T] as bins 0 … bins − 1 by their own quantiles."""
    T = x.shape[-1]
    ordered = np.sort(x, axis=-1)
    found = np.zeros(x.shape, dtype=np.int64)
    for j in range(1, bins):
        wanted = T * (bins - j) / bins
        at = ordered[..., T * j // bins, None]
        with_ties, without = x >= at, x > at
        more = np.abs(with_ties.sum(-1) - wanted) - np.abs(without.sum(-1) - wanted)
        other = x != at
        first = np.take_along_axis(x, other.argmax(-1)[..., None], -1)[..., 0]
        up = np.where(np.isclose(more, 0.0), first > at[..., 0], more < 0)
        found += np.where(up[..., None], with_ties, without)
    return found


def occupied_entropy(states: Ints, number: int) -> Floats:
    """Entropy over time of each series [..., T], plug-in, in bits: 0 for one that never moves."""
    shares = np.stack([(states == s).mean(-1) for s in range(number)], -1)
    return np.abs(plogp(shares).sum(-1))


def detrended(x: Floats) -> Floats:
    """What a straight line in time leaves of each series [..., T]."""
    t = np.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2
    slope = (x * t).sum(-1, keepdims=True) / max((t * t).sum(), 1.0)
    return x - x.mean(-1, keepdims=True) - slope * t


def clustered(vectors: Floats, k: int, seed: int = 0) -> NDArray[np.int64]:
    """k-means of vectors [texts, width] into at most k states, numbered by how common they are; deterministic by the seed."""
    from scipy.cluster.vq import kmeans2

    distinct = len(np.unique(vectors.round(9), axis=0))
    if distinct <= 1:
        return np.zeros(len(vectors), dtype=np.int64)
    # a start with an empty cluster is thrown away; the best of five by distance is kept
    best, least = np.zeros(len(vectors), dtype=np.int64), np.inf
    for start in range(5):
        centres, labels = kmeans2(vectors, min(k, distinct), minit="++", rng=np.random.default_rng([seed, start]), missing="warn")
        away = float(((vectors - centres[labels]) ** 2).sum())
        if away < least:
            best, least = labels.astype(np.int64), away
    order = np.argsort(-np.bincount(best), kind="stable")
    return np.argsort(order)[best]
