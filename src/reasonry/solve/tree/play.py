"""Monte-Carlo tree search over games with any number of players, chance, and hidden information (ISMCTS).

Each simulation begins from a state drawn by `world`: the true state in games where nothing is hidden (plain UCT), else one consistent
with what the player to move has seen (Cowling et al., IEEE TCIAIG 2012). A decision node is an information set: it is found by
(player, what that player knows), so ways that a player cannot tell apart share it. Its children are the moves, with the mover's own
returns; a move counts as available in every simulation where it was legal. Chance is drawn from its probabilities. Every player goes for
their own return (max^n), so games need not be zero-sum.

Invariant: the root's visits are the simulations, and the visits of a node's children add up to its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from reasonry.solve.tree.node import Node
from reasonry.solve.tree.select import AvailableUCT, Score, best

CHANCE = -1
"""The player who draws."""


class Game(Protocol):
    """Rules as functions of immutable states."""

    def player(self, state: Any) -> int:
        """Who moves: 0, 1, …, or `CHANCE`."""
        ...

    def moves(self, state: Any) -> Sequence[Any]:
        """Legal moves; at chance, (outcome, probability) pairs."""
        ...

    def play(self, state: Any, move: Any) -> Any:
        """The state after a move or an outcome."""
        ...

    def returns(self, state: Any) -> Sequence[float] | None:
        """What each player has in the end; `None` while the game goes on."""
        ...

    def knows(self, state: Any, player: int) -> Hashable:
        """All that `player` has seen: equal where the player cannot tell states apart."""
        ...


World = Callable[[Random], Any]
"""Draws the state a simulation begins from."""
Evaluate = Callable[[Any, Random], Sequence[float]]
"""A state under way -> what each player may expect."""


def rollout(game: Game) -> Evaluate:
    """Random play to the end."""

    def evaluate(state: Any, rng: Random) -> Sequence[float]:
        while (found := game.returns(state)) is None:
            state = game.play(state, _draw(game, state, rng))
        return found

    return evaluate


@dataclass
class Search:
    """A search under way; `run` may be called again to go on with it."""

    game: Game
    world: World
    evaluate: Evaluate
    score: Score = AvailableUCT()  # noqa: RUF009 (a frozen value)
    nodes: dict[Hashable, Node] = field(default_factory=dict)
    """Every information set met, by (player, what is known)."""

    def run(self, simulations: int, rng: Random) -> Node:
        """Makes so many more simulations; the root's node, where there is one information set at the root."""
        root: Node | None = None
        for _ in range(simulations):
            root = self._simulate(rng)
        assert root is not None, "ask for at least one simulation"
        return root

    def _simulate(self, rng: Random) -> Node:
        game, state = self.game, self.world(rng)
        way: list[tuple[Node, Node, int]] = []
        while (found := game.returns(state)) is None:
            player = game.player(state)
            if player == CHANCE:
                state = game.play(state, _draw(game, state, rng))
                continue
            key = (player, game.knows(state, player))
            new = key not in self.nodes
            node = self.nodes.setdefault(key, Node(key))
            move = best(self._legal(node, state), self.score, rng)
            way.append((node, move, player))
            state = game.play(state, move.payload)
            if new and game.returns(state) is None:
                found = self.evaluate(state, rng)
                break
        for node, move, player in way:
            node.visits += 1
            move.visits += 1
            move.value += found[player]
        return way[0][0]

    def _legal(self, node: Node, state: Any) -> list[Node]:
        """The node's children for the moves of this state, made where they are missing, each once more available."""
        known = {child.payload: child for child in node.children}
        legal = [known[m] if m in known else node.child(m) for m in self.game.moves(state)]
        for child in legal:
            child.available += 1
        return legal


def most_visited(root: Node) -> Any:
    """The move to play."""
    return max(root.children, key=lambda child: child.visits).payload


def _draw(game: Game, state: Any, rng: Random) -> Any:
    moves = game.moves(state)
    if game.player(state) != CHANCE:
        return rng.choice(moves)
    return rng.choices([m for m, _ in moves], [p for _, p in moves])[0]
