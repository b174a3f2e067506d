"""Traces for supervised training: many attempts at each problem, the shortest good one of each, and beginnings of those nobody solved.

Paper: RSD (arXiv 2509.22230), data generation. A trace is good where it ended by itself, holds the mark that closes thinking once, is not
mostly the student's own, and is right by the task's judge. Of a problem without a good trace only the first tokens are learnt (UPFT,
arXiv 2503.02875): how a solution begins is mostly right even where it ends wrong.

Invariants. Ids in, ids out: a row's `ids` and `mask` are what was sampled, never text read again. An attempt is on disk before it counts; a
killed run goes on where it stood, and ends with the rows of one that was not killed. Every maker's attempts are chosen by the same rule.

Differs from the paper: (1) the task's judge decides, no second model is asked; (2) a beginning is that of the first attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from statistics import fmean
from typing import Any

import msgspec

from reasonry.core import LM, Ids, Problem, Run, Sampling, Stop, Task, UserError
from reasonry.core.seeds import inner_seed
from reasonry.synth.reverse_speculative import Extend, Pair, Rule, by_lookahead, write

ATTEMPTS = "attempts"
Logs = tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one problem, as it is logged. The per-token tuples have the length of `ids`."""

    problem: str
    trial: int
    prompt: Ids
    ids: Ids
    text: str
    stop: Stop
    right: bool
    teachers: tuple[bool, ...]
    """Which tokens the teacher proposed."""
    log_teacher: Logs
    log_student: Logs
    """`None` where that model did not read it."""

    @property
    def fallback_rate(self) -> float:
        """The share of tokens that are the student's own."""
        return 1 - sum(self.teachers) / max(len(self.teachers), 1)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which attempts become training rows. The defaults are the paper's."""

    trials: int = 16
    max_fallback: float = 0.5
    close: str | None = None
    """A text that a whole trace holds exactly once, such as `</think>`; `None` asks for none."""
    prefix: int = 128
    """Tokens of the beginning that is learnt where nothing is good; 0: such problems are left out."""
    whole: bool = True
    """Whether whole traces are learnt; without them, every problem gives a beginning."""

    def __post_init__(self) -> None:
        for name, value, least in (("trials", self.trials, 1), ("prefix", self.prefix, 0)):
            if value < least:
                raise UserError(f"traces: {name} is {value} but must be at least {least}")
        if not 0 <= self.max_fallback <= 1:
            raise UserError(f"traces: max_fallback is {self.max_fallback} but is a share from 0 to 1; the paper's is 0.5")

    def good(self, a: Attempt) -> bool:
        """Whether an attempt may be learnt whole."""
        closed = self.close is None or a.text.count(self.close) == 1
        return a.right and a.stop is Stop.EOS and closed and a.fallback_rate <= self.max_fallback


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One line of a data set that `reasonry train --sft` takes: `ids` and `mask` are learnt as they are; the rest is for people."""

    id: str
    kind: str
    """`whole` or `prefix`."""
    ids: Ids
    mask: tuple[bool, ...]
    text: str
    fallback_rate: float
    attempts: int
    good: int


Made = tuple[Ids, Ids, Stop, tuple[bool, ...], Logs, Logs]
"""Prompt ids, ids, why it stopped, which tokens are the teacher's, log-probabilities under teacher and student."""
Maker = Callable[[Problem, int], Awaitable[Made]]
"""(problem, seed) -> one attempt."""


def approved(pair: Pair, rule: Rule, extend: Extend = by_lookahead) -> Maker:
    """Traces of a teacher under a student's approval."""

    async def make(problem: Problem, seed: int) -> Made:
        t = await write(pair, problem.messages, rule, seed, extend)
        theirs, ours = tuple(k.log_teacher for k in t.tokens), tuple(k.log_student for k in t.tokens)
        return t.prompt, t.ids, t.stop, tuple(k.teachers for k in t.tokens), theirs, ours

    return make


def alone(lm: LM, sampling: Sampling, teacher: bool) -> Maker:
    """Traces of one model, for comparison: a `teacher` whom nobody approves, or a student by itself, which then falls back on nobody."""

    async def make(problem: Problem, seed: int) -> Made:
        c = await lm.complete(problem.messages, sampling.with_(seed=seed))
        if c.prompt_ids is None or c.ids is None or c.logprobs is None:
            raise UserError(f"traces: {lm.name} gives no token ids; use a local model")
        theirs, ours = (c.logprobs, None) if teacher else (None, c.logprobs)
        return c.prompt_ids, c.ids, c.stop, (True,) * len(c.ids), theirs, ours

    return make


async def attempts(
    make: Maker, lm: LM, task: Task, problems: Sequence[Problem], trials: int, seed: int, run: Run | None = None, at_once: int = 64,
    told: Callable[[Attempt], None] = lambda attempt: None,
) -> list[Attempt]:  # fmt: skip
    """`trials` attempts at each problem, judged, problem by problem; `lm` reads their ids. Those that `run` holds are not made again.

    The i-th attempt at a problem has the seed (seed, number of the problem, i), whatever is made beside it. `told` hears of each.
    """
    lines = () if run is None else run.lines(ATTEMPTS)
    done = {(a.problem, a.trial): a for a in (msgspec.json.decode(line, type=Attempt) for line in lines)}
    places = asyncio.Semaphore(at_once)

    async def one(number: int, problem: Problem, trial: int) -> Attempt:
        if (problem.id, trial) in done:
            told(done[problem.id, trial])
            return done[problem.id, trial]
        async with places:
            prompt, ids, stop, teachers, theirs, ours = await make(problem, inner_seed(seed, number, trial))
        text = await lm.decode(ids)
        right = task.judge(problem, text).passed is True
        attempt = Attempt(problem.id, trial, prompt, ids, text, stop, right, teachers, theirs, ours)
        if run is not None:
            run.append_line(ATTEMPTS, msgspec.json.encode(attempt))
        told(attempt)
        return attempt

    wanted = [(number, problem, trial) for number, problem in enumerate(problems) for trial in range(trials)]
    under_way = [asyncio.ensure_future(one(*w)) for w in wanted]
    try:
        return list(await asyncio.gather(*under_way))
    finally:
        for future in under_way:  # where one failed, the others are not paid for
            future.cancel()


def choose(made: Sequence[Attempt], choice: Choice) -> list[TraceRow]:
    """A row for each problem: its shortest good attempt, or a beginning, or nothing where the rule leaves nothing."""
    by_problem: dict[str, list[Attempt]] = {}
    for a in made:
        by_problem.setdefault(a.problem, []).append(a)
    return [row for of in by_problem.values() if (row := _row(sorted(of, key=lambda a: a.trial), choice)) is not None]


def _row(of: Sequence[Attempt], choice: Choice) -> TraceRow | None:
    of = of[: choice.trials]
    good = [a for a in of if choice.good(a)]
    if good and choice.whole:
        taken, kind = min(good, key=lambda a: len(a.ids)), "whole"
        ids = taken.ids
    else:
        taken, kind = of[0], "prefix"
        ids = taken.ids[: min(choice.prefix, len(taken.ids) - 1)]  # a beginning does not end the turn
        if not ids:
            return None
    mask = (False,) * len(taken.prompt) + (True,) * len(ids)
    return TraceRow(taken.problem, kind, taken.prompt + ids, mask, taken.text, taken.fallback_rate, len(of), len(good))


def as_lines(rows: Sequence[TraceRow]) -> str:
    """The rows as JSONL."""
    return "".join(msgspec.json.encode(row).decode() + "\n" for row in rows)


def card(made: Sequence[Attempt], rows: Sequence[TraceRow], choice: Choice, rare: float = 0.01) -> Mapping[str, Any]:
    """What a data set is made of, beside it as JSON: how many rows of which kind, what was refused, lengths, fallbacks, rare tokens."""
    learnt = [[i for i, on in zip(r.ids, r.mask, strict=True) if on] for r in rows]
    logs = [x for a in made for x in a.log_student or ()]
    return {
        "problems": len({a.problem for a in made}), "attempts": len(made), "right": sum(a.right for a in made),
        "good": sum(choice.good(a) for a in made), "ended": sum(a.stop is Stop.EOS for a in made),
        "too much fallback": sum(a.fallback_rate > choice.max_fallback for a in made),
        "whole": sum(r.kind == "whole" for r in rows), "prefixes": sum(r.kind == "prefix" for r in rows),
        "tokens learnt": sum(map(len, learnt)), "mean tokens of a row": fmean(map(len, learnt)) if rows else 0.0,
        "fallback rate of attempts": fmean(a.fallback_rate for a in made) if made else 0.0,
        "fallback rate of rows": fmean(r.fallback_rate for r in rows) if rows else 0.0,
        f"share of attempts' tokens below {rare:g}": sum(x < log(rare) for x in logs) / len(logs) if logs else None,
        "choice": asdict(choice),
    }  # fmt: skip
