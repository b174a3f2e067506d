"""Several candidate solutions and their problem as one prompt (AggLM, arXiv 2509.06870, section 3.1).

Invariants: a candidate is shown whole or not at all, never cut (half a solution would look like an unfinished one); the order is drawn from
a seed, so that no place is a candidate's own; candidates without thinking unless it is asked for; one that says nothing is not shown.

The words are ours: they give the problem and the numbered attempts, warn that any, all or none may be right or complete, and ask to
review, correct, complete and combine them. `BARE` has no words at all, for models that are taught the form.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reasonry.core import Message
from reasonry.tasks.pool import Candidate, without_thinking


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around problem and candidates. Literal but for `{problem}`, and in `attempt` `{number}` and `{text}`."""

    before: str
    attempt: str
    after: str
    alone: str
    """Instead of `after` where no candidate is shown."""


PLAIN = Words(
    "You are given a problem and several attempts at solving it.\n\nProblem:\n{problem}\n",
    "\nAttempt {number}:\n{text}\n",
    "\nAny of these attempts may be right, or all, or none; some may be incomplete. Review them: find and correct their mistakes, fill in "
    "what is missing, and combine what is useful. Then write one complete solution of your own, ending with the final answer in the form "
    "that the problem asks for.",
    "\nWrite a complete solution, ending with the final answer in the form that the problem asks for.",
)
BARE = Words("{problem}", "\n{text}", "", "")
WORDS = {"plain": PLAIN, "bare": BARE}


@dataclass(frozen=True, slots=True)
class Packing:
    """How candidates are packed."""

    words: Words = PLAIN
    keep_thinking: bool = False
    limit: int | None = None
    """The most a prompt may hold, in whatever unit `pack` is told to measure with; `None` is no limit."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A prompt, and which candidates it shows, in their order there."""

    messages: tuple[Message, ...]
    shown: tuple[int, ...]
    dropped: int
    """Candidates left out for want of room."""


Measure = Callable[[tuple[Message, ...]], int]
"""How long a prompt is."""


def characters(messages: tuple[Message, ...]) -> int:
    """The length in characters, where no tokenizer is at hand."""
    return sum(len(m.content) for m in messages)


def pack(
    question: Sequence[Message], candidates: Sequence[Candidate], packing: Packing, seed: int, measure: Measure = characters
) -> Packed:
    """One prompt with as many candidates as the limit allows, in an order drawn from the seed; the last of that order are dropped.

    Messages before the last of the question (a system prompt, earlier turns) stay as they are. Where even one candidate is too much, none
    is shown.
    """
    order = orderly(candidates, packing, seed)
    for n in range(len(order), -1, -1):
        messages = written(question, [candidates[i] for i in order[:n]], packing)
        if n == 0 or packing.limit is None or measure(messages) <= packing.limit:
            return Packed(messages, tuple(order[:n]), len(order) - n)
    raise AssertionError("the loop ends with n = 0")


def orderly(candidates: Sequence[Candidate], packing: Packing, seed: int) -> list[int]:
    """The places of candidates that say something, shuffled by the seed."""
    told = [i for i, c in enumerate(candidates) if _text(c, packing)]
    random.Random(f"pack/{seed}").shuffle(told)
    return told


def written(question: Sequence[Message], candidates: Sequence[Candidate], packing: Packing) -> tuple[Message, ...]:
    """The messages with these candidates in this order."""
    words = packing.words
    text = words.before.replace("{problem}", question[-1].content)
    for number, c in enumerate(candidates, 1):
        text += words.attempt.replace("{number}", str(number)).replace("{text}", _text(c, packing))
    return (*question[:-1], Message(question[-1].role, text + (words.after if candidates else words.alone)))


def _text(c: Candidate, packing: Packing) -> str:
    return c.text.strip() if packing.keep_thinking else without_thinking(c.text)
