"""The training loop: draw problems, run the solver, reward, update, forget the cache, tell the curriculum; blind to which method runs.

    course.ask(step)  ->  rollout(solver)  ->  reward(group)  ->  course.tell(step)  ->  learn(batch)  ->  engine.flush()

With `Recipe.lag` 1 the next batch is asked and sampled while this one is learned from, by a copy of the weights from before; never past a
checkpoint or the end of a stage, so that both stand for everything that was sampled. A `Sampler` makes attempts all the time, by weights
that change under them (`train.pipeline`): what it has under way is lost with a kill, and asked again.
With a `validate`, every checkpoint is validated; the best of a stage starts the next one, and the best of the last is what remains (h1).

Invariant: a run killed at any instant and resumed ends with the weights of one that was not, bit for bit on a CPU with one thread (where
a sampler is ahead: with those of a run that might have been). Every random number is a function of (seed, step, problem, attempt, token),
so nothing random needs to be stored; weights, optimisers and position are in one checkpoint that is replaced whole; the curriculum's
history and the step log are cut back to that position when a run resumes.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from reasonry.core import Problem, Run, Segment, Solver, Task, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.beside import Beside
from reasonry.train.curriculum import Course, Curriculum, Lesson, informative
from reasonry.train.dynamic import Sampled, fill, partly_right
from reasonry.train.health import Progress, of_attempts, silent
from reasonry.train.history import Group, History
from reasonry.train.recipe import Recipe
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import Attempts, Explorer, rollout
from reasonry.train.sampler import Ground, Sampler
from reasonry.train.update import Learn, learn, make_batch

P = ParamSpec("P")
T = TypeVar("T")
STEPS = "steps"
"""The run's log, `steps.jsonl`: one record a step (`train.health`)."""
HISTORY, CHECKPOINT = "history.jsonl", "checkpoint.pt"
Validate = Callable[[], Awaitable[float]]
"""How good the policy is now, on problems it is not trained on; more is better."""


@dataclass
class _Position:
    step: int = 0
    tokens: int = 0
    """Sampled so far."""
    stage: int = 0
    best: int | None = None
    """The step of this stage's best checkpoint."""
    score: float = 0.0
    """That one's validation."""


@dataclass(frozen=True)
class _Learners:
    """Everything with a state of its own."""

    decoder: Decoder
    optimizers: Sequence[torch.optim.Optimizer]
    beside: Sequence[Beside]
    device: torch.device

    def save(self, path: Path, at: _Position) -> None:
        """Replaces the file whole."""
        part = path.with_name(path.name + ".part")
        state = {
            "decoder": self.decoder.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers],
            "beside": [b.state_dict() for b in self.beside], "at": asdict(at),
        }  # fmt: skip
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def load(self, path: Path) -> _Position:
        """Takes all states back; where the run stood then."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        self.decoder.load_state_dict(state["decoder"])
        for learner, saved in zip((*self.optimizers, *self.beside), (*state["optimizers"], *state["beside"]), strict=True):
            learner.load_state_dict(saved)
        return _Position(**state["at"])


async def train(
    lm: LocalLM,
    solver: Solver | Explorer,
    task: Task,
    curriculum: Curriculum,
    problems: Mapping[int, Sequence[Problem]],
    recipe: Recipe,
    run: Run,
    reference: Decoder | None = None,
    beside: Sequence[Beside] = (),
    validate: Validate | None = None,
    progress: Progress = silent,
    learn: Learn = learn,
    sampler: Sampler | None = None,
) -> None:
    """Trains `lm.decoder`, which `solver` calls through `lm`, in place; goes on from the run's checkpoint where there is one.

    `problems` maps each level of the curriculum to its training problems. `reference` is a `frozen_copy` of the weights the run began
    with, for objectives and health that measure the way from there. `learn` makes the updates (`train.distributed` brings its own).
    `sampler` makes the attempts in the solver's place, and goes on making them while others are learned from (`train.pipeline`). Raises
    UserError where every attempt of a step fails.
    """
    if sampler is not None and recipe.lag:
        raise UserError("train: lag is 1, but the sampler decides how far sampling is ahead; set lag to 0")
    if recipe.group == 1 and curriculum.group_filter is informative:
        raise UserError("train: group is 1, and the curriculum's group_filter `informative` drops every group of one; use `every_group`")
    decoder = lm.decoder
    learners = _Learners(decoder, recipe.optimizer(decoder, recipe.lr, recipe.weight_decay), beside, decoder.embed_tokens.weight.device)
    at = _resume(run, learners)
    course = Course(curriculum, problems, History(run.path / HISTORY, at.step), recipe.seed)

    def own(segment: Segment) -> bool:
        return segment.model in ("", lm.name) and recipe.trained(segment)

    def teaches(group: Sequence[Rewarded]) -> bool:
        many = len(group) >= min(2, recipe.group) and curriculum.group_filter([r.reward for r in group])
        return many and (not recipe.resample or partly_right(group))

    async def publish(version: int) -> None:
        weights = _publish(lm, recipe.lag > 0 or sampler is not None, version)
        if sampler is not None:
            await sampler.publish(weights, version)

    async def sample(step: int) -> Sampled:
        if sampler is not None:
            return await sampler.batch()
        draw = partial(_sample, solver, task, recipe, step)
        return await fill(course, step, recipe.prompts, recipe.resample, recipe.seed, draw, teaches)

    async def update(step: int, drawn: Sampled, lr: float) -> dict[str, float]:
        batch = make_batch(drawn.kept, recipe, own, inner_seed(recipe.seed, step))
        beside_it = beside if drawn.kept else ()
        for b in beside_it:
            batch = replace(batch, tokens=await b.prepare(batch, drawn.kept, drawn.lesson, step))
        told = await asyncio.to_thread(learn, decoder, learners.optimizers, recipe, batch, lr, reference)
        for b in beside_it:
            told = {**told, **await asyncio.to_thread(b.learn, batch, step)}
        return told

    ahead: asyncio.Task[tuple[Sampled, float]] | None = None
    try:
        if sampler is not None:
            await sampler.open(Ground(course, recipe, teaches), at.step)
        await publish(at.step)
        while at.step < recipe.steps:
            lr, began = recipe.lr * recipe.schedule(at.step), time.perf_counter()
            if course.stage != at.stage:
                if _take_best(run, learners, at):
                    await publish(at.step)
                at.stage, at.best = course.stage, None
            drawn, sampling = await (ahead or _timed(sample, at.step))
            course.tell(at.step, _outcomes(drawn))
            at_checkpoint = (at.step + 1) % recipe.save_every == 0 or at.step + 1 == recipe.steps
            may_go_ahead = recipe.lag > 0 and not at_checkpoint and course.stage == at.stage
            ahead = asyncio.create_task(_timed(sample, at.step + 1)) if may_go_ahead else None
            told, learning = await _timed(update, at.step, drawn, lr)
            if ahead is not None:
                await asyncio.wait([ahead])  # one batch, one policy: new weights wait for its end
            await publish(at.step + 1)
            tokens = sum(t.cost.completion_tokens for g in drawn.groups for t in g.trajectories)
            record = {
                "step": at.step, "stage": drawn.lesson.stage, **of_attempts(drawn.groups, drawn.rewarded), "draws": drawn.draws,
                "learned": len(drawn.kept), **drawn.told, **told, "lr": lr, "tokens": at.tokens + tokens,
                "tokens_per_second": tokens / (time.perf_counter() - began), "seconds_sampling": sampling, "seconds_learning": learning,
            }  # fmt: skip
            at.step, at.tokens = at.step + 1, at.tokens + tokens
            if at_checkpoint and validate is not None:
                record["validation"] = await validate()
            run.append(STEPS, record)
            if at_checkpoint:
                _save(run, learners, at, record.get("validation"))
            progress(record)
        _take_best(run, learners, at)
    finally:
        if sampler is not None:
            await sampler.close()
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        lm.engine.flush(decoder)


def frozen_copy(decoder: Decoder) -> Decoder:
    """The weights as they are now, never to be trained."""
    return deepcopy(decoder).requires_grad_(False)


def _publish(lm: LocalLM, copied: bool, version: int) -> Decoder:
    """The engine takes up the weights as they are now, those before step `version`; or a copy of them, where they will change while it
    samples. Returns what it took."""
    weights = frozen_copy(lm.decoder) if copied else None
    lm.engine.flush(weights, version)
    return weights or lm.decoder


async def _timed(work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    """What `work` gives, and how many seconds that took."""
    began = time.perf_counter()
    return await work(*args, **kwargs), time.perf_counter() - began


async def _sample(
    solver: Solver | Explorer, task: Task, recipe: Recipe, step: int, lesson: Lesson, seed: int
) -> tuple[list[Attempts], list[list[Rewarded]]]:
    """The lesson's groups and their rewards, in the lesson's order; a group is rewarded while others are still being sampled."""
    done: dict[int, tuple[Attempts, list[Rewarded]]] = {}
    async with aclosing(rollout(solver, task, lesson.problems, lesson.budget, recipe.group, seed)) as finished:
        async for group in finished:
            done[group.index] = group, await asyncio.to_thread(recipe.reward, group.problem, group.trajectories)
    groups = [done[i][0] for i in range(len(done))]
    if not any(g.trajectories for g in groups):
        raise UserError(f"train: every attempt of step {step} failed; the first said: {groups[0].failures[0]}")
    return groups, [done[i][1] for i in range(len(done))]


def _outcomes(drawn: Sampled) -> list[Group]:
    """What the curriculum is told: passes of all judged attempts, filtered or not."""
    told: list[Group] = []
    for g in drawn.groups:
        judged = [t for t in g.trajectories if t.verdict is not None and t.verdict.passed is not None]
        right = [t for t in judged if t.verdict is not None and t.verdict.passed]
        if judged:
            told.append(drawn.lesson.group(g.index, len(right), len(judged), right[0].answer if right else None))
    return told


def _save(run: Run, learners: _Learners, at: _Position, score: float | None) -> None:
    """The checkpoint; and, where its validation is the stage's best so far, a copy that is kept until a better one is."""
    if score is not None and (at.best is None or score > at.score):
        at.best, at.score = at.step, score
        learners.save(_best(run, at.step), at)
    learners.save(run.path / CHECKPOINT, at)
    for old in run.path.glob("best-*.pt"):
        if at.best is None or old != _best(run, at.best):
            old.unlink()


def _best(run: Run, step: int) -> Path:
    return run.path / f"best-{step}.pt"


def _take_best(run: Run, learners: _Learners, at: _Position) -> bool:
    """Goes back to the stage's best checkpoint where there is one, and says whether there was."""
    if at.best is not None:
        learners.load(_best(run, at.best))
    return at.best is not None


def _resume(run: Run, learners: _Learners) -> _Position:
    """Where the run stands: its checkpoint is loaded and its step log cut back to it."""
    path = run.path / CHECKPOINT
    at = learners.load(path) if path.exists() else _Position()
    lines = [line.decode() for line in run.lines(STEPS)]
    kept = [line for line in lines if json.loads(line)["step"] < at.step]
    if len(kept) != len(lines):
        run.write(f"{STEPS}.jsonl", "".join(line + "\n" for line in kept))
    return at
