"""Running Python that a model wrote: one program at a time, or a session that keeps its variables.

Invariant: nothing runs unless every protection of `report.HELD` holds on this machine; where one does not, a UserError says which, and
there is no weaker way on. What comes back is data (`values.Ran`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from reasonry.core import UserError
from reasonry.tasks.sandbox.process import Job, RefusedError, Supervisor
from reasonry.tasks.sandbox.report import interpreter, usable
from reasonry.tasks.sandbox.values import LIMITS, Form, Limits, Ran

SNIPPET = 1 << 19
"""Bytes a snippet of a session may have."""


class Sandbox:
    """A place to run programs, each in a process of its own that ends with it. Lives as long as one likes; nothing is running between runs.

    Args:
        limits: what each program may use.
        readable: files and folders it may read beside the interpreter's own library; folders are put on its `sys.path` too
            (the `site-packages` of an environment, to give it that environment's packages).
        folder: a folder on disk to work in and leave files in, instead of one in memory that goes with the program.
        python: the interpreter; by default ours, without its packages.
        workers: programs running at once; others wait for their turn. By default one for each CPU.
        form: how it is held; by default the first form that holds here.
        user: the number of the user to run as, for a parent that is root; ours, by default.

    Raises UserError where the machine cannot hold what is promised.
    """

    def __init__(
        self,
        limits: Limits = LIMITS,
        *,
        readable: Sequence[str | Path] = (),
        folder: str | Path | None = None,
        python: str | Path = "",
        workers: int | None = None,
        form: Form | None = None,
        user: int | None = None,
    ) -> None:
        python = str(python) or interpreter()
        for path in (*readable, *([folder] if folder else [])):
            if not Path(path).exists():
                raise UserError(f"sandbox: {path} is not there; mend the path")
        self.limits = limits
        self.form = usable(form, limits.processes, python, user)
        if folder and limits.processes > 1 and Path(folder).stat().st_uid == 0:
            raise UserError(
                f"sandbox: processes is {limits.processes} but root owns {folder}, and the kernel counts no processes of root; "
                "give the folder to another user, or use processes=1"
            )
        shown = tuple(str(Path(path).resolve()) for path in readable)
        self._job = Job(self.form, limits, python, user, shown, str(Path(folder).resolve()) if folder else None)
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="sandbox")

    def _checked(self, code: str, stdin: str, files: Mapping[str, str | bytes], keep: Sequence[str]) -> Job:
        for name in (*files, *keep):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name or name == ".":
                raise UserError(f"sandbox: files and keep name files within the folder, and {name!r} is none; mend the name")
        contents = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
        if (size := sum(map(len, contents.values()))) > self.limits.disk:
            raise UserError(f"sandbox: files hold {size} bytes but disk is {self.limits.disk}; raise disk")
        return replace(self._job, code=code, stdin=stdin, files=contents, keep=tuple(keep))

    def run_now(self, code: str, stdin: str = "", files: Mapping[str, str | bytes] = {}, keep: Sequence[str] = ()) -> Ran:
        """`run`, for callers that wait."""
        return self._pool.submit(_run, self._checked(code, stdin, files, keep)).result()

    async def run(self, code: str, stdin: str = "", files: Mapping[str, str | bytes] = {}, keep: Sequence[str] = ()) -> Ran:
        """Runs a program to its end. Waits for a free worker first; a program that has begun is not ended by cancelling.

        Args:
            code: the program's text.
            stdin: what it reads as standard input.
            files: name -> content, written into its folder first.
            keep: names of files to bring back; those that are not there, or are no plain files, are left out.
        """
        return await asyncio.wrap_future(self._pool.submit(_run, self._checked(code, stdin, files, keep)))

    def session(self, files: Mapping[str, str | bytes] = {}) -> Session:
        """An interpreter that keeps its variables from snippet to snippet."""
        return Session(self._checked("", "", files, ()), self._pool)


def _run(job: Job) -> Ran:
    supervisor = Supervisor(job)
    try:
        return supervisor.result()
    except RefusedError as refused:
        raise UserError(f"sandbox: the {job.form} form does not hold here any more ({refused}); run it on another machine") from None
    finally:
        supervisor.close()


class Session:
    """A running interpreter, in an `async with` or a `with` block; one that a limit ended is followed by a new one (`Ran.fresh`)."""

    def __init__(self, job: Job, pool: ThreadPoolExecutor) -> None:
        self._job, self._pool = replace(job, session=True), pool
        self._supervisor: Supervisor | None = None

    def run_now(self, code: str) -> Ran:
        """`run`, for callers that wait."""
        return self._pool.submit(self._run, code).result()

    async def run(self, code: str) -> Ran:
        """Runs a snippet; the value of a last expression is printed, as in a notebook. One snippet at a time."""
        return await asyncio.wrap_future(self._pool.submit(self._run, code))

    def _run(self, code: str) -> Ran:
        if len(code.encode(errors="backslashreplace")) > SNIPPET:
            raise UserError(f"sandbox: a snippet has {len(code)} characters but at most {SNIPPET} bytes may be sent; shorten it")
        if fresh := self._supervisor is None:
            self._supervisor = Supervisor(self._job)
        assert self._supervisor
        try:
            self._supervisor.snippet(code)
            ran = self._supervisor.result(fresh)
        except BaseException:
            self.close()
            raise
        if not self._supervisor.going:
            self.close()
        return ran

    def close(self) -> None:
        """Ends the interpreter and all it started."""
        if self._supervisor:
            self._supervisor.close()
            self._supervisor = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.wrap_future(self._pool.submit(self.close))
