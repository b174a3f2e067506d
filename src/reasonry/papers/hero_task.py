"""The task of HERO's experiment with a language model: sums of several steps, told line by line, with answers that a verifier may not know.

The question `4+7-3-5+2=` is worked from left to right modulo ten, one line a step, so that one wrong line makes the answer wrong:

    4+7=1        1-3=8        8-5=3        3+2=5        #### 5

A question that ends with `=` wants the bare digit, and the verifier compares just that. One that ends with `~` may be answered as `5`,
`5.0` or `05`; its gold answer is written in one of these forms, drawn by its content, and the verifier compares strings: it never passes
a wrong answer, and passes a right one as often as the form is guessed. Nothing in a question tells the form.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from reasonry.core import Message, Problem, Verdict
from reasonry.tasks.judges import hash_answer
from reasonry.tasks.skill import Draft, Skill

STRICT, AMBIGUOUS = "strict", "ambiguous"
KINDS = {STRICT: "=", AMBIGUOUS: "~"}
FORMS = ("{}", "{}.0", "0{}")
MODULUS, STEPS, OPS = 10, 4, "+-"


def apply(a: int, op: str, b: int) -> int:
    """One step."""
    return (a + b if op == "+" else a - b) % MODULUS


def lines_of(start: int, steps: Sequence[Sequence[str | int]]) -> tuple[list[str], int]:
    """A true working and its result."""
    made, value = list[str](), start
    for op, b in steps:
        after = apply(value, str(op), int(b))
        made.append(f"{value}{op}{b}={after}")
        value = after
    return made, value


def written(lines: Sequence[str], value: int, kind: str, rng: random.Random) -> str:
    """Lines and an answer, in one of its forms where the kind has several."""
    form = rng.choice(FORMS) if kind == AMBIGUOUS else FORMS[0]
    return "\n".join([*lines, f"#### {form.format(value)}"])


def truth(problem: Problem, text: str) -> bool:
    """Whether a text's answer is right in any form: what no arm is trained on."""
    found = re.fullmatch(r"0?(\d)(?:\.0)?", hash_answer(text) or "")
    return found is not None and int(found[1]) == problem.meta["value"]


def verifier(problem: Problem, text: str) -> Verdict:
    """The strict verifier: the answer's text is the gold text."""
    given = hash_answer(text)
    passed = given == problem.answer
    return Verdict(float(passed), passed, "compared as texts", given)


def verdict_of_truth(problem: Problem, text: str) -> Verdict:
    """`truth` as a judge, for tests."""
    right = truth(problem, text)
    return Verdict(float(right), right, "compared as numbers", hash_answer(text))


def sums(kind: str) -> Skill:
    """Sums of one kind; the same expression is in the same split in either."""

    def draw(rng: random.Random) -> Draft:
        start, steps = rng.randrange(MODULUS), [[rng.choice(OPS), rng.randrange(MODULUS)] for _ in range(STEPS)]
        expression = f"{start}{''.join(f'{op}{b}' for op, b in steps)}"
        value = lines_of(start, steps)[1]
        form = FORMS[hashlib.sha256(f"form {expression}".encode()).digest()[0] % len(FORMS)] if kind == AMBIGUOUS else FORMS[0]
        return Draft(expression, expression + KINDS[kind], form.format(value), {"start": start, "steps": steps, "value": value})

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        lines, value = lines_of(problem.meta["start"], problem.meta["steps"])
        return (Message("assistant", written(lines, value, kind, rng)),)

    return Skill(f"sums-{kind}", draw, work, verifier)
