"""The task of GRPO-TCR's experiment: two operations on small numbers, a calculator, and ways to write about them.

Four families ask for the same skill in other words: `34+57-18`, `7h25` (minutes; also d, w, y), `s34,57,18` (a sum), `12*7-30`. A call is
an expression in square brackets. Texts are short, for a model over bytes:

    without tools   34+57=91 / 91-18=73 / #73          (/ is a new line)
    step by step    [34+57] -> 91   [91-18] -> 73   #73
    deliberate      34+57-18~[34+57-18] -> 73   #73    (the expression is written down first: the plan)

The prompt ends with the mode asked for: `.` step by step, `!` deliberate, `?` the writer's choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from reasonry.core import Message, Problem, ToolCall, Verdict
from reasonry.synth.traces import enacted, stitched
from reasonry.tasks.skill import Draft, Skill
from reasonry.tasks.tools import Tool, calculator, tool

FAMILIES = ("sums", "units", "lists", "products")
FREE, REACT, DELIBERATE = "?", ".", "!"
UNITS = {"h": 60, "d": 24, "w": 7, "y": 12}
SLIP = 0.15
"""Chance that a computation in the head goes wrong in a text without tools."""


def calc(expression: str) -> str:
    """Computes an expression."""
    value = calculator(expression)
    return "error: ?" if value.startswith("error: ") else value


TOOLS: Mapping[str, Tool] = {"calc": tool(calc)}


def tools_of(problem: Problem) -> Mapping[str, Tool]:
    """The calculator, whatever the problem."""
    return TOOLS


def read(text: str) -> list[ToolCall]:
    """The call of a turn: what stands between the first `[` and the next `]`; a bracket that is not closed is no call that can be read."""
    _, opened, rest = text.partition("[")
    if not opened:
        return []
    body, closed, _ = rest.partition("]")
    return [ToolCall("calc", {"expression": body}) if closed else ToolCall("", {}, "error: ]", is_error=True)]


def extract(text: str) -> str | None:
    """What follows the last `#`."""
    _, mark, said = text.rpartition("#")
    return said.strip() if mark else None


def judge(problem: Problem, text: str) -> Verdict:
    """Right where the number after the last `#` is."""
    said = extract(text)
    right = said == str(problem.answer)
    return Verdict(float(right), right, "" if right else f"expected {problem.answer}, read {said}", said)


def _terms(family: str, rng: random.Random) -> tuple[str, int, list[tuple[str, int]]]:
    """(the question, the first number, two operations)."""
    a, b, c = (rng.randint(2, 30) for _ in range(3))
    if family == "sums":
        second = rng.choice("+-") if c < a + b else "+"
        return f"{a}+{b}{second}{c}", a, [("+", b), (second, c)]
    if family == "lists":
        return f"s{a},{b},{c}", a, [("+", b), ("+", c)]
    if family == "units":
        unit, many = rng.choice(list(UNITS)), rng.randint(2, 9)
        return f"{many}{unit}{a}", many, [("*", UNITS[unit]), ("+", a)]
    few, many = rng.randint(2, 6), rng.randint(3, 19)
    second = rng.choice("+-") if c < few * many else "+"
    return f"{many}*{few}{second}{c}", many, [("*", few), (second, c)]


def drawn(families: Sequence[str], mode: str) -> Callable[[random.Random], Draft]:
    """Draws a problem of one of the families, asked in a mode; the mode does not decide the split."""

    def draw(rng: random.Random) -> Draft:
        family = rng.choice(families)
        asked, first, operations = _terms(family, rng)
        value = first
        for op, n in operations:
            value = {"+": value + n, "-": value - n, "*": value * n}[op]
        meta = {"family": family, "first": first, "operations": [list(o) for o in operations]}
        return Draft(asked, asked + mode, str(value), meta)

    return draw


def problems_of(families: Sequence[str] = FAMILIES, mode: str = FREE) -> Skill:
    """The families as a task."""
    return Skill("sums-by-tool", drawn(families, mode), lambda problem, rng: plain(problem, rng)[1:], judge)


def expression(problem: Problem) -> str:
    """The whole computation, as the calculator reads it."""
    return str(problem.meta["first"]) + "".join(f"{op}{n}" for op, n in problem.meta["operations"])


def steps(problem: Problem, head: Callable[[int], int] = lambda x: x) -> list[str]:
    """`34+57=91`, `91-18=73`: a line for each operation; `head` is what becomes of a value that is computed in the head."""
    value, lines = problem.meta["first"], []
    for op, n in problem.meta["operations"]:
        result = head({"+": value + n, "-": value - n, "*": value * n}[op])
        lines.append(f"{value}{op}{n}={result}")
        value = result
    return lines


def slips(rng: random.Random) -> Callable[[int], int]:
    """A head that is one or ten off now and then."""
    return lambda x: x + rng.choice((-10, -1, 1, 10)) if rng.random() < SLIP else x


# Texts ----------------------------------------------------------------------------------------------------------------------------------


def plain(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
    """A chain of thought without tools; it may be wrong."""
    lines = steps(problem, slips(rng))
    return (*problem.messages, Message("assistant", "\n".join([*lines, f"#{lines[-1].rpartition('=')[2]}"])))


def synthetic(problem: Problem, rng: random.Random, filtered: bool = False) -> tuple[Message, ...]:
    """Such a chain in which one computation was replaced by a call afterwards. `filtered`: of a chain without slips."""
    lines = steps(problem, slips(rng) if not filtered else lambda x: x)
    lines.append(f"#{lines[-1].rpartition('=')[2]}")
    at = rng.randrange(2)
    return stitched(problem.messages, lines, at, f"[{lines[at].partition('=')[0]}]", TOOLS, read)


def real(problem: Problem, rng: random.Random, mode: str, fail: float = 0.25) -> tuple[Message, ...]:
    """What an agent does that calls and reads; with chance `fail` one of its calls is garbled, and it asks again."""
    garbled = rng.randrange(2) if rng.random() < fail else None

    def agent(chat: Sequence[Message]) -> str:
        results = [m.content for m in chat if m.role == "tool"]
        done = [r for r in results if not r.startswith("error")]
        failed = len(results) > len(done)
        if mode == DELIBERATE:
            if done:
                return f"#{done[-1]}"
            wanted = expression(problem)
            plan = "" if failed else f"{wanted}~"
            return f"{plan}[{wanted if garbled is None or failed else spoil(wanted, rng)}]"
        if len(done) == len(problem.meta["operations"]):
            return f"#{done[-1]}"
        op, n = problem.meta["operations"][len(done)]
        wanted = f"{done[-1] if done else problem.meta['first']}{op}{n}"
        return f"[{spoil(wanted, rng) if garbled == len(done) and not failed else wanted}]"

    return enacted(problem.messages, agent, TOOLS, read)


def spoil(text: str, rng: random.Random) -> str:
    """An expression that the calculator cannot read: an operator too many at its end."""
    return text + rng.choice("+-*")
