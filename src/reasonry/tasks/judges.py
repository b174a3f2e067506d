"""How a text becomes an answer, and an answer a verdict.

Invariant: a judge never raises for what a model wrote.
"""

from __future__ import annotations

import re

from reasonry.core import Problem, Verdict

_HASHES = re.compile(r"^####[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def hash_answer(text: str) -> str | None:
    """What follows `#### ` on the last line that begins with it; `None` where no line does."""
    found = _HASHES.findall(text)
    return found[-1] if found else None


def exact(problem: Problem, text: str) -> Verdict:
    """Passes when the line `#### x` spells the gold answer."""
    answer = hash_answer(text)
    if answer is None:
        return Verdict(0.0, False, "no line begins with ####")
    right = answer == str(problem.answer)
    return Verdict(float(right), right, "" if right else f"expected {problem.answer}, read {answer}", answer)
