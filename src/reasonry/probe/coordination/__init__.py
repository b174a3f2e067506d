"""Is a group of agents a collective, or a bundle? Information decomposed over time, against surrogates; for anyone's logs.

`tables`: entropies and the decomposition; `states`: from values to states; `group`: what was recorded; `scores`: what is measured;
`surrogates`: what it is held against; `differentiation`: whether agents differ; `collectivity`: all of it and a verdict; `power`: how
many rounds that takes; `performance`: whether it pays; `log`: from JSONL.
"""

from reasonry.probe.coordination.collectivity import Options, Report, Tested, Verdict, collectivity
from reasonry.probe.coordination.group import Cut, Group, agreement, total
from reasonry.probe.coordination.log import read_groups
from reasonry.probe.coordination.surrogates import BLOCK, COLUMN, COLUMN_SUM, FUNCTIONAL, NULLS, ROW, Null, block
from reasonry.probe.coordination.tables import ESTIMATORS, JEFFREYS, MILLER_MADOW, PLUGIN, Estimator

__all__ = [
    "BLOCK", "COLUMN", "COLUMN_SUM", "ESTIMATORS", "FUNCTIONAL", "JEFFREYS", "MILLER_MADOW", "NULLS", "PLUGIN", "ROW", "Cut", "Estimator",
    "Group", "Null", "Options", "Report", "Tested", "Verdict", "agreement", "block", "collectivity", "read_groups", "total",
]  # fmt: skip
