"""A method in 30 lines: ask until two answers agree. Easy problems cost two calls, hard ones as many as `most`."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from reasonry.core import LM, Budget, Problem, Sampling, Segment, Stop, Task, Trajectory, open_run
from reasonry.evaluate import compare
from reasonry.evaluate.command import summary
from reasonry.lm import load_lm
from reasonry.solve import build_solver, inner_seed
from reasonry.solve.calls import prompt_length, room
from reasonry.tasks import load_task


# --8<-- [start:method]
@dataclass(frozen=True)
class UntilTwoAgree:
    """Samples one answer after another and stops when one was given twice."""

    lm: LM
    task: Task
    most: int = 8
    sampling: Sampling = Sampling(max_tokens=128)
    name: str = "until-two-agree"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt: its seed decides every call's, and no call samples more than the budget has left."""
        trace, seen, text = Trajectory(problem.id), set[str](), ""
        prompt_tokens = await prompt_length(self.lm, problem.messages, budget)
        for call in range(self.most):
            tokens, unit = room(budget, trace.cost, self.sampling.max_tokens, prompt_tokens)
            if unit:
                return trace.finish(Stop.BUDGET, text, unit)
            y = await self.lm.complete(problem.messages, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, call)))
            trace = trace.add(Segment.of(y))
            answer = self.task.extract(y.text)
            if answer is not None:
                text = text or y.text
                if answer in seen:
                    return trace.finish(Stop.EOS, y.text)
                seen.add(answer)
        return trace.finish(Stop.LENGTH, text)


# --8<-- [end:method]


# --8<-- [start:compare]
async def main(folder: Path) -> None:
    """Compares it with voting over eight answers: the same problems, seeds and budgets."""
    lm, task = load_lm("pocket-1m"), load_task("arithmetic")
    solvers = [build_solver("self-consistency?k=8", lm, task), UntilTwoAgree(lm, task)]
    run = open_run(folder, {"example": "first solver"}, resume=False)
    problems = task.problems("test", n=20, seed=0)
    report = await compare(solvers, task, problems, [Budget(completion_tokens=400)], run)
    print(summary(report))


# --8<-- [end:compare]

if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/first-solver")))
