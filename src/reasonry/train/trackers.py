"""A step's record to the trackers people use: trackio, TensorBoard, Weights & Biases. The run's own `steps.jsonl` is written in any case.

    with tracker("tensorboard", run.path, run.config) as log:
        await train(..., progress=log)

Invariants. Only numbers are sent, under the record's own names (`train.health`), at the record's own step, so that a resumed run goes on
in the same curves. What looks like a credential in the configuration is left out. A tracker that fails while training is told of once, as
a warning, and dropped: no run ends because a dashboard did.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from reasonry.core import Missing, UserError
from reasonry.train.health import Progress, Record

PROJECT = "reasonry"
HIDDEN = "(left out)"
"""What stands where a credential was."""
_SECRET_NAME = re.compile(
    r"(^|[_\-.])(secret|password|passwd|credentials?|authorization|auth|bearer|api_?key|access_?key|private_?key|token)$"
)
_SECRET_VALUE = re.compile(
    r"\b(sk|hf|ghp|gho|github_pat|xox[a-z]|AKIA|glpat)[-_]?[A-Za-z0-9_\-]{16,}|\bBearer\s+\S+|://[^/\s:@]+:[^/\s@]+@"
)

Open = Callable[[Path, Mapping[str, Any], str], AbstractContextManager[Progress]]
"""(run directory, configuration, run name) -> what takes records, until it is closed."""


def tracker(kind: str, run_dir: Path, config: Mapping[str, Any], name: str | None = None) -> AbstractContextManager[Progress]:
    """One of `TRACKERS`, open as long as the run; `name` is the run directory's by default.

    Raises UserError for a kind there is none of, Missing (or UserError) where its package is not installed.
    """
    if kind not in TRACKERS:
        raise UserError(f"tracker: {kind!r} is not a tracker; use one of {', '.join(TRACKERS)}")
    return _patient(kind, TRACKERS[kind](Path(run_dir), without_secrets(config), name or Path(run_dir).name))


def both(*listeners: Progress) -> Progress:
    """Tells every listener."""

    def tell(record: Record) -> None:
        for listener in listeners:
            listener(record)

    return tell


def numbers(record: Record) -> dict[str, float]:
    """What of a record a curve can show; `step` itself is the axis."""
    return {k: float(v) for k, v in record.items() if isinstance(v, int | float) and k != "step"}


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with `HIDDEN` in place of values whose name or look is that of a credential, at any depth."""

    def clean(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: clean(str(k), v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [clean(name, v) for v in value]
        secret = isinstance(value, str) and (_SECRET_NAME.search(name.lower()) or _SECRET_VALUE.search(value))
        return HIDDEN if secret else value

    return {k: clean(str(k), v) for k, v in config.items()}


@contextmanager
def _patient(kind: str, opened: AbstractContextManager[Progress]) -> Iterator[Progress]:
    failed = False

    with opened as log:

        def tell(record: Record) -> None:
            nonlocal failed
            if not failed:
                try:
                    log(record)
                except Exception as error:
                    failed = True
                    warnings.warn(f"tracker {kind} failed and is not told of further steps: {type(error).__name__}: {error}", stacklevel=2)

        yield tell


@contextmanager
def _tensorboard(run_dir: Path, config: Mapping[str, Any], name: str) -> Iterator[Progress]:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise Missing("tensorboard", "track", "writing for TensorBoard") from error
    with SummaryWriter(str(run_dir / "tensorboard" / name)) as writer:
        writer.add_text("config", "\n".join(f"    {k}: {v}" for k, v in config.items()), 0)

        def log(record: Record) -> None:
            for key, value in numbers(record).items():
                writer.add_scalar(key, value, record["step"])
            writer.flush()

        yield log


@contextmanager
def _wandb(run_dir: Path, config: Mapping[str, Any], name: str) -> Iterator[Progress]:
    wandb = _package("wandb")
    run = wandb.init(project=PROJECT, name=name, id=name, resume="allow", config=dict(config), dir=str(run_dir))
    try:
        yield lambda record: run.log(numbers(record), step=record["step"])
    finally:
        run.finish()


@contextmanager
def _trackio(run_dir: Path, config: Mapping[str, Any], name: str) -> Iterator[Progress]:
    trackio = _package("trackio")
    trackio.init(project=PROJECT, name=name, resume="allow", config=dict(config))
    try:
        yield lambda record: trackio.log(numbers(record), step=record["step"])
    finally:
        trackio.finish()


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"tracker: {name} is not installed or cannot be imported ({error}); run: pip install -U {name}") from error


TRACKERS: dict[str, Open] = {"trackio": _trackio, "tensorboard": _tensorboard, "wandb": _wandb}
"""Every tracker, by name."""
