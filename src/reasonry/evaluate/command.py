"""What `reasonry compare` does: reads the request, runs it with live progress, writes the report and prints its numbers.

Invariant: everything that a user may have got wrong is looked at before the run's directory is made.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from reasonry.core import LM, Budget, Run, Task, UserError, open_run
from reasonry.evaluate.attempts import LOG, compare
from reasonry.evaluate.html import write_report
from reasonry.evaluate.networks import bound
from reasonry.evaluate.progress import display
from reasonry.evaluate.report import Report
from reasonry.evaluate.words import budget_words, headline, p_value, percent, signed
from reasonry.synth.spec import load as load_task
from reasonry.tasks import Data

DEFAULT_PROBLEMS = 100
"""Where the request names no number; fewer where a file holds fewer."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` was asked for."""

    model: str
    task: str
    solvers: Sequence[str]
    budgets: Sequence[str]
    problems: int | None
    attempts: int
    split: str
    seed: int
    out: Path
    concurrency: int
    max_rows: int
    key_variable: str

    def command(self) -> str:
        """The command that repeats it, every choice written out."""
        words = ["reasonry", "compare", "--model", self.model, "--task", self.task]
        words += [word for solver in self.solvers for word in ("--solver", solver)]
        words += [word for budget in self.budgets for word in ("--budget", budget)]
        words += ["--problems", str(self.problems)] if self.problems else []
        words += ["--attempts", str(self.attempts), "--split", self.split, "--seed", str(self.seed), "--out", str(self.out)]
        words += ["--key-variable", self.key_variable] if self.key_variable != "OPENAI_API_KEY" else []
        return shlex.join(words)

    def config(self, budgets: Sequence[Budget]) -> dict[str, Any]:
        """What a resumed run must share with the first one: all that can change a result."""
        return {
            "model": self.model,
            "task": self.task,
            "split": self.split,
            "problems": self.problems,
            "attempts": self.attempts,
            "seed": self.seed,
            "solvers": list(self.solvers),
            "budgets": [str(budget) for budget in budgets],
        }


async def run_comparison(request: Comparison, resume: bool) -> Report:
    """Loads, compares with live progress, writes the report, prints its numbers and names the file."""
    budgets = parse_budgets(request.budgets)
    task = load_task(request.task)
    problems = task.problems(request.split, _how_many(task, request), request.seed)
    async with bound(request.model, request.solvers, task, request.max_rows, request.key_variable) as (name, solvers):
        run = open_run(request.out, request.config(budgets), resume)
        size = " × ".join(
            f"{n} {what}{'s' * (n != 1)}"
            for n, what in ((len(solvers), "method"), (len(budgets), "budget"), (len(problems), "problem"), (request.attempts, "attempt"))
        )
        console = Console(stderr=True)
        console.print(f"{name} on {task.name}: {size}, in {run.path}", highlight=False, markup=False, soft_wrap=True)
        try:
            with display(console) as progress:
                report = await compare(
                    solvers,
                    task,
                    problems,
                    budgets,
                    run,
                    attempts=request.attempts,
                    seed=request.seed,
                    concurrency=request.concurrency,
                    progress=progress,
                )
        except UserError:
            _discard_if_empty(run)
            raise
    page = write_report(report, run, problems, request.command())
    click.echo(summary(report))
    said = headline(report)
    click.echo("\n".join((said.title + ".", *said.sentences)))
    if report.first_error:
        failed = sum(arm.errors for arm in report.arms)
        click.echo(
            f"{failed} attempts failed and are not scored; tracebacks are in {run.path / 'errors.jsonl'}; --resume tries them again."
        )
        click.echo(f"First: {report.first_error}")
    click.echo(f"\nReport: {page}")
    return report


def parse_budgets(texts: Sequence[str]) -> list[Budget]:
    """Budgets of the command line: `64,128` are two, in sampled tokens; `tokens=4096,calls=8` is one with two limits."""
    single = [part for text in texts for part in ([text] if "=" in text else text.split(","))]
    return [Budget.parse(part) for part in single]


def summary(report: Report) -> str:
    """A report's main numbers as a table for the terminal."""
    head = ["budget", "method", "accuracy", "95 % interval", "tokens", "against " + report.solvers[0], "95 % interval", "p (Holm)"]
    rows = []
    for arm in report.arms:
        pair = report.pair(arm.solver, arm.budget)
        row = [budget_words(arm.budget) if arm.solver == report.solvers[0] else "", arm.solver]
        row += (
            [f"{percent(arm.accuracy.mean)} %", f"{percent(arm.accuracy.low)} – {percent(arm.accuracy.high)}"]
            if arm.accuracy
            else ["not scored", ""]
        )
        row += [f"{arm.mean_cost['tokens']:,.1f}"]
        row += (
            [signed(pair.difference.mean), f"{signed(pair.difference.low)} to {signed(pair.difference.high)}", p_value(pair.p_holm)]
            if pair
            else [""] * 3
        )
        rows.append(row)
    shown = head if len(report.solvers) > 1 else head[:5]
    widths = [max(len(row[i]) for row in [shown, *rows]) for i in range(len(shown))]
    aligned = [
        [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=False))] for row in [shown, *rows]
    ]
    lines = ["  ".join(row).rstrip() for row in aligned]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:], ""])


def _discard_if_empty(run: Run) -> None:
    """Takes away a run that holds no attempt, so that the mended command finds its directory free."""
    if not any(run.lines(LOG)):
        for name in ("config.json", "environment.json", f"{LOG}.jsonl", "errors.jsonl"):
            (run.path / name).unlink(missing_ok=True)
        if not any(run.path.iterdir()):
            run.path.rmdir()


def _how_many(task: Task, request: Comparison) -> int | None:
    if request.problems is not None or not isinstance(task, Data):
        return request.problems or DEFAULT_PROBLEMS
    held = task.splits.get(request.split, ())
    return None if len(held) <= DEFAULT_PROBLEMS else DEFAULT_PROBLEMS


@asynccontextmanager
async def opened(lm: LM) -> AsyncIterator[LM]:
    """The model, closed when the context is left where it is one that needs closing."""
    if isinstance(lm, AbstractAsyncContextManager):
        async with lm:
            yield lm
    else:
        yield lm
