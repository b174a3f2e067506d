"""Your own data as a task: JSONL files, folders of them, Hugging Face datasets, or plain lists of dict rows.

Invariants: a row that cannot be used is refused with its file, its line and the reason (never skipped); no prompt is in two splits;
a row has the same id and the same split on every machine, wherever its file lies.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasonry.core import Message, Problem, UserError, Verdict
from reasonry.tasks.judges import Judge, exact, hash_answer, number, numeric
from reasonry.tasks.skill import split_of

PROMPTS = ("messages", "prompt", "question", "problem", "input")
"""Columns taken for the prompt when none is named; the first that the first row has."""
ANSWERS = ("answer", "target", "label", "solution")
"""Columns taken for the answer, likewise."""
_ORDER = ("test", "validation", "train")
_SPELLINGS = {"valid": "validation", "val": "validation", "dev": "validation"}
_ROLES = ("system", "user", "assistant", "tool")

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Data:
    """A task of given problems. Made by `from_rows` and `from_path`."""

    name: str
    splits: Mapping[str, tuple[Problem, ...]]
    judging: Judge

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """All problems of a split in the order of the data, or `n` of them drawn by the seed. Raises UserError where there are fewer."""
        if split not in self.splits:
            raise UserError(
                f"split: {split!r} is not a split of {self.name}, which has {', '.join(self.splits)}; "
                f"use one of those, or all of the data with the option split={split}"
            )
        held = self.splits[split]
        if n is None:
            return list(held)
        if n > len(held):
            raise UserError(
                f"{self.name}: n is {n} but split {split!r} holds {len(held)} problems; ask for fewer, "
                f"or use all of the data as this split with the option split={split}"
            )
        return random.Random(f"{self.name}/{split}/{seed}").sample(held, n)

    def extract(self, text: str) -> str | None:
        """The answer as the judge reads it."""
        return self.judging.extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The judge's verdict on a model's whole text."""
        return self.judging(problem, answer)


def from_rows(
    rows: Rows | Mapping[str, Rows],
    name: str,
    prompt: str | None = None,
    answer: str | None = None,
    judge: Judge | None = None,
    split: str | None = None,
) -> Data:
    """A task from dict rows (a list, a generator, a Hugging Face `Dataset`) or from a mapping split → rows (a `DatasetDict`).

    `prompt` and `answer` name the columns; without them the usual names are looked for. A prompt is a text or a list of messages with
    `role` and `content`. An answer that has a line `#### x`, as in GSM8K, is x, and the lines before it are kept as `meta["solution"]`.
    Without `judge`, answers are judged as numbers when all of them are numbers, else exactly. `split` makes all rows that split;
    without it, plain rows are split by a hash of their prompts. A row that repeats an earlier prompt and answer is left out. Raises
    UserError for a row that cannot be used.
    """
    parts: dict[str | None, Iterator[tuple[str, Any]]] = {}
    if isinstance(rows, Mapping):
        parts.update({str(part): _at(held, f"{name}[{part}] row") for part, held in rows.items()})
    else:
        parts[split] = _at(rows, f"{name} row")
    return _data(parts, name, prompt, answer, judge)


def from_path(
    path: str | Path, prompt: str | None = None, answer: str | None = None, judge: Judge | None = None, split: str | None = None
) -> Data:
    """A task from a `.jsonl` file or a folder of them; the arguments are those of `from_rows`.

    A file named after a split (`test.jsonl`) is that split; another is split by a hash of its prompts. In a folder, the files named
    after splits are read. Raises UserError for a file that cannot be read and for a row that cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        files = {part: file for file in sorted(path.glob("*.jsonl")) if (part := _named_split(file)) is not None}
        if not files:
            raise UserError(f"{path}: the folder holds no train.jsonl, validation.jsonl or test.jsonl; name a .jsonl file")
        return _data({part: json_lines(file) for part, file in files.items()}, path.name, prompt, answer, judge)
    if path.suffix != ".jsonl":
        raise UserError(f"{path}: the name does not end with .jsonl; give one JSON object per line in a .jsonl file")
    return _data({split or _named_split(path): json_lines(path)}, path.stem, prompt, answer, judge)


def _named_split(file: Path) -> str | None:
    part = _SPELLINGS.get(file.stem, file.stem)
    return part if part in _ORDER else None


def _at(rows: Iterable[Any], where: str) -> Iterator[tuple[str, Any]]:
    return ((f"{where} {i}", row) for i, row in enumerate(rows))


def json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Each line's value with its place, for error sentences. Raises UserError for a file that cannot be read and a line that is no JSON."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check the path") from None
    for i, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{file} line {i}", json.loads(line)
        except UnicodeDecodeError:
            raise UserError(f"{file} line {i}: is not UTF-8; save the file as UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file} line {i}: is not JSON ({error}); write one JSON object per line") from None


def _data(
    parts: Mapping[str | None, Iterator[tuple[str, Any]]], name: str, prompt: str | None, answer: str | None, judge: Judge | None
) -> Data:
    splits: dict[str, list[Problem]] = {}
    seen: dict[str, str] = {}
    for part in sorted(parts, key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), str(p))):
        columns = (prompt, answer)
        for where, row in parts[part]:
            columns = _columns(row, where, *columns)
            problem = _problem(row, where, name, *columns)
            key = _content(problem)
            home = part or split_of(key)
            if seen.setdefault(key, home) == home:
                splits.setdefault(home, []).append(problem)
    problems = [problem for held in splits.values() for problem in held]
    if not problems:
        raise UserError(f"{name}: holds no rows; give at least one")
    chosen = judge or (numeric() if all(number(str(p.answer)) is not None for p in problems) else exact)
    return Data(name, {part: tuple({p.id: p for p in held}.values()) for part, held in splits.items()}, chosen)


def _content(problem: Problem) -> str:
    return "\n".join(f"{m.role}: {m.content}" for m in problem.messages)


def _columns(row: Any, where: str, prompt: str | None, answer: str | None) -> tuple[str, str]:
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: is a {type(row).__name__} but must be an object with a prompt and an answer")
    found = []
    for what, given, usual in (("prompt", prompt, PROMPTS), ("answer", answer, ANSWERS)):
        column = given or next((c for c in usual if c in row), None)
        if column is None or column not in row:
            looked = repr(given) if given else f"any of {', '.join(usual)}"
            raise UserError(f"{where}: has no column {looked}, only {', '.join(map(str, row))}; name the {what} column with {what}=")
        found.append(column)
    return found[0], found[1]


def _problem(row: Mapping[str, Any], where: str, name: str, prompt: str, answer: str) -> Problem:
    asked, gold, meta = _prompt(row[prompt], f"{where}: {prompt}"), row[answer], {}
    if isinstance(gold, bool) or not isinstance(gold, str | int | float) or not str(gold).strip():
        raise UserError(f"{where}: {answer} is {_short(gold)} but must be a text or a number")
    if isinstance(gold, str) and (final := hash_answer(gold)) is not None:
        meta = {"solution": gold.rpartition("####")[0].strip()}
        gold = final
    problem = Problem("", asked, gold, meta)
    digest = hashlib.sha256(f"{_content(problem)}\n{gold}".encode()).hexdigest()[:12]
    return replace(problem, id=f"{name}-{digest}")


def _prompt(value: Any, where: str) -> str | tuple[Message, ...]:
    if isinstance(value, str):
        if not value.strip():
            raise UserError(f"{where} is empty; write a question there")
        return value
    if not isinstance(value, list) or not value:
        raise UserError(f"{where} is {_short(value)} but must be a text or a list of messages")
    for message in value:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str) or message.get("role") not in _ROLES:
            raise UserError(f"{where} holds {_short(message)} but a message has a role ({', '.join(_ROLES)}) and a text as content")
    if value[-1]["role"] == "assistant":
        raise UserError(f"{where} ends with the assistant; end with the user's message and put the answer in its own column")
    return tuple(Message(m["role"], m["content"]) for m in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
