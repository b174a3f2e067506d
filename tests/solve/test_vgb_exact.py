"""VGB's exact laws: the published construction's figures, theorems' bounds, counter-examples, and what is not VGB."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import chances
from reasonry.solve.vgb import enough, starts_needed
from reasonry.solve.vgb_law import Array, Known, after, average_error, first_leaf, kl, leaf_mass, stationary, stepwise, tv


def abc(H: int, error: float = 1.0) -> Known:
    """Letters a, b, c, even; τ = no c; V̂ is (1 + ε)V* after an a inside (Example 3.1)."""
    pi = tuple(np.full((3**h, 3), 1 / 3) for h in range(H))
    free = np.ones(1)
    value = [free * (2 / 3) ** H]
    for h in range(1, H + 1):
        free = (free[:, None] * np.array([1.0, 1.0, 0.0])).ravel()
        wrong = np.where(np.arange(3**h) % 3 == 0, 1 + error, 1.0) if h < H else 1.0
        value.append(free * (2 / 3) ** (H - h) * wrong)
    return Known(pi, tuple(value))


def ones(H: int) -> list[Array]:
    """How many ones every word of bits has, for each depth."""
    found = [np.zeros(1)]
    for _ in range(H):
        found.append((found[-1][:, None] + np.array([0.0, 1.0])).ravel())
    return found


def delay(H: int) -> Known:
    """Bits, even; τ = exp((mean − 1)/0.1); V̂ is the parent's V* inside (Example 3.2)."""
    pi = tuple(np.full((2**h, 2), 0.5) for h in range(H))
    blank = Known(pi, (*(np.zeros(2**h) for h in range(H)), np.exp((ones(H)[-1] / H - 1) / 0.1)))
    true = blank.true()
    return blank.with_values([true[0], *(np.repeat(true[h - 1], 2) for h in range(1, H))])


@pytest.mark.parametrize(
    ("H", "mass", "first", "action", "kl_first", "kl_action", "steps"),
    [
        (2, 0.2000, 0.0714, 0.1667, 0.0102, 0.0566, 10.3),
        (4, 0.0909, 0.0804, 0.2407, 0.0185, 0.1699, 39.9),
        (6, 0.0588, 0.0859, 0.2901, 0.0219, 0.2832, 87.2),
        (8, 0.0435, 0.0894, 0.3441, 0.0239, 0.3964, 152.2),
    ],
)
def test_the_table_to_its_last_digit(
    H: int, mass: float, first: float, action: float, kl_first: float, kl_action: float, steps: float
) -> None:
    """Leaf mass, distances and waiting time of Example 3.1 at ε = 1; KL is that of a decoder's law from the target."""
    tree, target = abc(H), abc(H).target()
    law, wait = first_leaf(tree)
    mu = stationary(tree)[-1]
    assert tv(mu / mu.sum(), target) < 1e-12
    assert [round(x, 4) for x in (mu.sum(), tv(law, target), tv(stepwise(tree), target))] == [mass, first, action]
    assert [round(kl(law, target), 4), round(kl(stepwise(tree), target), 4)] == [kl_first, kl_action]
    assert round(wait, 1) == steps
    third = (2 / 3) * math.log(4 / 3) + (1 / 3) * math.log(2 / 3)
    assert kl(stepwise(tree), target) == pytest.approx((H - 1) * third)


@pytest.mark.parametrize(("H", "best", "action"), [(4, 0.9241, 0.606), (8, 0.7773, 0.535), (10, 0.7311, 0.523)])
def test_a_delayed_verifier_tells_stepwise_decoding_nothing(H: int, best: float, action: float) -> None:
    """Mean of the bits: the stationary walk reaches the target's; stepwise decoding stays near π, at ½ where leaves are late too."""
    tree, mean = delay(H), ones(H)[-1] / H
    mu = stationary(tree)[-1]
    assert round(float((mu / mu.sum() * mean).sum()), 4) == round(float((tree.target() * mean).sum()), 4) == best
    assert round(float((stepwise(tree) * mean).sum()), 3) == action
    assert leaf_mass(tree) == pytest.approx(1 / (2 * H))
    late = Known(tree.pi, (*tree.value[:-1], np.repeat(tree.true()[H - 1], 2)))
    assert float((stepwise(late) * mean).sum()) == pytest.approx(0.5)


def test_parity_is_found_by_the_walk_alone() -> None:
    """τ = parity of the bits is 1, V̂ late by one step: of stepwise decoding's answers the last bit alone is right, by the exact leaf. With
    hard bits inside (a wrong parity at H/2 is worth nothing) half of its attempts are lost, and none of the walk's."""
    H = 6
    pi = tuple(np.full((2**h, 2), 0.5) for h in range(H))
    parity = [n % 2 for n in ones(H)]
    tau = parity[H] * np.repeat(parity[H // 2], 2 ** (H - H // 2))
    blank = Known(pi, (*(np.zeros(2**h) for h in range(H)), tau))
    true = blank.true()
    tree = blank.with_values([true[0], *(np.repeat(true[h - 1], 2) for h in range(1, H))])
    assert stepwise(tree).sum() == pytest.approx(0.5)
    law, _ = first_leaf(tree)
    assert law.sum() == pytest.approx(1.0)
    assert law[tau == 0].sum() == 0
    mu = stationary(tree)[-1]
    assert tv(mu / mu.sum(), tree.target()) < 1e-12


def random_tree(seed: int, H: int, k: int, spread: float) -> Known:
    """π and τ anything, V̂ within a factor e^spread of V*."""
    rng = np.random.default_rng(seed)
    pi = tuple(rng.dirichlet(np.ones(k), k**h) for h in range(H))
    blank = Known(pi, (*(np.zeros(k**h) for h in range(H)), rng.uniform(0.05, 1.0, k**H)))
    true = blank.true()
    return blank.with_values([v * np.exp(rng.uniform(-spread, spread, v.shape)) for v in true[:-1]])


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 3), st.floats(0, 1.5))
@settings(max_examples=25, deadline=None)
def test_the_recursions_are_the_walk_s_own(seed: int, H: int, k: int, spread: float) -> None:
    """Stationary law, first leaf and waiting time by linear algebra on the steps of `tree.walk`, on any tree; scaling all values and
    changing the root's changes nothing."""
    tree = random_tree(seed, H, k, spread)

    def place(node: Node) -> int:
        return 0 if node.parent is None else place(node.parent) * k + node.payload

    def expand(node: Node) -> list[tuple[object, float, bool]]:
        return [(a, float(tree.pi[node.depth][place(node), a]), node.depth + 1 == H) for a in range(k)]

    nodes = [Node()]
    rows = []
    for node in nodes:
        rows.append(chances(node, expand, lambda n: math.log(tree.value[n.depth][place(n)])))
        nodes += node.children
    at = {node: i for i, node in enumerate(nodes)}
    n = len(nodes)
    P = np.zeros((n, n))
    for i, row in enumerate(rows):
        for other, p in row:
            P[i, at[other]] += p
    mu = np.array([stationary(tree)[v.depth][place(v)] for v in nodes])
    flow = mu[:, None] * P
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)
    inner = [i for i, v in enumerate(nodes) if not v.terminal]
    leaves = sorted((i for i, v in enumerate(nodes) if v.terminal), key=lambda i: place(nodes[i]))
    rest = np.eye(len(inner)) - P[np.ix_(inner, inner)]
    law, wait = first_leaf(tree)
    np.testing.assert_allclose(np.linalg.solve(rest, P[np.ix_(inner, leaves)])[0], law, atol=1e-9)
    assert 2 * np.linalg.solve(rest, np.ones(len(inner)))[0] == pytest.approx(wait)
    lazy = 0.5 * (np.eye(n) + P)
    np.testing.assert_allclose(
        np.linalg.solve(np.eye(len(inner)) - lazy[np.ix_(inner, inner)], lazy[np.ix_(inner, leaves)])[0], law, atol=1e-9
    )
    spot = np.zeros(n)
    spot[0] = 1.0
    for _ in range(5):
        spot = spot @ lazy
    np.testing.assert_allclose(spot, [after(tree, 5)[v.depth][place(v)] for v in nodes], atol=1e-12)
    moved = Known(tree.pi, (tree.value[0] * 7, *(v * 3 for v in tree.value[1:])))
    np.testing.assert_allclose(first_leaf(moved)[0], law, atol=1e-12)
    np.testing.assert_allclose(stationary(moved)[-1], stationary(tree)[-1], atol=1e-12)


@pytest.mark.parametrize("H", [2, 5, 8])
def test_with_true_values_every_depth_weighs_the_same(H: int) -> None:
    """μ of depths 1 … H − 1 is 1/H each; the root and the leaves have half."""
    tree = random_tree(H, H, 2, 0.0)
    by_depth = [float(m.sum()) for m in stationary(tree)]
    assert by_depth == pytest.approx([1 / (2 * H), *[1 / H] * (H - 1), 1 / (2 * H)])
    assert leaf_mass(tree) == pytest.approx(1 / (2 * H))


@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(0, 1.0))
@settings(max_examples=25, deadline=None)
def test_theorem_4_1_s_bounds_hold(seed: int, H: int, error: float) -> None:
    """Uniform error ε: leaf mass at least 1/(8(1+ε)H), and 1/(2(1+ε)H) as we say; after `enough` steps answers are within δ of π*."""
    tree = random_tree(seed, H, 2, math.log1p(error))
    assert leaf_mass(tree) >= 1 / (2 * (1 + error) * H) - 1e-12 >= 1 / (8 * (1 + error) * H)
    leaf = after(tree, 400 * H)[-1]  # far fewer than enough
    assert enough(H, error, 0.01) > 400 * H or H == 2
    assert tv(leaf / leaf.sum(), tree.target()) <= 0.01
    assert leaf.sum() >= 1 / (4 * (1 + error) * H)
    assert (1 - 1 / (4 * (1 + error) * H)) ** starts_needed(H, error, 0.01) <= 0.01


@pytest.mark.parametrize("seed", range(4))
def test_theorem_4_2_s_coverage_holds_where_single_values_are_far_off(seed: int) -> None:
    """V̂ a thousand times too large or small on a few prefixes, ε small on average: seldom is an answer of π* rarer than the bound says."""
    H, delta = 7, 0.1
    tree, rng = random_tree(seed, H, 2, 0.0), np.random.default_rng(seed)
    value = [v * np.where(rng.random(v.shape) < 0.02, 1e-3, 1.0) for v in tree.value[:-1]]
    tree = tree.with_values(value)
    error, target = average_error(tree), tree.target()
    leaf = after(tree, H**3)[-1]  # of the order of H⁵ steps the theorem allows
    law = leaf / leaf.sum()
    assert target[target > 48 * H * (1 + error) ** 2 / delta * law].sum() <= delta


def test_stays_in_place_of_retries_change_the_law() -> None:
    """Accepting with V̂/M and staying otherwise leaves π, not π*."""
    tree = abc(3)
    tree = Known(tree.pi, (*tree.value[:-1], np.where(tree.value[-1] > 0, 1.0, 0.2)))
    reach = tree.reach()
    weight = [r * 1.0 for r in reach]  # each edge is proposed with π(v)/2 and accepted with V̂(child): symmetric for μ = π
    for h in range(tree.depth):
        down = weight[h][:, None] * 0.5 * tree.pi[h] * tree.value[h + 1].reshape(-1, 3)
        up = (weight[h + 1] * 0.5 * tree.value[h + 1]).reshape(-1, 3)
        np.testing.assert_allclose(down, up, atol=1e-15)
    assert tv(weight[-1], tree.target()) > 0.2


def test_momentum_by_doubling_weights_breaks_the_law() -> None:
    """A walk that doubles the weight of the way it last went has another law at leaves: why none is offered."""
    tree = Known(abc(2).pi, (np.ones(1), np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.3, 0.2, 0.7, 1.0, 0.1, 0.4, 0.9, 1.0])))
    names = [(h, i) for h in range(3) for i in range(3**h)]
    states = [(v, way) for v in names for way in (-1, 1)]
    at = {s: i for i, s in enumerate(states)}

    def chain(boost: float) -> Array:
        P = np.zeros((len(states), len(states)))
        for (h, i), way in states:
            ways = {}
            if h:
                ways[(h - 1, i // 3), -1] = tree.value[h][i] * (boost if way < 0 else 1.0)
            if h < 2:
                ways |= {((h + 1, 3 * i + a), 1): tree.value[h + 1][3 * i + a] / 3 * (boost if way > 0 else 1.0) for a in range(3)}
            for s, w in ways.items():
                P[at[(h, i), way], at[s]] += 0.5 * w / sum(ways.values())
            P[at[(h, i), way], at[(h, i), way]] += 0.5
        mu = np.full(len(states), 1 / len(states))
        for _ in range(4000):
            mu = mu @ P
        law = np.array([mu[at[(2, i), 1]] + mu[at[(2, i), -1]] for i in range(9)])
        return law / law.sum()

    assert tv(chain(1.0), tree.target()) < 1e-9
    assert tv(chain(2.0), tree.target()) > 0.02


def test_steps_grow_as_the_theorem_says() -> None:
    """H² and (1+ε)⁴, but for the logarithm."""
    assert enough(16, 0.5, 0.1) / enough(8, 0.5, 0.1) == pytest.approx(4, rel=0.2)
    assert enough(8, 1.0, 0.1) / enough(8, 0.0, 0.1) == pytest.approx(16, rel=0.3)
