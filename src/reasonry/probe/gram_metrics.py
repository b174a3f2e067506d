"""What strategic grams show of a batch of attempts: how varied the planning is, how sure the execution, which of the two fails.

    H_SG = −Σ_c p(c) log p(c),  p(c) the share of occurrences that are of cluster c             (HICRA, arXiv 2509.03646)
    execution perplexity = exp(mean −log π) over the tokens outside every gram; relative: divided by that of step 0

Called `strategic_gram_entropy` here: the hallucination literature means another thing by *semantic entropy* (over meanings of answers).
The plug-in value is too low by about (K − 1)/2N, K clusters seen in N occurrences; batches are compared with Miller and Madow's correction,
or at equal N (`rarefied`).

Invariant: a figure that the attempts do not hold (no log-probabilities, no verdicts) is `None`, never a guess.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.special import gammaln

from reasonry.lm.spans import Span, touched
from reasonry.probe.strategic_grams import StrategicGrams, words
from reasonry.tasks.tools import calculator

_EQUATION = re.compile(r"(?<![\w.)])(-?[\d(][\d.()\s]*(?:[-+*/×÷−][\d.()\s]+)+)=\s*(-?\d+(?:\.\d+)?)(?![\d.]*[-+*/×÷−(])")
_SIGNS = str.maketrans("×÷−", "*/-")


@dataclass(frozen=True)
class Trace:
    """One attempt as the probes read it. Made by `trace_log`, or from a training batch."""

    text: str
    passed: bool | None = None
    """`None`: not judged."""
    step: float | None = None
    """Of training; `None` where the log has none."""
    arm: str = ""
    """Which method made it, where a log holds several."""
    tokens: tuple[Span, ...] | None = None
    """Where each token stands in `text`; `None` where the log has words only. So for the next two, one value a token."""
    logprobs: tuple[float, ...] | None = None
    entropies: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Planning:
    """The probes' figures for a batch. Made by `measure`."""

    attempts: int
    occurrences: int
    """Strategic grams found."""
    strategic_gram_entropy: float | None
    """Miller and Madow's estimate, nats; `None` where none occurs."""
    plug_in: float | None
    planning_token_ratio: float | None
    """Share of tokens inside a gram; of words, where tokens are not known."""
    coverage: float
    """Share of attempts with at least one gram."""
    execution_perplexity: float | None
    planning_perplexity: float | None
    execution_entropy: float | None
    """Nats a token, from the log's own entropies."""
    planning_entropy: float | None
    pass_rate: float | None
    length: float
    """Tokens an attempt; words, where tokens are not known."""
    planning_errors: float | None
    """Share of judged attempts that failed although every calculation in them is right."""
    execution_errors: float | None
    """Share that failed with a wrong calculation. What is left of the failures shows no calculation."""
    counts: Mapping[int, int]
    """Occurrences of each cluster."""


Check = Callable[[str], Sequence[bool]]
"""For every checkable step of an attempt, whether it is right."""


def strategic_gram_entropy(counts: Iterable[int]) -> float:
    """The plug-in entropy of occurrence counts, in nats; 0 of nothing."""
    n = np.array([c for c in counts if c > 0], dtype=float)
    p = n / n.sum() if len(n) else n
    return float(-(p * np.log(p)).sum()) + 0.0


def miller_madow(counts: Iterable[int]) -> float:
    """The plug-in entropy plus (K − 1)/2N (Miller, Information Theory in Psychology, 1955)."""
    n = [c for c in counts if c > 0]
    return strategic_gram_entropy(n) + (len(n) - 1) / (2 * sum(n)) if n else 0.0


def rarefied(counts: Iterable[int], m: int) -> float:
    """The plug-in entropy expected of `m` of the occurrences, drawn without replacement; exact. Two batches at the smaller one's N are
    compared at equal bias. Raises ValueError where there are fewer than `m`."""
    n = np.array([c for c in counts if c > 0])
    total = int(n.sum())
    if not 1 <= m <= total:
        raise ValueError(f"rarefied: {m} of {total} occurrences")
    kinds, how_many = np.unique(n, return_counts=True)
    expected = 0.0
    for c, times in zip(kinds, how_many, strict=True):
        k = np.arange(max(1, m - (total - int(c))), min(m, int(c)) + 1)
        log_p = _log_choose(c, k) + _log_choose(total - c, m - k) - _log_choose(total, m)
        expected += times * float((np.exp(log_p) * -(k / m) * np.log(k / m)).sum())
    return expected + 0.0


def equal_count(a: Iterable[int], b: Iterable[int]) -> tuple[float, float, int]:
    """The entropies of two batches at equal N, and that N: the occurrences of the smaller."""
    a, b = list(a), list(b)
    m = min(sum(a), sum(b))
    return rarefied(a, m), rarefied(b, m), m


def equations(text: str) -> list[bool]:
    """For every `calculation = number` in plain digits, whether it is right to within rounding of the written number."""
    found: list[bool] = []
    for left, right in _EQUATION.findall(text):
        value = calculator(left.translate(_SIGNS))
        if not value.startswith("error"):
            digits = len(right.partition(".")[2])
            found.append(abs(float(value) - float(right)) <= 0.5 * 10.0**-digits + 1e-9 if digits else float(value) == float(right))
    return found


def error_kind(text: str, check: Check = equations) -> str | None:
    """Why a failed attempt failed: `execution`, a step that can be checked is wrong; `planning`, all are right; `None`, there is none."""
    steps = check(text)
    return None if not steps else "planning" if all(steps) else "execution"


def measure(traces: Sequence[Trace], grams: StrategicGrams, check: Check = equations) -> Planning:
    """The probes on one batch."""
    counts: Counter[int] = Counter()
    masks: list[list[bool]] = []
    for t in traces:
        counts.update(m.cluster for m in grams.matches(t.text))
        units = t.tokens if t.tokens is not None else [(w.start, w.end) for w in words(t.text)]
        masks.append(touched(grams.spans(t.text), units))
    sizes = [len(m) for m in masks]
    judged = [t for t in traces if t.passed is not None]
    kinds = [error_kind(t.text, check) for t in judged if not t.passed]
    surprise = [
        (m, [-p for p in t.logprobs]) for t, m in zip(traces, masks, strict=True) if t.tokens is not None and t.logprobs is not None
    ]
    entropy = [(m, t.entropies) for t, m in zip(traces, masks, strict=True) if t.tokens is not None and t.entropies is not None]
    return Planning(
        attempts=len(traces),
        occurrences=counts.total(),
        strategic_gram_entropy=miller_madow(counts.values()) if counts else None,
        plug_in=strategic_gram_entropy(counts.values()) if counts else None,
        planning_token_ratio=sum(map(sum, masks)) / sum(sizes) if sum(sizes) else None,
        coverage=sum(map(any, masks)) / max(len(traces), 1),
        execution_perplexity=_exp(_mean(surprise, False)),
        planning_perplexity=_exp(_mean(surprise, True)),
        execution_entropy=_mean(entropy, False),
        planning_entropy=_mean(entropy, True),
        pass_rate=fmean(bool(t.passed) for t in judged) if judged else None,
        length=fmean(sizes) if sizes else 0.0,
        planning_errors=kinds.count("planning") / len(judged) if judged else None,
        execution_errors=kinds.count("execution") / len(judged) if judged else None,
        counts=dict(counts),
    )


def by_step(traces: Sequence[Trace], grams: StrategicGrams, check: Check = equations) -> dict[float, Planning]:
    """The probes for each step of training that the log names, in order."""
    steps = sorted({t.step for t in traces if t.step is not None})
    return {s: measure([t for t in traces if t.step == s], grams, check) for s in steps}


def relative_perplexity(curve: Mapping[float, Planning]) -> dict[float, float]:
    """Execution perplexity by step, divided by that of the first step that has one."""
    found = {s: p.execution_perplexity for s, p in curve.items() if p.execution_perplexity is not None}
    return {s: x / next(iter(found.values())) for s, x in found.items()}


def _mean(of: Sequence[tuple[Sequence[bool], Sequence[float]]], on: bool) -> float | None:
    values = [v for mask, xs in of for m, v in zip(mask, xs, strict=True) if m == on]
    return fmean(values) if values else None


def _exp(x: float | None) -> float | None:
    return None if x is None else math.exp(x)


def _log_choose(n: float, k: np.ndarray | float) -> np.ndarray:
    return gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - np.asarray(k) + 1)
