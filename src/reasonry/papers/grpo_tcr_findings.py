"""What GRPO-TCR's experiment claims, and the rules that turn its attempts into verdicts.

The rules were written before any test problem was looked at; settings were chosen on validation problems, the same for every arm. Two
models are compared on the same problems, with intervals over problems; since those do not see how much training itself varies, a
difference counts only where it has the same sign in every seed. What is read from training logs (entropy, calls, groups without a signal)
is one number a seed and must agree in every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import msgspec

from reasonry.core import Claim, Finding, Kind, Result
from reasonry.probe.stats import Estimate, clustered_mean, paired_difference, pass_at_k

BASE, REAL, STITCHED, FILTERED = "base", "real traces", "stitched traces", "stitched, right texts"
T, T_C, T_R, TCR, SCR = "GRPO-T", "GRPO-T, clip-higher", "GRPO-T, overlong", "GRPO-TCR", "GRPO-SCR"
ONE, CURATED = "GRPO-TCR, one family", "GRPO-TCR, curated"
PROSE, VERDICT = "GRPO-TCR from the base", "GRPO-TCR from the base, verdict only"
EPSILONS = (0.2, 0.28, 0.5, 1.0)
TEST, UNSEEN = "test", "unseen"
CALM = 0.02
"""Difference in mean pass rate while training, or in entropy (nats a token), that counts."""
GONE, KEPT = 0.1, 0.5
"""Shares of the first step's calls below which tools are given up, and above which they are not."""


def swept(high: float) -> str:
    """The arm of the sweep with this ε_high."""
    return TCR if high == 0.28 else f"GRPO-TCR, ε_high {high:g}"


@dataclass(frozen=True)
class Plan:
    """How large the experiment is. The stored evidence uses the defaults."""

    base_steps: int = 360
    """Supervised steps, of 4096 tokens, of the base that all seeds share."""
    sft_steps: int = 80
    sft_tokens: int = 2048
    """Of a step; every start sees as many."""
    tokens: int = 12_000
    """Tokens an arm samples in RL."""
    every: int = 4
    """Steps between checkpoints."""
    prompts: int = 8
    G: int = 8
    updates: int = 4
    lr: float = 6e-4
    longest: int = 40
    """L_max, sampled tokens of an attempt; results of tools are not counted."""
    buffer: int = 12
    turns: int = 6
    pool: int = 2000
    """Training problems."""
    rated: int = 96
    """Problems whose difficulty is measured for the curated arm, and size of its set."""
    ratings: int = 8
    target: tuple[float, float, float] = (1.0, 2.0, 1.0)
    """Its shares of easy, medium and hard ones."""
    split: str = "test"
    problems: int = 48
    """Of the examination, per seed."""
    unseen: int = 32
    attempts: int = 8
    sft_attempts: int = 32
    mode_attempts: int = 8


class Step(msgspec.Struct, frozen=True):
    """One step of an arm's log, as far as the findings need it."""

    step: int
    tokens: int
    length: float
    pass_rate: float
    zero_variance: float
    truncated: float
    tool_calls: float
    tool_success: float | None = None
    tool_calls_all_wrong: float | None = None
    entropy: float | None = None
    clip_share: float | None = None


class Asked(msgspec.Struct, frozen=True):
    """All attempts at one problem; the lists hold one value for each."""

    where: str
    problem: str
    family: str
    right: list[bool]
    tokens: list[int]
    calls: list[int]
    failed: list[int]
    """Calls that failed."""
    cut: list[bool]


class Arm(msgspec.Struct, frozen=True):
    """All that is known of one model and seed."""

    name: str
    seed: int
    log: list[Step]
    asked: list[Asked]
    ratings: list[int]
    """Passes of each rated problem (the curated arm)."""
    pool: int
    """Different training problems."""


Of = Callable[[Asked], float]


def avg(a: Asked) -> float:
    """avg@k: share of right attempts."""
    return fmean(a.right)


def at(k: int) -> Of:
    """pass@k, unbiased."""
    return lambda a: pass_at_k(len(a.right), sum(a.right), min(k, len(a.right)))


def calls(a: Asked) -> float:
    """Calls an attempt."""
    return fmean(a.calls)


def success(a: Asked) -> float:
    """Share of calls that gave a result; 1 without a call."""
    return 1 - sum(a.failed) / sum(a.calls) if sum(a.calls) else 1.0


CLAIMS = (
    Claim(
        "on-policy", Kind.EXACT, "Clip-higher matters only off-policy: with one update a batch the bounds change nothing.",
        "any weight differs after the same training with ε_high at .2, .28 and 1, one update a batch",
    ),
    Claim(
        "real", Kind.EFFECT, "Real traces are a better start than stitched ones: avg@32.",
        "the difference's 95 % interval is not wholly above zero, or its sign is not the same in every seed",
    ),
    Claim("real-pass", Kind.EFFECT, "And they widen what the model can solve at all: pass@32.", "as for `real`"),
    Claim("tcr", Kind.EFFECT, "GRPO-TCR ends more accurate than GRPO-T at equal sampled tokens.", "as for `real`, on avg@8"),
    Claim(
        "efficient", Kind.EFFECT, "GRPO-TCR learns faster than GRPO-T.",
        f"the mean pass rate over all training steps is not higher in every seed, or by less than {CALM} on average",
    ),
    Claim("widens", Kind.EFFECT, "GRPO-TCR raises pass@8 over its start too, not only avg@8.", "as for `real`, on pass@8"),
    Claim("token-level", Kind.EFFECT, "The token-level ratio beats the sequence-level one (GRPO-SCR).", "as for `real`, on avg@8"),
    Claim(
        "entropy", Kind.EFFECT, "A higher upper clip bound keeps more entropy.",
        f"over the second half of training the entropy with ε_high 1 is not higher than with .2 in every seed, or by less than {CALM} nats",
    ),
    Claim(
        "sweet-spot", Kind.EFFECT, "The best upper bound lies inside: .28 and .5 together beat both .2 and 1.",
        "as for `real`, for each of the two ends",
    ),
    Claim(
        "diverse-entropy", Kind.EFFECT, "Three families of problems keep more entropy than one.",
        f"over the second half of training the entropy is not higher in every seed, or by less than {CALM} nats",
    ),
    Claim(
        "diverse", Kind.EFFECT, "Trained on three families rather than one, the model is better on a family it was not trained on.",
        "as for `real`, on avg@8",
    ),
    Claim(
        "curated-signal", Kind.EFFECT, "Difficulty matched to the model leaves fewer groups without a signal.",
        "the mean share over training is not lower in every seed",
    ),
    Claim("curated", Kind.EFFECT, "And the model ends more accurate at equal training tokens.", "as for `real`, on avg@8"),
    Claim(
        "deliberate", Kind.EFFECT, "Asked to plan first, the model calls less, its calls succeed more often, and it is right more often.",
        "one of the three differences is not as claimed (95 % interval, and sign in every seed)",
    ),
    Claim(
        "long-cot", Kind.EFFECT, "A model that was taught to reason without tools gives them up under RL; one taught real traces does not.",
        f"calls end above {GONE:.0%} of the first step's in a seed of the base, or below {KEPT:.0%} of them in one of the real start",
    ),
)  # fmt: skip


def scores(arms: Iterable[Arm], name: str, where: str = TEST, what: Of = avg) -> dict[str, float]:
    """Problem, unique over seeds -> score of one model."""
    return {f"{arm.seed}/{a.problem}": what(a) for arm in arms if arm.name == name for a in arm.asked if a.where == where}


def level(found: Mapping[str, float]) -> Estimate | None:
    """The mean with its 95 % interval over problems; `None` of nothing."""
    if not found:
        return None
    scale = max(1.0, *found.values())
    return _times(clustered_mean([[x / scale] for x in found.values()]), scale)


def gap(a: Mapping[str, float], b: Mapping[str, float]) -> Estimate | None:
    """a − b over the problems both have, paired; `None` without any."""
    both = sorted(a.keys() & b.keys())
    if not both:
        return None
    scale = max(1.0, *a.values(), *b.values())
    return _times(paired_difference([a[k] / scale for k in both], [b[k] / scale for k in both]), scale)


def _times(e: Estimate, scale: float) -> Estimate:
    return Estimate(e.mean * scale, e.low * scale, e.high * scale, e.n)


def by_seed(a: Mapping[str, float], b: Mapping[str, float]) -> list[float]:
    """Mean of a − b over the problems of each seed."""
    both = a.keys() & b.keys()
    seeds = sorted({k.split("/")[0] for k in both}, key=int)
    return [fmean(a[k] - b[k] for k in both if k.split("/")[0] == s) for s in seeds]


def above(a: Mapping[str, float], b: Mapping[str, float]) -> Result:
    """a above b: holds where the whole interval is and every seed agrees, fails where the mean is not."""
    e = gap(a, b)
    if e is None:
        return Result.UNCLEAR
    if e.mean <= 0:
        return Result.FAILS
    return Result.HOLDS if e.low > 0 and min(by_seed(a, b)) > 0 else Result.UNCLEAR


def steady(differences: Sequence[float], least: float = 0.0) -> Result:
    """Above zero in every seed, and by `least` on average; fails where the mean is not above zero."""
    if not differences:
        return Result.UNCLEAR
    if fmean(differences) <= 0:
        return Result.FAILS
    return Result.HOLDS if min(differences) > 0 and fmean(differences) >= least else Result.UNCLEAR


def over(arms: Iterable[Arm], name: str, what: Callable[[Step], float | None], begin: float = 0.0) -> dict[int, float]:
    """Seed -> mean over an arm's steps, from a share of them on."""
    found: dict[int, float] = {}
    for arm in arms:
        values = [v for s in arm.log[int(begin * len(arm.log)) :] if (v := what(s)) is not None]
        if arm.name == name and values:
            found[arm.seed] = fmean(values)
    return found


def less(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """a − b by seed."""
    return [a[s] - b[s] for s in sorted(a.keys() & b.keys())]


def left(arms: Iterable[Arm], name: str, every: int) -> dict[int, float]:
    """Seed -> calls an attempt over the last `every` steps, as a share of the first step's."""
    own = [a for a in arms if a.name == name and a.log]
    return {a.seed: fmean(s.tool_calls for s in a.log[-every:]) / max(a.log[0].tool_calls, 1e-9) for a in own}


def both(results: Sequence[Result]) -> Result:
    """All of them."""
    return next((r for r in (Result.FAILS, Result.UNCLEAR) if r in results), Result.HOLDS)


def findings(plan: Plan, arms: Sequence[Arm], same: bool) -> tuple[Finding, ...]:
    """The verdict on every claim; `same`: whether clip bounds left the weights alone with one update a batch."""

    def rate(step: Step) -> float:
        return step.pass_rate

    def entropy(step: Step) -> float | None:
        return step.entropy

    def versus(claim: str, a: str, b: str, where: str = TEST, what: Of = avg, more: str = "") -> Finding:
        x, y = scores(arms, a, where, what), scores(arms, b, where, what)
        return Finding(claim, above(x, y), f"{a} {say(level(x))}, {b} {say(level(y))}; {told(x, y)}{more}")

    def logged(claim: str, a: str, b: str, what: Callable[[Step], float | None], least: float, begin: float = 0.0) -> Finding:
        x, y = over(arms, a, what, begin), over(arms, b, what, begin)
        return Finding(claim, steady(less(x, y), least), f"{a} {each(x.values())}, {b} {each(y.values())} (by seed)")

    inner = [scores(arms, swept(e)) for e in EPSILONS[1:-1]]
    middle = {k: fmean(i[k] for i in inner) for k in set.intersection(*(set(i) for i in inner))}
    ends = {e: scores(arms, swept(e)) for e in (EPSILONS[0], EPSILONS[-1])}
    plain, planned = ({w: scores(arms, REAL, mode, w) for w in (calls, success, avg)} for mode in ("react", "deliberate"))
    gone, kept = left(arms, PROSE, plan.every), left(arms, TCR, plan.every)
    decayed = Result.UNCLEAR
    if gone and kept:
        decayed = Result.HOLDS if max(gone.values()) <= GONE and min(kept.values()) >= KEPT else Result.UNCLEAR
        if min(gone.values()) > KEPT or max(kept.values()) < KEPT:
            decayed = Result.FAILS
    filtered = f". With right texts only: {say(level(scores(arms, FILTERED)))}"
    swept_levels = "; ".join(f"{e:g}: {say(level(scores(arms, swept(e))))}" for e in EPSILONS)
    zero = less(over(arms, TCR, lambda s: s.zero_variance), over(arms, CURATED, lambda s: s.zero_variance))
    return (
        Finding("on-policy", Result.HOLDS if same else Result.FAILS, "the same weights" if same else "other weights"),
        versus("real", REAL, STITCHED, more=filtered),
        versus("real-pass", REAL, STITCHED, what=at(32)),
        versus("tcr", TCR, T),
        logged("efficient", TCR, T, rate, CALM),
        versus("widens", TCR, REAL, what=at(8), more=f". GRPO-T: {say(level(scores(arms, T, what=at(8))))}"),
        versus("token-level", TCR, SCR),
        logged("entropy", swept(1.0), swept(0.2), entropy, CALM, 0.5),
        Finding(
            "sweet-spot", both([above(middle, end) for end in ends.values()]),
            swept_levels + "; inside less " + ", less ".join(f"{e:g}: {told(middle, end)}" for e, end in ends.items()),
        ),
        logged("diverse-entropy", TCR, ONE, entropy, CALM, 0.5),
        versus("diverse", TCR, ONE, UNSEEN),
        Finding(
            "curated-signal", steady(zero),
            f"groups without a signal: {each(over(arms, TCR, lambda s: s.zero_variance).values())} as drawn, "
            f"{each(over(arms, CURATED, lambda s: s.zero_variance).values())} curated (by seed)",
        ),
        versus("curated", CURATED, TCR, more=f". Rating took {plan.rated * plan.ratings} further attempts, which are not counted"),
        Finding(
            "deliberate", both([above(plain[calls], planned[calls]), *(above(planned[w], plain[w]) for w in (success, avg))]),
            "; ".join(
                f"{name} {say(level(planned[w]))} deliberate, {say(level(plain[w]))} step by step"
                for name, w in (("calls", calls), ("success a call", success), ("accuracy", avg))
            ),
        ),
        Finding(
            "long-cot", decayed,
            f"calls at the end as a share of the first step's, by seed: from the base {each(gone.values())}, from real traces "
            f"{each(kept.values())}. From the base with the plain verdict as reward: {each(left(arms, VERDICT, plan.every).values())}",
        ),
    )  # fmt: skip


def say(e: Estimate | None) -> str:
    """A level with its interval."""
    return "not measured" if e is None else f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"


def told(a: Mapping[str, float], b: Mapping[str, float]) -> str:
    """A difference with its interval and each seed's."""
    e = gap(a, b)
    return "not measured" if e is None else f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}], by seed {each(by_seed(a, b), '+')}"


def each(values: Iterable[float], sign: str = "") -> str:
    """Numbers in a row."""
    return ", ".join(f"{v:{sign}.3f}" for v in values) or "not measured"
