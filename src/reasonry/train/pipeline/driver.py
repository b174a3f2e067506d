"""The controller over real workers: a `Sampler` for `train.loop.train`, which does all the rest.

    pipeline = Pipeline(Here(lm, solver, task), k=8)                    # one process
    pipeline = Pipeline(Cluster(make, rows=64), k=8, workers=2)         # Ray; `make()` builds what a worker needs
    await train(lm, solver, task, curriculum, problems, recipe, run, sampler=pipeline)

Problems are drawn from the course in rounds of a batch, the first round of a step with the same random numbers as in the loop without a
sampler; no problem is out twice at a time. Rewards are computed here, as groups come in, so a reward need not travel.

Invariants. With k = 0 on any host the trained weights are those of the loop without a sampler, bit for bit (`resample` 0). No update learns
from a token more than k updates old. A lost worker costs its unfinished groups and is replaced.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reasonry.core import UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.train.curriculum import Lesson
from reasonry.train.dynamic import Sampled
from reasonry.train.pipeline.controller import Action, Controller, Start, Train
from reasonry.train.pipeline.staleness import oldest, staleness
from reasonry.train.pipeline.worker import Ask, Host, Lost, Worker
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import Attempts
from reasonry.train.sampler import Ground


@dataclass(frozen=True)
class _Asked:
    """A problem that is out."""

    lesson: Lesson
    index: int
    """In its lesson."""
    seed: int
    """The lesson's."""


@dataclass
class _Busy:
    """How long each of several has had something to do since it was last asked."""

    since: float
    seconds: float = 0.0
    working: bool = False

    def now(self, time: float, working: bool) -> None:
        self.seconds += (time - self.since) * self.working
        self.since, self.working = time, working


class Pipeline:
    """Samples ahead of the trainer, never so far that anything is more than `k` updates old when it is learned from."""

    def __init__(self, host: Host, k: int, workers: int = 1) -> None:
        if k < 0 or workers < 1:
            raise UserError(f"pipeline: k is {k} and workers {workers}; give k of at least 0 and at least one worker")
        self.host, self.k, self._n = host, k, workers
        self.asked_again = 0
        """Groups that lost workers had not finished."""
        self._workers: dict[int, Worker] = {}
        self._busy: dict[int, _Busy] = {}
        self._names, self._deaths = 0, 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Future[Train] | None = None
        self._failed: BaseException | None = None
        self._asked: dict[int, _Asked] = {}
        self._queue: deque[_Asked] = deque()
        self._round = (-1, 0)
        """The step that problems were last drawn at, and how often."""
        self._since = 0.0
        """When the last batch was handed out, or the first worker came."""
        self._made: dict[int, tuple[Attempts, list[Rewarded]]] = {}

    async def open(self, ground: Ground, step: int) -> None:
        """Workers start with the first `publish`."""
        recipe = ground.recipe
        self._ground, self._weights = ground, None
        self.controller = Controller(self.k, recipe.prompts, self.host.slots(recipe.group), recipe.resample, step)

    async def publish(self, weights: Decoder, version: int) -> None:
        """Hands the weights to all workers, in mid-answer, and does not wait until they have them; the first time starts the workers."""
        self._weights = (await self.host.pack(weights), version)
        if not self._names:
            await asyncio.gather(*(self._join() for _ in range(self._n)))
        else:
            for name in list(self._workers):
                self._begin(self._hand_over(name))
            if version > self.controller.version:
                self._perform(self.controller.trained())

    async def batch(self) -> Sampled:
        """Waits for the controller's next batch. Raises what went wrong in a worker, or UserError where every attempt failed."""
        asked_at = time.perf_counter()
        if self._failed is not None:
            raise self._failed
        self._waiting = asyncio.get_running_loop().create_future()
        self._perform(self.controller.ready())
        train = await self._waiting
        sampled = self._sampled(train)
        now = time.perf_counter()
        took = now - self._since
        told = {
            **sampled.told, "trainer_idle": (now - asked_at) / took, "sampler_idle": self._idle(now, took),
            "samples_per_second": sum(len(g.trajectories) for g in sampled.groups) / took, "asked_again": self.asked_again,
        }  # fmt: skip
        self._since = now
        return replace(sampled, told=told)

    async def close(self) -> None:
        """Ends what is under way; the workers go."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.host.close()

    def _perform(self, actions: Sequence[Action]) -> None:
        """Has done what the controller wants, and what follows from it."""
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            if isinstance(action, Train):
                assert self._waiting is not None
                self._waiting.set_result(action)
            elif (asked := self._asked.get(action.group) or self._draw()) is not None:
                self._asked[action.group] = asked
                self._begin(self._attempt(action, asked))
            else:
                todo.extend(self.controller.refused(action.group))
        now = time.perf_counter()
        for name, busy in self._busy.items():
            busy.now(now, name in self.controller.workers and bool(self.controller.workers[name].running))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets something go on by itself; what it raises ends the run."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed = self._failed or error
                if self._waiting is not None and not self._waiting.done():
                    self._waiting.set_exception(error)

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def _attempt(self, start: Start, asked: _Asked) -> None:
        if start.worker not in self._workers:
            return  # it was lost before this could begin, and the group is asked again
        lesson, ground = asked.lesson, self._ground
        ask = Ask(lesson.problems[asked.index], asked.index, lesson.budget, ground.recipe.group, asked.seed)
        try:
            made = await self._workers[start.worker].group(ask)
        except Lost as error:
            await self._replace(start.worker, error)
            return
        rewarded = await asyncio.to_thread(ground.recipe.reward, made.problem, made.trajectories)
        if start.worker not in self._workers:
            return  # likewise
        self._deaths = 0
        self._made[start.group] = made, rewarded
        self._perform(self.controller.finished(start.group, oldest(made.trajectories), ground.teaches(rewarded)))

    async def _join(self) -> None:
        """Starts a worker and gives it the newest weights."""
        worker = await self.host.start()
        name, self._names = self._names, self._names + 1
        version = await self._newest(worker)
        now = time.perf_counter()
        self._since = self._since or now
        self._workers[name], self._busy[name] = worker, _Busy(now)
        self._perform(self.controller.joined(name, version))

    async def _newest(self, worker: Worker) -> int:
        """Gives a worker the newest weights, and says their version."""
        assert self._weights is not None
        weights, version = self._weights
        await worker.take(weights, version)
        return version

    async def _hand_over(self, name: int) -> None:
        if (worker := self._workers.get(name)) is None:
            return
        try:
            version = await self._newest(worker)
        except Lost as error:
            await self._replace(name, error)
            return
        self._perform(self.controller.took(name, version))

    async def _replace(self, name: int, error: Lost) -> None:
        """Once for each lost worker. Raises UserError where workers are lost without ever finishing anything."""
        if self._workers.pop(name, None) is None:
            return
        self._deaths += 1
        if self._deaths > 2 * self._n:
            raise UserError(f"pipeline: {self._deaths} workers were lost one after another, none finished a group; the last: {error}")
        self.asked_again += len(self.controller.workers[name].running)
        self._perform(self.controller.lost(name))
        try:
            await self._join()
        except Lost as again:
            raise UserError(f"pipeline: no worker could take the place of one that was lost ({error}); the new one: {again}") from again

    def _draw(self) -> _Asked | None:
        """The next problem; `None` where the course has none that is not out already. Raises UserError where nothing is out."""
        course, recipe = self._ground.course, self._ground.recipe
        if self._queue and self._queue[0].lesson.stage != course.stage:
            self._queue.clear()
        if not self._queue:
            step = len(course.history.steps)
            times = self._round[1] if self._round[0] == step else 0
            out = {a.lesson.problems[a.index].id for a in self._asked.values()}
            seed = inner_seed(recipe.seed, step, times) if times else inner_seed(recipe.seed, step)
            for n in (recipe.prompts, 1):
                try:
                    lesson = course.ask(step, n, times, out)
                except UserError:
                    if n == 1 and not out:
                        raise
                    continue
                self._queue.extend(_Asked(lesson, i, seed) for i in range(n))
                break
            self._round = step, times + 1
        return self._queue.popleft() if self._queue else None

    def _sampled(self, train: Train) -> Sampled:
        """A batch as the loop wants it, its groups in the order in which they were drawn."""
        numbers = sorted((*train.groups, *train.aside))
        asked = [self._asked.pop(n) for n in numbers]
        made = [self._made.pop(n) for n in numbers]
        groups = [replace(m[0], index=i) for i, m in enumerate(made)]
        if not any(g.trajectories for g in groups):
            raise UserError(f"train: every attempt of a batch failed; the first said: {groups[0].failures[0]}")
        drawn = [(a.lesson.problems[a.index], a.lesson.levels[a.index]) for a in asked]
        lesson = replace(asked[-1].lesson, problems=tuple(p for p, _ in drawn), levels=tuple(level for _, level in drawn))
        taught = set(train.groups)
        kept = [m[1] for n, m in zip(numbers, made, strict=True) if n in taught and self._ground.teaches(m[1])]
        told = staleness(kept, self.controller.next - 1)
        if kept:
            told["trained_length"] = statistics.fmean(r.trajectory.cost.completion_tokens for group in kept for r in group)
        return Sampled(lesson, groups, [m[1] for m in made], kept, self._round[1], told)

    def _idle(self, now: float, took: float) -> float:
        """Share of the time since the last batch in which a worker had nothing to do, on average; forgets it."""
        for busy in self._busy.values():
            busy.now(now, busy.working)
        worked = sum(busy.seconds for busy in self._busy.values())
        self._busy = {name: replace(busy, seconds=0.0) for name, busy in self._busy.items() if name in self._workers}
        return max(1 - worked / (took * self._n), 0.0)
