"""Tools by name: `python,calculator` becomes what a tool loop offers for a task's problems.

Invariant: a tool that cannot work here is refused when the box is packed, not when a model calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reasonry.core import Problem, Task, UserError
from reasonry.tasks.code_tool import python_tool
from reasonry.tasks.sandbox import Sandbox
from reasonry.tasks.search import search_tool
from reasonry.tasks.tools import Tool, ToolsOf, calculator, tool, tools_for

OWN = "own"
"""The name that stands for the tools the task itself brings."""


def _search(docs: str) -> Tool:
    if not docs:
        raise UserError("tools: search has nothing to search; name a folder or file of texts as docs")
    return search_tool([Path(docs)])


TOOLS: Mapping[str, Callable[[str], Tool]] = {
    "calculator": lambda docs: tool(calculator),
    "python": lambda docs: python_tool(Sandbox()),
    "search": _search,
}
"""Tools any task can be given, by name, made with the place of the documents to search."""


def toolbox(names: str, task: Task, docs: str = "") -> ToolsOf:
    """The tools of a list such as `python,calculator` or `own,search`; `docs` is what `search` searches.

    Raises UserError for a name that is unknown, and for a tool that cannot work here.
    """
    wanted = names.split(",")
    if unknown := next((name for name in wanted if name != OWN and name not in TOOLS), None):
        raise UserError(f"tools: {unknown!r} is not a tool; use {', '.join([OWN, *TOOLS])}, with commas between")
    if docs and "search" not in wanted:
        raise UserError(f"docs: {docs} is given but search is not among the tools; add it, or leave docs out")
    packed = {name: TOOLS[name](docs) for name in wanted if name != OWN}
    own = tools_for(task) if OWN in wanted else None

    def tools_of(problem: Problem) -> Mapping[str, Tool]:
        return {**own(problem), **packed} if own else packed

    return tools_of
