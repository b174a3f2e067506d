"""Artificial Hippocampus Networks (arXiv 2510.07318): a sliding window and a few sinks are attended to exactly; every token that leaves
the window is written into a state of fixed size, which each later token reads. The base model's weights stay as they are.

Read `cell` (what is written and read), `memory` (window, sinks and state of one pass), `adapter` (the cells of a model, saved and loaded),
`distil` (how they are trained), `engine` (the patched model as an `LM`), `ledger` (what it costs).
"""

from reasonry.accel.ahn.adapter import Adapter, adapt, load_adapter, save_adapter
from reasonry.accel.ahn.cell import CELLS
from reasonry.accel.ahn.engine import remember
from reasonry.accel.ahn.memory import Window

__all__ = ["CELLS", "Adapter", "Window", "adapt", "load_adapter", "remember", "save_adapter"]
