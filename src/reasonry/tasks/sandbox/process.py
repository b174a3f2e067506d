"""One supervisor process, from the parent's side.

Invariant: it starts as a fresh interpreter that sees no variable of ours, no site file and no code but the standard library and `inside`,
in a session of its own and with no open file but its three pipes; when it is closed it is dead, and so is everything it started.
"""

from __future__ import annotations

import ast
import contextlib
import marshal
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reasonry.tasks.sandbox.inside.frames import receive, send
from reasonry.tasks.sandbox.inside.mounts import WORK
from reasonry.tasks.sandbox.remove import remove_tree
from reasonry.tasks.sandbox.values import Ending, Form, Limits, Ran

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip
"""All that a program sees of an environment, with HOME and TMPDIR set to its folder."""
_START = "import sys; sys.path.insert(0, {0!r}); from inside.supervise import main; sys.path.remove({0!r}); main()"
_GRACE = 20.0
"""Seconds a supervisor has beyond its program's, for starting and ending; one that takes longer is killed."""


class RefusedError(Exception):
    """The barriers could not be put up on this machine; the message says where."""


@dataclass(frozen=True)
class Job:
    """What to run, and where."""

    form: Form
    limits: Limits
    python: str
    user: int | None = None
    """The user to run as instead of ours; only root can."""
    readable: tuple[str, ...] = ()
    folder: str | None = None
    code: str = ""
    stdin: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    keep: Sequence[str] = ()
    session: bool = False


class Supervisor:
    """A running sandbox; used by one thread at a time, and closed by whoever made it."""

    def __init__(self, job: Job) -> None:
        self._limits, self.going = job.limits, True
        self._work = None if job.folder or job.form is Form.NAMESPACES else tempfile.mkdtemp(prefix="sandbox-")
        if self._work and job.user is not None:
            os.chown(self._work, job.user, job.user)
        home = WORK if job.form is Form.NAMESPACES else job.folder or self._work
        plan = {
            **asdict(job.limits), "form": job.form.value, "session": job.session, "readable": job.readable, "folder": job.folder,
            "work": job.folder or self._work, "keep": list(job.keep), "names": list(job.files),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [job.python, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _START.format(str(Path(__file__).parent))],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "HOME": str(home), "TMPDIR": str(home)},
            cwd="/",
            start_new_session=True,
            user=job.user,
            group=job.user,
            extra_groups=None if job.user is None else (),
        )
        try:
            self._ask([marshal.dumps(plan, 2), _bytes(job.code), _bytes(job.stdin), *job.files.values()])
            if job.session:
                self._answer()
        except BaseException:
            self.close()
            raise

    def _ask(self, blobs: Sequence[bytes]) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it is gone; the answer will say so
            send(self._process.stdin.fileno(), blobs)

    def _answer(self) -> tuple[dict[str, Any], list[bytes]]:
        """The next answer. Raises RefusedError where the barriers could not be put up, RuntimeError where the supervisor failed."""
        assert self._process.stdout
        assert self._process.stderr
        try:
            first, *blobs = receive(self._process.stdout.fileno(), time.monotonic() + self._limits.seconds + _GRACE)
        except (EOFError, TimeoutError) as error:
            self._process.kill()
            said = self._process.stderr.read().decode(errors="replace").strip()
            raise RuntimeError(f"the sandbox's supervisor failed ({type(error).__name__}): {said}") from None
        header = ast.literal_eval(first.decode())
        if "error" in header:
            raise RefusedError(header["error"])
        return header, blobs

    def result(self, fresh: bool = True) -> Ran:
        """Waits for the program, or the snippet, to end."""
        header, (stdout, stderr, *contents) = self._answer()
        self.going = header["going"]
        files = dict(zip(header["files"], contents, strict=True))
        return Ran(
            stdout.decode(errors="replace"), stderr.decode(errors="replace"), header["exit"], Ending(header["ending"]), header["seconds"],
            header["peak"], header["truncated"], files, fresh,
        )  # fmt: skip

    def snippet(self, code: str) -> None:
        """Sends a session's next snippet."""
        self._ask([_bytes(code)])

    def close(self) -> None:
        """Ends everything and removes its folder. Closing standard input makes the supervisor kill what it started, then end."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        if self._work:
            remove_tree(self._work)


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
