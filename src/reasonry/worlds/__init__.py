"""Networks that are their own model. `trm` is the Tiny Recursive Model: the network; `trm_train` its training, `trm_solver` how it answers.

Grids are flat rows of token ids [L]; 0 is padding and never labelled. A *world* (`grids`, `arc_world`) says how problems become tokens and
tokens answers, and under which changes (`changes`) a puzzle stays a puzzle.
"""

from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"
"""Recipes of networks for `reasonry train` (.toml), and trained networks (folders), by name."""
