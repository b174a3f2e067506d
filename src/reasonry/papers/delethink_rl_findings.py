"""What Delethink's RL experiment claims, and the rules that turn its attempts into verdicts.

Written before any result was seen; after the first one, intervals over seeds were widened to hold those over problems (`probe.seeds`).

A seed is one training run of every arm, so it is the unit: a difference is taken within each seed, over the same test problems, and its
95 % interval over the seeds is Student's, or that over all their problems where it is wider (seeds that agree are not certainty). With a
single seed the interval is over that seed's problems, and says nothing of other runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Measure, Result
from reasonry.probe.seeds import gap, level, say, signed
from reasonry.probe.stats import Estimate

LONGCOT, DELETHINK, NOTHING, WINDOW, START = "LongCoT", "Delethink", "m=0", "m=C-1", "start"
"""The environments (and the arms trained in each), and the model all arms start from."""
MARGIN = 0.1
"""Reward within which two arms count as alike."""
HIGH, LOW = 0.8, 0.2
"""The restating rate the brief expects Delethink to pass, and the reward below which an arm counts as low."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    C: int = 46
    m: int = 23
    teaching: int = 900
    """Supervised steps of the model that all arms and seeds start from."""
    steps: int = 60
    """GRPO steps of every arm."""
    prompts: int = 4
    group: int = 8
    lr: float = 3e-4
    train_problems: int = 2000
    test_problems: int = 128
    """Per seed; every arm, and every environment it is tried in, gets the same ones."""

    @property
    def shapes(self) -> dict[str, tuple[int, int] | None]:
        """Environment -> (C, m), `None` for one context that holds everything."""
        return {LONGCOT: None, DELETHINK: (self.C, self.m), NOTHING: (self.C, 0), WINDOW: (self.C, self.C - 1)}


CROSSED: dict[str, tuple[str, ...]] = {
    START: (LONGCOT, DELETHINK, NOTHING, WINDOW),
    LONGCOT: (LONGCOT, DELETHINK),
    DELETHINK: (DELETHINK, LONGCOT),
    NOTHING: (NOTHING, DELETHINK),
    WINDOW: (WINDOW, DELETHINK),
}
"""Which environments each trained model is tried in."""


@dataclass(frozen=True)
class Row:
    """One test attempt, as far as the findings need it."""

    seed: int
    arm: str
    """Which training the model had."""
    environment: str
    """What it was tried in."""
    problem: str
    passed: float
    """1 where the answer is right and the attempt ended by itself."""
    restated: float
    """1 where more than half of the working's lines restate every register."""
    truncated: float
    processed: float
    """Tokens that went through the model, those read again included."""


@dataclass(frozen=True)
class Learnt:
    """One step of one arm's training, as far as the findings and curves need it."""

    seed: int
    arm: str
    step: int
    reward: float
    restated: float
    tokens: int
    """Thinking tokens sampled so far in this arm."""
    processed: int
    """Tokens through the model in this step's sampling."""
    mismatch: float
    """Largest |log π_old − log π_gen| of the step."""


CLAIMS = (
    Claim(
        "own-prompt", Kind.EXACT, "Each chunk is trained on its own prompt, so before an update every ratio is 1.",
        "in any step of any arm a token's log-probability in the trainer differs from the sampler's by more than 0.001",
    ),
    Claim(
        "restating", Kind.EFFECT, "Trained in chunks, the model learns to write the state it will need: the restating rate rises.",
        "after Delethink RL the restating rate is not above the start's; it holds where it is above 0.8 and the rise's 95 % interval is "
        "wholly above zero",
    ),
    Claim(
        "only-chunked", Kind.EFFECT, "What makes it write the state is the environment: plain RL from the same start does not.",
        "the restating rate rises as much under LongCoT RL; it holds where Delethink's rate less LongCoT's has a 95 % interval wholly "
        "above zero",
    ),
    Claim(
        "parity", Kind.EFFECT, "At equal thinking tokens Delethink RL is as good as LongCoT RL, each in its own environment.",
        "Delethink's test reward less LongCoT's has a 95 % interval wholly below -0.1; it holds where the interval is wholly above -0.1",
    ),
    Claim(
        "needs-training", Kind.EFFECT, "Thinking in chunks is learnt in chunks: a model trained plainly does worse in them.",
        "in chunks, the reward of the LongCoT-trained model is not below that of the Delethink-trained one; it holds where the "
        "difference's 95 % interval is wholly above zero",
    ),
    Claim(
        "carry", Kind.EFFECT, "Control m = 0: without carried text there is nothing to learn from, and reward stays low.",
        "the reward after training with m = 0, in that environment, is 0.2 or more; it holds where its 95 % interval is wholly below",
    ),
    Claim(
        "window", Kind.EFFECT, "Control m = C − 1: overlapping windows train as well as m = C/2 (the paper finds reward flat in m).",
        "the reward with m = C − 1 less that with m = C/2, each in its own environment, has a 95 % interval wholly below -0.1; it holds "
        "where the interval is wholly above -0.1",
    ),
)  # fmt: skip


def values(rows: Iterable[Row], arm: str, environment: str, metric: str) -> dict[int, dict[str, float]]:
    """Seed -> problem -> metric of one model in one environment."""
    found: dict[int, dict[str, float]] = {}
    for r in rows:
        if (r.arm, r.environment) == (arm, environment):
            found.setdefault(r.seed, {})[r.problem] = float(getattr(r, metric))
    return found


def findings(rows: Sequence[Row], learnt: Sequence[Learnt]) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""

    def restated(arm: str, environment: str) -> dict[int, dict[str, float]]:
        return values(rows, arm, environment, "restated")

    def reward(arm: str, environment: str) -> dict[int, dict[str, float]]:
        return values(rows, arm, environment, "passed")

    before, chunked, plain = level(restated(START, DELETHINK)), level(restated(DELETHINK, DELETHINK)), level(restated(LONGCOT, LONGCOT))
    rise = gap(restated(DELETHINK, DELETHINK), restated(START, DELETHINK))
    plain_rise = gap(restated(LONGCOT, LONGCOT), restated(START, LONGCOT))
    only = gap(restated(DELETHINK, DELETHINK), restated(LONGCOT, LONGCOT))
    parity = gap(reward(DELETHINK, DELETHINK), reward(LONGCOT, LONGCOT))
    needs = gap(reward(DELETHINK, DELETHINK), reward(LONGCOT, DELETHINK))
    nothing, window = level(reward(NOTHING, NOTHING)), gap(reward(WINDOW, WINDOW), reward(DELETHINK, DELETHINK))
    worst = max((x.mismatch for x in learnt), default=None)
    rewards = {arm: level(reward(arm, arm)) for arm in (LONGCOT, DELETHINK, NOTHING, WINDOW)}
    return (
        Finding(
            "own-prompt", Result.UNCLEAR if worst is None else _all(worst <= 1e-3),
            "no steps" if worst is None else f"largest difference {worst:.1e} over {len(learnt)} steps",
        ),
        Finding(
            "restating", _passed(rise, chunked),
            f"restating rate {say(before)} at the start, {say(chunked)} after Delethink RL: {signed(rise)}",
        ),
        Finding(
            "only-chunked", _above(only),
            f"Delethink's rate less LongCoT's {signed(only)}; LongCoT's {say(plain)}, its rise {signed(plain_rise)}",
        ),
        Finding(
            "parity", _not_worse(parity),
            f"Delethink less LongCoT {signed(parity)}; {say(rewards[DELETHINK])} against {say(rewards[LONGCOT])}; "
            f"the Delethink-trained model in one context {say(level(reward(DELETHINK, LONGCOT)))}",
        ),
        Finding("needs-training", _above(needs), f"in chunks, Delethink-trained less LongCoT-trained {signed(needs)}"),
        Finding("carry", _low(nothing), f"reward with m = 0 after training {say(nothing)}"),
        Finding("window", _not_worse(window), f"m = C − 1 less m = C/2 {signed(window)}; {say(rewards[WINDOW])}"),
    )  # fmt: skip


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _above(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.low <= 0 < e.mean else _all(e.low > 0)


def _passed(rise: Estimate | None, after: Estimate | None) -> Result:
    found = _above(rise)
    return Result.UNCLEAR if found is Result.HOLDS and (after is None or after.mean <= HIGH) else found


def _not_worse(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.low <= -MARGIN <= e.high else _all(e.low > -MARGIN)


def _low(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.low < LOW <= e.high else _all(e.high < LOW)


METRICS = {"passed": "test reward", "restated": "restating rate", "truncated": "cut short"}


def measures(rows: Sequence[Row], learnt: Sequence[Learnt]) -> tuple[Measure, ...]:
    """Every model in every environment it was tried in; then what training took of each arm."""
    made: list[Measure] = []
    for arm, environment in dict.fromkeys((r.arm, r.environment) for r in rows):
        for metric, words in METRICS.items():
            if e := level(values(rows, arm, environment, metric)):
                made.append(Measure(f"{arm}, tried in {environment}", words, e.mean, e.low, e.high, e.n))
    for arm in dict.fromkeys(x.arm for x in learnt):
        mine = [x for x in learnt if x.arm == arm]
        seeds = {x.seed for x in mine}
        spent = {"thinking tokens sampled": [float(max(x.tokens for x in mine if x.seed == s)) for s in seeds]}
        spent["tokens through the model while sampling"] = [float(sum(x.processed for x in mine if x.seed == s)) for s in seeds]
        for words, of in spent.items():
            made.append(Measure(f"{arm}, training", words, fmean(of), min(of), max(of), len(of)))
    return tuple(made)
