"""Numbers and findings in words: what a report's headline says, and nothing the tests beside it do not carry.

Invariant: a method *pays* or *loses* only where its difference's 95 % interval excludes zero and its test holds after Holm's
correction for all comparisons of the report; otherwise the page says that no difference was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reasonry.core import Budget
from reasonry.evaluate.report import Pair, Report

_UNITS = {
    "tokens": "tokens",
    "completion_tokens": "sampled tokens",
    "calls": "calls",
    "flops": "FLOPs",
    "seconds": "seconds",
    "money": "dollars",
    "verifier_calls": "verifier calls",
}


class Judgement(StrEnum):
    """What a comparison allows one to say."""

    BETTER = "better"
    WORSE = "worse"
    HINT = "hint"
    """The interval excludes zero, but the test does not hold once all comparisons are counted."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Headline:
    """A title and the sentences under it."""

    title: str
    sentences: tuple[str, ...]


def judgement(pair: Pair) -> Judgement:
    """What a comparison allows one to say."""
    if not pair.difference.excludes_zero:
        return Judgement.NONE
    if pair.p_holm >= 0.05:
        return Judgement.HINT
    return Judgement.BETTER if pair.difference.mean > 0 else Judgement.WORSE


def headline(report: Report) -> Headline:
    """The finding of a report: which method pays at which budget, against the first solver."""
    if not any(arm.scored for arm in report.arms):
        return Headline("No attempt could be scored", ("See the stop reasons and the first error below.",))
    if all(arm.accuracy.mean == 0 for arm in report.arms if arm.accuracy):
        return Headline("No method got anything right", _about_budgets(report))
    if len(report.solvers) == 1:
        return _single(report)
    if not report.pairs:
        return Headline("No two methods were scored on the same problem", ("See the stop reasons and the first error below.",))
    baseline = report.solvers[0]
    sentences = _about_budgets(report)
    better = [p for p in report.pairs if judgement(p) is Judgement.BETTER]
    worse = [p for p in report.pairs if judgement(p) is Judgement.WORSE]
    if better:
        best = max(better, key=lambda p: p.difference.mean)
        title = f"{_capital(best.solver)} pays: {points(best.difference.mean)} over {baseline} at {budget_words(best.budget)}"
    elif worse:
        worst = min(worse, key=lambda p: p.difference.mean)
        title = f"Nothing beats {baseline} here; {worst.solver} loses {points(-worst.difference.mean)} at {budget_words(worst.budget)}"
    else:
        title = f"No difference from {baseline} seen at any budget" if len(report.budgets) > 1 else f"No difference from {baseline} seen"
    return Headline(title, sentences)


def _single(report: Report) -> Headline:
    parts = [
        f"{percent(arm.accuracy.mean)} % at {budget_words(arm.budget)} "
        f"(95 % interval {percent(arm.accuracy.low)} to {percent(arm.accuracy.high)})"
        for arm in report.arms
        if arm.accuracy
    ]
    best = max((arm for arm in report.arms if arm.accuracy), key=lambda a: a.accuracy.mean if a.accuracy else 0)
    assert best.accuracy is not None
    title = f"{_capital(report.solvers[0])} is right on {percent(best.accuracy.mean)} % of {report.task}"
    return Headline(title, ("; ".join(parts) + ".",))


def _about_budgets(report: Report) -> tuple[str, ...]:
    """One sentence per budget at which something was seen, then one for all budgets at which nothing was."""
    said, quiet = [], []
    for budget in report.budgets:
        pairs = sorted((p for p in report.pairs if p.budget == budget), key=lambda p: -p.difference.mean)
        seen = [_about_pair(report, p) for p in pairs if judgement(p) is not Judgement.NONE]
        unseen = [p for p in pairs if judgement(p) is Judgement.NONE]
        if seen:
            said.append(f"At {budget_words(budget)}: " + "; ".join([*seen, *([_unseen(unseen)] if unseen else [])]) + ".")
        else:
            quiet += unseen
    if quiet:
        said.append(f"At {budgets_words([b for b in report.budgets if any(p.budget == b for p in quiet)])}: {_unseen(quiet)}.")
    if any(judgement(p) is Judgement.HINT for p in report.pairs):
        said.append(f"A hint is a difference whose test does not survive the correction for all {len(report.pairs)} comparisons.")
    return tuple(said)


def _unseen(pairs: Sequence[Pair]) -> str:
    """No difference for these, and how large a one the intervals leave possible."""
    low, high = min(p.difference.low for p in pairs), max(p.difference.high for p in pairs)
    names = _listed(list(dict.fromkeys(p.solver for p in pairs)))
    return f"no difference seen for {names} ({signed(low)} to {signed(high)} remain possible)"


def _about_pair(report: Report, pair: Pair) -> str:
    interval = f"95 % interval {signed(pair.difference.low)} to {signed(pair.difference.high)}"
    change = f"{pair.solver} {'gains' if pair.difference.mean > 0 else 'loses'} {points(abs(pair.difference.mean))} ({interval})"
    if judgement(pair) is Judgement.HINT:
        return f"{change}, a hint only"
    mine, base = (report.arm(s, pair.budget).mean_cost["tokens"] for s in (pair.solver, pair.baseline))
    if not base:
        return change
    return change + (" for the same tokens" if 0.95 < mine / base < 1.05 else f" for {mine / base:.1f} times the tokens")


def budget_words(budget: str) -> str:
    """A budget as people say it: `completion_tokens=64` is "64 sampled tokens"."""
    if budget == str(Budget()):
        return budget
    limits = Budget.parse(budget).limits()
    return " + ".join(f"{limit:,.12g} {_UNITS[unit].removesuffix('s') if limit == 1 else _UNITS[unit]}" for unit, limit in limits)


def budgets_words(budgets: Sequence[str]) -> str:
    """Several budgets as people say them; a unit they share is said once: "64, 128 and 256 sampled tokens"."""
    words = [budget_words(budget) for budget in budgets]
    units = {unit for _, _, unit in (w.partition(" ") for w in words)}
    if len(units) == 1 and not any(" + " in w for w in words):
        return f"{_listed([w.partition(' ')[0] for w in words])} {units.pop()}"
    return _listed(words)


def percent(share: float) -> str:
    """A share in %, one decimal."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * difference:.1f} points"


def signed(difference: float) -> str:
    """A difference of shares in percentage points with its sign (a true minus); zero has none."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def p_value(p: float) -> str:
    """A p-value to three decimals, or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float) -> str:
    """A count or a mean at a readable precision: 12,345 · 123.4 · 0.0123; from a million on 1.23 M, G, T, P."""
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
