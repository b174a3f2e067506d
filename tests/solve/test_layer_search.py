"""Search over layer programs: oracles on a reward that is known, and what the tree promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.lm.decoder import Program
from reasonry.lm.program import counts_of, program_of, whole
from reasonry.solve.layer_search import Found, Rules, Search, Shorter, chain, edited, edits, every, square_root, together, tree
from reasonry.solve.tree import Node

STRATEGIES = [tree, chain, edited]


def played(search: Search, reward) -> tuple[Found, list[Program]]:
    """A search's find, and the programs it asked for."""
    asked = [next(search)]
    while True:
        try:
            asked.append(search.send(reward(asked[-1])))
        except StopIteration as end:
            return end.value, asked


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), layers=st.integers(1, 9), n=st.integers(1, 60))
def test_no_program_is_evaluated_twice_and_all_are_allowed(strategy, seed: int, layers: int, n: int) -> None:
    reward = lambda p: float(Random(f"{seed}{p}").random() < 0.1)  # noqa: E731
    found, asked = played(strategy(layers, Rules(simulations=n), Random(seed)), reward)
    assert len(asked) == len(set(asked)) == found.evaluations <= n
    assert asked[0] == whole(layers)
    for program in asked:
        assert 1 <= len(program) <= 2 * layers
        assert counts_of(program, layers) is not None
    assert found.program is None or reward(found.program) == 1
    right = [p for p in asked if reward(p) == 1]
    assert (found.program is None) == (not right)
    assert found.program is None or len(found.program) == min(len(p) for p in right)
    assert found.base == reward(whole(layers))


@pytest.mark.parametrize("width", [every, square_root])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), layers=st.integers(2, 5))
def test_a_nodes_visits_are_its_own_evaluations_and_its_childrens(width, seed: int, layers: int) -> None:
    found, asked = played(tree(layers, Rules(simulations=80, width=width), Random(seed)), lambda p: 0.0)
    nodes = list(found.root.walk())
    assert len({n.payload for n in nodes}) == len(nodes) == len(asked)
    for node in nodes:
        own = node.visits - sum(c.visits for c in node.children)
        assert own >= 1
        if own > 1:  # looked at again: nothing was left to try from here, and nothing below
            assert not node.children
            assert not [e for e in node.memo["untried"] if e not in {n.payload for n in nodes}]
    assert found.root.visits == 80


def test_the_tree_finds_the_one_right_program_that_is_shortest() -> None:
    """Partial rewards lead there: the fewer blocks a program is off the target, the more it earns."""
    target = program_of((1, 0, 1, 2))

    def reward(p: Program) -> float:
        a, b = counts_of(p, 4), counts_of(target, 4)
        return 1 - sum(abs(x - y) for x, y in zip(a, b, strict=True)) / 8

    rules = Rules(simulations=81 * 4, weight=0.1, saving=4)
    for seed in range(5):
        found, _ = played(tree(4, rules, Random(seed)), reward)
        assert found.program == target
    assert played(edited(4, Rules(simulations=200), Random(0)), reward)[0].program == target  # a skip and a repeat away


def test_with_room_enough_the_tree_sees_every_program() -> None:
    """All 3^4 programs of four blocks but the empty one."""
    _found, asked = played(tree(4, Rules(simulations=5000), Random(0)), lambda p: 0.0)
    assert len(set(asked)) == 80


def test_a_wrong_default_put_right_ends_the_search() -> None:
    found, asked = played(tree(6, Rules(), Random(1)), lambda p: float(len(p) == 7))
    assert found.base == 0
    assert found.program is not None
    assert asked[-1] == found.program


def test_two_blocks_saved_end_the_search() -> None:
    found, asked = played(tree(6, Rules(), Random(1)), lambda p: 1.0)
    assert len(asked[-1]) == 4
    assert all(len(p) > 4 for p in asked[:-1])
    assert found.program == asked[-1]


def test_the_whole_network_is_kept_where_nothing_shorter_is_right() -> None:
    found, _ = played(tree(5, Rules(), Random(0)), lambda p: float(p == whole(5)))
    assert found.program == whole(5)


def test_the_released_search_is_a_chain_and_the_tree_is_not() -> None:
    """Every node of a chain has one child at most, so a score over children decides nothing."""
    long, asked = played(chain(28, Rules(), Random(0)), lambda p: 0.0)
    assert max(len(n.children) for n in long.root.walk()) == 1
    assert max(n.depth for n in long.root.walk()) == len(asked) - 1 > 20
    for score in (Rules(c=0, weight=0), Rules(c=9, weight=9)):
        assert played(chain(28, score, Random(3)), lambda p: 0.0)[1] == played(chain(28, Rules(), Random(3)), lambda p: 0.0)[1]
    broad, _ = played(tree(28, Rules(), Random(0)), lambda p: 0.0)
    assert len(broad.root.children) == 49  # more edits than simulations: nothing but single edits
    deep, _ = played(tree(28, Rules(width=square_root), Random(0)), lambda p: 0.0)
    assert len(deep.root.children) <= 8
    assert max(n.depth for n in deep.root.walk()) > 2


def test_the_score_is_the_papers_formula() -> None:
    root = Node(whole(4), visits=10)
    child = root.child((0, 1, 2), visits=4, value=3.0)
    assert Shorter(4, 1.8, 3.0)(child) == pytest.approx(0.75 + 1.8 * math.sqrt(math.log(10) / 4) - 3 * 3 / 4)


def test_edits_are_those_named() -> None:
    made = set(edits((0, 1, 1, 2)))
    assert made == {(1, 1, 2), (0, 1, 2), (0, 1, 1), (1, 2), (0, 2), (0, 1), (0, 0, 1, 1, 2), (0, 1, 1, 2, 2)}
    assert (0, 1, 1, 1, 2) not in made


def test_searches_run_together_find_what_they_find_alone() -> None:
    reward = lambda i, p: float(Random(f"{i}{p}").random() < 0.05)  # noqa: E731
    rounds: list[list[Program]] = []

    async def evaluate(asked: Sequence[tuple[int, Program]]) -> list[float]:
        rounds.append([p for _, p in asked])
        return [reward(i, p) for i, p in asked]

    many = asyncio.run(together([tree(6, Rules(), Random(i)) for i in range(12)], evaluate))
    for i, found in enumerate(many):
        alone, _ = played(tree(6, Rules(), Random(i)), lambda p, i=i: reward(i, p))
        assert (alone.program, alone.base, alone.evaluations) == (found.program, found.base, found.evaluations)
    assert rounds[0] == [whole(6)] * 12
    assert all(asked == sorted(asked) for asked in rounds)  # those of one program side by side
