"""Logs of groups of agents, anyone's, as arrays: a JSONL with one action a line.

    {"group": "g1", "round": 0, "agent": "ann", "action": 12}
    {"group": "g1", "round": 0, "agent": "bob", "tool": "search"}
    {"group": "g1", "round": 0, "agent": "cyd", "text": "let me check …"}

| key | what |
|---|---|
| `round` | or `step`, `t`, `turn`: a number; rounds need not begin at 0 |
| `agent` | or `name`, `player`, `role`, `speaker` |
| `action` | a number, or a word that stands for a state; or `guess`, `value`, `move`; or `tool`; or `text`, `message`, `content` |
| `group` | or `episode`, `game`, `id`; absent, all lines are one group |
| `condition` | or `arm`; told apart by the command |
| `macro` | or `outcome`, `score`: what the group as a whole did; absent, the sum of numbers, or the share in the commonest state |
| `target` | the number the sum is held against |
| `feedback` | -1, 0, 1: what all were told after the round |
| `success` | whether the group reached its goal |
| `parsed` | false where the action could not be read and another stands in |

Numbers stay numbers. Words, and tools' names, are states as they are where there are no more than `MOST_STATES` of them, else the rarest
share one; texts are clustered into at most so many states by k-means on an embedding that the caller hands in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reasonry.core import UserError
from reasonry.probe.coordination.group import Group, agreement, total
from reasonry.probe.coordination.states import clustered
from reasonry.probe.coordination.tables import Floats

MOST_STATES = 4
"""More states need more rounds than games have: a pair's table has states⁴ cells."""
SILENT = "(silent)"
"""The state of an agent that did nothing in a round, where actions are words or texts."""

ROUND = ("round", "step", "t", "turn")
AGENT = ("agent", "name", "player", "role", "speaker")
GROUP = ("group", "episode", "game", "id")
CONDITION = ("condition", "arm")
ACTION = ("action", "guess", "value", "move")
TEXT = ("text", "message", "content")
MACRO = ("macro", "outcome", "score")

Embed = Callable[[Sequence[str]], Floats]
"""Texts -> vectors [texts, width]."""


@dataclass(frozen=True)
class Read:
    """What a log held."""

    groups: tuple[Group, ...]
    how: str
    """How actions became states, in a sentence."""
    actions: int
    filled: int
    """Missing, or marked as not parsed: the agent's last action stands in."""


@dataclass(frozen=True)
class _Line:
    group: str
    condition: str
    round: float
    agent: str
    action: Any
    parsed: bool
    row: Mapping[str, Any]


def read_groups(path: Path, embed: Embed | None = None) -> Read:
    """The groups of a log. `embed` is needed where actions are texts. Raises UserError for what cannot be read."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a JSONL with one action of one agent a line")
    return groups_of(_rows(path), str(path), embed)


def groups_of(rows: Iterable[tuple[int, Mapping[str, Any]]], source: str, embed: Embed | None = None) -> Read:
    """The groups of numbered rows; `source` is named in errors."""
    lines = [_line(row, f"{source} line {number}") for number, row in rows]
    if not lines:
        raise UserError(f"{source}: holds no line; give one object a line with a round, an agent and an action")
    numeric = all(isinstance(x.action, int | float) for x in lines if x.action is not None)
    states, how = ([], "Actions are numbers, cut at each agent's own quantiles.") if numeric else _states(lines, embed, source)
    number = len(states) or None
    codes = {state: float(i) for i, state in enumerate(states)}
    by_group: dict[tuple[str, str], list[_Line]] = {}
    for x in lines:
        by_group.setdefault((x.condition, x.group), []).append(x)
    groups = tuple(_group(name, condition, of, codes, number, source) for (condition, name), of in by_group.items())
    return Read(groups, how, len(lines), sum(g.filled for g in groups))


def _group(name: str, condition: str, lines: Sequence[_Line], codes: Mapping[Any, float], states: int | None, source: str) -> Group:
    agents, rounds = sorted({x.agent for x in lines}), sorted({x.round for x in lines})
    seats, times = {a: i for i, a in enumerate(agents)}, {r: i for i, r in enumerate(rounds)}
    actions = np.full((len(rounds), len(agents)), np.nan)
    seen: set[tuple[int, int]] = set()
    filled = 0
    for x in lines:
        at = times[x.round], seats[x.agent]
        if at in seen:
            raise UserError(
                f"{source}: agent {x.agent} acts twice in round {x.round:g} of group {name}; number rounds so that it acts once"
            )
        seen.add(at)
        filled += not x.parsed
        if x.action is not None:
            actions[at] = x.action if states is None else codes[x.action]
    if states is not None:
        actions[np.isnan(actions)] = codes.get(SILENT, np.nan)
    first = int(np.argmax(~np.isnan(actions), axis=0).max())
    for t in range(1, len(rounds)):
        gaps = np.isnan(actions[t])
        actions[t, gaps] = actions[t - 1, gaps]
        filled += int(gaps.sum()) if t >= first else 0
    if np.isnan(actions[first:]).any():
        raise UserError(f"{source}: an agent of group {name} never acts; leave it out")
    macro = _per_round(lines, MACRO, rounds)
    feedback = _per_round(lines, ("feedback",), rounds)
    target = float(next((x.row["target"] for x in lines if isinstance(x.row.get("target"), int | float)), 0.0))
    success = next((bool(x.row["success"]) for x in lines if x.row.get("success") is not None), None)
    group = Group(
        name, actions[first:], (agreement if states else total) if macro is None else macro[first:], target, states,
        None if feedback is None else np.sign(feedback[first:]), success, filled, condition,
    )  # fmt: skip
    own = feedback is not None and macro is None and states is None and np.array_equal(np.sign(feedback[first:]), np.sign(group.signal))
    return replace(group, feedback=None) if own else group


def _per_round(lines: Sequence[_Line], names: Sequence[str], rounds: Sequence[float]) -> Floats | None:
    """A column that belongs to the round; `None` where a round lacks it."""
    found: dict[float, float] = {}
    for x in lines:
        value = next((x.row[n] for n in names if isinstance(x.row.get(n), int | float)), None)
        if value is not None:
            found[x.round] = float(value)
    return np.array([found[r] for r in rounds]) if all(r in found for r in rounds) else None


def _states(lines: list[_Line], embed: Embed | None, source: str) -> tuple[list[Any], str]:
    """The states of words or texts in the order of their codes, and how they were made; texts are exchanged for states in `lines`."""
    silent = _silent(lines)
    if any(_is_text(x) for x in lines):
        if embed is None:
            raise UserError(f"{source}: actions are texts; give an embedding to cluster them by")
        texts = sorted({str(x.action) for x in lines if x.action is not None})
        labels = clustered(np.asarray(embed(texts), dtype=np.float64), MOST_STATES - silent)
        of = {text: f"cluster {k}" for text, k in zip(texts, labels, strict=True)}
        examples = "; ".join(f"{of[t]}: “{t[:40]}”" for t in {of[t]: t for t in reversed(texts)}.values())
        how = f"Texts were put into {len(set(of.values()))} states by k-means on their embeddings ({examples})."
    else:
        count = Counter(str(x.action) for x in lines if x.action is not None)
        ordered = [word for word, _ in count.most_common()]
        room = MOST_STATES - silent
        of = {word: word if len(ordered) <= room or i < room - 1 else "(other)" for i, word in enumerate(ordered)}
        how = f"Actions are the states {', '.join(dict.fromkeys(of.values()))}, by name."
    for i, x in enumerate(lines):
        lines[i] = replace(x, action=None if x.action is None else of[str(x.action)])
    return [*dict.fromkeys(of.values()), *([SILENT] if silent else [])], how + (
        " Doing nothing in a round is a state too." if silent else ""
    )


def _silent(lines: Sequence[_Line]) -> bool:
    """Whether some agent of some group has no action in some round."""
    rounds: dict[tuple[str, str], set[float]] = {}
    agents: dict[tuple[str, str], set[str]] = {}
    acts: Counter[tuple[str, str]] = Counter()
    for x in lines:
        key = x.condition, x.group
        rounds.setdefault(key, set()).add(x.round)
        agents.setdefault(key, set()).add(x.agent)
        acts[key] += x.action is not None
    return any(acts[key] < len(rounds[key]) * len(agents[key]) for key in rounds)


def _is_text(x: _Line) -> bool:
    return isinstance(x.action, str) and not any(isinstance(x.row.get(n), str) for n in (*ACTION, "tool"))


def _line(row: Mapping[str, Any], where: str) -> _Line:
    round = next((row[n] for n in ROUND if isinstance(row.get(n), int | float)), None)
    agent = next((row[n] for n in AGENT if isinstance(row.get(n), str | int)), None)
    if round is None or agent is None:
        lacking = f"a number as {ROUND[0]}" if round is None else AGENT[0]
        raise UserError(f"{where}: has the columns {', '.join(row) or 'none'}; it needs {lacking}")
    action = next((row[n] for n in (*ACTION, "tool", *TEXT) if isinstance(row.get(n), int | float | str)), None)
    if action is None and not any(n in row for n in (*ACTION, "tool", *TEXT)):
        raise UserError(f"{where}: has the columns {', '.join(row)}; it needs an action, a tool or a text")
    group = next((row[n] for n in GROUP if isinstance(row.get(n), str | int)), "")
    condition = next((row[n] for n in CONDITION if isinstance(row.get(n), str | int)), "")
    return _Line(str(group), str(condition), float(round), str(agent), action, row.get("parsed", True) is not False, row)


def _rows(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                raise UserError(f"{path} line {number}: is not JSON; give one object a line") from None
            if not isinstance(row, Mapping):
                raise UserError(f"{path} line {number}: is a JSON {type(row).__name__}, not an object; give one with an action")
            yield number, row
