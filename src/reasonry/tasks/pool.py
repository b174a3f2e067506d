"""Candidate answers to a problem, from any models: what votes count, aggregators read, mixtures are made of and the ladder measures.

A pool file has one JSON object a line:

    {"id": "q1", "prompt": "…", "answer": "72", "split": "train", "candidates": [
        {"text": "…", "tokens": 310, "model": "any", "score": 0.7, "check": 1.0, "correct": true, "answer": "72"}, …],
     "aggregated": [{"set": 0, "text": "…", "tokens": 95, "answer": "72", "correct": true}, …]}

Of a candidate only `text` or `answer` must be there. `answer` beside the prompt is the gold answer. Instead of `candidates` a line may have
`completions`, a list of texts, as for the reward lint.

Invariants: what a candidate says is the text after its thinking; a thought that never ended says nothing. A text without a readable answer
has the answer `None`, which is not an answer like others. A line that cannot be used is refused with its place and the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from reasonry.core import Message, Problem, Trajectory, UserError, Verdict
from reasonry.core.run import write_whole
from reasonry.tasks.loaders import json_lines
from reasonry.tasks.skill import split_of

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One solution to a problem. Made by a solver or read from a pool file."""

    text: str
    """All of it, thinking included."""
    answer: str | None
    """In the judge's canonical spelling; `None` where there is none."""
    tokens: int
    """Sampled for it, thinking included."""
    model: str = ""
    score: float | None = None
    """Of a reward model or any other score, higher is better; also the model's own mean log-probability."""
    check: float | None = None
    """Of something that checks steps without the gold answer, in [0, 1]."""
    correct: float | None = None
    """The judge's score, in [0, 1]; `None` where the gold answer is not known."""
    prompt_tokens: int = 0
    """Handed to the model for it."""


@dataclass(frozen=True, slots=True)
class Aggregated(Candidate):
    """An answer made of candidates."""

    set: int = 0
    """Which of the pool's sets of m candidates, in their order, it was made of."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A problem's candidates, in an order that means nothing."""

    problem: Problem
    split: str
    candidates: tuple[Candidate, ...]
    aggregated: tuple[Aggregated, ...] = ()


class Reads(Protocol):
    """What can read and judge answers: a task, or a judge's two halves."""

    def extract(self, text: str) -> str | None:
        """The answer in a text, in canonical spelling."""
        ...

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The verdict on a whole text."""
        ...


def without_thinking(text: str) -> str:
    """What follows the last `</think>`; nothing for a thought that was begun and never ended; else the whole text."""
    said, closed, final = text.rpartition(CLOSE)
    if closed and OPEN not in final:
        return final.strip()
    return "" if OPEN in (final if closed else text) else (said + final).strip()


def candidate(t: Trajectory, problem: Problem, task: Reads) -> Candidate:
    """A finished attempt as a candidate, judged where the problem has a gold answer. Its score is the mean log-probability of its last
    call, where that is known."""
    last = t.segments[-1] if t.segments else None
    score = sum(last.logprobs) / len(last.logprobs) if last and last.logprobs else None
    verdict = t.verdict or (task.judge(problem, t.answer) if problem.answer is not None else None)
    model = last.model if last else ""
    return Candidate(
        t.answer, task.extract(without_thinking(t.answer)), t.cost.completion_tokens, model, score, None,
        None if verdict is None else verdict.score, t.cost.prompt_tokens,
    )  # fmt: skip


def read_pools(path: Path, task: Reads | None = None) -> list[Pool]:
    """The pools of a file. `task` reads answers out of texts and judges them where a line does not say; raises UserError without it for
    such a line, and for one that cannot be used."""
    pools: dict[str, Pool] = {}
    for where, row in json_lines(path):
        pool = _pool(row, where, task)
        if pool.problem.id in pools:
            raise UserError(f"{where}: the id {pool.problem.id!r} was there before; put all candidates of a problem in one line")
        pools[pool.problem.id] = pool
    if not pools:
        raise UserError(f"{path}: holds no lines; give a problem with its candidates a line")
    return list(pools.values())


def _pool(row: Any, where: str, task: Reads | None) -> Pool:
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: is a {type(row).__name__} but must be an object with prompt and candidates")
    given = row.get("candidates")
    if given is None and isinstance(row.get("completions"), list):
        given = [{"text": text} for text in row["completions"]]
    if not isinstance(given, list) or not given or not all(isinstance(c, Mapping) for c in given):
        raise UserError(f"{where}: has no candidates; give a list of objects with text, or completions, a list of texts")
    asked = row.get("prompt", row.get("question", ""))
    prompt = asked if isinstance(asked, str) else tuple(Message(str(m["role"]), str(m["content"])) for m in asked)
    content = asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False)
    id = str(row.get("id") or content[:200] or where)
    problem = Problem(id, prompt, row.get("answer"), row.get("meta") or {})
    made = tuple(_read(c, f"{where} candidate {i}", problem, task) for i, c in enumerate(given))
    whole = tuple(_aggregated(c, f"{where} aggregated {i}", problem, task) for i, c in enumerate(row.get("aggregated") or ()))
    return Pool(problem, str(row.get("split") or split_of(content)), made, whole)


def _read(c: Mapping[str, Any], where: str, problem: Problem, task: Reads | None) -> Candidate:
    text = c.get("text", "")
    if not isinstance(text, str) or ("text" not in c and "answer" not in c):
        raise UserError(f"{where}: has neither text nor answer; give one")
    if "answer" in c:
        answer = None if c["answer"] is None else str(c["answer"])
    elif task is None:
        raise UserError(f"{where}: has no answer and nothing reads it out of the text; add answer, or name a judge")
    else:
        answer = task.extract(without_thinking(text))
    correct = c.get("correct")
    if correct is None and problem.answer is not None and task is not None:
        correct = task.judge(problem, without_thinking(text) or (answer or "")).score
    elif correct is None and problem.answer is not None and "answer" in c:
        correct = float(answer == str(problem.answer))
    tokens = c.get("tokens", max(1, len(text) // 4))
    return Candidate(
        text, answer, int(tokens), str(c.get("model", "")), _number(c, "score", where), _number(c, "check", where),
        None if correct is None else float(correct), int(c.get("prompt_tokens", 0)),
    )  # fmt: skip


def _aggregated(c: Any, where: str, problem: Problem, task: Reads | None) -> Aggregated:
    if not isinstance(c, Mapping):
        raise UserError(f"{where}: is a {type(c).__name__} but must be an object with text or answer")
    plain = _read(c, where, problem, task)
    return Aggregated(**{f: getattr(plain, f) for f in Candidate.__slots__}, set=int(c.get("set", 0)))


def _number(c: Mapping[str, Any], name: str, where: str) -> float | None:
    value = c.get(name)
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, int | float):
        raise UserError(f"{where}: {name} is {value!r} but must be a number")
    return float(value)


def write_pools(path: Path, pools: Iterable[Pool]) -> Path:
    """Writes a pool file, replaced whole."""
    return write_whole(path, "".join(json.dumps(_row(pool), ensure_ascii=False) + "\n" for pool in pools))


def _row(pool: Pool) -> dict[str, Any]:
    p = pool.problem
    prompt = p.prompt if isinstance(p.prompt, str) else [{"role": m.role, "content": m.content} for m in p.prompt]
    row: dict[str, Any] = {"id": p.id, "prompt": prompt, "answer": p.answer, "split": pool.split}
    if p.meta:
        row["meta"] = dict(p.meta)
    row["candidates"] = [_plain(c) for c in pool.candidates]
    if pool.aggregated:
        row["aggregated"] = [{"set": a.set, **_plain(a)} for a in pool.aggregated]
    return row


def _plain(c: Candidate) -> dict[str, Any]:
    kept = {f: getattr(c, f) for f in Candidate.__slots__}
    return {k: v for k, v in kept.items() if k == "answer" or v not in (None, "")}


def with_checks(pool: Pool, check: Sequence[float]) -> Pool:
    """The pool with a check's word on each candidate."""
    return replace(pool, candidates=tuple(replace(c, check=x) for c, x in zip(pool.candidates, check, strict=True)))
