"""What a run in the sandbox may use, and what came of it.

Invariant: both are plain data; what the program printed is text or bytes and was never unpickled or evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reasonry.core import UserError

MIB = 1 << 20
_LEAST = {"seconds": 0.01, "cpu_seconds": 1, "memory": 64 * MIB, "processes": 1, "output": 1, "disk": 4096, "files": 1}


@dataclass(frozen=True)
class Limits:
    """What a program may use. Raises UserError for a limit nothing could run under."""

    seconds: float = 10.0
    """Wall time; of a session, for each snippet."""
    cpu_seconds: int = 10
    """CPU time of a process; of a session, for all its snippets."""
    memory: int = 512 * MIB
    """Bytes of address space, shared out evenly: each process may have `memory / processes`."""
    processes: int = 1
    """Processes and threads at once. With 1 there is no thread but the first; more needs the form with namespaces."""
    output: int = MIB // 4
    """Bytes of standard output, and of standard error."""
    disk: int = 16 * MIB
    """Bytes of files in its folder."""
    files: int = 1000
    """Files and folders in its folder."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise UserError(f"sandbox: {name} is {getattr(self, name)} but must be at least {least}; raise it")


LIMITS = Limits()


class Ending(StrEnum):
    """Why a program, or a snippet, ended."""

    EXIT = "exit"
    """By itself, whatever its exit status."""
    SECONDS = "seconds"
    """It passed its wall time."""
    CPU_SECONDS = "cpu_seconds"
    OUTPUT = "output"
    DISK = "disk"
    """Its folder on disk held too much. A folder in memory is full instead: the program gets the error."""
    SIGNAL = "signal"
    """A signal ended it: it crashed, or called the kernel in a way that is not allowed to go on."""


@dataclass(frozen=True)
class Ran:
    """What came of a program or a snippet."""

    stdout: str
    """Decoded as UTF-8, what is none replaced."""
    stderr: str
    exit: int
    """Exit status; minus the signal's number where one ended it."""
    ending: Ending
    seconds: float
    """Wall time, less what starting the sandbox took."""
    peak: int
    """Bytes of memory at the peak, of its largest process; 0 for a snippet of a session that goes on."""
    truncated: bool
    """Whether it printed more than was kept."""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Those of the files asked for that it left behind."""
    fresh: bool = True
    """Of a snippet: whether its interpreter was new, with no variables of earlier snippets."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit status 0."""
        return self.ending is Ending.EXIT and self.exit == 0


class Form(StrEnum):
    """How the protections are held. Both promise the same; see `report`."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
