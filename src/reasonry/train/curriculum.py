"""Which problems to train on next, and how long an answer may be: stages of levels, gates between them, and what each prompt has taught.

A `Curriculum` is a value: standard training, only-long, only-short, a uniform mix, h1's ramp of chain lengths (arXiv 2510.07312) and
ScalingInter-RL's growing interaction horizon (arXiv 2509.08755) are all one type. A `Course` is a curriculum under way. The trainer needs
two calls of it, in turn, with steps counted from 0:

    lesson = course.ask(step, n)       # n problems, and the limits of the stage
    course.tell(step, groups)          # how each prompt's group of answers fared

Invariant: what `ask` returns is a function of the curriculum, the problems, the seed and the history, and nothing else. The history is the
log of what was told (`train.history`), so a restarted course stands where it stood, and there is no other state to save.

Departures from h1: 1. The paper starts a stage from the best checkpoint on validation; that is the trainer's to do. 2. A gate may end a
stage before its steps are over (the paper's stages have about 200 steps each).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from reasonry.core import Budget, Problem, UserError
from reasonry.train.history import Group, History, Past

Mixture = Callable[[int], Mapping[int, float]]
"""Level of a stage -> weight of each level in it."""
PromptFilter = Callable[[Past], bool]
"""What a prompt's past says about asking it again. Prompts never asked are not filtered."""
GroupFilter = Callable[[Sequence[float]], bool]
"""Rewards of one prompt's answers -> whether the update may learn from them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is asked during one part of training. Made by `ramp` and its like, read by the course."""

    levels: Mapping[int, float]
    """Level (a chain's length, a difficulty) -> weight in the draw. Weights need not add up to 1."""
    max_new_tokens: int
    """Tokens one answer may have in this stage."""
    max_turns: int | None = None
    """Interactions an attempt may have; `None`: as many as the task allows."""

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels.values()) < 0 or sum(self.levels.values()) <= 0:
            raise UserError(f"Stage: levels is {dict(self.levels)} but needs a level with a weight above 0, and none below")
        for field, value in (("max_new_tokens", self.max_new_tokens), ("max_turns", self.max_turns)):
            if value is not None and value < 1:
                raise UserError(f"Stage: {field} is {value} but must be at least 1")

    @property
    def top(self) -> int:
        """The highest level that is drawn: the one this stage is there to teach."""
        return max(level for level, weight in self.levels.items() if weight > 0)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a stage goes, as its gate sees it. Made by the course after every step."""

    stage: Stage
    rate: float | None
    """Pass rate at the stage's top level over the last `window` prompts of this stage; `None` until there are as many."""
    before: float | None
    """The same at the end of the stage before; `None` in the first one or where it never had as many."""


Measure = Callable[[Standing], float]
"""How well a stage is mastered; compared with the curriculum's gate."""


def relative(standing: Standing) -> float:
    """s_h / s_{h−1}: this stage's pass rate against that of the stage before (1 where there is none or it is 0); 0 while not known."""
    if standing.rate is None:
        return 0.0
    return standing.rate / (standing.before or 1.0)


def absolute(standing: Standing) -> float:
    """The stage's own pass rate; 0 while not known."""
    return standing.rate or 0.0


def informative(rewards: Sequence[float]) -> bool:
    """Whether a group has two different rewards: one without has no advantage to learn from (zero-variance filter)."""
    return min(rewards) < max(rewards)


def every_group(rewards: Sequence[float]) -> bool:
    """Keeps all groups: degenerate ones then count in the averages."""
    return True


def no_positive_resampling(past: Past, ceiling: float = 0.9) -> bool:
    """Never asks a prompt again whose pass rate over all its attempts has reached `ceiling` (ScaleRL, arXiv 2510.13786)."""
    return past.rate < ceiling


def ever_passed(past: Past, tries: int = 16) -> bool:
    """Gives a prompt up that none of its first `tries` attempts has passed (Kimi-Dev's zero-pass filter, arXiv 2509.23045)."""
    return past.passes > 0 or past.attempts < tries


@dataclass(frozen=True)
class Curriculum:
    """Stages one after another; the last has no end. A stage ends after its steps, or at once when its gate is met."""

    stages: tuple[Stage, ...]
    gate: float | None = None
    """A stage ends when `measure` reaches it; it is looked at before the first step too, so 0 goes straight to the last stage.
    `None`: only the steps end a stage."""
    steps_per_stage: int | None = None
    """`None`: only the gate ends a stage."""
    measure: Measure = relative
    window: int = 64
    """Prompts at the top level that a pass rate for the gate rests on."""
    prompt_filters: tuple[PromptFilter, ...] = ()
    group_filter: GroupFilter = informative

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("Curriculum: stages is empty but needs at least one")
        if len(self.stages) > 1 and self.gate is None and self.steps_per_stage is None:
            raise UserError("Curriculum: gate and steps_per_stage are both None, so no stage would end; set one of them")
        for field, value in (("steps_per_stage", self.steps_per_stage), ("window", self.window)):
            if value is not None and value < 1:
                raise UserError(f"Curriculum: {field} is {value} but must be at least 1")


def focused(level: int) -> Mapping[int, float]:
    """A stage has its own level alone (h1)."""
    return {level: 1.0}


def rehearsing(level: int, share: float = 0.25) -> Mapping[int, float]:
    """A stage keeps `share` of its draws for the levels below it, in equal parts."""
    below = dict.fromkeys(range(1, level), share / max(level - 1, 1))
    return {**below, level: 1.0 - share if below else 1.0}


def ramp(
    H: int,
    base: int,
    per_level: int,
    gate: float | None = None,
    steps_per_stage: int | None = 200,
    mixture: Mixture = focused,
    measure: Measure = relative,
) -> Curriculum:
    """h1's curriculum: levels 1 … H, and answers of at most base + per_level·h tokens in stage h."""
    stages = tuple(Stage(mixture(h), base + per_level * h) for h in range(1, H + 1))
    return Curriculum(stages, gate, steps_per_stage, measure)


def only(level: int, max_new_tokens: int) -> Curriculum:
    """Standard training on one level: only-short with the first, only-long with the last."""
    return Curriculum((Stage({level: 1.0}, max_new_tokens),))


def mix(levels: Mapping[int, float], max_new_tokens: int) -> Curriculum:
    """All levels at once with fixed weights; equal ones are the uniform mix."""
    return Curriculum((Stage(levels, max_new_tokens),))


def scaling_inter(rounds: Sequence[int], steps: int, max_new_tokens: int, level: int = 1) -> Curriculum:
    """ScalingInter-RL: at step k, counted from 1, an attempt may have rounds[min((k−1) // steps, n−1)] interactions."""
    return Curriculum(tuple(Stage({level: 1.0}, max_new_tokens, turns) for turns in rounds), None, steps)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the course asks at one step. Made by `Course.ask`, read by the rollout."""

    problems: tuple[Problem, ...]
    levels: tuple[int, ...]
    """Of each problem."""
    stage: int
    """Counted from 0."""
    max_new_tokens: int
    max_turns: int | None

    @property
    def budget(self) -> Budget:
        """What one attempt may take."""
        return Budget(completion_tokens=self.max_new_tokens, calls=self.max_turns)

    def group(self, index: int, passes: int, attempts: int, solution: str | None = None) -> Group:
        """How problem `index` fared, for `Course.tell`."""
        return Group(self.problems[index].id, self.levels[index], passes, attempts, solution)


class Course:
    """A curriculum under way. Made once per run, also after a restart; asked and told by the training loop."""

    def __init__(self, curriculum: Curriculum, problems: Mapping[int, Sequence[Problem]], history: History, seed: int = 0) -> None:
        """`problems` maps each level to its training problems, ids unique; raises UserError where a stage's level has none."""
        for stage in curriculum.stages:
            for level, weight in stage.levels.items():
                if weight > 0 and not problems.get(level):
                    raise UserError(f"Course: level {level} of the curriculum has no problems; give some, or leave the level out")
        self.curriculum, self.problems, self.history, self.seed = curriculum, problems, history, seed
        self.stage, self._steps, self._before = 0, 0, None
        self._recent: deque[float] = deque(maxlen=curriculum.window)
        self._pass_gates()
        for groups in history.steps:
            self._count(groups)

    @property
    def standing(self) -> Standing:
        """How the present stage goes."""
        full = len(self._recent) == self.curriculum.window
        return Standing(self.curriculum.stages[self.stage], sum(self._recent) / len(self._recent) if full else None, self._before)

    def ask(self, step: int, n: int, attempt: int = 0, without: Collection[str] = ()) -> Lesson:
        """`n` different problems for this step; raises UserError where the filters have left fewer, or out of turn.

        A step may be asked several times before it is told: `attempt` counts the draws, `without` names problems not to be drawn again.
        """
        self._in_turn("ask", step)
        rng = random.Random(f"{self.seed}/{step}" if attempt == 0 else f"{self.seed}/{step}/{attempt}")
        stage = self.curriculum.stages[self.stage]
        levels = rng.choices(list(stage.levels), list(stage.levels.values()), k=n)
        drawn = {level: iter(self._draw(level, levels.count(level), rng, without)) for level in sorted(set(levels))}
        return Lesson(tuple(next(drawn[level]) for level in levels), tuple(levels), self.stage, stage.max_new_tokens, stage.max_turns)

    def tell(self, step: int, groups: Sequence[Group]) -> None:
        """Records how the prompts of this step fared, those that were filtered out of the update included; on disk when it returns."""
        self._in_turn("tell", step)
        self.history.append(groups)
        self._count(groups)

    def _in_turn(self, call: str, step: int) -> None:
        if step != len(self.history.steps):
            raise UserError(f"Course.{call}: step is {step} but the history holds {len(self.history.steps)} steps; resume at that one")

    def _draw(self, level: int, k: int, rng: random.Random, without: Collection[str]) -> list[Problem]:
        filters, pasts = self.curriculum.prompt_filters, self.history.pasts
        open_ = [p for p in self.problems[level] if p.id not in pasts or all(keep(pasts[p.id]) for keep in filters)]
        open_ = [p for p in open_ if p.id not in without]
        if len(open_) < k:
            raise UserError(
                f"Course: level {level} has {len(open_)} problems left after the filters but the step needs {k}; add problems or lower n"
            )
        return rng.sample(open_, k)

    def _count(self, groups: Sequence[Group]) -> None:
        top = self.curriculum.stages[self.stage].top
        self._recent.extend(g.passes / g.attempts for g in groups if g.level == top)
        self._steps += 1
        if self._steps == self.curriculum.steps_per_stage:
            self._advance()
        self._pass_gates()

    def _pass_gates(self) -> None:
        gate, measure = self.curriculum.gate, self.curriculum.measure
        while gate is not None and self.stage + 1 < len(self.curriculum.stages) and measure(self.standing) >= gate:
            self._advance()

    def _advance(self) -> None:
        if self.stage + 1 < len(self.curriculum.stages):
            self._before = self.standing.rate
            self.stage, self._steps = self.stage + 1, 0
            self._recent.clear()
