"""Writes a report for people: `report.html` (self-contained), `report.csv` and `report.json` in the run's directory.

Invariant: every number on the page is one of the report's; traces are read back from the log, never kept in memory with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from markupsafe import Markup

from reasonry.core import Cost, Problem, Run, Stop, ToolCall, Verdict
from reasonry.evaluate.attempts import LOG
from reasonry.evaluate.page import SERIES, download, figure_svg, render, table
from reasonry.evaluate.plot import accuracy_cost
from reasonry.evaluate.report import COSTS, CSV_COLUMNS, Arm, Pair, Report
from reasonry.evaluate.words import Judgement, budget_words, headline, judgement, number, p_value, percent, signed
from reasonry.probe.stats import Estimate

MOST_PROBLEMS = 200
"""Problems whose traces are put into the page; the log holds all."""
MOST_CHARACTERS = 12_000_000
"""Of trace text in the page; problems beyond it are left out too."""
LONGEST_TEXT = 6_000
"""Characters of one text in the page; longer ones are cut, and say so."""


@dataclass(frozen=True, slots=True)
class TracedSegment:
    """A model call as the page shows it."""

    text: str
    stop: Stop
    cost: Cost
    role: str
    tool: ToolCall | None
    model: str


@dataclass(frozen=True, slots=True)
class TracedAttempt:
    """A logged trajectory, without ids and log-probabilities."""

    segments: tuple[TracedSegment, ...]
    answer: str
    stop: Stop
    spent: str | None
    cost: Cost
    verdict: Verdict | None
    error: str | None

    @property
    def mark(self) -> str:
        """`pass`, `fail` or `none`, the last for an attempt without a score."""
        if self.verdict is None or self.verdict.score is None:
            return "none"
        return "pass" if self.verdict.passed or (self.verdict.passed is None and self.verdict.score >= 0.5) else "fail"


@dataclass(frozen=True, slots=True)
class _Line:
    solver: str
    budget: str
    problem: str
    attempt: int
    trajectory: TracedAttempt


@dataclass(frozen=True, slots=True)
class TracedProblem:
    """A problem with all attempts at it."""

    problem: Problem
    attempts: Mapping[tuple[str, str, int], TracedAttempt]
    """(solver, budget, attempt) -> what happened."""

    def marks(self, solver: str, budget: str) -> str:
        """One sign for a solver at a budget: `all`, `some` or `none` of its scored attempts passed, `unscored` without any."""
        marks = [a.mark for (s, b, _), a in self.attempts.items() if (s, b) == (solver, budget) and a.mark != "none"]
        if not marks:
            return "unscored"
        return "all" if set(marks) == {"pass"} else "none" if set(marks) == {"fail"} else "some"

    def disagree(self, report: Report) -> bool:
        """Whether at some budget one solver passed and another did not."""
        return any(len({m for s in report.solvers if (m := self.marks(s, b)) != "unscored"}) > 1 for b in report.budgets)


def write_report(report: Report, run: Run, problems: Sequence[Problem], command: str = "") -> Path:
    """Writes the three files and returns the path of `report.html`. `command` is what made the run, shown as it is."""
    run.write("report.json", report.json())
    run.write("report.csv", report.csv())
    return run.write("report.html", report_html(report, run, problems, command))


def report_html(report: Report, run: Run, problems: Sequence[Problem], command: str = "") -> str:
    """The page of a report whose attempts are in the run's log."""
    environment = run.path / "environment.json"
    traced = _traces(run, report, problems[:MOST_PROBLEMS])
    return render(
        "report.html.j2",
        title=headline(report).title,
        sentences=headline(report).sentences,
        report=report,
        kicker=f"{report.task} · {report.problems} problems · {report.attempts} {'attempt' if report.attempts == 1 else 'attempts'} each",
        footer="",
        figures=_figures(report) if any(arm.accuracy for arm in report.arms) else None,
        swatches=[(solver, f"var(--s{i % SERIES + 1})") for i, solver in enumerate(report.solvers)],
        colour={solver: f"var(--s{i % SERIES + 1})" for i, solver in enumerate(report.solvers)},
        numbers=_numbers(report),
        pairs=_pairs(report),
        parts=_parts(report),
        stops=_stops(report),
        costs=_costs(report),
        csv_link=download(report.csv(), "report.csv", "Numbers as CSV"),
        csv_columns=CSV_COLUMNS,
        traced=traced,
        longest=LONGEST_TEXT,
        config=dict(run.config),
        environment=json.loads(environment.read_text()) if environment.exists() else {},
        command=command,
        budget_words=budget_words,
        number=number,
        prompt_text=prompt_text,
    )


def prompt_text(problem: Problem) -> str:
    """A problem's prompt for reading; roles are written out where there is more than one message."""
    if len(problem.messages) == 1:
        return problem.messages[0].content
    return "\n\n".join(f"{m.role}:\n{m.content}" for m in problem.messages)


def _figures(report: Report) -> Markup:
    label = "Accuracy against tokens per attempt, one line per method; the table below holds the numbers."
    wide, narrow = accuracy_cost(report), accuracy_cost(report, width=380, height=330, labelled=False)
    return figure_svg(wide, label, "wide") + figure_svg(narrow, label, "narrow")


def _name(report: Report, solver: str) -> Markup:
    colour = f"var(--s{report.solvers.index(solver) % SERIES + 1})"
    return Markup('<span class="name"><span class="swatch" style="background:{}"></span>{}</span>').format(colour, solver)


def _budget(budget: str) -> Markup:
    """A budget in a table's first column; its unit gives way on narrow screens."""
    amount, _, unit = budget_words(budget).partition(" ")
    return Markup('{} <span class="unit">{}</span>').format(amount, unit)


def _groups(report: Report) -> list[tuple[str, list[Arm]]]:
    return [(budget, [arm for arm in report.arms if arm.budget == budget]) for budget in report.budgets]


def _numbers(report: Report) -> Markup:
    """The main table: a block of rows per budget."""
    k = report.attempts
    head = ["Budget", "Method", f"Accuracy (avg@{k}), %" if k > 1 else "Accuracy, %"]
    head += [f"pass@{k}, %", f"maj@{k}, %"] if k > 1 else []
    head += ["Tokens", "Sampled", "Calls", "Ended by a limit, %", "Not scored"]
    rows = []
    for budget, arms in _groups(report):
        for i, arm in enumerate(arms):
            row: list[str | Markup] = [_budget(budget) if i == 0 else "", _name(report, arm.solver)]
            row.append(_with_interval(arm.accuracy) if arm.accuracy else "–")
            if k > 1:
                most = arm.at_k[-1] if arm.at_k and arm.at_k[-1].k == k else None
                row += [_with_interval(most.passed), _with_interval(most.majority)] if most else ["–", "–"]
            row += [f"{arm.mean_cost[c]:,.1f}" for c in ("tokens", "completion_tokens", "calls")]
            row += [percent(arm.truncated), str(arm.unscored)]
            rows.append(row)
    return table(head, rows, text_columns=2)


def _with_interval(estimate: Estimate) -> Markup:
    """A share in % and, quietly beside it, its interval."""
    return Markup('{} <span class="quiet">{:.0f}–{:.0f}</span>').format(percent(estimate.mean), 100 * estimate.low, 100 * estimate.high)


_SAID = {
    Judgement.BETTER: Markup('<span class="good">better</span>'),
    Judgement.WORSE: Markup('<span class="bad">worse</span>'),
    Judgement.HINT: Markup("a hint, no more"),
    Judgement.NONE: Markup('<span class="quiet">no difference seen</span>'),
}


def _pairs(report: Report) -> Markup:
    def row(pair: Pair, first: bool) -> list[str | Markup]:
        d = pair.difference
        return [
            _budget(pair.budget) if first else "",
            _name(report, pair.solver),
            _SAID[judgement(pair)],
            signed(d.mean),
            f"{signed(d.low)} to {signed(d.high)}",
            f"{pair.only_solver} : {pair.only_baseline}",
            p_value(pair.p),
            p_value(pair.p_holm),
        ]

    rows = [row(pair, i == 0 or report.pairs[i - 1].budget != pair.budget) for i, pair in enumerate(report.pairs)]
    return table(["Budget", "Method", "Finding", "Points", "95 % interval", "Ahead : behind", "p", "p, Holm"], rows, text_columns=3)


def _parts(report: Report) -> Markup:
    """Accuracy per kind of problem at the last budget."""
    parts = [part for part in report.parts if part.budget == report.budgets[-1]]
    rows: list[list[str | Markup]] = []
    for name in dict.fromkeys(part.name for part in parts):
        found = {part.solver: part.accuracy for part in parts if part.name == name}
        cells = [_with_interval(found[solver]) if solver in found else "–" for solver in report.solvers]
        rows.append([name, str(max(e.n for e in found.values())), *cells])
    return table(["Kind", "Problems", *(_name(report, solver) for solver in report.solvers)], rows)


def _stops(report: Report) -> Markup:
    reasons = [str(stop) for stop in Stop if any(str(stop) in arm.stops for arm in report.arms)]
    rows = [
        [_budget(budget) if i == 0 else "", _name(report, arm.solver), *(number(arm.stops.get(r, 0)) for r in reasons)]
        for budget, arms in _groups(report)
        for i, arm in enumerate(arms)
    ]
    return table(["Budget", "Method", *reasons], rows, text_columns=2)


def _costs(report: Report) -> Markup:
    """Every field of `Cost`: mean per attempt and, beneath, the total."""
    rows = []
    for budget, arms in _groups(report):
        for i, arm in enumerate(arms):
            name = _name(report, arm.solver)
            rows.append([_budget(budget) if i == 0 else "", name, "mean", *(number(arm.mean_cost[c]) for c in COSTS)])
            rows.append(["", "", "largest / total", *(number(arm.total_cost[c]) for c in COSTS)])
    return table(["Budget", "Method", "", *(c.replace("_", " ") for c in COSTS)], rows, text_columns=3)


def _traces(run: Run, report: Report, problems: Sequence[Problem]) -> list[TracedProblem]:
    """The logged attempts at these problems, in order, as many as `MOST_CHARACTERS` allows."""
    wanted: dict[str, dict[tuple[str, str, int], TracedAttempt]] = {problem.id: {} for problem in problems}
    decode = msgspec.json.Decoder(_Line).decode
    for raw in run.lines(LOG):
        line = decode(raw)
        if line.problem in wanted and line.solver in report.solvers and line.budget in report.budgets and line.attempt < report.attempts:
            wanted[line.problem][line.solver, line.budget, line.attempt] = line.trajectory
    room, traced = MOST_CHARACTERS, list[TracedProblem]()
    for problem in problems:
        order = [(s, b, a) for b in report.budgets for s in report.solvers for a in range(report.attempts)]
        attempts = {key: wanted[problem.id][key] for key in order if key in wanted[problem.id]}
        room -= sum(600 + sum(200 + min(len(s.text), LONGEST_TEXT) for s in a.segments) for a in attempts.values())
        if room < 0:
            break
        traced.append(TracedProblem(problem, attempts))
    return traced
