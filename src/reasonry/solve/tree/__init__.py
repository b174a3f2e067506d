"""The tree search that methods share: nodes, scores, backups, MCTS over games, the walk of VGB, chunks of a model's text and the
sequence that follows a walk over them."""

from reasonry.solve.tree.backup import Backup, Constrained, Decayed, add, visit
from reasonry.solve.tree.grow import Forked, Grow, Reread, grower
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.select import PUCT, UCT, AvailableUCT, Frontier, Score, best
from reasonry.solve.tree.trail import Trail

__all__ = [
    "PUCT", "UCT", "AvailableUCT", "Backup", "Constrained", "Decayed", "Forked", "Frontier", "Grow", "Node", "Reread", "Score", "Trail",
    "add", "best", "grower", "visit",
]  # fmt: skip
