"""What TUMIX's agents, its judge and its vote are told: instructions as a value, in our own words after the paper's descriptions.

A prompt is the question and what all agents said last (the agent itself among them), then what this one is to do. The instruction comes
last, so that all prompts of a round begin alike and a cache computes the common part once. Every agent's text is cut to the same length,
from its front: the answer stands at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reasonry.core import Message, Problem
from reasonry.solve.exchange import Said, Seen
from reasonry.solve.tumix_marks import BARE, FULL, Marks, last_marked

GUIDANCE = "{guidance}"


@dataclass(frozen=True)
class Words:
    """One way of talking to a model."""

    marks: Marks
    agents: Mapping[str, str]
    """Kind of agent -> its instruction; that of `CSG` and `CSG+` holds `{guidance}`."""
    steering: Mapping[str, str]
    """`CSG` and `CSG+` -> what the steering call is told."""
    peers: str
    """Around what was said, which takes the place of `{said}`."""
    peer: str
    """One agent's text: `{agent}` and `{text}`."""
    between: str
    layout: str
    """Where what was said stands: `{question}` and `{said}`."""
    judge: str
    yes: str
    """Matches the judge's answer where it says stop."""
    shown: int | None = None
    """Characters of an agent's text that others are shown; `None` is all of it."""

    def said(self, turns: Sequence[Said]) -> str:
        """What was said, as a block of text; nothing where nobody spoke."""
        each = [self.peer.replace("{agent}", s.agent).replace("{text}", self._cut(s.text)) for s in turns]
        return self.peers.replace("{said}", self.between.join(each)) if each else ""

    def _cut(self, text: str) -> str:
        return text if self.shown is None else text[-self.shown :]

    def ask(self, problem: Problem, seen: Seen) -> Problem:
        """The question with what was said; the agent's own instruction is added by its solver."""
        return self._shown(problem, (*seen.own, *seen.peers))

    def _shown(self, problem: Problem, turns: Sequence[Said]) -> Problem:
        *before, last = problem.messages
        content = self.layout.replace("{question}", last.content, 1).replace("{said}", self.said(turns), 1)
        return replace(problem, prompt=(*before, Message(last.role, content)))

    def judged(self, problem: Problem, turns: Sequence[Said]) -> tuple[Message, ...]:
        """The judge's prompt."""
        return followed(self._shown(problem, turns), self.judge).messages

    def stops(self, text: str) -> bool:
        """Whether the judge says stop: by the last marked span, or where there is none by the last word that is yes or no."""
        marked = last_marked(text, self.marks)
        found = re.findall(r"\b(?:yes|no|y|n)\b", (marked if marked is not None else text).lower())
        return bool(found) and re.fullmatch(self.yes, found[-1]) is not None


def followed(problem: Problem, text: str) -> Problem:
    """The problem with a text after its last message."""
    *before, last = problem.messages
    return replace(problem, prompt=(*before, Message(last.role, last.content + text)))


_ANSWER = "End with the final answer between triple angle brackets, for example <<<42>>>."
_CODE = "You may run Python. Write one block\n```python\n...\n```\nthat prints what you need, and stop; its output is given back to you."
_SEARCH = (
    "You may search. Write <search>your query</search> and stop; what is found is given back to you as <information>...</information>."
)
_TURNS = "Use at most five tool calls, one a turn, and never two kinds in one turn."
_HINT = (
    "Code is for exact arithmetic, counting, enumeration, simulation and checking; it has to be complete and to print its result. Recall, "
    "wording and short deductions are done faster in text. Check a surprising output by a second way before you trust it."
)
_TOOLS_HINT = (
    "Search for facts, names, dates and definitions; write code for exact computation; reason in text about the rest. If one tool has "
    "failed twice, try another way."
)
_STEER = (
    "\n\nYou do not answer this question: you guide another model that will. It can reason in text, run Python and search. Say in two to "
    "four sentences which of these it should use, for what, and what to take care of; do not give an answer."
)


def _told(*parts: str) -> str:
    return "\n\n" + "\n".join((*parts, _ANSWER))


def designed(instruction: str, code: bool, search: bool) -> str:
    """The instruction of an agent that somebody designed, with how its tools are used, in English."""
    return _told(instruction, *([_CODE] * code), *([_SEARCH] * search), *([_TURNS] * (code or search)))


PLAIN = Words(
    marks=FULL,
    agents={
        "Base": "",
        "CoT": _told("Think step by step in plain text. Do not write code."),
        "CoT-code": _told(
            "Think step by step, then write one Python block\n```python\n...\n```\nwhose last printed line is the answer, and stop. It is "
            "run once and you do not see its output."
        ).removesuffix("\n" + _ANSWER),
        "S": _told("Think step by step. " + _SEARCH, _TURNS),
        "C": _told("Think step by step. " + _CODE, _TURNS),
        "C+": _told("Think step by step. " + _CODE, _TURNS, _HINT),
        "CS": _told("Think step by step.", _CODE, _SEARCH, _TURNS),
        "CSG": _told(f"Work as you are guided: {GUIDANCE}", _CODE, _SEARCH, _TURNS),
        "CSG+": _told(f"Work as you are guided: {GUIDANCE}", _CODE, _SEARCH, _TURNS, _TOOLS_HINT),
    },
    steering={"CSG": _STEER, "CSG+": f"{_STEER}\n{_TOOLS_HINT}"},
    peers="\n\nThis question was answered by several agents. They may be wrong; weigh their reasons and check what you can.\n\n{said}\n\n"
    f"Answer the question anew. {_ANSWER}",
    peer="[{agent}]\n{text}",
    between="\n\n",
    layout="{question}{said}",
    judge="\n\nDecide whether these agents have found the answer. Look at how many agree, at how good their reasons are, and at whether "
    "another round could still change the outcome. Say <<<yes>>> to stop here or <<<no>>> to go on.",
    yes="yes|y",
    shown=4000,
)  # fmt: skip
"""For models that read English."""

LETTERS = {"Base": "B", "CoT": "T", "CoT-code": "K", "S": "S", "C": "C", "C+": "D", "CS": "X"}
SINGLE_BYTES = Words(
    marks=BARE,
    agents={**LETTERS, "CSG": GUIDANCE, "CSG+": GUIDANCE},
    steering={"CSG": "P", "CSG+": "Q"},
    peers="{said}\n",
    peer="{text}",
    between=";",
    layout="{said}{question}",
    judge="J",
    yes="y",
    shown=24,
)
"""For models that read single bytes: every role is a letter. `37*48?` is asked as `37*48?C`, later as what was said, then `37*48?C`."""
