"""How TUMIX's agents write tool calls and answers in plain text (arXiv 2510.01279, appendix): marks as a value, and what a turn says.

A code block, a search query and the final answer each stand between two marks; what came back is shown between marks too. One turn asks for
one tool. Invariants: the *last* marked span is the answer; nothing that a model writes raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Pair = tuple[str, str]
Kind = Literal["code", "search"]


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one way of writing."""

    code: Pair
    search: Pair
    output: Pair
    """Around what code printed."""
    information: Pair
    """Around what a search found."""
    answer: Pair
    stops: Mapping[Kind, str]
    """Where sampling stops: what closes a call."""
    judged: str = ""
    """Added to a text with a marked answer, in the place of `{answer}`, so that a task's judge reads it."""
    exhausted: str = ""
    """Said with the last tool's result an answer may have."""


FULL = Marks(
    code=("```python\n", "```"), search=("<search>", "</search>"), output=("\n```output\n", "\n```\n"),
    information=("\n<information>", "</information>\n"), answer=("<<<", ">>>"), stops={"code": "```\n", "search": "</search>"},
    judged="\n#### {answer}", exhausted="\nNo tool may be used any more. Give the final answer now.",
)  # fmt: skip
"""The paper's."""
BARE = Marks(
    code=("{", "}"), search=("[", "]"), output=("", ""), information=("", ""), answer=("<", ">"), stops={"code": "}", "search": "]"}
)
"""One character each, for models that read single bytes."""


@dataclass(frozen=True, slots=True)
class Call:
    """The tool call of a turn."""

    kind: Kind
    body: str


BOTH = "error: one turn may use one tool, code or search; ask again for one of them"


def read_call(text: str, marks: Marks) -> Call | str | None:
    """The call of a turn that ended: its first; `BOTH` where it asks for both tools; `None` where it asks for none.

    A call that is not closed counts: where sampling stops at the closing mark the text lacks it, and not every server says why it stopped.
    """
    found: dict[Kind, tuple[int, str]] = {}
    pairs: tuple[tuple[Kind, Pair], ...] = (("code", marks.code), ("search", marks.search))
    for kind, (begin, end) in pairs:
        if match := re.search(re.escape(begin) + f"(.*?)(?:{re.escape(end)}|\\Z)", text, re.DOTALL):
            found[kind] = (match.start(), match[1].strip())
    if len(found) > 1:
        return BOTH
    return next((Call(kind, body) for kind, (_, body) in found.items()), None)


def closed(text: str, marks: Marks) -> str:
    """A text whose last call is closed."""
    begins = {end: (text.rfind(begin), len(begin)) for begin, end in (marks.code, marks.search)}
    end, (at, width) = max(begins.items(), key=lambda pair: pair[1])
    return text if at < 0 or end in text[at + width :] else text + end


def observation(kind: Kind, result: str, marks: Marks) -> str:
    """What a tool gave back, as the model is shown it; it can neither end its own tag nor mark an answer."""
    begin, end = marks.output if kind == "code" else marks.information
    for mark in (*marks.answer, begin.strip(), end.strip()):
        result = result.replace(mark, "") if mark else result
    return f"{begin}{result}{end}"


def last_marked(text: str, marks: Marks) -> str | None:
    """The last span between answer marks; `None` where there is none, or where it is empty."""
    begin, end = map(re.escape, marks.answer)
    found = re.findall(f"{begin}((?:(?!{begin}).)*?){end}", text, re.DOTALL)
    return (found[-1].strip() or None) if found else None


def judgeable(text: str, marks: Marks) -> str:
    """A text whose marked answer a task's judge reads too; a text without one as it is."""
    answer = last_marked(text, marks)
    return text if answer is None else text + marks.judged.replace("{answer}", answer)
