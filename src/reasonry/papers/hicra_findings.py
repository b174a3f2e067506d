"""What HICRA's experiments claim, and the rules that turn what was measured into verdicts. Written before the evidence was run.

A difference *holds* where its 95 % interval is wholly above zero, *fails* where its mean is not above zero, and is unclear between.
Intervals: the simulated reasoner's over agents, Student's; the small model's over seeds (training runs), Student's, or that over problems
where wider; the extractor's over seeds, no narrower than Wilson's over the clusters kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Result
from reasonry.papers.hicra_rows import (
    ENTROPY,
    GRPO,
    HICRA,
    PLACEBO,
    Facts,
    Plan,
    Row,
    Step,
    agent_gap,
    changes,
    half_way,
    judged,
    relative,
    scores,
    speeds,
    spread,
    trained,
)
from reasonry.probe.seeds import gap
from reasonry.probe.stats import Estimate

PRECISE = 0.86
"""The share of strategic grams that the paper's readers judged strategic."""
LEFT = 0.9
"""Share of the marked words that must stay when 30 % of the grams are dropped."""
HOLDS_ABOVE = "holds where the difference's 95 % interval is wholly above zero"
CLAIMS = (
    Claim(
        "identity", Kind.EXACT, "With α = 0, or without a strategic gram, HICRA is GRPO.", "a weight differs after two steps of training",
    ),
    Claim(
        "agent-gain", Kind.EFFECT, "Simulated reasoner: more credit on planning learns faster than GRPO.",
        f"mean accuracy over 300 updates is no higher; {HOLDS_ABOVE}",
    ),
    Claim(
        "agent-placebo", Kind.EFFECT, "Simulated reasoner: boosting a random token instead gains less.",
        f"HICRA's mean accuracy is no higher than the placebo's; {HOLDS_ABOVE}",
    ),
    Claim(
        "agent-sign", Kind.EFFECT, "Simulated reasoner (ours): it is the asymmetry that helps, not only a larger step for planning.",
        f"HICRA's mean accuracy is no higher than with planning advantages times 1.2 whatever their sign; {HOLDS_ABOVE}",
    ),
    Claim(
        "agent-base", Kind.EFFECT, "Simulated reasoner: the gain needs a procedural base, execution that is reliable already.",
        f"the gain, relative to GRPO, is no larger where execution starts best than where it starts worst; {HOLDS_ABOVE}",
    ),
    Claim(
        "pass", Kind.EFFECT, "HICRA beats GRPO in pass@1.", f"at equal sampled tokens its test score is no higher; {HOLDS_ABOVE}",
    ),
    Claim(
        "sooner", Kind.EFFECT, "HICRA is right sooner.", f"its mean pass rate over the tokens of training is no higher; {HOLDS_ABOVE}",
    ),
    Claim(
        "placebo", Kind.EFFECT, "Which tokens are boosted matters: as many random ones do not do it.",
        f"HICRA's test score is no higher than the placebo's; {HOLDS_ABOVE}",
    ),
    Claim(
        "entropy", Kind.EFFECT, "Boosting high-entropy tokens instead is worse.",
        f"HICRA's test score is no higher than with the 30 % of tokens of the highest entropy; {HOLDS_ABOVE}",
    ),
    Claim(
        "phases", Kind.EFFECT, "Two phases: execution grows sure first, strategies change later.",
        "in GRPO's runs, execution log-perplexity has not gone half of its way earlier than strategic-gram entropy; holds where it has in "
        "every seed, fails where in none",
    ),
    Claim(
        "blind", Kind.EFFECT, "Token entropy falls while strategic exploration rises.",
        "from the first to the last fifth of GRPO's steps token entropy does not fall, or strategic-gram entropy falls; holds where both "
        "95 % intervals are on the claim's side, fails where one is wholly on the other",
    ),
    Claim(
        "proxy", Kind.EFFECT, "High entropy is no proxy for planning: most high-entropy tokens are not planning tokens.",
        "half or more of the 30 % of tokens with the highest entropy are planning tokens; holds where less than half are in every seed",
    ),
    Claim(
        "extractor", Kind.EFFECT, "The top 20 % of clusters by document frequency are mostly strategic (the paper's readers: 86 %).",
        f"precision on demonstrations is below {PRECISE}; holds where its 95 % interval is wholly at or above it",
    ),
    Claim(
        "dropping", Kind.EFFECT, "Dropping 30 % of the grams hardly changes what is marked.",
        f"less than {LEFT:.0%} of the marked words stay; holds where the 95 % interval is wholly above",
    ),
)  # fmt: skip


def findings(plan: Plan, rows: Sequence[Row], steps: Sequence[Step], facts: Sequence[Facts]) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""
    q, worst, best = plan.bases[1], plan.bases[0], plan.bases[-1]
    same = {name: all(f.same[name] for f in facts) for f in facts[:1] for name in f.same}
    rival = {name: agent_gap(facts, q, HICRA, name) for name in (GRPO, PLACEBO, "planning × 1.2")}
    bases = relative(facts, worst), relative(facts, best)
    needs = spread([b - a for a, b in zip(*bases, strict=True)])
    tests = {name: gap(scores(rows, HICRA), scores(rows, name)) for name in (GRPO, PLACEBO, ENTROPY)}
    speed = spread([speeds(steps, HICRA)[s] - speeds(steps, GRPO)[s] for s in trained(steps)])
    token, strategic = changes(steps, GRPO, "entropy"), changes(steps, GRPO, "sg_entropy")
    halves = {s: (half_way(steps, s, "execution_perplexity"), half_way(steps, s, "sg_entropy")) for s in trained(steps)}
    early = [a is not None and b is not None and a < b for a, b in halves.values()]
    precise, left = judged(facts, 0.2, "precision"), judged(facts, plan.top, "left")
    high = [f.high_planning for f in facts]
    return (
        Finding(
            "identity", _all(all(same.values())) if same else Result.UNCLEAR,
            "; ".join(f"{n}: {'bit for bit' if ok else 'different'}" for n, ok in same.items()),
        ),
        Finding("agent-gain", _above(rival[GRPO]), f"at q = {q:g} {signed(rival[GRPO])} in accuracy"),
        Finding("agent-placebo", _above(rival[PLACEBO]), f"HICRA less placebo {signed(rival[PLACEBO])}"),
        Finding("agent-sign", _above(rival["planning × 1.2"]), f"HICRA less planning × 1.2 {signed(rival['planning × 1.2'])}"),
        Finding(
            "agent-base", _above(needs),
            f"gain {fmean(bases[0]):+.1%} of GRPO's at q = {worst:g}, {fmean(bases[1]):+.1%} at {best:g}: {signed(needs)}"
            if needs else "not run",
        ),
        Finding("pass", _above(tests[GRPO]), f"HICRA less GRPO {signed(tests[GRPO])}"),
        Finding("sooner", _above(speed), f"mean pass rate while training, HICRA less GRPO {signed(speed)}"),
        Finding("placebo", _above(tests[PLACEBO]), f"HICRA less placebo {signed(tests[PLACEBO])}"),
        Finding("entropy", _above(tests[ENTROPY]), f"HICRA less entropy {signed(tests[ENTROPY])}"),
        Finding(
            "phases", Result.HOLDS if early and all(early) else Result.UNCLEAR if any(early) or not early else Result.FAILS,
            "steps to half of the way, execution and strategies: " + "; ".join(f"{_step(a)} and {_step(b)}" for a, b in halves.values()),
        ),
        Finding("blind", _blind(token, strategic), f"token entropy {signed(token)} nats, strategic-gram entropy {signed(strategic)}"),
        Finding(
            "proxy", _all(max(high) < 0.5) if high else Result.UNCLEAR,
            f"{fmean(high):.0%} of high-entropy tokens are planning tokens, and {fmean(f.planning_high for f in facts):.0%} of planning "
            f"tokens have high entropy; planning is {fmean(f.planning_share for f in facts):.0%} of all tokens" if high else "not run",
        ),
        Finding("extractor", _reaches(precise, PRECISE), f"precision {say(precise)}"),
        Finding("dropping", _reaches(left, LEFT), f"{say(left)} of the marked words stay"),
    )  # fmt: skip


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _above(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.n < 2 or e.low <= 0 < e.mean else _all(e.low > 0)


def _reaches(e: Estimate | None, limit: float) -> Result:
    return Result.UNCLEAR if e is None or e.n < 2 or e.low < limit <= e.high else _all(e.low >= limit)


def _blind(token: Estimate | None, strategic: Estimate | None) -> Result:
    if token is None or strategic is None or token.n < 2:
        return Result.UNCLEAR
    if token.low > 0 or strategic.high < 0:
        return Result.FAILS
    return Result.HOLDS if token.high < 0 < strategic.low else Result.UNCLEAR


def _step(x: int | None) -> str:
    return "never" if x is None else str(x)


def say(e: Estimate | None) -> str:
    """A level with its interval."""
    return "unknown" if e is None else f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"


def signed(e: Estimate | None) -> str:
    """A difference with its interval."""
    return "unknown" if e is None else f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
