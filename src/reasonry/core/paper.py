"""What a paper says (`Claim`), how it is tested here (`Paper`), and what was measured (`Evidence`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Kind(StrEnum):
    """What a claim's test can show."""

    EXACT = "exact"
    """An identity that holds to the last digit; its test is in the test suite."""
    EFFECT = "effect"
    """A direction of effect with a small model trained here."""
    COST = "cost"
    """Time, memory or FLOPs at stated shapes."""


class Result(StrEnum):
    """How a claim fared here. `FAILS` is a published result like the others."""

    HOLDS = "holds"
    FAILS = "fails"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the paper that our experiment could contradict."""

    id: str
    kind: Kind
    says: str
    """The paper's claim, in one sentence."""
    falsified_if: str
    """What we would have to measure for it to fail."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of one arm: mean over what was repeated, with its 95 % interval."""

    arm: str
    metric: str
    mean: float
    low: float
    high: float
    n: int
    """Attempts, seeds or draws the mean is over; `meta` in the evidence says which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim beside what we measured."""

    claim: str
    result: Result
    measured: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one run of a paper's experiment measured; stored as `evidence/<slug>.json`, and the only source of the README's table."""

    paper: str
    scale: str
    command: str
    commit: str
    date: str
    machine: str
    seeds: tuple[int, ...]
    budget: str
    measures: tuple[Measure, ...]
    findings: tuple[Finding, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper as this project holds it. Its `run` is composition only; the algorithm lives in `method`."""

    slug: str
    title: str
    arxiv: str
    method: str
    """Dotted path of the file that holds the algorithm."""
    summary: str
    """What the method does, in one or two sentences."""
    differs: tuple[str, ...]
    """Numbered departures from the paper."""
    fails_when: str
    """The built-in case where the method fails."""
    claims: tuple[Claim, ...]
    run: Callable[[Path, tuple[int, ...]], Evidence]
    """(run directory, seeds) -> evidence. Resumes what the directory already holds."""
