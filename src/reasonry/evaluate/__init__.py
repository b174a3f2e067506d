"""Many attempts, judged, priced, with error bars: `evaluate` one solver or `compare` several at matched budgets.

Read `attempts` (how they are run and logged), `report` (what they add up to), then `html` (how it is shown)."""

from reasonry.evaluate.attempts import Progress, Record, Snapshot, compare, evaluate, seed_of, silent
from reasonry.evaluate.report import CSV_COLUMNS, Arm, AtK, Outcome, Pair, Part, Report, build_report

__all__ = [
    "CSV_COLUMNS", "Arm", "AtK", "Outcome", "Pair", "Part", "Progress", "Record", "Report", "Snapshot", "build_report", "compare",
    "evaluate", "seed_of", "silent",
]  # fmt: skip
