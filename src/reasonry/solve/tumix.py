"""TUMIX: fifteen agents of one model, different in prompt, tools and control flow, refine their answers over rounds (arXiv 2510.01279).

    prev = ()
    for r = 1 … R:    every agent answers (question, prev), all at once;    prev = what they said
                      from round 2 on a judge reads prev and may say stop
    answer = majority of prev; a model groups spellings and settles ties

Symbols: K agents, R most rounds, q question. The exchange is `solve.exchange`; the agents' ways of working are in `tumix_agent`, what they
are told in `tumix_words`, the judge and the vote in `tumix_vote`.

Departures from the paper: 1. all prompts are ours, after its descriptions. 2. "the model's own search" is a second source of the user's,
since a model on one's own machine has none built in. 3. guidance is given once an answer and not after each tool call. 4. what an agent
shows others is cut to its last characters. 5. a stop by confidence is by the share of the most frequent answer. 6. R is 3; the paper's is
not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reasonry.core import LM, Sampling, Solver, Task, UserError
from reasonry.solve.exchange import Agent, Exchange
from reasonry.solve.exchange.core import Choose, Rule
from reasonry.solve.exchange.sees import everything
from reasonry.solve.exchange.stops import both, by_margin, first_of, never, not_before, unchanged
from reasonry.solve.exchange.votes import Key, majority, same_answer
from reasonry.solve.tumix_agent import INTERACTIONS, Coded, Guided, Tooled
from reasonry.solve.tumix_designs import Design
from reasonry.solve.tumix_marks import Kind
from reasonry.solve.tumix_vote import ASIDE, by_model, confident, judge
from reasonry.solve.tumix_words import GUIDANCE, PLAIN, Words, designed
from reasonry.tasks.tools import Tool

SOURCES = ("gs", "llm", "com")
"""Where a search asks: the first source, the second, or both."""
AGENTS = (
    "Base", "CoT", "CoT-code", "S", "C", "C+", *(f"{kind}_{source}" for kind in ("CS", "CSG", "CSG+") for source in SOURCES),
)  # fmt: skip
"""The paper's table 1; `S` asks the second source."""
MARGIN = 0.6


@dataclass(frozen=True)
class Kit:
    """What agents are made of."""

    lm: LM
    python: Tool | None = None
    """Runs code; `None`: no agent may."""
    search: Mapping[str, Tool] = field(default_factory=dict)
    """Source -> search; empty: no agent may."""
    words: Words = PLAIN
    sampling: Sampling = Sampling(max_tokens=1024)
    """Of each of an agent's calls."""
    interactions: int = INTERACTIONS
    designs: Mapping[str, Design] = field(default_factory=dict)
    """Further agents by name."""

    def can(self, name: str) -> bool:
        """Whether an agent has its tools here. Raises UserError for a name that is none."""
        code, source = self._needs(name)
        return (self.python is not None or not code) and (source is None or source in self.search)

    def agent(self, name: str, title: str | None = None) -> Agent:
        """An agent; `title` names it in its group, where it is there more than once. Raises UserError without its tools."""
        return Agent(title or name, self.solver(name), self.words.ask)

    def solver(self, name: str) -> Solver:
        """How it answers, without anyone else's words."""
        code, source = self._needs(name)
        if not self.can(name):
            lacks = "code" if code and self.python is None else f"the search {source}"
            raise UserError(f"tumix: {name} needs {lacks}, which is not there; provide it, or leave the agent out")
        kind, words = name.partition("_")[0], self.words
        if kind == "CoT-code":
            assert self.python is not None
            return Coded(self.lm, self.python, words.agents[kind], words.marks, self.sampling, name)
        tools: dict[Kind, Tool] = {"code": self.python} if code and self.python else {}
        if source is not None:
            tools["search"] = self.search[source]
        if kind in words.steering:
            return Guided(self.lm, words.steering[kind], lambda guidance: self._tooled(name, tools, guidance), self.sampling, name)
        return self._tooled(name, tools, "")

    def _needs(self, name: str) -> tuple[bool, str | None]:
        """Whether an agent runs code, and the source that it searches."""
        if design := self.designs.get(name):
            return "code" in design.tools, design.source if "search" in design.tools else None
        if name not in AGENTS:
            raise UserError(f"tumix: {name!r} is not an agent; use some of {', '.join((*AGENTS, *self.designs))}")
        return name.startswith("C") and name != "CoT", "llm" if name == "S" else name.partition("_")[2] or None

    def _tooled(self, name: str, tools: Mapping[Kind, Tool], guidance: str) -> Tooled:
        if design := self.designs.get(name):
            instruction = designed(design.instruction, "code" in tools, "search" in tools)
        else:
            instruction = self.words.agents[name.partition("_")[0]].replace(GUIDANCE, guidance)
        return Tooled(self.lm, instruction, tools, self.interactions, self.words.marks, self.sampling, name)


def copies(kit: Kit, names: Sequence[str]) -> list[Agent]:
    """A group; an agent that is named n times is there n times, as `C`, `C 2`, …"""
    met: dict[str, int] = {}
    found: list[Agent] = []
    for name in names:
        met[name] = met.get(name, 0) + 1
        found.append(kit.agent(name, name if met[name] == 1 else f"{name} {met[name]}"))
    return found


STOPS = ("judge", "fixed", "rule", "margin", "confidence", "short")


def stopping(name: str, lm: LM, words: Words, key: Key, margin: float = MARGIN, aside: Sampling = ASIDE) -> Rule:
    """A stop by name: Term_LLM, a fixed number of rounds, Term_Rule (the majority unchanged for two rounds), by margin, by confidence; or
    `short`: the judge, unless rule and margin already agree."""
    return {
        "judge": lambda: judge(lm, words, aside),
        "fixed": never,
        "rule": lambda: unchanged(2, key),
        "margin": lambda: by_margin(margin, key),
        "confidence": lambda: confident(margin, key),
        "short": lambda: first_of([both([unchanged(2, key), by_margin(margin, key)]), judge(lm, words, aside)]),
    }[name]()


def tumix(
    kit: Kit,
    task: Task,
    agents: Sequence[str] = AGENTS,
    rounds: int = 3,
    min_rounds: int = 2,
    stop: str = "judge",
    margin: float = MARGIN,
    key: Key = same_answer,
    by_words: bool = True,
    name: str = "tumix",
) -> Exchange:
    """The whole method as a solver. `by_words`: a model groups answers that `key` keeps apart and settles ties; else ties are drawn."""
    if min_rounds < 1:
        raise UserError(f"tumix: min_rounds is {min_rounds} but must be at least 1; raise it")
    choose: Choose = by_model(kit.lm, kit.words, key) if by_words else majority(key)
    return Exchange(
        copies(kit, agents), rounds, task.extract, everything(),
        not_before(min_rounds, stopping(stop, kit.lm, kit.words, key, margin)), choose,
        name=name,
    )  # fmt: skip
