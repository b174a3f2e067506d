"""Reads (compute, metric) logs of training runs, whoever wrote them: `read_logs`.

Run directories of ours, JSON lines, CSV (charts and histories exported from wandb), `trainer_state.json` of transformers and TRL, and
trackio's databases and parquet files. One file may hold several runs: wandb's chart export has one column a run, histories one column that
names the run.

Invariant: the axis is compute spent *before* the metric was measured, and never falls along a run. In our own step log a record's attempts
were sampled before its update, so what was measured on them stands at the tokens of the step before; `validation` is measured afterwards.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonry.core import Missing, UserError
from reasonry.probe.log_rows import flat, json_rows, table_rows

Floats = NDArray[np.float64]

COMPUTE = (
    "flops", "total_flos", "compute", "gpu_hours", "gpuhours", "tokens", "num_tokens", "total_tokens", "num_input_tokens_seen", "samples",
    "episodes", "step", "steps", "global_step", "training_step", "iteration", "epoch",
)  # fmt: skip
"""Columns taken as compute where none is named, best first; of a name with slashes only the last part counts."""
METRICS = (
    r"validation", r"(val|valid|eval|test|heldout)\b.*(pass|acc|mean@|score|reward|solve).*", r"eval_(pass\w*|accuracy|score|reward)",
    r"(.*/)?(pass_rate|pass@1|mean@\d+|accuracy|acc|solve_rate|success_rate)", r"metric|score", r"(.*/)?reward(/mean|s/mean)?",
)  # fmt: skip
"""Patterns of columns taken as the metric where none is named, best first; the first three are of held-out measures."""
HELD_OUT = 3
TRUNCATED = {
    "truncated", "truncation", "truncation_rate", "truncated_rate", "truncated_ratio", "truncated_share", "truncated_fraction",
    "completions/clipped_ratio", "response_length/clip_ratio",
}  # fmt: skip
"""Columns that hold the share of answers cut by a limit: ours and common ones, TRL's, verl's."""
RUNS = ("run_name", "run", "name", "run_id")
"""Columns that say which run a row is of."""

_OURS = "seconds_sampling"
_AFTER = {"validation"}

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Log:
    """One run's curve."""

    name: str
    compute: Floats
    """[N], never falling."""
    metric: Floats
    """[N]."""
    truncation: tuple[Floats, Floats] | None
    """Compute and the share of answers cut by a limit, [M] each; None where the log has no such column."""
    x: str
    """The column the compute was read from."""
    y: str
    held_out: bool
    """Whether the metric's name says that it was measured on problems that are not trained on."""


def read_logs(path: Path, x: str | None = None, y: str | None = None, add_up: bool = False) -> list[Log]:
    """Every run in a file or directory; `x` and `y` name its columns, `add_up` says that `x` counts each record's own compute.

    Raises UserError where the path cannot be read, or a column is missing, ambiguous, not a number, or falls.
    """
    runs = dict(_runs(path))
    if not any(runs.values()):
        raise UserError(f"{path}: it holds no record")
    return [log for name, records in runs.items() if records for log in _curves(path, name, records, x, y, add_up)]


def _runs(path: Path) -> Iterator[tuple[str, list[Record]]]:
    """(name, records) of each run at a path."""
    if path.is_dir():
        for name in ("steps.jsonl", "trainer_state.json"):
            if (path / name).exists():
                yield path.name, _records(path / name)
                return
        raise UserError(f"{path}: this directory holds no steps.jsonl and no trainer_state.json; name the log file itself")
    if not path.exists():
        raise UserError(f"{path}: there is no such file or directory")
    records = _records(path)
    own = path.parent.name if path.name in ("steps.jsonl", "trainer_state.json") else path.stem
    column = next((c for c in RUNS if records and isinstance(records[0].get(c), str)), None)
    if column is None:
        yield own, records
        return
    for name in dict.fromkeys(str(r.get(column)) for r in records):
        yield name, [r for r in records if str(r.get(column)) == name]


def _records(path: Path) -> list[Record]:
    try:
        return _READERS.get(path.suffix.lower(), _json_lines)(path)
    except (OSError, UnicodeDecodeError, sqlite3.Error, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix.lstrip('.') or 'JSON lines'} ({error}); give CSV or JSON lines") from None


def _json_lines(path: Path) -> list[Record]:
    return [flat(row) for _, row in json_rows(path, "every line must be one", growing=True)]


def _json(path: Path) -> list[Record]:
    text = path.read_bytes()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return _json_lines(path)
    rows = whole.get("log_history") if isinstance(whole, dict) else whole
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise UserError(f"{path}: it is neither a list of records nor has it a log_history; give CSV or JSON lines")
    return [flat(r) for r in rows]


def _database(path: Path) -> list[Record]:
    """trackio's SQLite file; its `metrics` table holds a record as JSON."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY run_name, step").fetchall()
    return [{"run_name": run, "step": step, **flat(json.loads(metrics))} for run, step, metrics in rows]


def _parquet(path: Path) -> list[Record]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise Missing("pyarrow", "hf", "reading a parquet file") from None
    return [flat(r) for r in parquet.read_table(path).to_pylist()]


_READERS = {
    ".csv": table_rows, ".tsv": table_rows, ".json": _json, ".jsonl": _json_lines, ".db": _database, ".sqlite": _database,
    ".parquet": _parquet,
}  # fmt: skip


def _curves(path: Path, run: str, records: Sequence[Record], x: str | None, y: str | None, add_up: bool) -> Iterator[Log]:
    columns = [c for c in dict.fromkeys(c for r in records for c in r if c) if any(_number(r.get(c)) is not None for r in records)]
    x = _named(path, columns, "--x", x) or _guess_x(path, columns)
    rest = [c for c in columns if c != x]
    wide = _wide(rest, y)
    for name, column in wide.items() if wide else [(run, _named(path, rest, "--y", y) or _guess_y(path, rest, records))]:
        yield _curve(path, name, records, x, column, add_up, columns)


def _curve(path: Path, name: str, records: Sequence[Record], x: str, y: str, add_up: bool, columns: Sequence[str]) -> Log:
    xs = np.array([_or_nan(_number(r.get(x))) for r in records])
    if add_up:
        xs = np.cumsum(np.nan_to_num(xs))
    elif len(filled := np.flatnonzero(~np.isnan(xs))):  # evaluations are often records of their own, without the compute so far
        at = np.searchsorted(filled, np.arange(len(xs)), side="right") - 1
        xs = np.where(at < 0, np.nan, xs[filled[at]])
    if x == "tokens" and y not in _AFTER and _OURS in columns:
        xs = np.concatenate([[0.0], xs[:-1]])
    known = xs[~np.isnan(xs)]
    if (known < 0).any():
        raise UserError(f"{path}: compute in column {x!r} is {known.min():g}; it must not be below 0")
    falls = np.flatnonzero(np.diff(known) < 0)
    if len(falls):
        before, after = known[falls[0]], known[falls[0] + 1]
        raise UserError(
            f"{path}: column {x!r} falls from {before:g} to {after:g}; it must be the sum so far: "
            "add --add-up if each record counts its own compute only, or name another column with --x"
        )
    cut = next((c for c in columns if c.lower().removeprefix("train/") in TRUNCATED), None)
    truncation = _pair(xs, [r.get(cut) for r in records]) if cut else None
    compute, metric = _pair(xs, [r.get(y) for r in records])
    if not len(compute):
        raise UserError(f"{path}: no record has both {x!r} and {y!r}; name columns that stand in the same records")
    held_out = any(re.fullmatch(p, _bare(y)) for p in METRICS[:HELD_OUT])
    return Log(name, compute, metric, truncation, x, y, held_out)


def _pair(xs: Floats, values: Sequence[Any]) -> tuple[Floats, Floats]:
    ys = np.array([_or_nan(_number(v)) for v in values])
    both = ~(np.isnan(xs) | np.isnan(ys))
    return xs[both], ys[both]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _named(path: Path, columns: Sequence[str], option: str, name: str | None) -> str | None:
    if name is None or name in columns:
        return name
    raise UserError(f"{option}: {path} has no column {name!r} with numbers; it has {_listed(columns)}")


def _guess_x(path: Path, columns: Sequence[str]) -> str:
    for wanted in COMPUTE:
        found = [c for c in columns if c.rsplit("/", 1)[-1].lower().replace(" ", "_").lstrip("_") == wanted]
        if found:
            return min(found, key=len)
    raise UserError(f"--x: none of the columns of {path} is known as compute; name one of {_listed(columns)}")


def _guess_y(path: Path, columns: Sequence[str], records: Sequence[Record]) -> str:
    for pattern in METRICS:
        found = [c for c in columns if re.fullmatch(pattern, _bare(c)) and sum(_number(r.get(c)) is not None for r in records) > 1]
        if len(found) > 1:
            raise UserError(f"--y: {path} has several columns that may be the metric; name one of {_listed(found)}")
        if found:
            return found[0]
    raise UserError(f"--y: none of the columns of {path} is known as a metric; name one of {_listed(columns)}")


def _bare(column: str) -> str:
    return column.lower().removeprefix("train/")


def _wide(columns: Sequence[str], y: str | None) -> dict[str, str]:
    """wandb's chart export: run -> its column `run - metric`; empty where the columns are not of that form."""
    found: dict[str, str] = {}
    metrics = set[str]()
    for column in columns:
        run, dash, metric = column.rpartition(" - ")
        if dash and not metric.endswith(("__MIN", "__MAX")) and metric not in ("_step", "Step") and y in (None, metric):
            found[run] = column
            metrics.add(metric)
    return found if len(metrics) == 1 else {}


def _listed(columns: Sequence[str], most: int = 12) -> str:
    return ", ".join(columns[:most]) + (f" and {len(columns) - most} more" if len(columns) > most else "") if columns else "none"
