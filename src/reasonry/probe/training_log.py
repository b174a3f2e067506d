"""Logs of training runs as named series, whoever wrote them: ours, TRL, verl, wandb, trackio.

Invariant: a series holds only what was logged. A column that a row lacks is no point, and a step logged twice (a run that was resumed)
counts as it was logged last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonry.core import UserError
from reasonry.probe.log_rows import flat, json_rows, table_rows, text_of

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "reward": ("reward", "critic/rewards/mean", "critic/score/mean"),
    "pass_rate": ("pass_rate",),
    "validation": ("validation", "eval_reward", "eval/reward", "val-core/*", "val/test_score/*"),
    "zero_variance": ("zero_variance", "frac_reward_zero_std"),
    "truncated": ("truncated", "completions/clipped_ratio", "response_length/clip_ratio"),
    "length": ("length", "completions/mean_length", "completion_length", "response_length/mean"),
    "entropy": ("entropy", "actor/entropy", "actor/entropy_loss"),
    "tool_calls": ("tool_calls", "tools/call_frequency", "num_turns/mean"),
    "tool_success": ("tool_success",),
    "tool_calls_all_wrong": ("tool_calls_all_wrong",),
    "mismatch": ("mismatch", "sampling/sampling_logp_difference/mean"),
    "mismatch_prob": ("training/rollout_probs_diff_mean",),
    "clip_share": ("clip_share", "clip_ratio/region_mean", "clip_ratio", "cispo_clip_ratio", "actor/pg_clipfrac"),
    "grad_norm": ("grad_norm", "actor/grad_norm"),
    "kl_ref": ("kl_ref", "kl", "actor/kl_loss", "actor/reward_kl_penalty"),
    "kl_step": ("actor/ppo_kl",),
    "planning_token_ratio": ("planning_token_ratio",),
    "strategic_gram_entropy": ("strategic_gram_entropy", "semantic_entropy"),
    "execution_perplexity": ("execution_perplexity",),
    "planning_perplexity": ("planning_perplexity",),
    "execution_entropy": ("execution_entropy",),
    "planning_entropy": ("planning_entropy",),
    "stage": ("stage",),
}
"""Series -> the columns it is read from, best first: ours, then TRL's, then verl's. `*` stands for anything; such columns are averaged."""

STEPS = ("step", "_step", "Step", "global_step", "training/global_step", "trainer/global_step")
"""Columns that number the steps, best first; without one, rows are counted from 0."""

MEANS: Mapping[str, str] = {
    "reward": "mean reward of all attempts",
    "pass_rate": "share of attempts the judge passed",
    "validation": "score on problems that are not trained on",
    "zero_variance": "share of groups whose answers all earned the same",
    "truncated": "share of attempts stopped by a limit",
    "length": "sampled tokens an attempt",
    "entropy": "nats a token",
    "tool_calls": "tool calls an attempt; verl's turns are counted as (turns − 2) / 2",
    "tool_success": "share of tool calls that gave a result",
    "tool_calls_all_wrong": "tool calls an attempt, in groups without a right answer",
    "mismatch": "mean |log π_trainer − log π_sampler|, nats a token",
    "mismatch_prob": "mean |π_trainer − π_sampler|",
    "clip_share": "share of tokens whose ratio was clipped",
    "grad_norm": "before clipping",
    "kl_ref": "KL to the reference policy, nats a token",
    "kl_step": "KL of the policy to itself before the update, nats a token",
    "planning_token_ratio": "share of tokens in strategic grams",
    "strategic_gram_entropy": "of the clusters of strategic grams, nats",
    "execution_perplexity": "of the tokens outside strategic grams",
    "planning_perplexity": "of the tokens inside strategic grams",
    "execution_entropy": "nats a token outside strategic grams",
    "planning_entropy": "nats a token inside strategic grams",
    "stage": "of the curriculum",
}
"""What each series is."""

_PREFIXES = ("data/", "train/")
_RANGES = ("__MIN", "__MAX")
_CONSOLE = re.compile(r"\bstep:(\d+) - ")
_PAIR = re.compile(r"([\w./@+-]+):(?:np\.\w+\()?(-?(?:\d[\d.]*(?:[eE][+-]?\d+)?|nan|inf))\)?(?= - |\s*$)")

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Series:
    """One quantity over a run."""

    steps: NDArray[np.float64]
    """[N], rising."""
    values: NDArray[np.float64]
    """[N]; NaN and infinity are values that were logged."""

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, eq=False)
class Log:
    """A training run's log. Made by `read_log` or `log_of`, read by the monitors."""

    name: str
    series: Mapping[str, Series]
    columns: Mapping[str, str]
    """Series -> the column it was read from."""


def read_log(paths: Path | Iterable[Path]) -> Log:
    """The log in a file or folder; several are parts of one run (a wandb export holds one panel a file).

    A folder is one of our run directories (`steps.jsonl`) or a Hugging Face trainer's output (`trainer_state.json`). Files are told apart
    by their ending: `.jsonl`, `.json` (a list of rows, or a `trainer_state.json`), `.csv`, `.tsv`; anything else is read as verl's console
    output. Raises UserError for a file that cannot be read so, or holds no column known here.
    """
    parts = [paths] if isinstance(paths, Path) else list(paths)
    rows = [row for path in parts for row in _rows(_file(path))]
    return log_of(rows, " + ".join(map(str, parts)))


def log_of(rows: Iterable[Row], name: str = "log") -> Log:
    """Rows (one a step, numbers by column name, nested or not) as a log. Raises UserError where no column is known."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    seen: dict[str, None] = {}
    for number, row in enumerate(rows):
        held = {key: value for key, value in flat(row).items() if not key.endswith(_RANGES)}
        step = next((float(held[key]) for key in STEPS if _is_number(held.get(key))), float(number))
        for key, value in held.items():
            seen.setdefault(key)
            if (series := _series_of(_plain(key))) and _is_number(value):
                found.setdefault(series, {}).setdefault(key, {})[step] = float(value)
    if not found:
        known = ", ".join(names[-1] for series, names in COLUMNS.items() if series in ("reward", "entropy", "grad_norm"))
        has = f"its columns are {', '.join(list(seen)[:8])}" if seen else "it has no columns"
        raise UserError(f"{name}: no column is known here ({has}); rename them as in the docs' table, for example reward, {known}")
    chosen = {which: _chosen(which, found[which], name) for which in COLUMNS if which in found}
    return Log(name, {which: points for which, (points, _) in chosen.items()}, {which: column for which, (_, column) in chosen.items()})


def _chosen(which: str, found: Mapping[str, Mapping[float, float]], name: str) -> tuple[Series, str]:
    """The points of the best of a series' columns."""
    pattern = next(p for p in COLUMNS[which] if any(_matches(_plain(key), p) for key in found))
    keys = [key for key in found if _matches(_plain(key), pattern)]
    if len(keys) > 1 and not pattern.endswith("*"):
        raise UserError(f"{name}: {pattern} stands in {len(keys)} columns, {keys[0]!r} and {keys[1]!r}; give the log of one run at a time")
    steps = sorted({step for key in keys for step in found[key]})
    values = [float(np.mean([found[key][step] for key in keys if step in found[key]])) for step in steps]
    if pattern == "num_turns/mean":
        values = [(turns - 2) / 2 for turns in values]
    return Series(np.array(steps), np.array(values)), ", ".join(keys)


def _plain(key: str) -> str:
    """A column's name without a run's name before it (wandb's exports) and without the logger's prefix."""
    key = key.rpartition(" - ")[2]
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _series_of(key: str) -> str | None:
    return next((series for series, names in COLUMNS.items() if any(_matches(key, name) for name in names)), None)


def _matches(key: str, pattern: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float)


def _file(path: Path) -> Path:
    """The log that a path stands for."""
    if path.is_dir():
        states = sorted(path.glob("checkpoint-*/trainer_state.json"), key=lambda p: int(re.sub(r"\D", "", p.parent.name) or 0))
        inside = [path / "steps.jsonl", path / "trainer_state.json", *states[-1:]]
        held = next((p for p in inside if p.is_file()), None)
        if held is None:
            raise UserError(f"{path}: this folder holds neither steps.jsonl nor trainer_state.json; name the log itself")
        return held
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a run directory or a log as JSONL, JSON or CSV")
    return path


def _rows(path: Path) -> list[Row]:
    rows: list[Row]
    match path.suffix.lower():
        case ".jsonl":
            rows = [row for _, row in json_rows(path, growing=True)]
        case ".json":
            rows = _state(path, text_of(path))
        case ".csv" | ".tsv":
            rows = [*table_rows(path)]
        case _:
            lines = text_of(path).splitlines()
            rows = [{"step": int(at[1]), **dict(_PAIR.findall(line))} for line in lines if (at := _CONSOLE.search(line))]
    if not rows:
        raise UserError(f"{path}: holds no step; give a log as JSONL, JSON, CSV, or verl's console output")
    return rows


def _state(path: Path, text: str) -> list[Row]:
    try:
        held = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); give a trainer_state.json or a list of rows") from None
    rows = held.get("log_history") if isinstance(held, Mapping) else held
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UserError(f"{path}: holds no log_history and is no list of objects; give a trainer_state.json or a list of rows")
    return rows
