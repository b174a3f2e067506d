"""Rows of logs as files hold them, for every probe: JSON lines and tables, read strictly, mistakes named by file and line.

Invariant: a line ends at a line feed and nowhere else, so that a text inside a row may hold any other separator that Unicode knows.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reasonry.core import UserError


def text_of(path: Path) -> str:
    """A file's text, without a byte-order mark. Raises UserError for one that cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text; give the log as JSONL, JSON or CSV") from None


def json_rows(path: Path, wanted: str = "give one object a line", growing: bool = False) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each line's object, with its place for error sentences; `wanted` says what an object is to be.

    `growing`: a run may still be writing the file, so a last line that is not whole is left out. Raises UserError for any other line that
    is no object.
    """
    lines = text_of(path).split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except ValueError:
            if growing and number == len(lines):
                return
            raise UserError(f"{where}: is not JSON; give one object a line") from None
        if not isinstance(row, Mapping):
            raise UserError(f"{where}: is a JSON {type(row).__name__}, not an object; {wanted}")
        yield where, row


def table_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a .csv, or of a .tsv, by column; empty rows left out. Raises UserError for a file that is no table."""
    tabs = path.suffix.lower() == ".tsv"
    try:
        read = csv.DictReader(io.StringIO(text_of(path), newline=""), delimiter="\t" if tabs else ",", strict=True, restkey="", restval="")
        return [{key: value for key, value in row.items() if key} for row in read if any(row.values())]
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as {path.suffix.lstrip('.')} ({error}); give CSV or JSON lines") from None


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by slashes, as wandb does."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= flat(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
