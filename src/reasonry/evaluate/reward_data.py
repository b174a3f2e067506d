"""What the reward lint works on: groups of answers from a file, a run or a model, and a reward of either kind as one function.

Invariant: a reward is called here as it is in training. A TRL function gets `prompts, completions, completion_ids, **columns`; one of our
signals gets the problem and judged attempts.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from reasonry.core import Budget, Cost, Message, Problem, Sampling, Segment, Stop, Trajectory, UserError, Verdict
from reasonry.evaluate.command import opened
from reasonry.lm.load import load_lm
from reasonry.probe.log_rows import json_rows
from reasonry.probe.reward_lint import Finding, Group, Level, Score
from reasonry.solve.single import Single
from reasonry.tasks import load_task
from reasonry.tasks.judges import JUDGES
from reasonry.train.reward import Reward, trl_reward
from reasonry.train.rollout import rollout

PROMPTS, TEXTS = ("prompt", "question", "messages"), ("completion", "response", "answer_text")
QUALITY = ("correct", "is_correct", "passed", "score", "quality", "acc")
"""Columns that say how good each answer is, best first."""
ANSWERS = ("answer", "ground_truth", "gold", "solution", "label", "target")
"""Columns that hold the right answer, best first."""

Judge = Callable[[Problem, str], Verdict]


def judge_of(name: str) -> Judge:
    """A judge by name. Raises UserError for another name."""
    if name not in JUDGES:
        raise UserError(f"--judge: {name!r} is unknown; use one of {', '.join(JUDGES)}")
    return JUDGES[name]()


def load_reward(spec: str) -> tuple[Reward, list[Finding]]:
    """`module:name` or `file.py:name`: a TRL reward function, one of our signals, or a `train.reward.Reward`; and what its signature lacks.

    A function that takes `completions` is TRL's; one of two positional arguments is ours. Raises UserError where there is no such thing,
    or it is neither.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not name:
        raise UserError(f"--reward: {spec!r} names no function; write module:function or file.py:function")
    found = getattr(_module(where, spec), name, None)
    if found is None:
        raise UserError(f"--reward: {where} holds no {name!r}; name one of its functions")
    if isinstance(found, Reward):
        return found, []
    if not callable(found):
        raise UserError(f"--reward: {spec} is a {type(found).__name__}, not a function; name a reward function")
    parameters = inspect.signature(found).parameters
    if "completions" in parameters:
        return Reward((trl_reward(_as_trl_calls(found), name),), _total), [] if _takes_columns(found) else [_NO_COLUMNS]
    required = [p for p in parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(required) == 2:
        signal: Any = found
        return Reward((signal,), _total), []
    raise UserError(
        f"--reward: {spec} takes ({', '.join(parameters)}); it must take prompts, completions, **columns (TRL), or problem, group (ours)"
    )


def read_groups(path: Path, judge: Judge | None = None) -> tuple[list[Group], Judge | None]:
    """The groups of a JSONL file or of one of our run directories, and the judge their quality is from.

    A file's line is `prompt` with `completions` (a list), or with one `completion`, lines of one prompt making a group; other columns go
    to the reward. Quality is a column named as in `QUALITY` (a list, or one value beside one completion), else the verdict of `judge`.
    A run's attempts at a problem are one group, whichever method and budget they were made with. Raises UserError for anything else.
    """
    if path.is_dir():
        return _of_run(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a JSONL of prompt and completions, or a run directory")
    groups: dict[str, Group] = {}
    for where, row in json_rows(path, "give prompt and completions"):
        group = _group(row, where, judge)
        before = groups.get(group.problem.id)
        groups[group.problem.id] = group if before is None else _joined(before, group)
    if not groups:
        raise UserError(f"{path}: holds no line; give one object a line with prompt and completions")
    return list(groups.values()), judge


async def sample_groups(model: str, task: str, n: int, size: int, max_tokens: int, seed: int, split: str) -> tuple[list[Group], Judge]:
    """Fresh answers: `size` of the model to each of `n` problems, judged by the task."""
    asked = load_task(task)
    problems = asked.problems(split, n, seed)
    async with opened(load_lm(model)) as lm:
        solver = Single(lm, Sampling(max_tokens=max_tokens))
        done = [a async for a in rollout(solver, asked, problems, Budget(), size, seed)]
    if failed := next((a.failures[0] for a in done if a.failures), None):
        raise UserError(f"--model: sampling failed: {failed}")
    groups = [_attempts(a.problem, a.trajectories) for a in sorted(done, key=lambda a: a.index)]
    return groups, asked.judge


def _attempts(problem: Problem, attempts: Sequence[Trajectory]) -> Group:
    quality = tuple(None if t.verdict is None else t.verdict.score for t in attempts)
    return Group(problem, tuple(t.answer for t in attempts), tuple(t.cost.completion_tokens for t in attempts), quality)


def _of_run(path: Path) -> tuple[list[Group], Judge]:
    log, config = path / "attempts.jsonl", path / "config.json"
    if not log.is_file() or not config.is_file():
        raise UserError(f"{path}: holds no attempts.jsonl beside a config.json; name a run directory of reasonry compare, or a JSONL file")
    c = json.loads(config.read_text())
    task = load_task(c["task"])
    problems = {p.id: p for p in task.problems(c["split"], c["problems"], c["seed"])}
    made: dict[str, list[Trajectory]] = {}
    decode = msgspec.json.Decoder(_Line).decode
    with open(log, "rb") as file:
        for line in (decode(raw) for raw in file if raw.endswith(b"\n")):
            if line.problem in problems and line.trajectory.stop is not Stop.ERROR:
                made.setdefault(line.problem, []).append(line.trajectory)
    if not made:
        raise UserError(f"{path}: holds no finished attempt at a problem of {c['task']}; let the run finish first")
    return [_attempts(problems[key], attempts) for key, attempts in made.items()], task.judge


class _Line(msgspec.Struct):
    problem: str
    trajectory: Trajectory


def _group(row: Mapping[str, Any], where: str, judge: Judge | None) -> Group:
    asked = next((name for name in PROMPTS if name in row), None)
    one = next((name for name in TEXTS if name in row), None)
    if asked is None or ("completions" not in row and one is None):
        raise UserError(f"{where}: has the columns {', '.join(row) or 'none'}; it needs prompt and completions (a list), or completion")
    given = row["completions"] if "completions" in row else [row[one]]  # type: ignore[index]
    if not isinstance(given, list) or not given:
        raise UserError(f"{where}: completions is a {type(given).__name__} but must be a list with at least one answer")
    texts = tuple(_text(c, where) for c in given)
    columns = {k: v for k, v in row.items() if k not in (asked, one, "completions", "id", "lengths", *QUALITY)}
    gold = next((name for name in ANSWERS if name in columns), None)
    prompt = _prompt(row[asked], where)
    key = str(row.get("id") or json.dumps(row[asked], ensure_ascii=False, sort_keys=True)[:200])
    answer = columns.get(gold) if gold else (row.get("reward_model") or {}).get("ground_truth")
    problem = Problem(key, prompt, answer, {k: v for k, v in columns.items() if k != "answer"})
    quality = _quality(row, len(texts), where)
    if quality is None and judge is not None and answer is not None:
        quality = tuple(judge(problem, text).score for text in texts)
    lengths = row.get("lengths")
    measured = tuple(lengths) if isinstance(lengths, list) and len(lengths) == len(texts) else tuple(map(len, texts))
    return Group(problem, texts, measured, quality)


def _quality(row: Mapping[str, Any], n: int, where: str) -> tuple[float | None, ...] | None:
    name = next((name for name in QUALITY if name in row), None)
    if name is None:
        return None
    values = row[name] if isinstance(row[name], list) else [row[name]]
    if len(values) != n or not all(v is None or isinstance(v, bool | int | float) for v in values):
        raise UserError(f"{where}: {name} must hold one number for each of the {n} completions; mend it or name the column otherwise")
    return tuple(None if v is None else float(v) for v in values)


def _joined(a: Group, b: Group) -> Group:
    quality = a.quality + b.quality if a.quality is not None and b.quality is not None else None
    return Group(a.problem, a.completions + b.completions, a.lengths + b.lengths, quality)


def _prompt(given: Any, where: str) -> str | tuple[Message, ...]:
    if isinstance(given, str):
        return given
    try:
        return tuple(Message(str(m["role"]), str(m["content"])) for m in given)
    except (TypeError, KeyError):
        raise UserError(f"{where}: the prompt is neither a text nor a list of messages with role and content; mend it") from None


def _text(given: Any, where: str) -> str:
    if isinstance(given, str):
        return given
    messages = given if isinstance(given, list) else [given]
    try:
        return str(messages[-1]["content"])
    except (TypeError, KeyError, IndexError):
        raise UserError(f"{where}: a completion is neither a text nor messages with role and content; mend it") from None


def _module(where: str, spec: str) -> Any:
    try:
        if where.endswith(".py"):
            found = importlib.util.spec_from_file_location(Path(where).stem, where)
            if found is None or found.loader is None or not Path(where).is_file():
                raise UserError(f"--reward: there is no file {where}; name the file that holds the function")
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
            return module
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise UserError(f"--reward: {spec} cannot be imported ({error}); write module:function or file.py:function") from None


def _as_trl_calls(function: Callable[..., Any]) -> Callable[..., Sequence[float | None]]:
    """The function as TRL's trainer calls it: with its logging hooks, and awaited where it is asynchronous.

    Keywords it does not take are left out, which TRL does not do.
    """
    parameters = inspect.signature(function).parameters
    takes_all = _takes_columns(function)

    def call(**given: Any) -> Sequence[float | None]:
        given = {**given, "trainer_state": None, "log_extra": lambda *_: None, "log_metric": lambda *_: None}
        kept = given if takes_all else {k: v for k, v in given.items() if k in parameters}
        values = function(**kept)
        return asyncio.run(_awaited(values)) if inspect.isawaitable(values) else values

    return call


_NO_COLUMNS = Finding(
    "signature",
    Level.HINT,
    "The function takes no **columns, and TRL hands it completion_ids, trainer_state and every column.",
    "Add **columns to its arguments.",
)


def _takes_columns(function: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


async def _awaited(values: Any) -> Any:
    return await values


def _total(group: Sequence[Mapping[str, float]]) -> list[float]:
    return [sum(signals.values()) for signals in group]


def score_of(reward: Reward, judge: Judge | None) -> Score:
    """A reward over attempts as one over texts, whose verdicts are `judge`'s. Numbers that are not finite are handed on to be seen."""

    def score(problem: Problem, texts: Sequence[str]) -> list[float | None]:
        attempts = [_attempt(problem, text, judge) for text in texts]
        merged: list[dict[str, float] | None] = [{} for _ in attempts]
        for signal in reward.signals:
            found = signal(problem, attempts)
            if len(found) != len(attempts):
                raise ValueError(f"{len(found)} values for {len(attempts)} answers")
            merged = [None if have is None or new is None else {**have, **new} for have, new in zip(merged, found, strict=True)]
        kept = [s for s in merged if s is not None]
        finite = all(math.isfinite(v) for s in kept for v in s.values())
        paid = iter(reward.combine(kept) if finite else _total(kept))
        return [None if s is None else float(next(paid)) for s in merged]

    return score


def _attempt(problem: Problem, text: str, judge: Judge | None) -> Trajectory:
    """A text as an attempt: its ids are the text's bytes, four of them a token of its cost, since what sampled it is not known."""
    cost = Cost(completion_tokens=max(1, len(text) // 4), calls=1)
    segment = Segment(None, tuple(text.encode("utf-8", "replace")), text, None, Stop.EOS, cost)
    verdict = judge(problem, text) if judge is not None else None
    return Trajectory(problem.id, (segment,), text, Stop.EOS, cost=cost, verdict=verdict)
