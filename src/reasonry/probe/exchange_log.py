"""Logs of agents that answered in rounds, anyone's: what each said, when, and whether it was right.

A JSONL in one of two forms. A question a line:

    {"problem": "q1", "group": "large + 2 small", "answer": "72", "rounds": [
        [{"agent": "a", "answer": "72"}, {"agent": "b", "answer": "70"}, {"agent": "c", "answer": null}],
        [{"agent": "a", "answer": "70"}, …]]}

or a turn a line, in any order:

    {"problem": "q1", "group": "large + 2 small", "round": 0, "agent": "a", "answer": "72", "correct": true}

Round 0 is what each agent said alone. `answer` is `null` where none could be read: that is *unreadable*, it counts as wrong and casts no
vote, and is told apart. A turn is right where its `correct` says so; else where its answer is the line's gold `answer` (`gold` in the form
with a turn a line) up to spelling (`tasks.same`). `saw` in a turn, a list of agents or of [round, agent], says whose turns it was shown;
else it has seen all of the round before. `group` may be left out; several attempts at one problem are told apart by `attempt`.

Invariants: every round of a debate holds the same agents in the same order; a line that cannot be used is refused with its place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonry.core import UserError
from reasonry.tasks.loaders import json_lines
from reasonry.tasks.same import same_answer


@dataclass(frozen=True, slots=True)
class Spoke:
    """One agent's turn."""

    agent: str
    answer: Hashable | None
    """The class of its answer; `None` where none could be read."""
    right: bool
    saw: tuple[str, ...] | None = None
    """The peers whose last turn it was shown; `None`: all."""


@dataclass(frozen=True, slots=True)
class Debate:
    """One question's rounds."""

    problem: str
    group: str
    rounds: tuple[tuple[Spoke, ...], ...]

    @property
    def agents(self) -> tuple[str, ...]:
        """Who takes part, in order."""
        return tuple(s.agent for s in self.rounds[0])


def read_debates(path: Path) -> list[Debate]:
    """The debates of a file in either form. Raises UserError for a line that cannot be used, and for a file without one."""
    nested: list[Debate] = []
    turns: dict[tuple[str, str, str], dict[int, list[Spoke]]] = {}
    for where, row in json_lines(path):
        if not isinstance(row, Mapping) or "problem" not in row:
            raise UserError(f"{where}: names no problem; write an object with problem and rounds, or with problem, round, agent and answer")
        if "rounds" in row:
            nested.append(debate_of(str(row["problem"]), str(row.get("group", "")), row["rounds"], row.get("answer"), where))
        else:
            key = (str(row["problem"]), str(row.get("group", "")), str(row.get("attempt", "")))
            if not isinstance(row.get("round"), int) or isinstance(row["round"], bool):
                raise UserError(f"{where}: round is {row.get('round')!r} but must be a whole number, 0 for the answers given alone")
            turns.setdefault(key, {}).setdefault(row["round"], []).append(_spoke(row, row.get("gold"), where))
    flat = [_whole(problem, group, by_round, str(path)) for (problem, group, _), by_round in turns.items()]
    if not nested and not flat:
        raise UserError(f"{path}: holds no line; give a question or a turn a line")
    return nested + flat


def debate_of(problem: str, group: str, rounds: Any, gold: Any, where: str) -> Debate:
    """One debate of plain values, as JSON gives them. Raises UserError where they cannot be used."""
    if not isinstance(rounds, Sequence) or not rounds or not all(isinstance(r, Sequence) and r for r in rounds):
        raise UserError(f"{where}: rounds must be a list of lists of turns, the first one that of the answers given alone")
    return _whole(problem, group, {i: [_spoke(t, gold, where) for t in r] for i, r in enumerate(rounds)}, where)


def _spoke(turn: Any, gold: Any, where: str) -> Spoke:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("agent"), str) or "answer" not in turn:
        raise UserError(f"{where}: {str(turn)[:60]!r} is no turn; a turn has an agent and an answer (null where none could be read)")
    answer = None if turn["answer"] is None else same_answer(str(turn["answer"]))
    right = turn.get("correct")
    if right is None:
        if gold is None:
            raise UserError(f"{where}: nothing says whether {turn['agent']!r} is right; give correct in each turn, or the gold answer")
        right = answer is not None and answer == same_answer(str(gold))
    if not isinstance(right, bool):
        raise UserError(f"{where}: correct is {right!r} but must be true or false")
    saw = turn.get("saw")
    names = None if saw is None else tuple(str(s[1] if isinstance(s, list | tuple) else s) for s in saw)
    return Spoke(turn["agent"], answer, right and answer is not None, names)


def _whole(problem: str, group: str, by_round: Mapping[int, Sequence[Spoke]], where: str) -> Debate:
    if sorted(by_round) != list(range(len(by_round))):
        raise UserError(f"{where}: problem {problem!r} has the rounds {sorted(by_round)}; number them 0, 1, 2, … without a gap")
    names = [s.agent for s in by_round[0]]
    for i in sorted(by_round):
        held = {s.agent: s for s in by_round[i]}
        if len(held) < len(by_round[i]) or set(held) != set(names):
            raise UserError(
                f"{where}: round {i} of problem {problem!r} has the agents {sorted(held)} and round 0 {sorted(names)}; each once"
            )
    return Debate(problem, group, tuple(tuple({s.agent: s for s in by_round[i]}[n] for n in names) for i in sorted(by_round)))


def groups_of(debates: Iterable[Debate]) -> dict[str, list[Debate]]:
    """The debates of each group, in order of appearance."""
    found: dict[str, list[Debate]] = {}
    for d in debates:
        found.setdefault(d.group, []).append(d)
    return found
