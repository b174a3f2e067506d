"""Number puzzles with strategies: three additions and subtractions on a dial of seven, one number missing, told in short natural phrases.

    ?+4-6+2=3           work backwards from the goal          (the first is missing; forwards would be right for 3+4-6+2=?,
                        3-2=1                                  from both sides for 3+4-?+2=3)
                        1+6=0
                        0-4=3
                        #### 3

The missing place decides which strategy is right; a wrong one reads the missing number as zero and mostly fails. Demonstrations choose with
noise and sometimes go back and try another way, so a model taught by them is a start with something to learn: planning, not arithmetic.

Invariant: everything between the first line and the answer is either a whole phrase of `PLANS` or `BACK` (planning), of `FILLERS`, or a
calculation; `planning_spans` knows which, so that a guess at planning tokens can be held against the truth.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from reasonry.core import Message, Problem, UserError
from reasonry.tasks.skill import Draft, Skill, answer

MODULUS = 7
WORDS = ("zero", "one", "two", "three", "four", "five", "six")
PLANS: dict[str, tuple[str, ...]] = {
    "forwards": ("go forward from the start", "follow the steps in order"),
    "backwards": ("work backwards from the goal", "undo the last step first"),
    "both": ("close in from both sides", "look at both ends first"),
}
"""Strategy -> the ways to say it."""
BACK = ("let us try another way", "that does not look right")
FILLERS = (
    "now we can go on", "so far so good", "and we keep this one", "that was not hard", "here is the next", "on a dial of seven",
    "as you can see", "which is easy enough", "just as we thought", "only a little more",
)  # fmt: skip
"""Said between calculations; they decide nothing."""
RIGHT = {"end": "forwards", "start": "backwards", "middle": "both"}
"""Missing place -> the strategy that finds it."""
SIGNS = {"+": "plus", "-": "minus"}
_LINE = re.compile(r"^(\d)([+-])(\d)=(\d+)$", re.MULTILINE)


def calculate(a: int, sign: str, b: int) -> int:
    """On the dial: 1 − 2 is 6."""
    return (a + b if sign == "+" else a - b) % MODULUS


def calculations(text: str) -> list[bool]:
    """For every line that is a calculation, whether it is right."""
    return [calculate(int(a), sign, int(b)) == int(c) for a, sign, b, c in _LINE.findall(text)]


def spelled(text: str) -> str:
    """The same with calculations in words, `three minus two is one`: then phrases and calculations are of one cloth."""

    def told(m: re.Match[str]) -> str:
        a, b, c = (WORDS[int(m[i])] if int(m[i]) < MODULUS else m[i] for i in (1, 3, 4))
        return f"{a} {SIGNS[m[2]]} {b} is {c}"

    return _LINE.sub(told, text)


def planning_spans(text: str) -> list[tuple[int, int]]:
    """Where phrases of `PLANS` and `BACK` stand, as (start, end) in characters."""
    phrases = [*(p for told in PLANS.values() for p in told), *BACK]
    return sorted(m.span() for phrase in phrases for m in re.finditer(rf"\b{phrase}\b", text))


def work(strategy: str, numbers: Sequence[int | None], signs: Sequence[str], goal: int | None) -> tuple[list[str], int]:
    """A strategy's three calculations on a puzzle, right for it or not, and the number they end in. What is missing counts as zero."""
    a, *rest = [n or 0 for n in numbers]
    undo = ["-" if s == "+" else "+" for s in signs]
    lines: list[str] = []

    def write(x: int, sign: str, y: int) -> int:
        result = calculate(x, sign, y)
        lines.append(f"{x}{sign}{y}={result}")
        return result

    if strategy == "forwards":
        for sign, b in zip(signs, rest, strict=True):
            a = write(a, sign, b)
        return lines, a
    if strategy == "backwards":
        at = goal or 0
        for sign, b in zip(reversed(undo), reversed(rest), strict=True):
            at = write(at, sign, b)
        return lines, at
    left = write(a, signs[0], rest[0])
    right = write(goal or 0, undo[2], rest[2])
    return lines, write(right, "-", left) if signs[1] == "+" else write(left, "-", right)


def puzzle(right: float = 0.5, again: float = 0.3, filler: float = 0.4) -> Skill:
    """Puzzles; demonstrations begin with the right strategy in a share `right`, go back from a wrong one in a share `again`, and put a
    filler after a share `filler` of their calculations. Raises UserError for a share outside [0, 1]."""
    for name, share in (("right", right), ("again", again), ("filler", filler)):
        if not 0 <= share <= 1:
            raise UserError(f"puzzle: {name} is {share:g} but must be a share from 0 to 1")

    def draw(rng: random.Random) -> Draft:
        place = rng.choice(tuple(RIGHT))
        numbers, signs = [rng.randrange(MODULUS) for _ in range(4)], [rng.choice("+-") for _ in range(3)]
        goal = work("forwards", numbers, signs, None)[1]
        missing = {"start": 0, "middle": 2}.get(place)
        shown = ["?" if i == missing else str(n) for i, n in enumerate(numbers)]
        text = shown[0] + "".join(map(str.__add__, signs, shown[1:])) + "=" + ("?" if missing is None else str(goal))
        meta = {
            "place": place, "signs": signs, "numbers": [None if i == missing else n for i, n in enumerate(numbers)],
            "goal": None if missing is None else goal,
        }  # fmt: skip
        return Draft(text, text, str(goal if missing is None else numbers[missing]), meta)

    def demonstrate(problem: Problem, rng: random.Random) -> tuple[Message, ...]:
        meta, wanted = problem.meta, RIGHT[problem.meta["place"]]
        wrong = [s for s in PLANS if s != wanted]
        plan = [wanted if rng.random() < right else rng.choice(wrong)]
        if plan[0] != wanted and rng.random() < again:
            plan.append(wanted if rng.random() < 0.5 else next(s for s in wrong if s != plan[0]))
        written, final = list[str](), 0
        for i, strategy in enumerate(plan):
            lines, final = work(strategy, meta["numbers"], meta["signs"], meta["goal"])
            written += [rng.choice(BACK)] if i else []
            written.append(rng.choice(PLANS[strategy]))
            for said in lines:
                written += [said, *([rng.choice(FILLERS)] if rng.random() < filler else [])]
        return answer("\n".join(written), final)

    return Skill("puzzle", draw, demonstrate)
