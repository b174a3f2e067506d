"""What h1's experiment claims, and the rules that turn its attempts into verdicts.

The rules were written before any test problem was looked at; hyperparameters were chosen on validation problems with other seeds. Two arms
are compared on the same problems, with intervals over problems; since those do not see how much training itself varies, a difference
counts only where it has the same sign in every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from reasonry.core import Claim, Finding, Kind, Result
from reasonry.papers.h1_agent import Growth
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference, pass_at_k, wilson
from reasonry.synth import Profile, profile

START, RAMP, LONG, SHORT, MIX, CONTROL = (
    "start", "curriculum", "only the longest", "only single problems", "uniform mix", "random reward",
)  # fmt: skip
FLOOR = 0.02
"""Where both arms of a comparison have the chain right less often than this, it says nothing and its claim is unclear."""


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    model: str = "pocket-1m"
    teaching: int = 180
    """Steps of 4096 tokens that make the start model."""
    H: int = 4
    """The longest chains that any arm is trained on."""
    tokens: int = 420_000
    """Tokens an arm samples in training."""
    control_tokens: int = 60_000
    """The same for the random-reward control."""
    steps_per_stage: int = 20
    """Of the curriculum; its last stage takes what is left of the budget."""
    every: int = 10
    """Steps between checkpoints, each validated."""
    prompts: int = 16
    G: int = 8
    lr: float = 1.5e-4
    base_tokens: int = 10
    step_tokens: int = 22
    """An answer to a chain of h may have base + h·step tokens; the true ones need at most 5 + 20·h."""
    pool: int = 800
    """Training chains of each length."""
    validation: int = 32
    """Validation chains of each trained length."""
    longest: int = 6
    """The longest chains of the examination."""
    problems: int = 200
    """Test chains of each length and seed."""
    drawn_length: int = 5
    """Of pass@k."""
    drawn_problems: int = 16
    """Per seed."""
    draws: int = 128
    drawn_arms: tuple[str, ...] = (START, RAMP, SHORT)
    agent_lengths: tuple[int, ...] = (2, 4, 6, 8)
    """Of the simulated agent."""
    agent_seeds: int = 5

    @property
    def unseen(self) -> range:
        """Lengths of the examination that no arm was trained on."""
        return range(self.H + 1, self.longest + 1)


class Step(msgspec.Struct, frozen=True):
    """One step of an arm's log, as far as the findings need it."""

    step: int
    stage: int
    tokens: int
    """Sampled so far."""
    length: float
    pass_rate: float
    zero_variance: float
    truncated: float
    tokens_per_second: float
    validation: float | None = None


class Row(msgspec.Struct, frozen=True):
    """One attempt at a chain."""

    arm: str
    seed: int
    h: int
    problem: str
    passed: bool
    """The answer is right."""
    cut: bool
    steps: Sequence[bool | None]
    """Whether each step's value is right; `None` where it is not stated."""

    @property
    def whole(self) -> bool:
        """Every step is right: an answer that was not guessed."""
        return all(self.steps)


class Draws(msgspec.Struct, frozen=True):
    """n attempts at one test chain of an unseen length."""

    arm: str
    seed: int
    problem: str
    n: int
    passed: int
    """With the right answer."""
    whole: int
    """With every step right."""


class Arm(msgspec.Struct, frozen=True):
    """All that is known of one arm and seed."""

    name: str
    seed: int
    log: list[Step]
    rows: list[Row]
    draws: list[Draws]


@dataclass(frozen=True)
class Facts:
    """What was found beside the arms."""

    grown: Mapping[str, Growth]
    """Simulated agent: order of practice -> how its cost grows with the length."""
    atoms: Mapping[str, Sequence[float]]
    """Simulated agent: order of practice -> median atoms executed, per length."""
    same_weights: Mapping[str, bool]
    """Which pairs of curricula that must train the same weights did."""
    chance: Mapping[int, float]
    """Length -> what always giving the commonest answer earns on the test chains."""


CLAIMS = (
    Claim(
        "identity", Kind.EXACT, "A curriculum of one length is standard training; one whose gates are open is training on the longest.",
        "any weight differs after training both with the same seed",
    ),
    Claim(
        "exponential", Kind.COST, "Simulated agent: with outcome reward, practising only chains of H costs exponentially much in H.",
        "over H = 2, 4, 6, 8 a straight line through log cost against H fits no better than one against log H",
    ),
    Claim(
        "polynomial", Kind.COST,
        "Simulated agent: a curriculum, or a dense reward, makes the cost polynomial in H (and so does the uniform mix, which the paper "
        "does not say).",
        "for the curriculum or for the dense reward, the line against H fits better than the one against log H",
    ),
    Claim(
        "gap", Kind.EFFECT, "Solving single problems does not make chains: accuracy falls faster than p^h before training on chains.",
        "the start's 95 % interval at h = 2 is not wholly below p², p its accuracy on single problems. The start was made to have this gap",
    ),
    Claim(
        "vanishing", Kind.EFFECT, "On the longest chains alone hardly any group has a signal; the curriculum arrives there with one.",
        "in the first ten steps on the longest chains, the share of groups without a difference in reward is not lower for the curriculum "
        "(95 % intervals that do not overlap)",
    ),
    Claim(
        "reaches", Kind.EFFECT, "The curriculum improves chains of the longest trained length over the start.",
        "the difference's 95 % interval is not wholly above zero, or its sign is not the same in every seed",
    ),
    Claim(
        "over-short", Kind.EFFECT, "On lengths no arm was trained on, the curriculum beats training on single problems alone.",
        "pooled over the unseen lengths, the difference's 95 % interval is not wholly above zero, or its sign differs between seeds",
    ),
    Claim(
        "over-long", Kind.EFFECT, "On those lengths it beats training on the longest chains alone.",
        "as for `over-short`",
    ),
    Claim(
        "over-mix", Kind.EFFECT, "On those lengths it beats a uniform mix of all trained lengths.",
        "as for `over-short`. Later work finds the mix a strong baseline",
    ),
    Claim(
        "new-paths", Kind.EFFECT, "The gain over the start on an unseen length persists at large k: pass@k with every step right.",
        "at k = 32 or at k = 128 the difference's 95 % interval over problems is not wholly above zero",
    ),
    Claim(
        "reward", Kind.EFFECT, "The gain comes from the reward: random rewards give none.",
        "pooled over the trained lengths of two and more, random reward improves over the start by an interval that is not wholly below "
        "the curriculum's gain",
    ),
)  # fmt: skip


def rows_of(arms: Iterable[Arm]) -> list[Row]:
    """Every attempt of the examination."""
    return [row for arm in arms for row in arm.rows]


def scores(rows: Iterable[Row], arm: str, hs: Iterable[int], what: Callable[[Row], bool] = lambda row: row.passed) -> dict[str, float]:
    """Problem, unique over seeds and lengths -> score, for one arm at some lengths."""
    wanted = set(hs)
    return {f"{r.seed}/{r.h}/{r.problem}": float(what(r)) for r in rows if r.arm == arm and r.h in wanted}


def share(found: Mapping[str, float]) -> Estimate | None:
    """The share of ones, with Wilson's 95 % interval; `None` of nothing."""
    return wilson(round(sum(found.values())), len(found)) if found else None


def gap(a: Mapping[str, float], b: Mapping[str, float]) -> Estimate | None:
    """a - b over the problems both have, paired; `None` without any."""
    both = sorted(a.keys() & b.keys())
    return paired_difference([a[k] for k in both], [b[k] for k in both]) if both else None


def by_seed(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """Seed -> mean of a - b over its problems."""
    seeds = sorted({k.split("/")[0] for k in a.keys() & b.keys()}, key=int)
    return {s: float(np.mean([a[k] - b[k] for k in a.keys() & b.keys() if k.split("/")[0] == s])) for s in seeds}


def reached(arms: Iterable[Arm], name: str, k: int, what: Callable[[Draws], int] = lambda d: d.whole) -> dict[str, float]:
    """Problem -> unbiased pass@k of one arm."""
    return {f"{d.seed}/{d.problem}": pass_at_k(d.n, what(d), k) for arm in arms for d in arm.draws if d.arm == name}


def informative(arms: Iterable[Arm], name: str, stage: int, plan: Plan) -> Estimate | None:
    """The share of groups without a difference in reward in the first `plan.every` steps of a stage, over seeds."""
    shares = [s.zero_variance for arm in arms if arm.name == name for s in [s for s in arm.log if s.stage == stage][: plan.every]]
    groups = len(shares) * plan.prompts
    return wilson(round(sum(shares) * plan.prompts), groups) if groups else None


def profile_of(rows: Iterable[Row], arm: str, h: int) -> Profile | None:
    """An arm's step profile at one length, with σ̂ against its own accuracy on single problems; `None` where it has none."""
    own = [r for r in rows if r.arm == arm]
    p, chains = [r.passed for r in own if r.h == 1], [tuple(r.steps) for r in own if r.h == h]
    return profile(chains, sum(p) / len(p)) if chains and any(p) else None


def findings(plan: Plan, arms: Sequence[Arm], facts: Facts) -> tuple[Finding, ...]:
    """The verdict on every claim."""
    rows = rows_of(arms)
    long, ramp = informative(arms, LONG, 0, plan), informative(arms, RAMP, plan.H - 1, plan)
    single, pair = share(scores(rows, START, (1,))), share(scores(rows, START, (2,)))
    grown = facts.grown
    exponential = {name: g.exponential for name, g in grown.items()}
    gains = {name: gap(scores(rows, name, range(2, plan.H + 1)), scores(rows, START, range(2, plan.H + 1))) for name in (RAMP, CONTROL)}
    drawn = {k: gap(reached(arms, RAMP, k), reached(arms, START, k)) for k in (32, plan.draws)}
    short = {k: gap(reached(arms, RAMP, k), reached(arms, SHORT, k)) for k in (32, plan.draws)}
    fits = "; ".join(
        f"{name}: ×{g.factor:.1f} a step (error {g.exponential_error:.2f}) or H^{g.power:.1f} (error {g.polynomial_error:.2f})"
        for name, g in grown.items()
    )
    return (
        Finding("identity", _all(all(facts.same_weights.values())), _list(facts.same_weights)),
        Finding("exponential", _all(exponential["only-H"]), f"simulated; {fits}"),
        Finding(
            "polynomial", _all(not exponential["curriculum"] and not exponential["dense reward"]),
            f"simulated; as above; uniform mix {'exponential' if exponential['uniform mix'] else 'polynomial too'}",
        ),
        Finding(
            "gap", _below(pair, None if single is None else single.mean**2),
            f"p {_share(single)}, so p² {0 if single is None else single.mean**2:.3f}; measured at h = 2 {_share(pair)}",
        ),
        Finding("vanishing", _apart(ramp, long), f"groups without a signal: only the longest {_share(long)}, curriculum {_share(ramp)}"),
        _compare("reaches", plan, rows, START, (plan.H,)),
        _compare("over-short", plan, rows, SHORT, plan.unseen),
        _compare("over-long", plan, rows, LONG, plan.unseen),
        _compare("over-mix", plan, rows, MIX, plan.unseen),
        Finding(
            "new-paths", _both([_above(e) for e in drawn.values()]),
            f"curriculum less start at h = {plan.drawn_length}: "
            + "; ".join(f"pass@{k} {_difference(e)}" for k, e in drawn.items())
            + ". Less only single problems: " + "; ".join(f"pass@{k} {_difference(e)}" for k, e in short.items()),
        ),
        Finding(
            "reward", _apart(gains[CONTROL], gains[RAMP]),
            f"over the start at h = 2 … {plan.H}: random reward {_difference(gains[CONTROL])} with {plan.control_tokens:,} tokens, "
            f"curriculum {_difference(gains[RAMP])} with {plan.tokens:,}",
        ),
    )  # fmt: skip


def _compare(claim: str, plan: Plan, rows: Sequence[Row], against: str, hs: Iterable[int]) -> Finding:
    """The curriculum against another arm, by the accuracy of its answers."""
    hs = tuple(hs)
    a, b = scores(rows, RAMP, hs), scores(rows, against, hs)
    difference, seeds = gap(a, b), by_seed(a, b)
    whole = max((e.mean for arm in (RAMP, against) if (e := share(scores(rows, arm, hs, lambda r: r.whole)))), default=0.0)
    result = Result.UNCLEAR if whole < FLOOR else _above(difference)
    if result is not Result.UNCLEAR and len({x > 0 for x in seeds.values()}) > 1:
        result = Result.UNCLEAR
    each = ", ".join(f"{x:+.3f}" for x in seeds.values())
    lengths = "; ".join(
        f"h = {h}: {_share(share(scores(rows, RAMP, (h,))))} against {_share(share(scores(rows, against, (h,))))}" for h in hs
    )
    return Finding(claim, result, f"curriculum less {against}: {_difference(difference)}; by seed {each}. {lengths}")


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _above(e: Estimate | None) -> Result:
    """Above zero: it holds where the whole interval is, fails where the mean is not."""
    if e is None or e.low <= 0 < e.mean:
        return Result.UNCLEAR
    return _all(e.low > 0)


def _below(e: Estimate | None, bound: float | None) -> Result:
    if e is None or bound is None or e.mean < bound <= e.high:
        return Result.UNCLEAR
    return _all(e.high < bound)


def _apart(low: Estimate | None, high: Estimate | None) -> Result:
    """The first wholly below the second."""
    if low is None or high is None or (low.mean < high.mean and low.high >= high.low):
        return Result.UNCLEAR
    return _all(low.high < high.low)


def _both(results: Sequence[Result]) -> Result:
    return next((r for r in (Result.FAILS, Result.UNCLEAR) if r in results), Result.HOLDS)


def _share(e: Estimate | None) -> str:
    return "not measured" if e is None else f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"


def _difference(e: Estimate | None) -> str:
    return "not measured" if e is None else f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def _list(same: Mapping[str, bool]) -> str:
    return "; ".join(f"{name}: {'the same weights' if ok else 'other weights'}" for name, ok in same.items())


def pass_curve(arms: Sequence[Arm], name: str, k: int, what: Callable[[Draws], int] = lambda d: d.whole) -> Estimate | None:
    """pass@k over problems, with a bootstrap interval."""
    found = reached(arms, name, k, what)
    return clustered_mean([[v] for v in found.values()]) if found else None
