"""Live progress of a comparison: a bar with rate and time left where there is a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reasonry.evaluate.attempts import Progress, Snapshot
from reasonry.evaluate.words import percent

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


@contextmanager
def display(console: Console) -> Iterator[Progress]:
    """A progress display for `compare`, live for as long as the context is open."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            yield lambda snapshot: live.update(_bar(snapshot))
    else:
        yield _plain(console)


def line(snapshot: Snapshot) -> str:
    """Progress in one line: attempts, rate, time left, errors, running accuracy per solver."""
    parts = [f"{snapshot.done:,} of {snapshot.total:,} attempts"]
    if snapshot.done > snapshot.resumed:
        parts.append(f"{snapshot.rate:,.1f} per second")
    if snapshot.done < snapshot.total and snapshot.seconds_left is not None:
        parts.append(f"{duration(snapshot.seconds_left)} left")
    if snapshot.errors:
        parts.append(f"{snapshot.errors:,} failed")
    return ", ".join(parts) + ("; " + scores(snapshot) if snapshot.scores else "")


def scores(snapshot: Snapshot) -> str:
    """Running accuracy per solver, over all budgets."""
    return " · ".join(f"{solver} {percent(mean)} %" for solver, (mean, _) in snapshot.scores.items())


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bar(snapshot: Snapshot) -> Group:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=snapshot.total, completed=snapshot.done, width=40), Text(line(snapshot).partition("; ")[0]))
    return Group(row, Text(scores(snapshot), style="dim"))


def _plain(console: Console) -> Progress:
    last: float | None = None

    def show(snapshot: Snapshot) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None or now - last >= PLAIN_EVERY or snapshot.done == snapshot.total:
            last = now
            console.print(line(snapshot), highlight=False, markup=False, soft_wrap=True)

    return show
