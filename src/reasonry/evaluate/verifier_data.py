"""Answers drawn from a model, a verifier's scores of their lines, and the judge's verdicts: what `probe.verifier` looks at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from reasonry.core import Problem, Sampling, UserError
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.lm.scorer import load_scorer
from reasonry.probe.verifier import Scored
from reasonry.solve.vgb_verifier import Link, as_it_is, sigmoid
from reasonry.tasks import load_task

LINKS: dict[str, Link] = {"sigmoid": sigmoid, "none": as_it_is}


async def sampled(
    model: str, task: str, verifier: str, link: str, problems: int, answers: int, max_tokens: int, split: str, seed: int
) -> list[Scored]:
    """Fresh answers of the model at temperature 1, cut at line ends, each partial one scored. Raises UserError for a bad name."""
    from math import exp

    lm, judge, scorer, to_log = load_lm(model), load_task(task), load_scorer(verifier), LINKS[link]

    async def one(problem: Problem, number: int) -> Scored | None:
        made = await lm.complete(problem.messages, Sampling(max_tokens=max_tokens, seed=inner_seed(seed, number)))
        verdict = judge.judge(problem, made.text)
        if verdict.score is None:
            return None
        blocks = made.text.splitlines(keepends=True)
        parts = ["".join(blocks[:h]) for h in range(1, len(blocks))]
        scores = (await asyncio.to_thread(scorer.scores, problem.messages, parts)).values if parts else ()
        if any(s is None for s in scores):
            return None
        return Scored(problem.id, tuple(exp(to_log(s)) for s in scores if s is not None), verdict.score)

    asked = [(p, i * answers + j) for i, p in enumerate(judge.problems(split, problems, seed)) for j in range(answers)]
    try:
        made = await asyncio.gather(*(one(p, number) for p, number in asked))
    finally:
        if isinstance(lm, LocalLM):
            await lm.close()
    found = [s for s in made if s is not None]
    if not found:
        raise UserError(f"--task: {task} judged none of {len(made)} answers; take a task with a judge")
    return found


def write_answers(path: Path, rows: Sequence[Scored]) -> None:
    """A JSONL that `reasonry probe verifier` reads."""
    lines = (json.dumps({"problem": r.problem, "scores": list(r.scores), "outcome": r.outcome}) for r in rows)
    write_whole(path, "".join(line + "\n" for line in lines))
