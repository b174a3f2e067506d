"""Questions that need a calculator or a look-up: the assistant writes a call, a `tool` message brings the result, it concludes.

What the tools know (`meta["facts"]`) is part of a problem's content: the same question about another price is another problem.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from reasonry.core import Message, Problem
from reasonry.tasks.skill import Draft, Skill, answer
from reasonry.tasks.skills.words import GOODS
from reasonry.tasks.tools import Tool, calculator, lookup_in, tool

TOOLS = "tools: calculator, lookup"
"""The system message that says tools may be called."""
_CALCULATOR = tool(calculator)
_ASKS = ("what is {e}?", "compute {e}")


def call_text(name: str, **arguments: str) -> str:
    """A tool call as the assistant writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def tools_of(problem: Problem) -> dict[str, Tool]:
    """The tools of a problem, by name: the calculator, and the look-up over the facts in its meta."""
    return _tools(problem.meta["facts"])


def _tools(facts: Mapping[str, str]) -> dict[str, Tool]:
    return {"calculator": _CALCULATOR, "lookup": tool(lookup_in(facts))}


def _expression(rng: random.Random) -> str:
    a, b, c = (rng.randint(11, 99) for _ in range(3))
    return rng.choice((f"{a}*{b}", f"{a * 7 + b}+{c * 9}", f"{a}*{b}+{c}", f"{a * 9 + 99}-{b}"))


def calc() -> Skill:
    """Questions of one or two tool calls: an expression, a price, the price of several things, or the sum of two prices."""

    def draw(rng: random.Random) -> Draft:
        goods = rng.sample(GOODS, 4)
        facts = {f"price of {good}": str(rng.randint(3, 49)) for good in goods}
        kind = rng.choice(("expression", "expression", "price", "many"))
        many, key = rng.randint(2, 29), f"price of {goods[0]}"
        if kind == "expression":
            expression = _expression(rng)
            facts, calls = {}, [["calculator", "expression", expression]]
            asked, content = rng.choice(_ASKS).format(e=expression), expression
        elif kind == "price":
            calls = [["lookup", "key", key]]
            asked, content = f"what is the price of {goods[0]}?", f"{key} {facts[key]}"
        else:
            calls = [["lookup", "key", key], ["calculator", "expression", f"{many}*{facts[key]}"]]
            asked, content = f"what do {many} bags of {goods[0]} cost?", f"{many} {key} {facts[key]}"
        name, field, value = calls[-1]
        final = _tools(facts)[name]({field: value})
        meta = {"facts": facts, "calls": calls, "steps": len(calls)}
        return Draft(content, (Message("system", TOOLS), Message("user", asked)), final, meta)

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        tools, said = tools_of(problem), []
        for name, field, value in problem.meta["calls"]:
            said += [Message("assistant", call_text(name, **{field: value})), Message("tool", tools[name]({field: value}))]
        return (*said, *answer("", problem.answer))

    return Skill("calc", draw, work, tools_of=tools_of)
