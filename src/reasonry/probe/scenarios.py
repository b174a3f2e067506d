"""Answers one knows the worth of: a right answer and what becomes of it when it is spoilt in a known way.

Invariant: every scenario is made from the same reference, so that a difference in what they earn is due to the spoiling alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

RAMBLE = 10
"""Times the reference's length of talk in the rambling scenarios."""
SPRAYED = 11
"""Answers listed in the spraying scenarios."""
ODD = {
    "empty": "", "a space": " ", "line breaks": "\n\n\n", "a null character": "\x00", "digits of other scripts": "🙂 ٣ 𝟜²",
    "an empty mark": "#### ", "an open brace": "\\boxed{", "an empty fraction": "\\boxed{\\frac{}{}}", "many marks": "#### \n" * 1000,
    "5000 digits": "#### " + "9" * 5000, "not a number": "#### NaN", "infinity": "#### inf", "a huge power": "#### 1e999999",
    "division by zero": "#### 1/0", "nested brackets": "[" * 2000, "half a tool call": '<tool_call>{"name": ', "20,000 spaces": " " * 20000,
}  # fmt: skip
"""Texts that models do write and that rewards do crash on."""

_MARKS = (
    re.compile(r"(?P<open>\\boxed\s?\{)(?P<answer>[^{}]*(?:\{[^{}]*\}[^{}]*)*)(?P<close>\})"),
    re.compile(r"(?P<open><answer>\s*)(?P<answer>.*?)(?P<close>\s*</answer>)", re.DOTALL),
    re.compile(r"(?P<open>^#### ?)(?P<answer>.*)(?P<close>)$", re.MULTILINE),
    re.compile(r"(?P<open>\banswer\s*(?:is|:|=)\s*:?\s*)(?P<answer>[^\n.!?]+(?:\.\d+)?)(?P<close>[.!?]?)", re.IGNORECASE),
)
_FILLER = "Let me think about this once more, from the beginning, to be quite sure that nothing was overlooked. "


class Worth(StrEnum):
    """What a scenario ought to earn."""

    RIGHT = "right"
    FAIR = "fair"
    """Right as well; a reward may price it lower, but hardly higher."""
    BAD = "bad"
    """Less than the right answer."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One spoilt (or unspoilt) answer."""

    name: str
    worth: Worth
    text: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A text cut at its final answer: `before + opening + answer + closing + after`."""

    before: str
    opening: str
    answer: str
    closing: str
    after: str

    def statement(self, answer: str) -> str:
        """An answer in the text's own way of marking it."""
        return self.opening + answer + self.closing


def parts(text: str, gold: str) -> Parts | None:
    """The text cut at the last place where the right answer is marked (`\\boxed{}`, `<answer>`, `####`, "answer is"), else merely stands.

    `None` where it is nowhere to be found.
    """
    found = [m for mark in _MARKS for m in mark.finditer(text) if same(m["answer"], gold)]
    if found:
        m = max(found, key=lambda m: m.start("answer"))
        return Parts(text[: m.start()], m["open"], m["answer"], m["close"], text[m.end() :])
    at = text.rfind(gold) if gold else -1
    return None if at < 0 else Parts(text[:at], "", gold, "", text[at + len(gold) :])


def scenarios(reference: str, gold: str, wrong: Sequence[str], prompt: str) -> list[Scenario]:
    """Every scenario of one problem. `reference` holds the right answer `gold`; `wrong` are other answers of its kind, at least one.

    Where several answers are listed the right one stands in the middle: a policy that lists them does not know which to put first or last.

    Raises ValueError where the reference does not hold the answer.
    """
    p = parts(reference, gold)
    if p is None:
        raise ValueError(f"scenarios: the reference does not hold the answer {gold!r}")
    talk = _FILLER * (RAMBLE * max(len(reference), len(_FILLER)) // len(_FILLER))
    end = p.statement(p.answer) + p.after
    several = [*wrong[: SPRAYED // 2], gold, *wrong[SPRAYED // 2 : SPRAYED - 1]]
    gap = "" if p.before.endswith("\n") or not p.before else "\n"
    return [
        Scenario("the right answer", Worth.RIGHT, reference),
        Scenario("right, without working", Worth.FAIR, end),
        Scenario("right, said twice", Worth.FAIR, p.before + p.statement(p.answer) + "\n" + end),
        Scenario(f"right, after rambling ×{RAMBLE}", Worth.FAIR, p.before + gap + talk + "\n" + end),
        Scenario(f"right, then rambling ×{RAMBLE}", Worth.FAIR, p.before + end + "\n" + talk),
        Scenario("a wrong answer", Worth.BAD, p.before + p.statement(wrong[0]) + p.after),
        Scenario("no answer", Worth.BAD, p.before.rstrip()),
        Scenario("cut in the middle", Worth.BAD, reference[: len(p.before) // 2]),
        Scenario("format only", Worth.BAD, p.statement("")),
        Scenario(f"{len(several)} answers in one", Worth.BAD, p.before + p.statement(", ".join(several)) + p.after),
        Scenario(f"{len(several)} answers one by one", Worth.BAD, p.before + "\n".join(p.statement(a) for a in several) + p.after),
        Scenario("the prompt echoed", Worth.BAD, prompt),
        Scenario("empty", Worth.BAD, ""),
    ]


def wrong_answers(gold: str, others: Sequence[str]) -> list[str]:
    """Answers of the same kind that are wrong: neighbours of a number, else other problems' answers, else the letters turned round."""
    value = _number(gold)
    if value is not None:
        near = [value + step for k in range(1, SPRAYED) for step in (k, -k)]
        return [_spelled(x) for x in near][: SPRAYED - 1]
    different = list(dict.fromkeys(o for o in others if not same(o, gold)))[: SPRAYED - 1]
    return different or [gold[::-1] if gold[::-1] != gold else gold + gold]


def same(a: str, b: str) -> bool:
    """Equal as numbers where both are, else as texts without outer spaces and dollar signs."""
    x, y = _number(a), _number(b)
    return x == y if x is not None and y is not None else a.strip(" $\n*") == b.strip(" $\n*")


def gold_of(answer: object) -> str | None:
    """A data set's answer column as the bare answer: what follows `####` in GSM8K's, else the value itself; `None` where it has none."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    text = str(answer).rpartition("####")[2].strip()
    return text or None


def _number(text: str) -> Fraction | None:
    plain = text.strip(" $\n*.").replace(",", "")
    if not re.fullmatch(r"[-+]?\d{1,30}(?:\.\d{1,30}|/\d{1,30})?", plain) or re.search(r"/0+$", plain):
        return None
    return Fraction(plain)


def _spelled(x: Fraction) -> str:
    return str(x.numerator) if x.denominator == 1 else f"{float(x):.12g}"
