"""The task of Delethink's RL experiment: relay programs, whose live state is more than the last lines of a working need to show.

The question `a3b7c2 1b+a 2c+b 3a+c` gives three digits and three stages; each stage runs its operation `REPEATS` times (`b+a` is
b ← (b + a) mod `MODULUS`). A working has one line for each run, in one of two styles of the same length and layout, so that they differ in
nothing but what they remember:

    restate  11b7+a3 a3b0c2        12b0+a3 a3b3c2        …        #### a4b9c1
    delta    11b7+a3 a-b0c-        12b0+a3 a-b3c-        …        #### a4b9c1

Invariant: the first stage's target is idle in the second stage and wanted after it. Unless lines restate it, its last value is then more
than `REPEATS` lines back, and neither the question nor the lines between tell it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from reasonry.core import Message, Problem
from reasonry.tasks.skill import Draft, Skill, answer

NAMES = "abc"
MODULUS = 10
REPEATS = 3
LINE = 15
"""Characters of a line, its end included, in both styles."""
RESTATE = 0.3
"""Share of demonstrations that restate, as in the brief's supervised mixture."""
_STEP = re.compile(r"^\d\d", re.MULTILINE)
_FULL = re.compile(r"^\d\d\S+ a\db\dc\d$", re.MULTILINE)


def show(state: dict[str, int], changed: str | None = None) -> str:
    """The register file, `a3b0c2`; with `changed`, that register's value only: `a-b0c-`."""
    return "".join(f"{name}{value if changed in (None, name) else '-'}" for name, value in state.items())


def run(start: dict[str, int], ops: Sequence[str], restate: bool) -> tuple[str, str]:
    """The working in one of the two styles, and the final register file."""
    state, lines = dict(start), list[str]()
    for stage, op in enumerate(ops, 1):
        target, source = op[0], op[2]
        for repeat in range(1, REPEATS + 1):
            sum_ = f"{target}{state[target]}+{source}{state[source]}"
            state[target] = (state[target] + state[source]) % MODULUS
            lines.append(f"{stage}{repeat}{sum_} {show(state, None if restate else target)}")
    return "\n".join(lines), show(state)


def restating(text: str) -> float:
    """1 for a working in which more than half of the lines restate every register, else 0: the restating rate is the mean of it."""
    return float(2 * len(_FULL.findall(text)) > len(_STEP.findall(text)))


def relay() -> Skill:
    """Relay programs of three stages; demonstrations restate in `RESTATE` of the cases."""

    def draw(rng: random.Random) -> Draft:
        start = {name: rng.randrange(MODULUS) for name in NAMES}
        first, last = (rng.sample(NAMES, 2) for _ in range(2))
        second = rng.sample(NAMES.replace(first[0], ""), 2)
        ops = [f"{target}+{source}" for target, source in (first, second, last)]
        text = " ".join([show(start), *(f"{stage}{op}" for stage, op in enumerate(ops, 1))])
        return Draft(text, text, run(start, ops, restate=False)[1], {"start": start, "ops": ops})

    def work(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        return answer(*run(problem.meta["start"], problem.meta["ops"], rng.random() < RESTATE))

    return Skill("relay", draw, work)
