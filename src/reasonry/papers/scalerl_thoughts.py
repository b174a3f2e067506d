"""The interruption experiment: a shipped model with too little room, answering plainly and with forced interruptions; and the two heads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import msgspec

from reasonry.core import Budget, Sampling, Solver
from reasonry.core.run import open_run
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.papers.scalerl_found import Plan, Thought
from reasonry.probe.head_precision import Disagreement, disagreements, head_log_ratios
from reasonry.solve.interrupted import CLOSES, Interrupted
from reasonry.solve.single import Single
from reasonry.tasks import load_task
from reasonry.train.rollout import CUT, rollout

MODEL, TASK = "pocket-1m", "arithmetic?steps=3"
LO, HI, ANSWER = 20, 26, 6
"""The window and the answer's room in tokens; plain answers have HI + ANSWER, as much as an interrupted one may take."""
PHRASE = ""
"""The shipped model was taught no words for being out of time; the mark alone is forced."""


def solvers(lm: LocalLM) -> tuple[Solver, ...]:
    """Both ways of answering, named `single` and `interrupted`."""
    return (
        Single(lm, Sampling(max_tokens=HI + ANSWER)),
        Interrupted(lm, LO, HI, ANSWER, PHRASE, CLOSES["hash"]),
    )


async def thoughts(plan: Plan, path: Path, seed: int) -> tuple[list[Thought], tuple[Disagreement, ...]]:
    """One attempt of each solver at each problem, and the heads' disagreement on the plain ones' tokens; done once, kept in `path`."""
    run, kept = open_run(path, {**asdict(plan), "seed": seed}, resume=True), path / "thoughts.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=tuple[list[Thought], tuple[Disagreement, ...]])
    lm, task = load_lm(MODEL), load_task(TASK)
    assert isinstance(lm, LocalLM)
    made, texts = list[Thought](), []
    async with lm:
        for solver in solvers(lm):
            async for group in rollout(solver, task, task.problems("test", plan.thoughts, seed), Budget(), 1, seed):
                for t in group.trajectories:
                    assert t.verdict is not None
                    made.append(
                        Thought(
                            solver.name, f"{seed}/{group.problem.id}", seed, float(t.verdict.passed is True), float(t.stop in CUT),
                            float(t.meta.get("interrupted", False)), t.cost.completion_tokens,
                        )
                    )  # fmt: skip
                    if solver.name == "single" and t.segments[0].context is not None and t.segments[0].ids is not None:
                        texts.append(t.segments[0].context + t.segments[0].ids)
        heads = disagreements(head_log_ratios(lm.decoder, texts[: plan.texts]))
    run.write(kept.name, msgspec.json.encode((made, heads)).decode())
    return made, heads
