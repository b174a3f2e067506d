"""Where chains break: the first failing step of every attempt, and what that says about horizon skills.

h1 (arXiv 2510.07312): p accuracy on one problem; q_j chance that step j succeeds once those before it have; s_h = Π_{j ≤ h} q_j;
σ_j = q_j / p, what depth j costs beyond a problem's own difficulty. Steps that fail independently give s_h = p^h, the yardstick.

Invariant: the estimates multiply back: q̂_1 · … · q̂_j = ŝ_j.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reasonry.core import Problem, UserError, Verdict
from reasonry.probe.stats import Estimate, wilson
from reasonry.tasks.judges import numbers

Steps = tuple[bool | None, ...]
"""For each step whether the value an attempt states for it is right; `None` where it states none."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The step profile of chains of one length. Made by `profile`; lists go from step 1 to h."""

    h: int
    n: int
    """Attempts."""
    p: float
    """Accuracy on single problems."""
    s: tuple[Estimate, ...]
    """ŝ_j, the share of attempts with steps 1 … j right, with its Wilson interval."""
    q: tuple[float | None, ...]
    """q̂_j = ŝ_j / ŝ_{j−1}; `None` where no attempt came so far."""
    sigma: tuple[float | None, ...]
    """σ̂_j = q̂_j / p; above 1 where a step is easier than a single problem."""
    yardstick: tuple[float, ...]
    """p^j."""
    first_failures: Counter[int]
    """Step (from 1) -> attempts that first failed there."""
    short_circuits: int
    """Attempts with the last answer right and an earlier one wrong: answers that did not come by way of the chain."""


def read_steps(problem: Problem, text: str, verdict: Verdict) -> Steps:
    """The steps of one worked answer to a chain (`Chain.problem`).

    Step j is read off the last line that states the name of answer j: `Q = 12+5 = 17` states 17. The last step is the verdict, because
    that is what is rewarded. Raises UserError for a problem that is no chain.
    """
    if not {"names", "values"} <= problem.meta.keys():
        raise UserError(f"read_steps: problem {problem.id} has no names and values in its meta; give problems of synth or Chain")
    gold = [Fraction(value) for value in problem.meta["values"]]
    stated = [_stated(name, text) for name in problem.meta["names"]]
    steps = [None if value is None else value == y for value, y in zip(stated, gold, strict=True)]
    return (*steps[:-1], verdict.passed)


def _stated(name: str, text: str) -> Fraction | None:
    lines = re.findall(rf"(?<!\w){name}\s*(?:=|:|\bis\b)([^\n]*)", text)
    found = numbers(lines[-1].rpartition("=")[2]) if lines else []
    return found[0] if found else None


def first_failure(steps: Steps) -> int | None:
    """The first step, from 1, that went wrong; `None` where none did.

    A step that is not stated counts as right when a later one is right, and as wrong otherwise.
    """
    reached = max((j for j, right in enumerate(steps, 1) if right), default=0)
    wrong = next((j for j, right in enumerate(steps, 1) if right is False), None)
    if wrong is not None and wrong <= reached:
        return wrong
    return reached + 1 if reached < len(steps) else None


def profile(attempts: Sequence[Steps], p: float | None = None) -> Profile:
    """The profile of attempts at chains of one length. `p`: accuracy measured on single problems; the first step's where `None`.

    Raises UserError without attempts, for attempts of several lengths, and where p is not in (0, 1].
    """
    lengths = {len(steps) for steps in attempts}
    if len(lengths) != 1 or 0 in lengths:
        raise UserError(f"profile: attempts have lengths {sorted(lengths)} but need one, at least 1; profile each length by itself")
    h, n = lengths.pop(), len(attempts)
    failures = Counter(step for steps in attempts if (step := first_failure(steps)) is not None)
    alive = [n - sum(failures[i] for i in range(1, j + 1)) for j in range(h + 1)]
    single = alive[1] / n if p is None else p
    if not 0 < single <= 1:
        raise UserError(f"profile: p is {single:g} but must be above 0 and at most 1; measure it on single problems")
    q = tuple(alive[j] / alive[j - 1] if alive[j - 1] else None for j in range(1, h + 1))
    return Profile(
        h=h,
        n=n,
        p=single,
        s=tuple(wilson(alive[j], n) for j in range(1, h + 1)),
        q=q,
        sigma=tuple(None if x is None else x / single for x in q),
        yardstick=tuple(single**j for j in range(1, h + 1)),
        first_failures=failures,
        short_circuits=sum(1 for steps in attempts if steps[-1] and False in steps[:-1]),
    )
