"""What HICRA's experiments claim, and the rules that turn what was measured into verdicts. Written before the evidence was run.

A difference *holds* where its 95 % interval is wholly above zero, *fails* where its mean is not above zero, and is unclear between.
Intervals: the simulated reasoner's over agents, Student's; the small model's over seeds (training runs), Student's, or that over problems
where wider; the extractor's over seeds, no narrower than Wilson's over the clusters kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Result
from reasonry.probe.seeds import gap, over_seeds, wider
from reasonry.probe.stats import Estimate, wilson

START, GRPO, HICRA, PLACEBO, ENTROPY = "start", "GRPO", "HICRA", "placebo", "entropy top 30 %"
ARMS = (GRPO, HICRA, PLACEBO, ENTROPY)
PRECISE = 0.86
"""The share of strategic grams that the paper's readers judged strategic."""
LEFT = 0.9
"""Share of the marked words that must stay when 30 % of the grams are dropped."""
DIGITS, WORDS_TOO, OWN = "demonstrations", "demonstrations, calculations in words", "the start's right answers"


@dataclass(frozen=True)
class Plan:
    """How large the experiments are. The stored evidence uses the defaults."""

    teaching: int = 700
    """Supervised steps of the model that all arms and seeds start from."""
    alpha: float = 0.2
    tokens: int = 90_000
    """An arm may sample so many, to the nearest step."""
    every: int = 10
    """Steps between checkpoints."""
    prompts: int = 8
    group: int = 8
    lr: float = 1e-3
    max_tokens: int = 96
    train_problems: int = 3000
    test_problems: int = 150
    """Per seed, asked twice; every arm gets the same ones."""
    mined: int = 100
    """Training problems whose `group` answers by the start are searched for grams."""
    min_documents: int = 5
    top: float = 0.4
    """Share of clusters kept for training."""
    tops: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    """Shares at which the extractor is held against the truth."""
    corpus: int = 400
    """Right demonstrations of each kind for that."""
    agents: int = 4
    """Simulated reasoners a seed."""
    updates: int = 300
    marked: int = 20
    """Updates between two looks at a simulated reasoner."""
    bases: tuple[float, ...] = (0.65, 0.8, 0.9)
    """Chances at first that an execution token is right; all arms are compared at the second."""


@dataclass(frozen=True)
class Row:
    """One test problem of one model."""

    seed: int
    arm: str
    problem: str
    passed: float
    """Share of its attempts; so for the next two."""
    planning: float
    """Failed with every calculation right."""
    execution: float
    """Failed with a wrong one."""


@dataclass(frozen=True)
class Step:
    """One step of one arm's training."""

    seed: int
    arm: str
    step: int
    tokens: int
    passed: float
    entropy: float
    """Of all tokens, nats."""
    ratio: float
    """Share of tokens in true strategic grams."""
    sg_entropy: float
    execution_perplexity: float
    planning_perplexity: float


@dataclass(frozen=True)
class Quality:
    """A mask of words held against the truth, for one corpus and share of clusters."""

    seed: int
    corpus: str
    top: float
    precision: float
    recall: float
    left: float
    """Of the marked words, when 30 % of the grams are dropped."""
    clusters: int
    """Kept."""


@dataclass(frozen=True)
class Facts:
    """What is known of one seed beside its training runs."""

    seed: int
    agents: Mapping[str, list[list[float]]]
    """`q/arm` -> [agents][marks] exact accuracy."""
    quality: list[Quality]
    high_planning: float
    """Of the tokens with the highest 30 % of entropy, the share that is planning (in the start's answers)."""
    planning_high: float
    """Of the planning tokens, the share among those."""
    planning_share: float
    same: Mapping[str, bool]
    """Ways to have no boost -> whether the weights are those of GRPO."""


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
    speed = spread([speeds(steps, HICRA)[s] - speeds(steps, GRPO)[s] for s in _both(steps)])
    token, strategic = changes(steps, GRPO, "entropy"), changes(steps, GRPO, "sg_entropy")
    halves = {s: (half_way(steps, s, "execution_perplexity"), half_way(steps, s, "sg_entropy")) for s in _both(steps)}
    early = [a is not None and b is not None and a < b for a, b in halves.values()]
    precise, left = judged(facts, 0.2, "precision"), judged(facts, plan.top, "left")
    high = [f.high_planning for f in facts]
    return (
        Finding("identity", _all(all(same.values())) if same else Result.UNCLEAR, "; ".join(f"{n}: {'bit for bit' if ok else 'different'}" for n, ok in same.items())),
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


def curve(facts: Sequence[Facts], q: float, arm: str) -> list[list[float]]:
    """[agents of all seeds][marks]."""
    return [agent for f in facts for agent in f.agents.get(f"{q:g}/{arm}", [])]


def agent_gap(facts: Sequence[Facts], q: float, a: str, b: str) -> Estimate | None:
    """Mean accuracy over the marks, arm a less arm b, agent by agent."""
    return spread([fmean(x) - fmean(y) for x, y in zip(curve(facts, q, a), curve(facts, q, b), strict=True)])


def relative(facts: Sequence[Facts], q: float) -> list[float]:
    """HICRA's gain in mean accuracy as a share of GRPO's, agent by agent."""
    pairs = zip(curve(facts, q, HICRA), curve(facts, q, GRPO), strict=True)
    return [fmean(x) / fmean(y) - 1 for x, y in pairs]


def judged(facts: Sequence[Facts], top: float, what: str) -> Estimate | None:
    """A share over the seeds' demonstrations, its interval no narrower than Wilson's for as many draws as clusters were kept."""
    mine = [x for f in facts for x in f.quality if (x.corpus, x.top) == (DIGITS, top)]
    e, n = spread([getattr(x, what) for x in mine]), sum(x.clusters for x in mine)
    return None if e is None else wider(e, wilson(round(e.mean * n), n))


def scores(rows: Sequence[Row], arm: str, what: str = "passed") -> dict[int, dict[str, float]]:
    """Seed -> problem -> value."""
    found: dict[int, dict[str, float]] = {}
    for r in rows:
        if r.arm == arm:
            found.setdefault(r.seed, {})[r.problem] = getattr(r, what)
    return found


def speeds(steps: Sequence[Step], arm: str) -> dict[int, float]:
    """Seed -> mean pass rate over the tokens sampled in training."""
    found: dict[int, float] = {}
    for seed in sorted({s.seed for s in steps if s.arm == arm}):
        mine = [s for s in steps if (s.arm, s.seed) == (arm, seed)]
        spent = [s.tokens - before for s, before in zip(mine, [0, *(s.tokens for s in mine)], strict=False)]
        found[seed] = sum(s.passed * t for s, t in zip(mine, spent, strict=True)) / sum(spent)
    return found


def changes(steps: Sequence[Step], arm: str, what: str) -> Estimate | None:
    """Mean over the last fifth of an arm's steps less that over the first."""
    found = []
    for seed in _both(steps):
        mine = [float(getattr(s, what)) for s in steps if (s.arm, s.seed) == (arm, seed)]
        edge = max(len(mine) // 5, 1)
        found.append(fmean(mine[-edge:]) - fmean(mine[:edge]))
    return spread(found)


def half_way(steps: Sequence[Step], seed: int, what: str, window: int = 5) -> int | None:
    """The first step at which GRPO's running mean has gone half of the way to where it is farthest from its beginning."""
    mine = [float(getattr(s, what)) for s in steps if (s.arm, s.seed) == (GRPO, seed)]
    smooth = [fmean(mine[i : i + window]) for i in range(len(mine) - window + 1)]
    if not smooth:
        return None
    farthest = max(smooth, key=lambda x: abs(x - smooth[0]))
    return next((i for i, x in enumerate(smooth) if abs(x - smooth[0]) >= abs(farthest - smooth[0]) / 2 and x != smooth[0]), None)


def _both(steps: Sequence[Step]) -> list[int]:
    return sorted({s.seed for s in steps if s.arm == GRPO} & {s.seed for s in steps if s.arm == HICRA})


def spread(values: Sequence[float]) -> Estimate | None:
    """Their mean with Student's interval; a single one stands for itself, and `None` for nothing."""
    if not values:
        return None
    return over_seeds(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], 1)


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
