"""A run is a directory: its configuration, an append-only event log, and what was made of them.

Invariant: a line of the log is written whole and flushed before the work it records counts as done, so a kill at any instant loses
at most the step in flight. A torn last line is dropped when the run is opened again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasonry.core.errors import UserError


@dataclass(frozen=True)
class Run:
    """Made by `open_run`; read by reports, `--resume` and anyone with a text editor."""

    path: Path
    config: Mapping[str, Any]

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Adds one line to `<name>.jsonl`, on disk when this returns."""
        self.append_line(name, json.dumps(record, ensure_ascii=False).encode())

    def append_line(self, name: str, line: bytes) -> None:
        """Adds one already encoded JSON line to `<name>.jsonl`."""
        with open(self.path / f"{name}.jsonl", "ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self, name: str) -> Iterator[bytes]:
        """Every whole line of `<name>.jsonl`; nothing where the file does not exist."""
        path = self.path / f"{name}.jsonl"
        if path.exists():
            with open(path, "rb") as file:  # line by line: a log of many attempts may not fit in memory
                yield from (line.rstrip(b"\n") for line in file if line.strip())

    def write(self, name: str, text: str) -> Path:
        """Replaces a file whole: a reader sees the old one or the new one, never half."""
        return write_whole(self.path / name, text)


def open_run(path: Path, config: Mapping[str, Any], resume: bool) -> Run:
    """Opens a run directory.

    A new directory is made. An existing run is continued when `resume` is true and its configuration is the same; otherwise
    raises UserError, and nothing is lost.
    """
    stored = path / "config.json"
    plain = json.loads(json.dumps(config))
    if stored.exists():
        if not resume:
            raise UserError(f"run directory {path} already holds a run; add --resume to go on with it, or name another directory")
        before = json.loads(stored.read_text())
        changed = sorted(k for k in before.keys() | plain.keys() if before.get(k) != plain.get(k))
        if changed:
            key = changed[0]
            raise UserError(
                f"--resume: {key} was {before.get(key)!r} and is now {plain.get(key)!r}; use the same value, or another directory"
            )
        for log in path.glob("*.jsonl"):
            _drop_torn_line(log)
        return Run(path, plain)
    if path.exists() and any(path.iterdir()):
        raise UserError(f"run directory {path} is not empty and holds no run; name another directory")
    path.mkdir(parents=True, exist_ok=True)
    write_whole(path / "environment.json", json.dumps(environment(), indent=2))
    write_whole(stored, json.dumps(plain, indent=2, ensure_ascii=False))
    return Run(path, plain)


def write_whole(path: Path, text: str) -> Path:
    """Writes a file by way of a temporary one beside it, then renames."""
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary.replace(path)


def environment() -> dict[str, Any]:
    """What a figure needs beside it: commit, date, machine and versions. Holds no path and no variable of the user's environment."""
    from importlib.metadata import version

    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "reasonry": version("reasonry"),
        "torch": version("torch"),
    }


def commit() -> str:
    """The commit of the source tree this package runs from, `+` when it has changes; `unknown` for an installed package."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return "unknown" if head.returncode else head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def machine() -> str:
    """The processor in words, e.g. `x86_64, 2 cores`, without a host name."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _drop_torn_line(log: Path) -> None:
    data = log.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with open(log, "r+b") as file:
            file.truncate(whole)
