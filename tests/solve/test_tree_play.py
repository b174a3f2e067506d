"""The shared tree: MCTS finds game values, ISMCTS keeps to what a player knows, scores and backups have the papers' numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.solve.tree import PUCT, UCT, AvailableUCT, Constrained, Decayed, Frontier, Node, best
from reasonry.solve.tree.backup import share
from reasonry.solve.tree.dump import dump, text
from reasonry.solve.tree.play import CHANCE, Search, most_visited, rollout
from reasonry.solve.tree.select import linear, square_root


@dataclass(frozen=True)
class Nim:
    """Take one to three from a heap; who takes the last wins. A heap of a multiple of four is lost. State: (heap, player)."""

    def player(self, state: tuple[int, int]) -> int:
        return state[1]

    def moves(self, state: tuple[int, int]) -> Sequence[int]:
        return range(1, min(3, state[0]) + 1)

    def play(self, state: tuple[int, int], move: int) -> tuple[int, int]:
        return state[0] - move, 1 - state[1]

    def returns(self, state: tuple[int, int]) -> Sequence[float] | None:
        return None if state[0] else [(-1.0, 1.0), (1.0, -1.0)][state[1]]

    def knows(self, state: tuple[int, int], player: int) -> Hashable:
        return state


@pytest.mark.parametrize("heap", [5, 6, 7, 9, 10, 11])
def test_mcts_finds_the_winning_move_of_nim(heap: int) -> None:
    """The only winning move leaves a multiple of four; found with its value near 1, and visits add up."""
    search = Search(Nim(), lambda rng: (heap, 0), rollout(Nim()))
    root = search.run(3000, Random(0))
    assert most_visited(root) == heap % 4
    assert root.visits == 3000 == sum(c.visits for c in root.children)
    assert max(c.mean for c in root.children) > 0.8


def test_a_lost_position_is_seen_as_lost() -> None:
    root = Search(Nim(), lambda rng: (8, 0), rollout(Nim())).run(4000, Random(1))
    assert all(c.mean < -0.3 for c in root.children)


@dataclass(frozen=True)
class Coin:
    """Chance flips a coin, heads with probability .25. Player 0 may bet on a side or pass; a right bet on heads pays 3, on tails 1.2,
    a wrong one costs 1, passing pays `passing`. `open_`: the coin is seen before the bet. State: moves so far."""

    open_: bool
    passing: float = 0.0

    def player(self, state: tuple[Any, ...]) -> int:
        return 0 if state else CHANCE

    def moves(self, state: tuple[Any, ...]) -> Sequence[Any]:
        return ["heads", "tails", "pass"] if state else [("heads", 0.25), ("tails", 0.75)]

    def play(self, state: tuple[Any, ...], move: Any) -> tuple[Any, ...]:
        return (*state, move)

    def returns(self, state: tuple[Any, ...]) -> Sequence[float] | None:
        if len(state) < 2:
            return None
        coin, bet = state
        return [self.passing if bet == "pass" else {"heads": 3.0, "tails": 1.2}[bet] if bet == coin else -1.0]

    def knows(self, state: tuple[Any, ...], player: int) -> Hashable:
        return state if self.open_ else len(state)


def test_hidden_information_is_not_used() -> None:
    """With the coin hidden a bet is worth its expectation (heads 0, tails .65) and there is one information set; with it open there are
    two, and each bet is worth what the side shown pays."""
    hidden = Search(Coin(False), lambda rng: (), rollout(Coin(False)))
    root = hidden.run(6000, Random(2))
    values = {c.payload: c.mean for c in root.children}
    assert len(hidden.nodes) == 1
    assert most_visited(root) == "tails"
    assert values["tails"] == pytest.approx(0.65, abs=0.05)
    assert values["heads"] == pytest.approx(0.0, abs=0.25)
    shown = Search(Coin(True), lambda rng: (), rollout(Coin(True)))
    shown.run(3000, Random(3))
    best_bets = {node.payload[1][0]: most_visited(node) for node in shown.nodes.values()}
    assert best_bets == {"heads": "heads", "tails": "tails"}


@dataclass(frozen=True)
class Kuhn:
    """Kuhn poker, cards 0 < 1 < 2. State: (cards, history of `p` and `b`)."""

    def player(self, state: tuple[tuple[int, int], str]) -> int:
        return len(state[1]) % 2

    def moves(self, state: tuple[tuple[int, int], str]) -> Sequence[str]:
        return "pb"

    def play(self, state: tuple[tuple[int, int], str], move: str) -> tuple[tuple[int, int], str]:
        return state[0], state[1] + move

    def returns(self, state: tuple[tuple[int, int], str]) -> Sequence[float] | None:
        (mine, theirs), history = state
        higher = 1.0 if mine > theirs else -1.0
        if history in ("pbp", "bp"):
            won = -1.0 if history == "pbp" else 1.0
            return [won, -won]
        pot = {"pp": higher, "pbb": 2 * higher, "bb": 2 * higher}.get(history)
        return None if pot is None else [pot, -pot]

    def knows(self, state: tuple[tuple[int, int], str], player: int) -> Hashable:
        return state[0][player], state[1]


def test_ismcts_finds_the_dominant_moves_of_kuhn_poker() -> None:
    """Whatever the opponent holds: with the king a bet is called, with the jack it is not; an information set is a card and a history."""
    deals = [(a, b) for a in range(3) for b in range(3) if a != b]
    search = Search(Kuhn(), lambda rng: (rng.choice(deals), ""), rollout(Kuhn()))
    search.run(8000, Random(4))
    assert len(search.nodes) == 12
    for history, player in (("b", 1), ("pb", 0)):
        assert most_visited(search.nodes[player, (2, history)]) == "b"
        assert most_visited(search.nodes[player, (0, history)]) == "p"
    for node in search.nodes.values():
        assert node.visits == sum(c.visits for c in node.children)
        assert all(c.available == node.visits for c in node.children)


def test_with_nothing_hidden_it_is_plain_uct() -> None:
    """Availability is then the parent's visits, so both scores give the same simulations, visit for visit."""

    def visits(score: UCT | AvailableUCT) -> dict[Hashable, list[int]]:
        search = Search(Nim(), lambda rng: (7, 0), rollout(Nim()), score)
        search.run(500, Random(5))
        return {k: [c.visits for c in n.children] for k, n in search.nodes.items()}

    hidden = visits(AvailableUCT(1.0))

    @dataclass(frozen=True)
    class Shifted:
        """UCT as it is before its simulation is counted: the parent's visits plus this one."""

        def __call__(self, node: Node) -> float:
            assert node.parent is not None
            return math.inf if not node.visits else node.mean + math.sqrt(math.log(node.parent.visits + 1) / node.visits)

    assert visits(Shifted()) == hidden  # type: ignore[arg-type]


def test_uct_and_puct_have_their_numbers() -> None:
    parent = Node(visits=10)
    child = parent.child("a", value=2.0, visits=4, prior=0.5)
    assert UCT(2.0)(child) == pytest.approx(0.5 + 2 * math.sqrt(math.log(10) / 4), abs=1e-12)
    assert UCT(2.0)(child) == pytest.approx(2.0174, abs=1e-4)
    assert UCT(2.0)(parent.child("b")) == math.inf
    assert PUCT(1.0)(child) == pytest.approx(0.5 + 0.5 * math.sqrt(10) / 5)


def test_the_frontier_score_has_the_papers_numbers() -> None:
    parent = Node(visits=1, value=0.5, depth=3)
    child = parent.child("a", entropy=1.0)
    assert Frontier(64)(child) == pytest.approx(0.4 * math.tanh(0.5) + 0.01 * 0.25, abs=1e-12)
    assert Frontier(64)(child) == pytest.approx(0.18735, abs=1e-5)
    assert Frontier(64, entropy=-0.4)(child) == pytest.approx(0.18735 - 0.4, abs=1e-5)
    assert square_root(16 / 64) == 0.5
    assert Frontier(64, bonus=linear)(child) == pytest.approx(0.4 * math.tanh(0.5) + 0.01 / 16)
    parent.visits = 2
    assert Frontier(64, mean=False)(child) == pytest.approx(0.18735, abs=1e-5)
    assert Frontier(64)(child) < 0.18735 - 0.05


def test_the_frontier_is_what_can_grow() -> None:
    root = Node()
    a, b = root.child("a"), root.child("b", terminal=True)
    deep = a.child("c").child("d")
    assert root.frontier() == [deep]
    assert root.frontier(3) == []
    assert [n.payload for n in root.walk()] == [None, "a", "c", "d", "b"]
    assert [n.payload for n in deep.path] == ["a", "c", "d"]
    assert b.path == [b]


def test_shares_grow_towards_the_end_and_have_a_floor() -> None:
    assert share(1, 20, 0.1) == 0.1
    assert share(20, 20, 0.1) == 1.0
    assert [share(i, 3, 0.1) for i in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_the_constrained_backup_has_the_papers_numbers() -> None:
    """a–b–c wrong, then a–b–d right, then a–b–c wrong again: what a right way passed keeps its value."""
    a = Node().child("a")
    b = a.child("b")
    c, d = b.child("c"), b.child("d")
    back = Constrained(0.1)
    back([a, b, c], -1.0)
    assert [n.value for n in (a, b, c)] == pytest.approx([-1 / 3, -2 / 3, -1])
    back([a, b, d], 1.0)
    assert [n.value for n in (a, b, c, d)] == pytest.approx([1 / 3, 2 / 3, -1, 1])
    back([a, b, c], -1.0)
    assert [n.value for n in (a, b, c, d)] == pytest.approx([1 / 3, 2 / 3, -2, 1])


WAYS = st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.booleans()), min_size=1, max_size=30)


@given(WAYS, st.floats(0.01, 1.0))
@settings(max_examples=150, deadline=None)
def test_a_node_that_a_right_way_has_passed_stays_above_zero(ways: list[tuple[list[int], bool]], least: float) -> None:
    """Over any tree and order of results; and a node that only wrong ways passed is below zero."""
    nodes: dict[tuple[int, ...], Node] = {(): Node()}
    right: set[tuple[int, ...]] = set()
    back = Constrained(least)
    for steps, passed in ways:
        way = []
        for i in range(1, len(steps) + 1):
            key = tuple(steps[:i])
            if key not in nodes:
                nodes[key] = nodes[key[:-1]].child(key)
            way.append(nodes[key])
        back(way, 1.0 if passed else -1.0)
        right |= {tuple(steps[:i]) for i in range(1, len(steps) + 1)} if passed else set()
        for key, node in nodes.items():
            if key:
                assert (node.value > 0) == (key in right)


def test_without_the_constraint_wrong_ways_pull_right_ones_below_zero() -> None:
    a = Node().child("a")
    back = Decayed(0.1)
    for value in (1.0, -1.0, -1.0):
        back([a], value)
    assert a.value == -1.0


def test_ties_are_broken_evenly() -> None:
    root = Node()
    for name in "abc":
        root.child(name)
    rng = Random(0)
    drawn = Counter(best(root.children, lambda n: 0.0, rng).payload for _ in range(3000))
    assert all(900 < n < 1100 for n in drawn.values())


def test_a_dump_tells_the_whole_tree() -> None:
    root = Node(visits=2)
    a = root.child("a", value=0.5, visits=1)
    b = a.child("b", terminal=True)
    b.memo["end"] = 1.0
    records = dump(root)
    assert [(r["parent"], r["label"], r["depth"]) for r in records] == [(None, "", 0), (0, "a", 1), (1, "b", 2)]
    assert text(records) == "└─ 'a'  q +0.50  N 1\n   └─ 'b'  q +0.00  N 0  ✓"
