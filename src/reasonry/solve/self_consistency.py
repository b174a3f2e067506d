"""Self-consistency: sample several answers, take the one most of them agree on (Wang et al. 2022, arXiv 2203.11171).

Differs from the paper: (1) sampling stops at k answers or at the budget, whichever comes first (`calls.sample_until` says how the
room is divided); (2) answers are compared in the task's canonical spelling (`Task.extract`), and a text without an answer casts no
vote; (3) a tie goes to the answer seen first.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasonry.core import LM, Budget, Problem, Sampling, Stop, Task, Trajectory, UserError
from reasonry.solve.calls import sample_until
from reasonry.solve.select import as_meta, vote


@dataclass(frozen=True)
class SelfConsistency:
    """Samples up to `k` answers and takes the majority."""

    lm: LM
    task: Task
    """Reads the answer out of a text; its judge is never asked."""
    k: int = 8
    sampling: Sampling = Sampling(max_tokens=1024)
    """Of each answer; the seed is replaced by one derived from the attempt's."""
    name: str = "self-consistency"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"self-consistency: k is {self.k} but at least one answer is needed; raise k")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt; the votes are in `meta`."""
        trace, unit = await sample_until(self.lm, problem.messages, self.k, self.sampling, budget, seed, Trajectory(problem.id))
        if not trace.segments:
            return trace.finish(Stop.BUDGET, "", unit)
        answers = [self.task.extract(s.text) for s in trace.segments]
        choice = vote(answers)
        taken = trace.segments[choice.index or 0]
        return trace.finish(Stop.BUDGET if unit else taken.stop, taken.text, unit, **as_meta(choice, answers))
