"""The step of VGB's walk, on the shared nodes: detailed balance, and its laws by linear algebra."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import chances, remembered


class Words:
    """Words of H letters a, b, c, drawn evenly; τ(y) = 1 for those without c, and inner values wrong by a factor after an `a`."""

    def __init__(self, H: int, wrong: float) -> None:
        self.H, self.wrong, self.asked = H, wrong, Counter[str]()

    def word(self, node: Node) -> str:
        return "".join(n.payload for n in node.path)

    def expand(self, node: Node) -> Sequence[tuple[object, float, bool]]:
        return [(letter, 1 / 3, node.depth + 1 == self.H) for letter in "abc"]

    def log_value(self, node: Node) -> float:
        word = self.word(node)
        self.asked[word] += 1
        if "c" in word:
            return -math.inf
        true = (2 / 3) ** (self.H - len(word))
        return math.log(true * (self.wrong if word.endswith("a") and len(word) < self.H else 1.0))


def laws(words: Words) -> tuple[dict[str, float], dict[str, float], float]:
    """Exactly: the stationary law over leaves, the law of the first leaf, and the stationary mass of leaves, of the walk as programmed."""
    root = Node()
    index, nodes = dict[Node, int](), [root]
    for node in nodes:
        index[node] = len(index)
        chances(node, words.expand, words.log_value)
        nodes += [c for c in node.children if remembered(c, words.log_value) > -math.inf]
    P = np.zeros((len(nodes), len(nodes)))
    for node in nodes:
        for other, p in chances(node, words.expand, words.log_value):
            if other in index:
                P[index[node], index[other]] += p
    n = len(nodes)
    mu = np.linalg.lstsq(np.vstack([P.T - np.eye(n), np.ones(n)]), np.append(np.zeros(n), 1.0), rcond=None)[0]
    leaves = [i for i, node in enumerate(nodes) if node.terminal]
    inner = [i for i in range(n) if i not in leaves]
    hits = np.linalg.solve(np.eye(len(inner)) - P[np.ix_(inner, inner)], P[np.ix_(inner, leaves)])[0]
    names = [words.word(nodes[i]) for i in leaves]
    mass = float(mu[leaves].sum())
    return dict(zip(names, mu[leaves] / mass, strict=True)), dict(zip(names, hits, strict=True)), mass


def tv(p: dict[str, float], q: dict[str, float]) -> float:
    return sum(abs(p.get(k, 0) - q.get(k, 0)) for k in p.keys() | q.keys()) / 2


@pytest.mark.parametrize(("H", "mass", "first"), [(2, 0.2000, 0.0714), (4, 0.0909, 0.0804)])
def test_the_exact_laws_are_the_briefs(H: int, mass: float, first: float) -> None:
    """Stationary: exactly π*, whatever the inner errors; the first leaf: biased as much as computed by hand; and the leaves' mass."""
    stationary, hit, leaves = laws(Words(H, 2.0))
    even = dict.fromkeys(stationary, 2.0**-H)
    assert len(even) == 2**H
    assert tv(stationary, even) < 1e-9
    assert tv(hit, even) == pytest.approx(first, abs=1e-4)
    assert leaves == pytest.approx(mass, abs=1e-4)


def test_with_true_values_the_leaves_have_one_part_in_2H() -> None:
    assert laws(Words(3, 1.0))[2] == pytest.approx(1 / 6)


def test_a_value_is_asked_for_once() -> None:
    """However often the walk comes by: another answer would belong to another walk."""
    words, root = Words(2, 2.0), Node()
    laws(words)
    words.asked.clear()
    for _ in range(3):
        for node in root.walk():
            chances(node, words.expand, words.log_value)
    assert set(words.asked.values()) == {1}


@given(st.integers(0, 10**6), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_detailed_balance_holds_on_any_tree(seed: int, shift: float) -> None:
    """μ(v) ∝ π(v)(V(v) + Σ π(a|v)V(va)) balances every edge; scaling all values changes no step, nor does the root's value."""
    rng = Random(seed)
    values: dict[tuple[int, ...], float] = {}

    def name(node: Node) -> tuple[int, ...]:
        return tuple(n.payload for n in node.path)

    def expand(node: Node) -> Sequence[tuple[object, float, bool]]:
        own = Random(f"{seed}/{name(node)}")
        sizes = [own.random() + 0.1 for _ in range(own.randint(1, 3))]
        return [(i, s / sum(sizes), node.depth == 2) for i, s in enumerate(sizes)]

    def log_value(node: Node) -> float:
        return values.setdefault(name(node), rng.uniform(-2, 2))

    root = Node()
    table = {}
    for node in (todo := [root]):
        table[node] = dict(chances(node, expand, log_value))
        todo += node.children

    def reach(node: Node) -> float:
        return math.prod(n.prior for n in node.path)

    def mu(node: Node) -> float:
        own = math.exp(log_value(node)) if node.parent else 0.0
        return reach(node) * (own + sum(c.prior * math.exp(log_value(c)) for c in node.children))

    for node in table:
        for other, p in table[node].items():
            assert mu(node) * p == pytest.approx(mu(other) * table[other][node], rel=1e-9)
    again = Node()
    moved = dict(chances(again, expand, lambda node: log_value(node) + shift))
    assert list(moved.values()) == pytest.approx(list(table[root].values()))
