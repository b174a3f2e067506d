"""The naive twin of the coordination scores: one table at a time, dictionaries and loops, straight from the definitions."""

from collections import Counter
from itertools import combinations, product
from math import log2
from statistics import median


def joint(rows, sizes, alpha):
    """P over tuples from a list of them, with `alpha` added to each cell."""
    counts = Counter(rows)
    cells = list(product(*map(range, sizes)))
    total = len(rows) + alpha * len(cells)
    return {c: (counts[c] + alpha) / total for c in cells}


def marginal(p, keep):
    found = Counter()
    for cell, mass in p.items():
        found[tuple(cell[i] for i in keep)] += mass
    return found


def information(p, a, b):
    pa, pb = marginal(p, a), marginal(p, b)
    both = marginal(p, (*a, *b))
    return sum(m * log2(m / (pa[c[: len(a)]] * pb[c[len(a) :]])) for c, m in both.items() if m > 0)


def i_min(p, sources, target):
    """Σ_τ p(τ) min_i Σ_x p(x|τ) log2 [p(τ|x) / p(τ)]."""
    pt, total = marginal(p, (target,)), 0.0
    for (tau,), mass in pt.items():
        if mass <= 0:
            continue
        specific = []
        for s in sources:
            px, pxt = marginal(p, (s,)), marginal(p, (s, target))
            terms = [(pxt[x, tau] / mass) * log2(pxt[x, tau] / px[(x,)] / mass) for (x,) in px if pxt[x, tau] > 0]
            specific.append(sum(terms))
        total += mass * min(specific)
    return total


def scores(now, after, v, v_after, K, V, alpha):
    """`now`, `after`: [rounds][agents]; the scores of one group by name."""
    N, T = len(now[0]), range(len(now))
    pairs = []
    for i, j in combinations(range(N), 2):
        p = joint([(now[t][i], now[t][j], after[t][i] * K + after[t][j]) for t in T], (K, K, K * K), alpha)
        a, b, both = information(p, (0,), (2,)), information(p, (1,), (2,)), information(p, (0, 1), (2,))
        red = i_min(p, (0, 1), 2)
        pairs.append((both - a - b + red, red, both - max(a, b), min(a, b)))
    own = information(joint([(v[t], v_after[t]) for t in T], (V, V), alpha), (0,), (1,))
    each = [information(joint([(now[t][i], v_after[t]) for t in T], (K, V), alpha), (0,), (1,)) for i in range(N)]
    three = []
    for i, j, k in combinations(range(N), 3):
        p = joint([(now[t][i], now[t][j], now[t][k], v_after[t]) for t in T], (K, K, K, V), alpha)
        I3 = information(p, (0, 1, 2), (3,))
        H = -sum(m * log2(m) for m in marginal(p, (3,)).values() if m > 0)
        three.append((I3, I3 - max(information(p, pair, (3,)) for pair in ((0, 1), (0, 2), (1, 2))), I3 / H))
    names = ("synergy", "redundancy", "synergy_mmi", "redundancy_mmi")
    found = {name: median(x) for name, x in zip(names, zip(*pairs, strict=True), strict=True)}
    found |= {name: sum(x) / len(x) for name, x in zip(("I3", "G3", "stability"), zip(*three, strict=True), strict=True)}
    return {**found, "practical": own - sum(each)}
