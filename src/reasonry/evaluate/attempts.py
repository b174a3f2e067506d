"""Runs solvers on problems: every (solver, budget, problem, attempt) is one job, judged, logged, and never done twice.

Invariant: an attempt counts once its line is on disk, so a kill loses at most the attempts in flight, and a resumed run ends with the
outcomes of an unkilled one. A failed attempt is data: it is logged with its error, is *not scored* rather than wrong, never stops
its siblings, and is tried again on resume.
"""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec

from reasonry.core import Budget, Cost, Problem, Run, Solver, Stop, Task, Trajectory, UserError, Verdict
from reasonry.evaluate.report import Outcome, Report, build_report

LOG = "attempts"
"""The run's log of finished attempts, `attempts.jsonl`: one `Record` a line."""


@dataclass(frozen=True, slots=True)
class Record:
    """One finished attempt as the log holds it."""

    solver: str
    budget: str
    problem: str
    attempt: int
    seed: int
    trajectory: Trajectory


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a comparison is. Made after every attempt, read by progress displays."""

    total: int
    done: int
    resumed: int
    """Attempts among `done` that an earlier run had finished."""
    seconds: float
    """Wall-clock seconds since this run began."""
    errors: int
    scores: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Solver -> (mean score so far, attempts scored), over all budgets."""

    @property
    def rate(self) -> float:
        """Attempts finished per second in this run."""
        return (self.done - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; `None` before the first attempt is finished."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


Progress = Callable[[Snapshot], None]
Key = tuple[str, str, str, int]
"""Solver, budget, problem, attempt: which job an outcome is of."""


def silent(_: Snapshot) -> None:
    """A progress display that shows nothing."""


async def evaluate(
    solver: Solver,
    task: Task,
    problems: Sequence[Problem],
    budget: Budget,
    run: Run,
    *,
    attempts: int = 1,
    seed: int = 0,
    concurrency: int = 256,
    progress: Progress = silent,
) -> Report:
    """Attempts every problem with one solver at one budget. See `compare`."""
    return await compare([solver], task, problems, [budget], run, attempts=attempts, seed=seed, concurrency=concurrency, progress=progress)


async def compare(
    solvers: Sequence[Solver],
    task: Task,
    problems: Sequence[Problem],
    budgets: Sequence[Budget],
    run: Run,
    *,
    attempts: int = 1,
    seed: int = 0,
    concurrency: int = 256,
    progress: Progress = silent,
) -> Report:
    """Gives every solver the same problems, the same seeds and the same budgets, and reports accuracy against cost.

    The first solver is the baseline of the paired comparisons. At most `concurrency` attempts are in flight. What the run's log already
    holds is not done again, except attempts that ended in an error. Raises UserError for an empty or ambiguous request, and when a
    solver's very first attempt raises one (a wrong key, a model that is not there); later ones become failed attempts.
    """
    _check(solvers, problems, budgets, attempts, concurrency)
    log, outcomes = _Log(run, LOG), _logged(run, seed)
    tally = _Tally(len(solvers) * len(budgets) * len(problems) * attempts)

    def jobs() -> Iterator[_Job]:  # all methods at one problem together, so that a stopped run still compares like with like
        for attempt in range(attempts):
            for problem in problems:
                for budget in budgets:
                    for solver in solvers:
                        yield _Job(solver, budget, problem, attempt, seed_of(seed, problem.id, attempt))

    async def do(job: _Job, first: bool = False) -> None:
        record, line = await _attempt(job, task, run, first)
        await log.append(line)
        outcomes[job.key] = _outcome(record)
        tally.add(outcomes[job.key])
        progress(tally.snapshot())

    for job in jobs():
        if job.key in outcomes:
            tally.add(outcomes[job.key], resumed=True)
    progress(tally.snapshot())

    firsts: dict[str, _Job] = {}
    for job in jobs():
        if job.key not in outcomes and len(firsts) < len(solvers):
            firsts.setdefault(job.solver.name, job)
    await _together(do(job, first=True) for job in firsts.values())

    pending = (job for job in jobs() if job.key not in outcomes)

    async def worker() -> None:
        for job in pending:
            await do(job)

    await _together(worker() for _ in range(min(concurrency, tally.total - tally.done)))
    wanted = [outcomes[job.key] for job in jobs()]
    kinds = {problem.id: str(problem.meta["skill"]) for problem in problems if "skill" in problem.meta}
    return build_report(wanted, task.name, [s.name for s in solvers], [str(b) for b in budgets], len(problems), attempts, seed, kinds)


def seed_of(seed: int, problem_id: str, attempt: int) -> int:
    """The seed of an attempt, in [0, 2³¹): the same for every solver and budget, on every machine."""
    digest = blake2b(f"{seed}\n{attempt}\n{problem_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def sentence(error: BaseException) -> str:
    """An exception as one line of at most 300 characters, with what looks like a key blotted out."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return _SECRET.sub(r"\1***", text)[:300]


_SECRET = re.compile(
    r"((?:bearer|basic)\s+|\bsk-|\bhf_|(?:api[-_]?key|token|password|secret)[\"']?\s*[=:]\s*[\"']?)[\w.+/~-]{6,}=*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Job:
    solver: Solver
    budget: Budget
    problem: Problem
    attempt: int
    seed: int

    @property
    def key(self) -> Key:
        return self.solver.name, str(self.budget), self.problem.id, self.attempt


class _Log:
    """Appends lines from many tasks: while one write is on its way to disk the next lines gather, and go in one write."""

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name
        self._waiting: list[bytes] = []
        self._writing = asyncio.Lock()

    async def append(self, line: bytes) -> None:
        """Returns once the line is on disk, written by this call or by one that was just before it."""
        self._waiting.append(line)
        async with self._writing:
            if self._waiting:
                batch, self._waiting = self._waiting, []
                await asyncio.to_thread(self._run.append_line, self._name, b"\n".join(batch))


class _Tally:
    """Counts finished attempts for the progress display."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.resumed, self.errors = total, 0, 0, 0
        self.scores: dict[str, tuple[float, int]] = {}
        self.start = time.perf_counter()

    def add(self, outcome: Outcome, resumed: bool = False) -> None:
        self.done += 1
        self.resumed += resumed
        self.errors += outcome.stop is Stop.ERROR
        if outcome.score is not None:
            mean, n = self.scores.get(outcome.solver, (0.0, 0))
            self.scores[outcome.solver] = (mean + (outcome.score - mean) / (n + 1), n + 1)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.total, self.done, self.resumed, time.perf_counter() - self.start, self.errors, dict(self.scores))


async def _attempt(job: _Job, task: Task, run: Run, first: bool) -> tuple[Record, bytes]:
    """Runs and judges one job, and encodes it. A UserError of a solver's very first attempt is the user's to mend; the rest is data."""
    try:
        trajectory = await job.solver(job.problem, job.budget, job.seed)
        if trajectory.stop is None:
            raise TypeError(f"solver {job.solver.name} returned an attempt that is not finished: its stop is None")
        if trajectory.stop is not Stop.ERROR:
            trajectory = replace(trajectory, verdict=await asyncio.to_thread(_judge, task, job.problem, trajectory.answer))
        return _encoded(job, trajectory)
    except Exception as error:
        if first and isinstance(error, UserError):
            raise
        run.append("errors", {"solver": job.solver.name, "problem": job.problem.id, "attempt": job.attempt, "traceback": _trace(error)})
        return _encoded(job, Trajectory(job.problem.id, stop=Stop.ERROR, error=sentence(error)))


def _encoded(job: _Job, trajectory: Trajectory) -> tuple[Record, bytes]:
    record = Record(job.solver.name, str(job.budget), job.problem.id, job.attempt, job.seed, trajectory)
    return record, msgspec.json.encode(record)


def _judge(task: Task, problem: Problem, answer: str) -> Verdict:
    try:
        return task.judge(problem, answer)
    except Exception as error:  # judges promise not to raise; one that does leaves its attempt unscored, not the run broken
        return Verdict(score=None, passed=None, why=f"the judge failed: {sentence(error)}")


def _trace(error: BaseException) -> str:
    return _SECRET.sub(r"\1***", "".join(traceback.format_exception(error)))


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all; the first failure stops the rest and is raised as it was, without the group around it."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


@dataclass(frozen=True, slots=True)
class _LoggedTrajectory:
    """The fields of a logged trajectory a report needs; reading the rest back would cost a hundred times the memory."""

    stop: Stop
    cost: Cost
    verdict: Verdict | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _LoggedRecord:
    solver: str
    budget: str
    problem: str
    attempt: int
    seed: int
    trajectory: _LoggedTrajectory


def _logged(run: Run, seed: int) -> dict[Key, Outcome]:
    """What the log holds, less the attempts that ended in an error; a later line of the same attempt replaces an earlier one."""
    decode = msgspec.json.Decoder(_LoggedRecord).decode
    found: dict[Key, Outcome] = {}
    for line in run.lines(LOG):
        record = decode(line)
        if record.seed != seed_of(seed, record.problem, record.attempt):
            raise UserError(f"seed: {run.path} holds attempts made with another seed than {seed}; use that seed, or another directory")
        key = (record.solver, record.budget, record.problem, record.attempt)
        if record.trajectory.stop is Stop.ERROR:
            found.pop(key, None)
        else:
            found[key] = _outcome(record)
    return found


def _outcome(record: Record | _LoggedRecord) -> Outcome:
    trajectory = record.trajectory
    assert trajectory.stop is not None  # `_attempt` saw to it
    verdict = trajectory.verdict
    return Outcome(
        solver=record.solver,
        budget=record.budget,
        problem=record.problem,
        attempt=record.attempt,
        score=verdict.score if verdict else None,
        passed=verdict.passed if verdict else None,
        answer=verdict.answer if verdict else None,
        stop=trajectory.stop,
        cost=trajectory.cost,
        error=trajectory.error,
    )


def _check(solvers: Sequence[Solver], problems: Sequence[Problem], budgets: Sequence[Budget], attempts: int, concurrency: int) -> None:
    names, ids, limits = [s.name for s in solvers], [p.id for p in problems], [str(b) for b in budgets]
    for what, values in (("solver", names), ("problem", ids), ("budget", limits)):
        if not values:
            raise UserError(f"{what}s: none given; name at least one")
        if (twice := next((v for v, count in Counter(values).items() if count > 1), None)) is not None:
            raise UserError(f"{what}s: {twice!r} is there twice, so its attempts could not be told apart; give each another name")
    for what, number in (("attempts", attempts), ("concurrency", concurrency)):
        if number < 1:
            raise UserError(f"{what}: is {number} but must be 1 or more")
