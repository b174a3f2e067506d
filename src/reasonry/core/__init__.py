"""The nouns. Read this room first: `task` (what is asked), `lm` (who answers), `trajectory` (one attempt), `cost` (what it took),
`run` (where it is kept), `paper` (what is claimed). It imports nothing else of ours, and nothing heavier than the standard library."""

from reasonry.core.cost import Budget, Cost
from reasonry.core.errors import Missing, UserError
from reasonry.core.lm import LM, Completion, Ids, Message, Prompt, Sampling, Stop
from reasonry.core.paper import Claim, Evidence, Finding, Kind, Measure, Paper, Result
from reasonry.core.run import Run, open_run
from reasonry.core.task import Env, GroupEnv, Problem, Step, Task, Verdict
from reasonry.core.trajectory import Segment, Solver, ToolCall, Trajectory

__all__ = [
    "LM", "Budget", "Claim", "Completion", "Cost", "Env", "Evidence", "Finding", "GroupEnv", "Ids", "Kind", "Measure", "Message", "Missing",
    "Paper", "Problem", "Prompt", "Result", "Run", "Sampling", "Segment", "Solver", "Step", "Stop", "Task", "ToolCall", "Trajectory",
    "UserError", "Verdict", "open_run",
]  # fmt: skip
