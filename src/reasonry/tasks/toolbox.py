"""Tools by name: `python,calculator` becomes what a tool loop offers for a task's problems.

Invariant: a tool that cannot work here is refused when the box is packed, not when a model calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reasonry.core import Problem, Task, UserError
from reasonry.tasks.code_tool import python_tool
from reasonry.tasks.sandbox import Sandbox
from reasonry.tasks.tools import Tool, ToolsOf, calculator, tool, tools_for

OWN = "own"
"""The name that stands for the tools the task itself brings."""
TOOLS: Mapping[str, Callable[[], Tool]] = {
    "calculator": lambda: tool(calculator),
    "python": lambda: python_tool(Sandbox()),
}
"""Tools any task can be given, by name."""


def toolbox(names: str, task: Task) -> ToolsOf:
    """The tools of a list such as `python,calculator` or `own,python`. Raises UserError for one unknown, or that cannot work here."""
    wanted = names.split(",")
    if unknown := next((name for name in wanted if name != OWN and name not in TOOLS), None):
        raise UserError(f"tools: {unknown!r} is not a tool; use {', '.join([OWN, *TOOLS])}, with commas between")
    packed = {name: TOOLS[name]() for name in wanted if name != OWN}
    own = tools_for(task) if OWN in wanted else None

    def tools_of(problem: Problem) -> Mapping[str, Tool]:
        return {**own(problem), **packed} if own else packed

    return tools_of
