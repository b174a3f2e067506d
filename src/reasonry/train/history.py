"""What each prompt has taught so far: pass rates and solutions, in an append-only log that outlives the process.

Invariant: a line of the log is one whole training step, flushed to disk before `append` returns, and everything in memory is a function
of the lines. So a kill leaves whole steps only (a torn last line is dropped), and a trainer that resumes from a checkpoint at step k opens
the history with `steps=k`, which forgets what came after.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reasonry.core import UserError
from reasonry.core.run import write_whole


class Group(msgspec.Struct, frozen=True, array_like=True):
    """How one prompt's answers fared at one step. Made by the training loop (`Lesson.group`)."""

    problem: str
    """The problem's id."""
    level: int
    passes: int
    attempts: int
    solution: str | None = None
    """A verified answer worth keeping for replay: a text, or a trajectory as JSON."""

    def __post_init__(self) -> None:
        if not 0 <= self.passes <= self.attempts or self.attempts < 1:
            raise UserError(
                f"Group: problem {self.problem} has {self.passes} passes of {self.attempts}; needs attempts >= 1 and passes within"
            )


class Past(msgspec.Struct):
    """All that is known of one prompt."""

    passes: int = 0
    attempts: int = 0
    times: int = 0
    """Steps it was asked at."""
    last_step: int = 0
    last_rate: float = 0.0
    """Pass rate the last time."""
    solution: str | None = None
    """The first verified solution that was kept."""

    @property
    def rate(self) -> float:
        """Pass rate over all attempts."""
        return self.passes / self.attempts


class History:
    """The pasts of all prompts. One per run."""

    def __init__(self, path: Path | None = None, steps: int | None = None) -> None:
        """Reads `path` where it exists and goes on appending to it; `None` keeps the history in memory only.

        `steps`: how many steps the trainer's checkpoint has behind it; later ones are cut off the file. Raises UserError where the file
        holds fewer, or a line that is no step.
        """
        self.path = path
        self.steps: list[tuple[Group, ...]] = []
        """The groups of every step, in order."""
        self.pasts: dict[str, Past] = {}
        """By problem id."""
        held = self._whole_lines()
        if steps is not None and len(held) < steps:
            raise UserError(f"{path}: holds {len(held)} steps but the checkpoint has {steps}; resume from an earlier checkpoint")
        for number, line in enumerate(held[:steps], 1):
            try:
                groups = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise UserError(f"{path} line {number}: is not a step of a history; name another file") from None
            self._count(groups)
        if path is not None and path.exists() and path.read_bytes() != (kept := b"".join(line + b"\n" for line in held[:steps])):
            write_whole(path, kept.decode())

    def append(self, groups: Sequence[Group]) -> None:
        """Adds the next step."""
        if self.path is not None:
            with open(self.path, "ab") as file:
                file.write(msgspec.json.encode(groups) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._count(tuple(groups))

    def difficulty(self, hard: float = 0.25, easy: float = 0.75) -> Counter[str]:
        """How many prompts are `never` (0 %), `hard` (≤ hard), `medium`, `easy` (≥ easy) and `always` (100 %) by overall pass rate."""
        return Counter(_difficulty(past.rate, hard, easy) for past in self.pasts.values())

    def _whole_lines(self) -> list[bytes]:
        if self.path is None or not self.path.exists():
            return []
        return self.path.read_bytes().split(b"\n")[:-1]

    def _count(self, groups: tuple[Group, ...]) -> None:
        for g in groups:
            past = self.pasts.setdefault(g.problem, Past())
            past.passes += g.passes
            past.attempts += g.attempts
            past.times += 1
            past.last_step, past.last_rate = len(self.steps), g.passes / g.attempts
            past.solution = past.solution if past.solution is not None else g.solution
        self.steps.append(groups)


_DECODER = msgspec.json.Decoder(tuple[Group, ...])


def _difficulty(rate: float, hard: float, easy: float) -> str:
    if rate in (0.0, 1.0):
        return "always" if rate else "never"
    return "hard" if rate <= hard else "easy" if rate >= easy else "medium"
