"""What HICRA's experiments leave behind, and how it is read: sizes, rows, and the numbers that findings, measures and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.probe.seeds import over_seeds, wider
from reasonry.probe.stats import Estimate, wilson

START, GRPO, HICRA, PLACEBO, ENTROPY = "start", "GRPO", "HICRA", "placebo", "entropy top 30 %"
ARMS = (GRPO, HICRA, PLACEBO, ENTROPY)
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
    return None if e is None else share(wider(e, wilson(round(e.mean * n), n)))


def share(e: Estimate) -> Estimate:
    """With an interval inside [0, 1]."""
    return Estimate(e.mean, max(e.low, 0.0), min(e.high, 1.0), e.n)


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
    for seed in trained(steps):
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


def trained(steps: Sequence[Step]) -> list[int]:
    """Seeds for which both GRPO and HICRA were trained."""
    return sorted({s.seed for s in steps if s.arm == GRPO} & {s.seed for s in steps if s.arm == HICRA})


def spread(values: Sequence[float]) -> Estimate | None:
    """Their mean with Student's interval; a single one stands for itself, and `None` for nothing."""
    if not values:
        return None
    return over_seeds(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], 1)
