"""`tumix?tools=python&docs=FOLDER` as a solver: which agents, with which tools, how many rounds, and when they stop.

Nothing is executed and nothing searched unless the spec names it: without `tools` and `docs` only the agents that need neither take part.
Invariant: an agent that is asked for by name and lacks its tool is an error; of the default fifteen, those that lack one are left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reasonry.core import LM, Solver, Task, UserError
from reasonry.solve.tumix import AGENTS, MARGIN, SOURCES, STOPS, Kit, tumix
from reasonry.solve.tumix_agent import INTERACTIONS
from reasonry.solve.tumix_designs import read_designs
from reasonry.solve.tumix_words import PLAIN, SINGLE_BYTES
from reasonry.tasks.code_tool import python_tool
from reasonry.tasks.sandbox import Limits, Sandbox
from reasonry.tasks.search import search_tool
from reasonry.tasks.tools import Tool

if TYPE_CHECKING:
    from reasonry.solve.build import Options


def fifteen(lm: LM, task: Task, o: Options, name: str) -> Solver:
    """The solver of the options.

    `agents` (names with commas, one as often as it is to take part), `rounds` and `min_rounds`, `stop` with its `margin`; `tools=python`
    runs code in the sandbox, each block for `timeout` seconds; `docs` and `more` are folders or files that are searched; `turns` tool calls
    an answer; `words` (plain, bytes), `shown` (characters of each agent's last text that others read); `designs` is a TOML file of further
    agents.
    """
    words = o.choice("words", "plain", {"plain": PLAIN, "bytes": SINGLE_BYTES})
    sampling, seconds = o.sampling(), o.read("timeout", 60.0, float)
    kit = Kit(
        lm, o.choice("tools", "none", {"none": lambda: None, "python": lambda: python_tool(Sandbox(Limits(seconds=seconds)))})(),
        _searches(o), replace(words, shown=o.read("shown", words.shown, int)), sampling, o.read("turns", INTERACTIONS, int),
    )  # fmt: skip
    if file := o.read("designs", "", str):
        if words is not PLAIN:
            raise UserError("tumix: designs are instructions in English, which words=bytes cannot say; leave one of them out")
        kit = replace(kit, designs=read_designs(Path(file)))
    given = o.read("agents", "", str)
    agents = given.split(",") if given else [*(a for a in AGENTS if kit.can(a)), *(d for d in kit.designs if kit.can(d))]
    return tumix(
        kit, task, agents, o.read("rounds", 3, int), o.read("min_rounds", 2, int), o.choice("stop", "judge", {s: s for s in STOPS}),
        o.read("margin", MARGIN, float), by_words=words is PLAIN, name=name,
    )  # fmt: skip


def _searches(o: Options) -> dict[str, Tool]:
    """Source -> search; with one place given, both names ask it."""
    first, second = o.read("docs", "", str), o.read("more", "", str)
    if second and not first:
        raise UserError("tumix: more is given without docs; name the first place to search in docs")
    if not first:
        return {}
    found = {"gs": [first], "llm": [second or first], "com": [first, *([second] if second else [])]}
    return {source: search_tool([Path(place) for place in found[source]]) for source in SOURCES}
