"""How wrong is a process verifier, and which decoder puts up with it? From scores of partial answers and what became of them.

Symbols: π the model, h depth (blocks written), V̂ the score, V* the chance that a prefix ends well, τ ∈ [0, 1] an outcome, Z = E τ,
π* ∝ π·τ the model's right answers. What VGB's theorem 4.2 asks (arXiv 2510.03149) can be estimated from rollouts of π alone:

    E_π*[V̂/V*] at h = E_π[V̂_h]/Z          how far it overrates; no V* needed
    E_π*[V*/V̂] at h = E_π[τ τ′/V̂_h]/Z     how far it underrates; τ, τ′ of two rollouts from one prefix, which are independent given it
    leaf mass        = Z / 2 Σ_h E_π[V̂_h]  the share of its time that the walk is at answers, τ for V̂ at an answer

ε is the larger of the two, less 1, over all depths. With one outcome a prefix, V* in the second is the share of good outcomes among
prefixes of like score: a lower bound, and said so. All problems are pooled, so each weighs as much as it has right answers.

Departures. Scaling the scores of a depth by one number changes ε and mends a part of it for nothing; `scaled` is ε after the best such
numbers. The steps of a walk are those of a walk over depths alone, with each depth's mean score: right where errors are spread evenly.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonry.core import UserError
from reasonry.probe.stats import Estimate

BINS = 10
DRAWS = 2000
TOLERATED = 0.3
"""ε√H up to which stepwise decoding is advised: its distance from π* is of that order (Example 3.1)."""
MUCH = 0.05
"""Share of right answers behind a zero from which on the alarm is raised."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A partial answer."""

    problem: str
    depth: int
    score: float
    """V̂ ≥ 0."""
    outcomes: tuple[float, ...]
    """τ of the rollouts that went on from it, one or more."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer drawn from the model with a score for each of its partial answers, short of the whole."""

    problem: str
    scores: tuple[float, ...]
    outcome: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer drawn from the model."""

    problem: str
    depth: int
    """Its blocks."""
    outcome: float


@dataclass(frozen=True, slots=True)
class Depth:
    """What is known of one depth."""

    depth: int
    n: int
    score: float
    """Mean V̂."""
    value: float
    """Mean τ."""
    over: Estimate
    """E_π*[V̂/V*]; 1 for a perfect verifier."""
    under: Estimate
    """E_π*[V*/V̂], infinite behind a zero; 1 for a perfect verifier."""
    paired: bool
    """Whether `under` is from pairs of rollouts; else it is a lower bound."""
    auc: float | None
    """Chance that of two prefixes of one problem the one that ended well has the higher score; ½ is chance."""
    scale: float
    """What to multiply this depth's scores by."""
    reliability: tuple[tuple[float, float, int], ...]
    """(mean score, share that ended well, prefixes) of bins of equal count."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was found."""

    depths: tuple[Depth, ...]
    horizon: int
    """H, blocks of the longest answer."""
    problems: int
    answers: int
    Z: float
    error: Estimate
    """ε."""
    scaled: float
    """ε once each depth's scores are multiplied by its `scale`."""
    leaf_mass: Estimate
    closed: float
    """Share of right outcomes that a score of 0 stood before."""
    steps: float
    """Of a walk until its first answer, none of them stays."""
    advice: str
    """Which decoder."""
    findings: tuple[str, ...]


def expanded(rows: Iterable[Scored]) -> tuple[list[Prefix], list[Answer]]:
    """Every answer's prefixes, each with the answer's outcome, and the answers."""
    prefixes, answers = list[Prefix](), list[Answer]()
    for r in rows:
        prefixes += [Prefix(r.problem, h, s, (r.outcome,)) for h, s in enumerate(r.scores, 1)]
        answers.append(Answer(r.problem, len(r.scores) + 1, r.outcome))
    return prefixes, answers


def read_prefixes(path: Path) -> tuple[list[Prefix], list[Answer]]:
    """A JSONL. A line is an answer, `{"problem", "scores": [one for each partial answer, short of the whole], "outcome"}`, or a prefix,
    `{"problem", "depth", "score", "outcomes": [of each rollout from it]}`. Raises UserError for anything else."""
    prefixes, answers = list[Prefix](), list[Scored]()
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a JSONL file") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                row = _read(json.loads(line))
                (prefixes if isinstance(row, Prefix) else answers).append(row)  # type: ignore[arg-type]
        except KeyError as error:
            raise UserError(
                f"{path}, line {number} has no {error}; give problem, scores, outcome, or problem, depth, score, outcomes"
            ) from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: {error}; mend that line") from None
    own, whole = expanded(answers)
    if not own and not prefixes:
        raise UserError(f"{path} has no scores of partial answers; write one line an answer, with its scores and its outcome")
    return prefixes + own, whole


def _read(row: dict[str, object]) -> Prefix | Scored:
    if not isinstance(row, dict):
        raise TypeError("it is no object")
    problem = str(row["problem"])
    if "scores" in row:
        return Scored(problem, tuple(_number(s, "a score") for s in _list(row["scores"], "scores")), _outcome(row["outcome"]))
    depth, outcomes = int(_number(row["depth"], "depth")), tuple(_outcome(o) for o in _list(row["outcomes"], "outcomes"))
    if depth < 1 or not outcomes:
        raise ValueError("depth is below 1" if depth < 1 else "outcomes is empty")
    return Prefix(problem, depth, _number(row["score"], "score"), outcomes)


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{name} is no list")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value!r}, but values are 0 or more")
    return float(value)


def _outcome(value: object) -> float:
    number = _number(value, "an outcome")
    if number > 1:
        raise ValueError(f"an outcome is {number:g}, but outcomes are 0 to 1")
    return number


def check(prefixes: Sequence[Prefix], answers: Sequence[Answer] = (), seed: int = 0) -> Check:
    """Everything, with 95 % intervals that resample problems. Raises UserError where nothing was
    right, for there is no π* then."""
    by_depth = defaultdict[int, list[Prefix]](list)
    for p in prefixes:
        by_depth[p.depth].append(p)
    H = max([a.depth for a in answers] + [h + 1 for h in by_depth])
    units = _units(prefixes, answers)
    outcomes = _outcomes(by_depth, answers)
    Z = float(np.mean(outcomes))
    if Z == 0:
        raise UserError("no outcome is above 0, so nothing can be said of right answers; roll out on problems that are sometimes solved")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(units), (DRAWS, len(units)))
    counts = np.stack([np.bincount(d, minlength=len(units)) for d in drawn]).astype(float)
    counts = np.vstack([np.ones(len(units)), counts])
    tau = _ratio(counts, units, [(a.problem, a.outcome, 1.0) for a in answers]) if answers else None
    depths, levels = list[Depth](), list[NDArray[np.float64]]()
    for h in sorted(by_depth):
        rows = by_depth[h]
        own = _ratio(counts, units, [(p.problem, o, 1.0) for p in rows for o in p.outcomes])
        z = own if tau is None else tau
        scores = _ratio(counts, units, [(p.problem, p.score, 1.0) for p in rows])
        alive = 1.0 if not answers else sum(a.depth > h for a in answers) / len(answers)
        levels.append(scores * alive)
        depths.append(_depth(h, rows, alive * scores / z, counts, units, own, alive / z))
    total = sum(levels) + (tau if tau is not None else np.full(len(counts), Z))
    mass = (tau if tau is not None else Z) / (2 * total)
    error = _worst(depths)
    scaled = max(math.sqrt(max(d.over.mean * d.under.mean, 1.0)) for d in depths) - 1
    right = [(p.score == 0, o) for p in prefixes for o in p.outcomes]
    closed = sum(o for zero, o in right if zero) / max(sum(o for _, o in right), 1e-300)
    steps = _steps([float(level[0]) for level in levels] + [Z])
    advice, findings = _advice(error.mean, scaled, closed, H, Z, steps, depths)
    return Check(
        tuple(depths), H, len({p.problem for p in prefixes}), len(answers), Z, error, scaled, _estimate(mass), closed, steps, advice,
        findings,
    )  # fmt: skip


def _units(prefixes: Sequence[Prefix], answers: Sequence[Answer]) -> dict[str, int]:
    """What is resampled."""
    problems = dict.fromkeys([p.problem for p in prefixes] + [a.problem for a in answers])
    return {name: i for i, name in enumerate(problems)}


def _outcomes(by_depth: dict[int, list[Prefix]], answers: Sequence[Answer]) -> list[float]:
    if answers:
        return [a.outcome for a in answers]
    return [o for p in by_depth[min(by_depth)] for o in p.outcomes]


def _ratio(counts: NDArray[np.float64], units: dict[str, int], rows: Iterable[tuple[str, float, float]]) -> NDArray[np.float64]:
    """Σ value / Σ weight over resampled units; first the sample itself. [1 + DRAWS]"""
    value, weight = np.zeros(len(units)), np.zeros(len(units))
    for unit, v, w in rows:
        value[units[unit]] += v
        weight[units[unit]] += w
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts @ value) / (counts @ weight)


def _depth(
    h: int, rows: Sequence[Prefix], over: NDArray[np.float64], counts: NDArray[np.float64], units: dict[str, int],
    value: NDArray[np.float64], weight: NDArray[np.float64] | float,
) -> Depth:  # fmt: skip
    paired = all(len(p.outcomes) > 1 for p in rows)
    bins = _bins(rows)
    share = {id(p): good for group, good in bins for p in group}

    def square(p: Prefix) -> float:
        """An estimate of V*² that is right on average (pairs), or too small on average (bins)."""
        k, total = len(p.outcomes), sum(p.outcomes)
        return (total**2 - sum(o * o for o in p.outcomes)) / (k * (k - 1)) if paired else share[id(p)] ** 2

    terms = [(p.problem, 0.0 if (s := square(p)) == 0 else math.inf if p.score == 0 else s / p.score, 1.0) for p in rows]
    under = np.full(len(counts), math.inf) if any(t == math.inf for _, t, _ in terms) else _ratio(counts, units, terms) * weight
    a, b = float(over[0]), float(under[0])
    return Depth(
        h, len(rows), float(np.mean([p.score for p in rows])), float(value[0]), _estimate(over), _estimate(under), paired, _auc(rows),
        math.sqrt(b / a) if a > 0 and b < math.inf else 1.0,
        tuple((float(np.mean([p.score for p in group])), good, len(group)) for group, good in bins),
    )  # fmt: skip


def _bins(rows: Sequence[Prefix]) -> list[tuple[list[Prefix], float]]:
    """Prefixes of like score, with the share of good outcomes; scores that are equal stay together."""
    order = sorted(rows, key=lambda p: p.score)
    found: list[list[Prefix]] = []
    for p in order:
        if not found or (len(found[-1]) >= len(order) / BINS and found[-1][-1].score < p.score):
            found.append([])
        found[-1].append(p)
    return [(group, float(np.mean([np.mean(p.outcomes) for p in group]))) for group in found]


def _auc(rows: Sequence[Prefix]) -> float | None:
    """Over pairs of one problem, one that ended well and one that did not; ties count half."""
    of = defaultdict[str, list[tuple[float, float]]](list)
    for p in rows:
        of[p.problem] += [(p.score, o) for o in p.outcomes]
    won = pairs = 0.0
    for found in of.values():
        good = np.array([s for s, o in found if o >= 0.5])
        bad = np.array([s for s, o in found if o < 0.5])
        won += float((good[:, None] > bad).sum() + 0.5 * (good[:, None] == bad).sum())
        pairs += good.size * bad.size
    return won / pairs if pairs else None


def _estimate(values: NDArray[np.float64]) -> Estimate:
    known = values[1:][~np.isnan(values[1:])]
    if not math.isfinite(values[0]) or not len(known):
        return Estimate(float(values[0]), float(values[0]), float(values[0]), len(known))
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high), len(known))


def _worst(depths: Sequence[Depth]) -> Estimate:
    worst = max((e for d in depths for e in (d.over, d.under)), key=lambda e: e.mean)
    return Estimate(max(worst.mean - 1, 0.0), max(worst.low - 1, 0.0), max(worst.high - 1, 0.0), worst.n)


def _steps(levels: Sequence[float]) -> float:
    """Expected steps of a walk on 0 … H with conductances L_h between h − 1 and h, until H: Σ_h (2 Σ_{j<h} L_j + L_h)/L_h."""
    before, steps = 0.0, 0.0
    for level in levels:
        if level == 0:
            return math.inf
        steps += (2 * before + level) / level
        before += level
    return steps


def _advice(
    error: float, scaled: float, closed: float, H: int, Z: float, steps: float, depths: Sequence[Depth]
) -> tuple[str, tuple[str, ...]]:
    found: list[str] = []
    if closed > 0:
        word = "ALARM" if closed >= MUCH else "note"
        found.append(
            f"{word}: a score of 0 stood before {100 * closed:.1f} % of what ended well, and no decoder goes through a zero; clip scores "
            "(vgb?least=0.05)."
        )
    if (1 + scaled) < 0.8 * (1 + error) and math.isfinite(error):
        found.append(
            f"ε falls from {error:.2f} to {scaled:.2f} if each depth's scores are multiplied by its own number (column scale): the "
            "verifier is badly calibrated, which can be mended without training."
        )
    blind = [d.depth for d in depths if d.auc is not None and d.auc < 0.55]
    if blind:
        found.append(f"At depth {', '.join(map(str, blind))} scores hardly tell good from bad (AUC below 0.55).")
    if any(not d.paired for d in depths):
        found.append('Underrating is a lower bound: give two or more outcomes a prefix ("outcomes") for an estimate.')
    reach, answers = error * math.sqrt(H), 1 / Z
    if not math.isfinite(error):
        return "clip the scores first; as they are, stepwise decoding and the walk both lose what stands behind a zero", tuple(found)
    if reach <= TOLERATED:
        return f"stepwise decoding (guided?way=action): ε√H is {reach:.2f}, and it never goes back", tuple(found)
    if answers * H <= steps:
        return (
            f"rejection on outcomes (guided?way=outcome): exact, about {answers:.1f} whole answers for one that is right, fewer blocks "
            f"than the {steps:.0f} steps of a walk; the verifier is not needed"
        ), tuple(found)
    return (
        f"the walk (vgb): ε√H is {reach:.2f}, too much for stepwise decoding; about {steps:.0f} steps to an answer, rejection on outcomes "
        f"would draw {answers * H:.0f} blocks"
    ), tuple(found)
