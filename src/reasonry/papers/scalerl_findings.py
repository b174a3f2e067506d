"""What ScaleRL's experiment claims, and the rules that turn what was measured into verdicts. Written before the evidence was measured.

A seed is one training run of every arm, so it is the unit of what is said of runs: means over seeds have Student's interval, or that over
runs or problems where it is wider. With a single seed nothing is decided. Synthetic curves and tokens are units of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from reasonry.core import Claim, Finding, Kind, Result
from reasonry.papers.scalerl_found import Found, passed, stale_rates, truncated
from reasonry.papers.scalerl_law import VALUES, Drawn, law_values
from reasonry.probe.head_precision import BF16, FP32, Disagreement
from reasonry.probe.seeds import gap, level, over_seeds, say, signed, wider
from reasonry.probe.stats import Estimate, paired_difference, wilson

CLOSE = 0.03
"""The brief's forecast error."""
MARGIN = 0.05
"""Pass rate within which two arms of the staleness experiment count as alike."""
HEALTHY = 0.05
"""ScaleRL's share of truncated answers below which runs are healthy."""


CLAIMS = (
    Claim(
        "law", Kind.EXACT, "The pass rate follows R_0 + (A − R_0)/(1 + (C_mid/C)^B): half of the gain at C_mid, R_0 at 0, A in the end.",
        "A value of the brief's worked example is off by more than 1e-6, or the slope of log F is not B.",
    ),
    Claim(
        "coverage", Kind.EFFECT, "From an early stretch of a noisy curve the law forecasts ten times the compute.",
        "On synthetic truth the 95 % interval of the forecast holds the truth significantly less often than 95 times in 100.",
    ),
    Claim(
        "power-law", Kind.EFFECT, "A power law fitted to the same points forecasts too high.",
        "On synthetic truth its error at ten times the compute is not larger than the law's, or its forecasts are not too high.",
    ),
    Claim(
        "forecast", Kind.EFFECT, "Fitted to the first part of a real run, the law predicts the rest.",
        f"The mean error on the last 60 % of a run, fitted on the first 40 %, is above {CLOSE} with its whole interval.",
    ),
    Claim(
        "rival", Kind.EFFECT, "On real runs too, the law predicts better than a power law.",
        "The power law's error less the law's is below 0 with its whole interval.",
    ),
    Claim(
        "stale-8", Kind.EFFECT, "Training on data up to 8 updates old loses little.",
        f"With k = 8 the final pass rate is lower than with k = 1 by more than {MARGIN}, with its whole interval.",
    ),
    Claim(
        "ratio-32", Kind.EFFECT, "Importance weights over the sampler's probabilities matter when data are old.",
        "At k = 32, CISPO's final pass rate is lower with its ρ than with ρ = 1, with its whole interval.",
    ),
    Claim(
        "staleness", Kind.EFFECT, "Staleness is felt somewhere (otherwise the two claims above say nothing).",
        f"With k = 32 the final pass rate differs from that with k = 1 by less than {MARGIN} with its whole interval, ρ or no ρ.",
    ),
    Claim(
        "fp32-head", Kind.EFFECT, "Logits multiplied in fp32 on both sides keep the ratio of equal weights at 1; in bf16 they do not.",
        "The mean |log ρ| is above 1e-5 with fp32 on both sides, or below 1e-3 in bf16.",
    ),
    Claim(
        "interruption", Kind.EFFECT, "Forced interruptions bound a thought's length without truncating answers.",
        f"At equal limits, {HEALTHY:.0%} or more of interrupted attempts are truncated, or less than that of plain ones.",
    ),
)  # fmt: skip


def findings(found: Found) -> tuple[Finding, ...]:
    """The verdicts, by the rules the claims state."""
    off, slope = law_values()
    apart = power_less_law(found.drawn)
    held = wilson(sum(d.inside for d in found.drawn), len(found.drawn)) if found.drawn else None
    high = fmean(d.power_error for d in found.drawn) if found.drawn else 0.0
    error, better = forecast_error(found), rival(found)
    refused = sum(bool(f.refused) for f in found.forecasts.values())
    noise = fmean(f.noise for f in found.forecasts.values()) if found.forecasts else 0.0
    k1, k8, k32 = (stale_rates(found, k) for k in (1, 8, 32))
    near, ratio = gap(k8, k1), gap(k32, stale_rates(found, 32, corrected=False))
    far = {"with ρ": gap(k32, k1), "with ρ = 1": gap(stale_rates(found, 32, corrected=False), stale_rates(found, 1, corrected=False))}
    heads = {d.head: d for d in found.heads}
    plain, cut = truncated(found, "single"), truncated(found, "interrupted")
    stopped = fmean(t.interrupted for t in found.thoughts if t.solver == "interrupted") if found.thoughts else 0.0
    return (
        Finding("law", _all(off <= 1e-6 and abs(slope - 1.92) < 1e-9), f"{len(VALUES)} values off by at most {off:.1e}; slope {slope:.2f}"),
        Finding(
            "coverage", _coverage(held),
            "no curves" if held is None else f"{say(held)} of {held.n} intervals at ten times the compute hold the truth; mean error "
            f"{fmean(abs(d.law_error) for d in found.drawn):.3f}; {sum(d.refused for d in found.drawn)} would have been refused",
        ),
        Finding(
            "power-law", Result.FAILS if high <= 0 and found.drawn else _above(apart),
            f"power law's error less the law's {_small(apart)}; it is too high by {high:.3f} on average",
        ),
        Finding(
            "forecast", _below(error, CLOSE),
            f"mean error {_small(error)} over {len(found.forecasts)} runs, of which noise alone makes {noise:.3f}; "
            f"{refused} forecasts so early would have been refused",
        ),
        Finding("rival", _above(better), f"power law's error less the law's {_small(better)}"),
        Finding("stale-8", _not_worse(near), f"k = 8 less k = 1 {signed(near)}; {say(level(k8))} against {say(level(k1))}"),
        Finding(
            "ratio-32", _above(ratio),
            f"at k = 32, with ρ less with ρ = 1 {signed(ratio)}; {say(level(k32))} against "
            f"{say(level(stale_rates(found, 32, corrected=False)))}",
        ),
        Finding("staleness", _felt(list(far.values())), "k = 32 less k = 1 " + ", ".join(f"{n} {signed(e)}" for n, e in far.items())),
        Finding(
            "fp32-head", _heads(heads),
            ", ".join(f"{d.head}: mean {d.mean:.1e}, 99th percentile {d.p99:.1e}, largest {d.largest:.1e}" for d in found.heads),
        ),
        Finding(
            "interruption", _interrupted(plain, cut),
            f"truncated {say(cut)} with interruptions, {say(plain)} without, at equal limits; right {say(passed(found, 'interrupted'))} "
            f"and {say(passed(found, 'single'))}; interrupted {stopped:.2f}"
            if found.thoughts else "no attempts",
        ),
    )  # fmt: skip


def seeds_of(values: Mapping[int, Sequence[float]]) -> Estimate | None:
    """The mean over seeds of what each seed's runs say; one seed's interval is the whole range, so that it decides nothing."""
    runs = [v for of in values.values() for v in of]
    if not runs:
        return None
    if len(values) == 1:
        return Estimate(fmean(runs), fmean(runs) - 1, fmean(runs) + 1, len(runs))
    e = over_seeds([fmean(of) for of in values.values()])
    spread = wider(e, over_seeds(runs)) if len(runs) > len(values) else e
    return Estimate(spread.mean, spread.low, spread.high, len(runs))


def forecast_error(found: Found) -> Estimate | None:
    """Mean |forecast − measured| over the later part of every run."""
    return seeds_of({s: [f.sigmoid for (_, seed), f in found.forecasts.items() if seed == s] for s in _seeds(found)})


def rival(found: Found) -> Estimate | None:
    """The power law's error less the law's, run by run."""
    return seeds_of({s: [f.power - f.sigmoid for (_, seed), f in found.forecasts.items() if seed == s] for s in _seeds(found)})


def _seeds(found: Found) -> list[int]:
    return sorted({seed for _, seed in found.forecasts})


def power_less_law(drawn: Sequence[Drawn]) -> Estimate | None:
    """Over synthetic curves: how much further off the power law is."""
    if not drawn:
        return None
    return paired_difference([abs(d.power_error) for d in drawn], [abs(d.law_error) for d in drawn])


def _all(holds: bool) -> Result:
    return Result.HOLDS if holds else Result.FAILS


def _above(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.low <= 0 <= e.high else _all(e.low > 0)


def _below(e: Estimate | None, limit: float) -> Result:
    return Result.UNCLEAR if e is None or e.low <= limit < e.high else _all(e.high <= limit)


def _not_worse(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.low <= -MARGIN <= e.high else _all(e.low > -MARGIN)


def _coverage(e: Estimate | None) -> Result:
    return Result.UNCLEAR if e is None or e.n < 50 else _all(e.high >= 0.95)


def _felt(effects: Sequence[Estimate | None]) -> Result:
    known = [e for e in effects if e is not None]
    if any(e.low > 0 or e.high < 0 for e in known):
        return Result.HOLDS
    return Result.FAILS if known and all(e.low > -MARGIN and e.high < MARGIN for e in known) else Result.UNCLEAR


def _heads(heads: Mapping[str, Disagreement]) -> Result:
    return _all(heads[FP32].mean <= 1e-5 and heads[BF16].mean >= 1e-3) if heads else Result.UNCLEAR


def _interrupted(plain: Estimate | None, cut: Estimate | None) -> Result:
    if plain is None or cut is None or cut.low < HEALTHY <= cut.high or plain.low < HEALTHY <= plain.high:
        return Result.UNCLEAR
    return _all(cut.high < HEALTHY <= plain.low)


def _small(e: Estimate | None) -> str:
    return "unknown" if e is None else f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"
