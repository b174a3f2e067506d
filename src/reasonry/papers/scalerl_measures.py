"""Every figure of ScaleRL's experiment: forecasts of every arm, where it ended, staleness, heads, interruptions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from reasonry.core import Measure
from reasonry.papers.scalerl_found import Found, passed, stale_rates, truncated
from reasonry.probe.seeds import level
from reasonry.probe.stats import Estimate, wilson


def measures(found: Found) -> tuple[Measure, ...]:
    """Means with their intervals; of a few runs, their least and greatest value."""
    made: list[Measure] = []

    def add(arm: str, metric: str, e: Estimate | None) -> None:
        if e is not None:
            made.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))

    def over_runs(arm: str, metric: str, values: Sequence[float]) -> None:
        if values:
            made.append(Measure(arm, metric, fmean(values), min(values), max(values), len(values)))

    add("synthetic truth", "forecasts whose interval holds the truth", wilson(sum(d.inside for d in found.drawn), len(found.drawn)))
    over_runs("synthetic truth", "error of the law at ten times the compute", [abs(d.law_error) for d in found.drawn])
    over_runs("synthetic truth", "error of a power law there", [abs(d.power_error) for d in found.drawn])
    for arm in dict.fromkeys(c.arm for c in found.curves):
        tests = [f for (a, _), f in found.forecasts.items() if a == arm]
        mine = [c for c in found.curves if c.arm == arm]
        over_runs(arm, "error of the law on the last 60 %", [f.sigmoid for f in tests])
        over_runs(arm, "error of a power law there", [f.power for f in tests])
        over_runs(arm, "error of the last value there", [f.last_value for f in tests])
        over_runs(arm, "what noise alone leaves there", [f.noise for f in tests])
        over_runs(arm, "pass rate, mean of the last three evaluations", [fmean(c.rates[-3:]) for c in mine])
        over_runs(arm, "sampled tokens", [c.tokens[-1] for c in mine])
        over_runs(arm, "FLOPs", [c.flops for c in mine])
        over_runs(arm, "groups an update learned from", [c.learned for c in mine])
        over_runs(arm, "truncated", [c.truncated for c in mine])
    for k, corrected in dict.fromkeys((s.k, s.corrected) for s in found.stale):
        name, mine = f"k = {k}, {'ρ' if corrected else 'ρ = 1'}", [s for s in found.stale if (s.k, s.corrected) == (k, corrected)]
        add(name, "final pass rate", level(stale_rates(found, k, corrected)))
        over_runs(name, "mean staleness, updates", [s.mean_lag for s in mine])
        over_runs(name, "different weights in an answer", [s.versions for s in mine])
    for d in found.heads:
        made.append(Measure(d.head, "|log ρ|, mean; median to largest", d.mean, d.median, d.largest, d.tokens))
    for solver in dict.fromkeys(t.solver for t in found.thoughts):
        add(solver, "truncated attempts of the shipped model", truncated(found, solver))
        add(solver, "right attempts of the shipped model", passed(found, solver))
    return tuple(made)
