"""The page of ScaleRL's experiment: every run with its forecast, staleness, the two heads, and every figure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.scalerl_findings import CLAIMS
from reasonry.papers.scalerl_found import Found, Plan, stale_rates
from reasonry.probe.scale_fit import amount
from reasonry.probe.seeds import level

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULES = "Each rule was written before the evidence was measured."


def report(plan: Plan, found: Found, evidence: Evidence) -> str:
    """The whole page as HTML."""
    how = (
        f"Held-out pass rate, mean of {plan.attempts} attempts at {plan.problems} problems, against sampled tokens. Full dots were fitted, "
        "hollow ones came later. Line: the law fitted to the full dots; dotted: a power law fitted to the same; a colour is a seed."
    )
    arms = list(dict.fromkeys(c.arm for c in found.curves))
    sections = [
        *(Section(f"Forecast: {arm}", _forecasts(plan, found, arm), how if arm == arms[0] else "") for arm in arms),
        Section("Forecasts in numbers", _numbers(found, arms)),
        Section("Staleness", _staleness(plan, found), "Final pass rate by k, mean over seeds with its interval; k = 1 is the freshest."),
        Section("The two heads", _heads(found), "|log ρ| of equal weights, summed in two orders, in nats."),
    ]
    return evidence_page("ScaleRL: which recipe to scale, and when one can know", CLAIMS, evidence, sections, RULES)


def _forecasts(plan: Plan, found: Found, arm: str) -> Markup:
    figure, ax = axes(height=300)
    for i, c in enumerate(c for c in found.curves if c.arm == arm):
        at, rates, colour = np.array(c.tokens), np.array(c.rates), series(i)
        seen = at <= plan.until * at[-1]
        ax.plot(at[seen], rates[seen], "o", color=colour, markersize=4.5, markeredgewidth=0, label=f"seed {c.seed}")
        ax.plot(at[~seen], rates[~seen], "o", color=colour, markersize=4.5, markerfacecolor="none", markeredgewidth=1)
        if (test := found.forecasts.get((arm, c.seed))) is not None:
            along = np.linspace(at[1], at[-1], 90)
            ax.plot(along, test.fit.law(along), color=colour, linewidth=2)
            late = along[along > test.until]
            ax.plot(late, test.rival(late), color=colour, linewidth=1.3, linestyle=(0, (1, 2)))
            ax.axvline(test.until, color=MUTED, linewidth=0.8)
    ax.set_ylim(0, 1.02)
    _tokens(ax)
    return figure_svg(figure, f"{arm}: held-out pass rate against sampled tokens, with forecasts from the first {plan.until:.0%}")


def _tokens(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda c, _: amount(c)))
    ax.set_xlabel("sampled tokens", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, loc="lower right", ncols=3)


def _numbers(found: Found, arms: Sequence[str]) -> Markup:
    rows = []
    for (arm, seed), f in sorted(found.forecasts.items(), key=lambda item: (arms.index(item[0][0]), item[0][1])):
        errors = [f"{x:.3f}" for x in (f.sigmoid, f.power, f.last_value, f.noise, f.at_end, f.power_at_end)]
        rows.append([arm, str(seed), str(f.fitted), *errors, f"{f.inside} of {f.predicted}", "yes" if f.refused else "no"])
    head = ["Arm", "Seed", "Fitted", "Law", "Power law", "Last value", "Noise", "Law, at the end", "Power law, at the end", "Inside"]
    return table([*head, "Refused"], rows)


def _staleness(plan: Plan, found: Found) -> Markup:
    figure, ax = axes(height=320)
    for i, (corrected, name) in enumerate(((True, "ρ over the sampler"), (False, "ρ = 1"))):
        known = [(k, e) for k in plan.staleness if (e := level(stale_rates(found, k, corrected))) is not None]
        at = [plan.staleness.index(k) + 0.06 * (i - 0.5) for k, _ in known]
        means = [e.mean for _, e in known]
        bars = [[e.mean - e.low for _, e in known], [e.high - e.mean for _, e in known]]
        ax.errorbar(at, means, bars, color=series(i), linewidth=2, marker="o", markersize=5, capsize=3, label=name)
    ax.set_xticks(range(len(plan.staleness)), [f"k = {k}" for k in plan.staleness])
    ax.legend(frameon=False, labelcolor=INK, loc="best")
    lags = {k: [s.mean_lag for s in found.stale if s.k == k] for k in plan.staleness}
    said = ", ".join(f"{fmean(v):.1f} at k = {k}" for k, v in lags.items() if v)
    return figure_svg(figure, "Final pass rate by staleness, with and without the ratio") + Markup(
        "<p>Mean staleness of the tokens learned from, in updates: {}.</p>"
    ).format(said)


def _heads(found: Found) -> Markup:
    rows = [[d.head, str(d.tokens), *(f"{x:.1e}" for x in (d.mean, d.median, d.p99, d.largest))] for d in found.heads]
    return table(["Head", "Tokens", "Mean", "Median", "99th percentile", "Largest"], rows)
