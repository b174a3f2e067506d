"""What many attempts add up to: per solver and budget the accuracy with its interval and the cost, and what differs between solvers.

Invariant: a report is a function of the outcomes alone, taken in a fixed order, so a resumed run reports what an unkilled one does.
Attempts that could not be scored are counted, shown and left out of every score; they are never zeros.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import msgspec

from reasonry.core import Cost, Stop
from reasonry.probe.stats import (
    Estimate,
    avg_at_k,
    clustered_mean,
    holm,
    maj_at_k,
    mcnemar,
    paired_difference,
    pass_at_k,
    permutation_test,
    wilson,
)

TRUNCATED = frozenset({Stop.LENGTH, Stop.CONTEXT, Stop.BUDGET, Stop.MAX_CHUNKS})
"""Stops that cut an attempt short: not the model's own end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt, as far as a report needs it."""

    solver: str
    budget: str
    problem: str
    attempt: int
    score: float | None
    """`None`: not scored."""
    passed: bool | None
    answer: str | None
    """As the judge read it: the vote of maj@k."""
    stop: Stop
    cost: Cost
    error: str | None


@dataclass(frozen=True, slots=True)
class AtK:
    """What k attempts at a problem would give, over the problems with at least k scored attempts."""

    k: int
    passed: Estimate
    """pass@k: at least one is right. An attempt whose verdict does not say whether it passed counts as one that did not."""
    majority: Estimate
    """maj@k: their majority answer is right."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One solver at one budget."""

    solver: str
    budget: str
    attempts: int
    """Attempts made: problems × attempts at each."""
    scored: int
    unscored: int
    """Attempts without a score: errors, and answers the judge could not compare."""
    errors: int
    """Attempts that ended in an error; among `unscored`."""
    accuracy: Estimate | None
    """Mean score: avg@k over the k attempts made. Wilson's interval for one pass-or-fail attempt a problem, otherwise a bootstrap over
    problems. `None` where nothing was scored."""
    at_k: tuple[AtK, ...]
    """For k = 1, 2, 4, … and the attempts made; empty with one attempt a problem."""
    truncated: float
    """Share of attempts that were cut short (length, context, budget, chunks)."""
    stops: Mapping[str, int]
    """Stop reason -> attempts."""
    mean_cost: Mapping[str, float]
    """Mean over attempts without an error of every field of `Cost`, and of `tokens` and `processed_tokens`."""
    total_cost: Mapping[str, float]
    """Their sums; `peak_kv_bytes` is the largest of any attempt."""


@dataclass(frozen=True, slots=True)
class Part:
    """One solver at one budget on the problems of one kind, where the task names kinds (`meta["skill"]`)."""

    name: str
    solver: str
    budget: str
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Pair:
    """A solver against the first solver, at the same budget, on the problems both were scored on."""

    solver: str
    baseline: str
    budget: str
    difference: Estimate
    """Mean score of the solver less the baseline's."""
    only_solver: int
    """Problems on which its mean score is the higher one."""
    only_baseline: int
    test: str
    """`McNemar, exact` for one pass-or-fail attempt a problem, otherwise `permutation`."""
    p: float
    p_holm: float
    """Corrected for all comparisons in this report."""


@dataclass(frozen=True, slots=True)
class Report:
    """Made by `compare`; read by people, by `report.html` and by papers' experiments."""

    task: str
    solvers: tuple[str, ...]
    budgets: tuple[str, ...]
    problems: int
    attempts: int
    """Attempts at each problem."""
    seed: int
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    parts: tuple[Part, ...]
    """Empty where all problems are of one kind."""
    first_error: str | None
    """One sentence, where any attempt failed."""

    def arm(self, solver: str, budget: str) -> Arm:
        """The arm of a solver at a budget; raises KeyError where there is none."""
        found = next((a for a in self.arms if (a.solver, a.budget) == (solver, budget)), None)
        if found is None:
            raise KeyError(f"no arm {solver!r} at {budget!r}")
        return found

    def pair(self, solver: str, budget: str) -> Pair | None:
        """The comparison of a solver with the baseline at a budget; `None` for the baseline, or where no problem was scored in both."""
        return next((p for p in self.pairs if (p.solver, p.budget) == (solver, budget)), None)

    def json(self) -> str:
        """Everything, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def csv(self) -> str:
        """One row per solver and budget; `CSV_COLUMNS` says what each column holds. Empty where a number does not exist."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(CSV_COLUMNS), lineterminator="\n")
        table.writeheader()
        table.writerows(_row(self, arm) for arm in self.arms)
        return text.getvalue()


COSTS: tuple[str, ...] = (*(f.name for f in fields(Cost)), "tokens", "processed_tokens")
"""What a report prices: every field of `Cost`, and two sums of them."""

_CACHED = "; less what a cache held, so it depends on which attempt came first"
_NOTES = dict.fromkeys(("prefill_tokens", "processed_tokens", "flops", "layers_run"), _CACHED) | {
    "seconds": "; wall-clock, waiting included"
}

CSV_COLUMNS: dict[str, str] = {
    "solver": "method, as named on the command line",
    "budget": "limit of one attempt, as unit=number",
    "attempts": "attempts made: problems × attempts at each",
    "scored": "attempts with a score",
    "unscored": "attempts without one: errors, and answers the judge could not compare",
    "errors": "attempts that ended in an error",
    "accuracy": "mean score in [0, 1]; with several attempts a problem this is avg@k",
    "accuracy_low": "lower end of its 95 % interval",
    "accuracy_high": "upper end",
    "k": "attempts at each problem, for the two measures that follow; empty with one",
    "pass_at_k": "chance that at least one of k attempts is right",
    "pass_at_k_low": "lower end of its 95 % interval",
    "pass_at_k_high": "upper end",
    "maj_at_k": "chance that the majority answer of k attempts is right",
    "maj_at_k_low": "lower end of its 95 % interval",
    "maj_at_k_high": "upper end",
    "truncated": "share of attempts cut short by length, context, budget or chunks",
    "stops": "stop reasons as reason=count, separated by spaces",
    "difference": "mean score less the first solver's at the same budget; empty for the first solver",
    "difference_low": "lower end of its 95 % interval (paired bootstrap)",
    "difference_high": "upper end",
    "only_solver": "problems on which this solver scores higher than the first",
    "only_baseline": "problems on which the first scores higher",
    "test": "McNemar, exact; or permutation",
    "p": "its two-sided p-value",
    "p_holm": "the same, corrected for all comparisons of the report (Holm)",
    **{f"mean_{c}": f"{c} per attempt{_NOTES.get(c, '')}" for c in COSTS},
    **{f"total_{c}": f"{c} of all attempts{', the largest' if c == 'peak_kv_bytes' else ''}{_NOTES.get(c, '')}" for c in COSTS},
}
"""Column -> what it holds."""


def build_report(
    outcomes: Sequence[Outcome],
    task: str,
    solvers: Sequence[str],
    budgets: Sequence[str],
    problems: int,
    attempts: int,
    seed: int,
    kinds: Mapping[str, str],
) -> Report:
    """The report of finished outcomes, which may come in any order. The first solver is the baseline; `kinds` is problem id -> kind."""
    ordered = sorted(outcomes, key=lambda o: (o.problem, o.attempt))
    groups: dict[tuple[str, str], list[Outcome]] = {(s, b): [] for b in budgets for s in solvers}
    for outcome in ordered:
        groups[outcome.solver, outcome.budget].append(outcome)
    pairs = [pair for b in budgets for s in solvers[1:] if (pair := _pair(groups[s, b], groups[solvers[0], b], attempts))]
    corrected = holm([pair.p for pair in pairs])
    return Report(
        task=task,
        solvers=tuple(solvers),
        budgets=tuple(budgets),
        problems=problems,
        attempts=attempts,
        seed=seed,
        arms=tuple(_arm(s, b, group, attempts) for (s, b), group in groups.items()),
        pairs=tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)),
        parts=tuple(_parts(groups, kinds, attempts)),
        first_error=next((o.error for o in ordered if o.error), None),
    )


def _arm(solver: str, budget: str, group: Sequence[Outcome], attempts: int) -> Arm:
    priced = [o.cost for o in group if o.stop is not Stop.ERROR]
    totals = {c: sum(getattr(cost, c) for cost in priced) for c in COSTS}
    by_problem = _by_problem(group)
    scored = sum(map(len, by_problem.values()))
    return Arm(
        solver=solver,
        budget=budget,
        attempts=len(group),
        scored=scored,
        unscored=len(group) - scored,
        errors=sum(o.stop is Stop.ERROR for o in group),
        accuracy=_accuracy(by_problem, attempts) if by_problem else None,
        at_k=_at_k(by_problem, attempts) if attempts > 1 else (),
        truncated=sum(o.stop in TRUNCATED for o in group) / len(group) if group else 0.0,
        stops=dict(sorted(Counter(str(o.stop) for o in group).items())),
        mean_cost={c: total / len(priced) if priced else 0.0 for c, total in totals.items()},
        total_cost={**totals, "peak_kv_bytes": max((cost.peak_kv_bytes for cost in priced), default=0)},
    )


def _parts(groups: Mapping[tuple[str, str], Sequence[Outcome]], kinds: Mapping[str, str], attempts: int) -> Iterator[Part]:
    names = sorted(set(kinds.values()))
    for name in names if len(names) > 1 else ():
        for (solver, budget), group in groups.items():
            if by_problem := _by_problem([o for o in group if kinds.get(o.problem) == name]):
                yield Part(name, solver, budget, _accuracy(by_problem, attempts))


def _by_problem(group: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Problem -> its scored attempts, in order."""
    found: dict[str, list[Outcome]] = {}
    for outcome in group:
        if outcome.score is not None:
            found.setdefault(outcome.problem, []).append(outcome)
    return found


def _scores(outcomes: Sequence[Outcome]) -> list[float]:
    return [o.score for o in outcomes if o.score is not None]


def _passes(by_problem: Mapping[str, Sequence[Outcome]], attempts: int) -> bool:
    """Whether every outcome is one pass or fail of one problem, for which exact binomial formulas hold."""
    return attempts == 1 and all(o.score in (0.0, 1.0) for outcomes in by_problem.values() for o in outcomes)


def _accuracy(by_problem: Mapping[str, Sequence[Outcome]], attempts: int) -> Estimate:
    if _passes(by_problem, attempts):
        return wilson(sum(o.score == 1.0 for outcomes in by_problem.values() for o in outcomes), len(by_problem))
    return clustered_mean([_scores(outcomes) for outcomes in by_problem.values()])


def _at_k(by_problem: Mapping[str, Sequence[Outcome]], attempts: int) -> tuple[AtK, ...]:
    found = []
    for k in sorted({2**i for i in range(attempts.bit_length()) if 2**i <= attempts} | {attempts}):
        enough = [outcomes for outcomes in by_problem.values() if len(outcomes) >= k]
        if enough:
            passed = [pass_at_k(len(o), sum(x.passed is True for x in o), k) for o in enough]
            majority = [maj_at_k([x.answer for x in o], _scores(o), k) for o in enough]
            found.append(AtK(k, clustered_mean([[p] for p in passed]), clustered_mean([[m] for m in majority])))
    return tuple(found)


def _pair(group: Sequence[Outcome], baseline: Sequence[Outcome], attempts: int) -> Pair | None:
    ours, theirs = _by_problem(group), _by_problem(baseline)
    both = [problem for problem in ours if problem in theirs]
    if not both:
        return None
    a = [avg_at_k(_scores(ours[problem])) for problem in both]
    b = [avg_at_k(_scores(theirs[problem])) for problem in both]
    exact = _passes(ours, attempts) and _passes(theirs, attempts)
    p = mcnemar([x == 1 for x in a], [x == 1 for x in b]).p if exact else permutation_test(a, b)
    return Pair(
        solver=group[0].solver,
        baseline=baseline[0].solver,
        budget=group[0].budget,
        difference=paired_difference(a, b),
        only_solver=sum(x > y for x, y in zip(a, b, strict=True)),
        only_baseline=sum(x < y for x, y in zip(a, b, strict=True)),
        test="McNemar, exact" if exact else "permutation",
        p=p,
        p_holm=p,
    )


def _row(report: Report, arm: Arm) -> dict[str, object]:
    pair = report.pair(arm.solver, arm.budget)
    most = arm.at_k[-1] if arm.at_k else None
    row: dict[str, object] = {
        "solver": arm.solver,
        "budget": arm.budget,
        "attempts": arm.attempts,
        "scored": arm.scored,
        "unscored": arm.unscored,
        "errors": arm.errors,
        **_columns("accuracy", arm.accuracy),
        "truncated": arm.truncated,
        "stops": " ".join(f"{stop}={count}" for stop, count in arm.stops.items()),
        **{f"mean_{c}": value for c, value in arm.mean_cost.items()},
        **{f"total_{c}": value for c, value in arm.total_cost.items()},
    }
    if most:
        row |= {"k": most.k, **_columns("pass_at_k", most.passed), **_columns("maj_at_k", most.majority)}
    if pair:
        row |= _columns("difference", pair.difference)
        row |= {name: getattr(pair, name) for name in ("only_solver", "only_baseline", "test", "p", "p_holm")}
    return row


def _columns(name: str, estimate: Estimate | None) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high} if estimate else {}
