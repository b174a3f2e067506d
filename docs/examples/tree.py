"""The shared search tree: MCTS on a game, and DeepSearch's backup by hand."""

from collections.abc import Sequence
from random import Random

from reasonry.solve.tree import Constrained, Frontier, Node, best
from reasonry.solve.tree.dump import dump, text
from reasonry.solve.tree.play import Search, most_visited, rollout


# --8<-- [start:game]
class Nim:
    """Take one to three from a heap; who takes the last wins. A state is (heap, who moves)."""

    def player(self, state: tuple[int, int]) -> int:
        """Who moves."""
        return state[1]

    def moves(self, state: tuple[int, int]) -> Sequence[int]:
        """What may be taken."""
        return range(1, min(3, state[0]) + 1)

    def play(self, state: tuple[int, int], move: int) -> tuple[int, int]:
        """The heap after a move, the other player's turn."""
        return state[0] - move, 1 - state[1]

    def returns(self, state: tuple[int, int]) -> Sequence[float] | None:
        """What each has in the end; nothing while sticks are left."""
        return None if state[0] else [(-1.0, 1.0), (1.0, -1.0)][state[1]]

    def knows(self, state: tuple[int, int], player: int) -> object:
        """All of it: nothing is hidden. A card game would leave out the others' cards."""
        return state


game = Nim()
root = Search(game, world=lambda rng: (10, 0), evaluate=rollout(game)).run(2000, Random(0))
print("take", most_visited(root), "of 10")
# --8<-- [end:game]

# --8<-- [start:chunks]
tree = Node()
a = tree.child("7*3=21;")
right, wrong = a.child("21+4=25", terminal=True), a.child("21+4=26", terminal=True)
backup = Constrained(0.1)
for end, value in ((wrong, -1.0), (right, 1.0), (wrong, -1.0)):
    backup(end.path, value)
    end.memo["end"] = value
print(text(dump(tree)))
b = tree.child("7*3=24;")
print("next:", best(tree.frontier(8), Frontier(8), Random(0)).payload)
# --8<-- [end:chunks]
