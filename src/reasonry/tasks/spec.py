"""Tasks by name: `arithmetic?steps=3`, `sudoku6?clues=14`, `questions.jsonl?judge=exact`, `gym:leg_counting`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from reasonry.core import Task, UserError
from reasonry.tasks.arc import arc
from reasonry.tasks.gym import Gym
from reasonry.tasks.judges import JUDGES
from reasonry.tasks.loaders import from_path
from reasonry.tasks.maze import Maze
from reasonry.tasks.puzzle import puzzle
from reasonry.tasks.skills import SKILLS
from reasonry.tasks.skills.corpus import Pocket
from reasonry.tasks.sudoku import Sudoku


def _maze(size: int = 4, loops: int = 0) -> Maze:
    return Maze(size, loops)


def _sudoku(size: int, clues: int | None = None) -> Sudoku:
    return Sudoku(size, clues)


TASKS: dict[str, Callable[..., Task]] = {
    **SKILLS,
    "pocket": Pocket,
    "sudoku6": partial(_sudoku, 6),
    "sudoku9": partial(_sudoku, 9),
    "maze": _maze,
    "puzzle": puzzle,
}
"""Built-in tasks: name → maker. The maker's arguments are the task's options."""


def load_task(spec: str) -> Task:
    """The task a spec names: a built-in, a path to a `.jsonl` file or to a folder of them, `gym:` and a reasoning-gym dataset, or
    `arc:` and a `.json` file of ARC tasks.

    Options follow a `?`, joined by `&`. Files take `prompt`, `answer` (columns), `judge` (exact, numeric or math) and `split`. Raises
    UserError for an unknown name, file or option, and for a value that the option does not take.
    """
    name, options = read_spec(spec)
    if name in TASKS:
        return TASKS[name](**convert(TASKS[name], options, name))
    if name.startswith("arc:"):
        return arc(name.removeprefix("arc:"), **convert(partial(arc, ""), options, name))
    if name.startswith("gym:"):
        return Gym(name.removeprefix("gym:"), {option: plain(text) for option, text in options.items()})
    if name.endswith(".jsonl") or (name and Path(name).is_dir()):
        return _file(name, **convert(partial(_file, name), options, name))
    raise UserError(f"task: {name!r} is unknown; use one of {', '.join(TASKS)}, a .jsonl file, gym:DATASET or arc:FILE.json")


def _file(path: str, prompt: str | None = None, answer: str | None = None, judge: str | None = None, split: str | None = None) -> Task:
    if judge is not None and judge not in JUDGES:
        raise UserError(f"{path}: judge is {judge!r} but must be one of {', '.join(JUDGES)}")
    return from_path(path, prompt, answer, None if judge is None else JUDGES[judge](), split)


def read_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Splits `name?a=1&b=2` into the name and its options as text; raises UserError for an option without `=` or given twice."""
    name, _, tail = spec.partition("?")
    options: dict[str, str] = {}
    for pair in tail.split("&") if tail else []:
        option, equals, text = pair.partition("=")
        if not equals or not option:
            raise UserError(f"{name}: {pair!r} is not an option; write {name}?option=value&option=value")
        if option in options:
            raise UserError(f"{name}: the option {option} is given twice; give it once")
        options[option] = text
    return name, options


def convert(maker: Callable[..., Any], options: dict[str, str], name: str) -> dict[str, Any]:
    """Options as the types that the maker's hints ask for; raises UserError for an option it does not have or a text it can't take."""
    parameters = inspect.signature(maker, eval_str=True).parameters
    values = {}
    for option, text in options.items():
        if option not in parameters:
            known = f"use one of {', '.join(parameters)}" if parameters else "it has none"
            raise UserError(f"{name}: {option!r} is not an option; {known}")
        hint = parameters[option].annotation
        kind = next(k for k in (get_args(hint) or (hint,)) if k is not type(None))
        try:
            values[option] = kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise UserError(f"{name}: {option} is {text!r} but must be {wanted}") from None
    return values


def plain(text: str) -> bool | int | float | str:
    """An option of a foreign library as the plainest value it spells: `true`, `3`, `0.5`, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
