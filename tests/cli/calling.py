"""The command called in this process, for tests that read what it says."""

from __future__ import annotations

import sys

import pytest

from reasonry import cli


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """`reasonry` with these arguments; its exit code."""
    monkeypatch.setattr(sys, "argv", ["reasonry", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code
