"""Dynamic sampling: ask further problems until the batch is full of groups that teach (DAPO, arXiv 2503.14476 §3.2).

Invariant: what is drawn and sampled is a function of (seed, step, draw), so a step that a resumed run samples again is the same step. The
course is told of every group, also of those that did not make the batch; groups beyond a full batch are dropped in the order of drawing.
A problem whose group is in the batch is not drawn again in that step; one whose group taught nothing may be, with new seeds.

Departure: the paper keeps drawing without end; here there is a limit, and a batch that stays short is learned from as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reasonry.core import UserError
from reasonry.core.seeds import inner_seed
from reasonry.train.curriculum import Course, Lesson
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import Attempts

Keep = Callable[[Sequence[Rewarded]], bool]
"""A prompt's rewarded attempts -> whether they teach."""
Draw = Callable[[Lesson, int], Awaitable[tuple[list[Attempts], list[list[Rewarded]]]]]
"""(lesson, seed) -> the lesson's groups and their rewards, in its order."""


def partly_right(group: Sequence[Rewarded]) -> bool:
    """0 < right answers < G, by the judge's verdict: a penalty on length alone does not make a group teach."""
    passed = [r.trajectory.verdict.passed for r in group if r.trajectory.verdict is not None]
    return any(passed) and not all(passed)


@dataclass(frozen=True)
class Sampled:
    """All that was drawn for one step."""

    lesson: Lesson
    """The draws as one lesson."""
    groups: list[Attempts]
    """One for each of its problems, `index` counted through."""
    rewarded: list[list[Rewarded]]
    kept: list[list[Rewarded]]
    """Those the batch is made of."""
    draws: int
    told: Mapping[str, float] = field(default_factory=dict)
    """What else the step's record should say of the sampling."""


async def fill(course: Course, step: int, n: int, more: int, seed: int, sample: Draw, keep: Keep = partly_right) -> Sampled:
    """Draws `n` problems, and up to `more` times again as many as are still missing, until `n` groups pass `keep`.

    `seed` is the run's. Ends early where the curriculum has too few problems left that are not in the batch yet.
    """
    lesson = course.ask(step, n)
    groups, rewarded = await sample(lesson, inner_seed(seed, step))
    taught = [group for group in rewarded if keep(group)]
    draws = 1
    while len(taught) < n and draws <= more:
        try:
            further = course.ask(step, n - len(taught), draws, {r.trajectory.problem_id for group in taught for r in group})
        except UserError:
            break
        found, paid = await sample(further, inner_seed(seed, step, draws))
        groups += [replace(g, index=len(groups) + i) for i, g in enumerate(found)]
        rewarded += paid
        taught += [group for group in paid if keep(group)]
        lesson = replace(lesson, problems=lesson.problems + further.problems, levels=lesson.levels + further.levels)
        draws += 1
    return Sampled(lesson, groups, rewarded, taught[:n], draws)
