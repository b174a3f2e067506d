"""One answer: the plain call that every other solver is compared with.

With `sampling.max_tokens` set to a thinking budget T_max this is the LongCoT baseline of Delethink (arXiv 2510.06557): one context
that holds the whole thought.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasonry.core import LM, Budget, Problem, Sampling, Segment, Stop, Trajectory
from reasonry.solve.calls import inner_seed, prompt_length, room


@dataclass(frozen=True)
class Single:
    """Asks once and takes the answer."""

    lm: LM
    sampling: Sampling = Sampling(max_tokens=1024)
    """Its seed is replaced by the attempt's; its `max_tokens` is the most one answer may take, and the budget may leave less."""
    name: str = "single"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. Ends with BUDGET where the budget cut the answer short, LENGTH where `max_tokens` did."""
        trace = Trajectory(problem.id)
        prompt_tokens = await prompt_length(self.lm, problem.messages, budget)
        tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, prompt_tokens)
        if unit:
            return trace.finish(Stop.BUDGET, "", unit)
        y = await self.lm.complete(problem.messages, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, 0)))
        trace = trace.add(Segment.of(y, model=self.lm.name))
        if y.stop is Stop.LENGTH and (unit := budget.spent(trace.cost)):
            return trace.finish(Stop.BUDGET, y.text, unit)
        return trace.finish(y.stop, y.text)
