"""How a text becomes an answer (`extract`), and an answer a verdict.

Invariants: a judge never raises for what a model wrote; an answer is read out of the text without looking at the gold answer; a gold
answer that cannot be read gives the score `None`, *not scored*, which is not the same as wrong.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from reasonry.core import Missing, Problem, UserError, Verdict

_HASHES = re.compile(r"^####(.*)$", re.MULTILINE)
_BRACE = re.compile(r"\\boxed\s{0,3}\{|\\[{}]|[{}]")
_ANSWER_IS = re.compile(r"\banswer\s*(?:is|:|=)\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")


@dataclass(frozen=True, slots=True)
class Judge:
    """A way of judging, as a value. Called like a task's judge: `judge(problem, text) -> Verdict`."""

    name: str
    extract: Callable[[str], str | None]
    """Text → the answer in canonical spelling; `None` where there is none."""
    gold: Callable[[Any], Any]
    """The problem's answer → what `same` compares with; `None` when it cannot be read."""
    same: Callable[[Any, str], bool]
    """(read gold answer, extracted answer) → whether they agree."""

    def __call__(self, problem: Problem, text: str) -> Verdict:
        """Judges a model's whole text. `why` says what was expected and what was read."""
        gold = self.gold(problem.answer)
        if gold is None:
            return Verdict(None, None, f"not scored: the gold answer {problem.answer!r} cannot be read by the judge {self.name}")
        answer = self.extract(text)
        if answer is None:
            return Verdict(0.0, False, "no answer was found in the text")
        right = self.same(gold, answer)
        return Verdict(float(right), right, "" if right else f"expected {problem.answer}, read {answer}", answer)


def hash_answer(text: str) -> str | None:
    """What follows `#### ` on the last line that begins with it; `None` where no line does."""
    found = _last_hashes(text)
    return found[1] if found else None


def _last_hashes(text: str) -> tuple[int, str] | None:
    found = [(m.start(), content) for m in _HASHES.finditer(text) if (content := m[1].strip())]
    return found[-1] if found else None


def boxed(text: str) -> tuple[int, str] | None:
    """Where the last `\\boxed{...}` whose braces balance begins, and its content; `None` where there is none."""
    opened: list[re.Match[str]] = []
    closed: list[tuple[int, str]] = []
    for brace in _BRACE.finditer(text):
        if brace[0].endswith("{") and brace[0] != r"\{":
            opened.append(brace)
        elif brace[0] == "}" and opened:
            start = opened.pop()
            if start[0] != "{":
                closed.append((start.start(), text[start.end() : brace.start()].strip()))
    return max(closed) if closed else None


def marked_answer(text: str) -> str | None:
    """The last line `#### x`, or the last `\\boxed{x}` where no such line follows it; `None` where there is neither."""
    found = [mark for mark in (_last_hashes(text), boxed(text)) if mark is not None]
    return max(found)[1] or None if found else None


def stated_answer(text: str) -> str | None:
    """What follows the last `answer is` (or `answer:`), up to the end of its sentence; `None` where nothing does."""
    said = [m.end() for m in _ANSWER_IS.finditer(text)]
    return _bare(_SENTENCE_END.split(text[said[-1] :].strip(), maxsplit=1)[0]) if said else None


def final_answer(text: str) -> str | None:
    """The answer of a text: the one that is marked (`#### x`, `\\boxed{x}`), else the one that is stated (`the answer is x`)."""
    marked = marked_answer(text)
    return _bare(marked) if marked is not None else stated_answer(text)


def _bare(text: str) -> str | None:
    """Without the marks that dress an answer: spaces, asterisks, dollar signs around a formula, quotation marks, a final full stop."""
    text = re.sub(r"\s+", " ", text).strip(" *`\"'")
    text = text.removesuffix(".").strip(" *`\"'")
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text.strip("$ ")
    return text or None


def _text(gold: Any) -> str | None:
    return _bare(str(gold)) if isinstance(gold, str | int | float) else None


exact = Judge("exact", final_answer, _text, str.__eq__)
"""The final answer equals the gold answer, letter for letter, once marks that dress it are off."""

hashed = Judge("exact", hash_answer, lambda gold: gold if isinstance(gold, str) else None, str.__eq__)
"""The same for texts that are bound to end with `#### x`: nothing else counts as an answer."""


_TIDY = (
    ("−", "-"), (r"\\[dt]?frac\s*\{\s*([^{}]*)\}\s*\{\s*([^{}]*)\}", r" \1/\2 "), (r"\\[dt]?frac\s*(\d)\s*(\d)", r" \1/\2 "),
    (r"\{,\}|\\[,!;]", ","), (r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}", " "), (r"\\left|\\right|\\\(|\\\)|\\\[|\\\]", " "),
    (r"\^\s*\{?\s*\\circ\s*\}?|°", " "), (r"[ ]{0,3}(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*\{?\s*([-+]?\d+)\s*\}?", r"e\1"),
    (r"(?<=\d)\s*\\?%|\\?[$€£]|\*\*", ""), (r"(?<![\w.)\]])-\s+(?=\d)", "-"), (r"-\s+(?=\d+/\d)", "-"),
)  # fmt: skip
"""Spellings of numbers made alike. A percent or currency sign is a unit and is dropped: 50% reads as 50."""
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(
    rf"(?<![\w.])(?<!\d,)(?P<sign>[-+]?)(?:(?:(?P<whole>{_DIGITS})\s+)?(?P<top>{_DIGITS})\s*/\s*(?P<bottom>{_DIGITS})"
    rf"|(?P<decimal>{_DIGITS}?\.\d+|{_DIGITS}\.?)(?:[eE](?P<power>[-+]?\d{{1,3}}))?)(?!\d|[.,]\d|[A-Za-z]\b|[eE][-+]?\d)",
    re.ASCII,
)
_LONGEST = 400
"""Longer spellings are no numbers: reading them would cost more than any answer is worth."""


def numbers(text: str) -> list[Fraction]:
    """Every number a text spells: `1,234`, `-$5`, `.5`, `3/4`, `1 1/2`, `2e3`, `\\frac{1}{2}`, `3 \\times 10^5`."""
    for spelling, plain in _TIDY:
        text = re.sub(spelling, plain, text)
    found = (_fraction(m) for m in _NUMBER.finditer(text) if len(m[0]) <= _LONGEST)
    return [x for x in found if x is not None]


def _fraction(match: re.Match[str]) -> Fraction | None:
    part = {name: text.replace(",", "") if text else "" for name, text in match.groupdict().items()}
    if part["top"]:
        if int(part["bottom"]) == 0:
            return None
        size = Fraction(int(part["top"]), int(part["bottom"])) + int(part["whole"] or 0)
    else:
        size = Fraction(part["decimal"].removesuffix(".")) * Fraction(10) ** int(part["power"] or 0)
    return -size if part["sign"] == "-" else size


def number(text: str) -> Fraction | None:
    """The number of a text that spells exactly one; `None` for none or for several."""
    found = numbers(text)
    return found[0] if len(found) == 1 else None


def spell(value: Fraction) -> str:
    """One spelling per value: an integer, a decimal that ends, or a fraction in lowest terms."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if value.denominator == 1 or rest != 1:
        return str(value)
    places = next(p for p in range(1, 5 * _LONGEST) if (value * 10**p).denominator == 1)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def numeric_answer(text: str) -> str | None:
    """The number a text answers, in one spelling.

    A marked answer counts when it spells exactly one number, and nothing else is then looked at; else the first number after one of the
    last three `answer is`; else the last number of the text.
    """
    marked = marked_answer(text)
    if marked is not None:
        value = number(marked)
        return None if value is None else spell(value)
    for stated in list(_ANSWER_IS.finditer(text))[:-4:-1]:
        found = numbers(text[stated.end() :][:_LONGEST].split("\n")[0])
        if found:
            return spell(found[0])
    found = numbers(text[-20 * _LONGEST :])
    return spell(found[-1]) if found else None


def numeric(tolerance: float = 1e-6) -> Judge:
    """Compares numbers exactly, then within `tolerance`: absolute for a whole gold number, relative to it (at least to 1) otherwise."""
    if tolerance < 0:
        raise UserError(f"numeric: tolerance is {tolerance} but must be 0 or more")

    def gold(value: Any) -> Fraction | None:
        text = _text(value)
        return None if text is None else number(text)

    def same(gold: Fraction, answer: str) -> bool:
        unit = 1 if gold.denominator == 1 else max(Fraction(1), abs(gold))
        return abs(gold - Fraction(answer)) <= Fraction(tolerance) * unit

    return Judge("numeric", numeric_answer, gold, same)


def math_verify() -> Judge:
    """Compares formulas by their meaning with the library math-verify. Raises Missing where it is not installed.

    Its answers keep their own spelling, so votes count `1/2` and `0.5` apart. In the main thread each parse and comparison is given
    up after 20 seconds; elsewhere the library can't be interrupted.
    """
    try:
        import math_verify as library
    except ImportError:
        raise Missing("math-verify", "math", "the judge math") from None

    def seconds() -> int:
        return 20 if threading.current_thread() is threading.main_thread() else 0

    def parse(text: str) -> list[Any] | None:
        return library.parse(text, parsing_timeout=seconds()) or None

    def gold(value: Any) -> list[Any] | None:
        text = _text(value)
        return None if text is None else parse(text if "\\boxed" in text else f"\\boxed{{{text}}}")

    def extract(text: str) -> str | None:
        found = final_answer(text)
        if found is not None:
            return found
        parsed = parse(text)
        return parsed[-1] if parsed and isinstance(parsed[-1], str) else None

    def same(gold: list[Any], answer: str) -> bool:
        parsed = parse(f"\\boxed{{{answer}}}")
        return parsed is not None and library.verify(gold, parsed, timeout_seconds=seconds() or None)

    return Judge("math", extract, gold, same)


JUDGES: dict[str, Callable[[], Judge]] = {"exact": lambda: exact, "numeric": numeric, "math": math_verify}
"""Names of judges, as the command line spells them."""
