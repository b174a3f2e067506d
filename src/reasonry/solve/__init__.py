"""Test-time methods, one file each, and the mechanisms several share (`calls`, `select`). `SOLVERS` is the whole list."""

from reasonry.solve.best_of_n import MEAN_LOGPROB, BestOfN, Score, Scored, lm_judge
from reasonry.solve.build import SOLVERS, build_solver
from reasonry.solve.calls import inner_seed
from reasonry.solve.delethink import Carry, Delethink
from reasonry.solve.self_consistency import SelfConsistency
from reasonry.solve.single import Single

__all__ = [
    "MEAN_LOGPROB", "SOLVERS", "BestOfN", "Carry", "Delethink", "Score", "Scored", "SelfConsistency", "Single", "build_solver",
    "inner_seed", "lm_judge",
]  # fmt: skip
