"""Which protections this machine can give, held by what. Decided by trying: a harmless program is run in each form.

Invariant: a form that a trial did not go through in full is not used.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from reasonry.core import UserError
from reasonry.tasks.sandbox.inside import landlock
from reasonry.tasks.sandbox.inside.syscalls import MACHINES
from reasonry.tasks.sandbox.process import Job, RefusedError, Supervisor
from reasonry.tasks.sandbox.values import Form, Limits

_FILTER, _RLIMIT = "seccomp filter", "resource limit"
HELD: Mapping[Form, Mapping[str, str]] = {
    Form.NAMESPACES: {
        "reading files": "a root directory of its own (mount namespace), read-only; Landlock too where the kernel has it",
        "writing files": "the same; its folder is a tmpfs of bounded size, or the folder given, looked at up to 50 times a second",
        "knowing of files": "a root directory of its own",
        "network": f"no socket but pairs of its own ({_FILTER}), and a network namespace without devices",
        "other processes": f"a process namespace; nothing of /proc; {_FILTER}",
        "kernel interfaces": f"{_FILTER}: calls not known to be harmless are refused",
        "rights": "another user in a user namespace, no capabilities, no_new_privs",
        "secrets": "a fresh interpreter, an environment of ours, no inherited files",
        "wall time": "a supervisor outside, which kills the process namespace",
        "CPU time": f"{_RLIMIT} of each process",
        "memory": f"{_RLIMIT} on address space, shared out among the processes allowed; no memory files, no shared memory",
        "processes": f"with one: {_FILTER}; with more: {_RLIMIT} in the user namespace",
        "output": "the supervisor keeps so much and then kills",
        "surviving": "the kernel kills a process namespace with its first process",
    },
    Form.LANDLOCK: {
        "reading files": "Landlock",
        "writing files": f"Landlock; modes, times and attributes by the {_FILTER}; sizes: a {_RLIMIT}, and 50 looks a second at most",
        "knowing of files": "not held: whether a guessed path exists, its size, times and where a link leads can be asked",
        "network": f"no socket but pairs of its own ({_FILTER})",
        "other processes": f"{_FILTER}: no signal but to itself, no tracing; Landlock",
        "kernel interfaces": f"{_FILTER}: calls not known to be harmless are refused",
        "rights": "no capabilities, no_new_privs",
        "secrets": "a fresh interpreter, an environment of ours, no inherited files",
        "wall time": "a supervisor outside, which kills the process",
        "CPU time": f"{_RLIMIT}",
        "memory": f"{_RLIMIT} on address space; no memory files, no shared memory",
        "processes": f"one process with one thread: {_FILTER}",
        "output": "the supervisor keeps so much and then kills",
        "surviving": "there is no second process",
    },
}
"""Form -> protection -> what holds it."""


@dataclass(frozen=True)
class Report:
    """What this machine can protect."""

    form: Form | None
    """The form in use; `None` where nothing is run."""
    held: Mapping[str, str]
    """Protection -> mechanism, of that form."""
    refused: Mapping[Form, str]
    """Why another form is not used."""

    def __str__(self) -> str:
        width = max((len(name) for name in self.held), default=0)
        lines = [f"form: {self.form or 'none: model-written code is not run here'}"]
        lines += [f"{name:<{width}}  {held}" for name, held in self.held.items()]
        return "\n".join(lines + [f"not used: {form} ({why})" for form, why in self.refused.items()])


@functools.cache
def _trial(form: Form, python: str, user: int | None) -> str | None:
    """Why a form cannot be used; `None` where it can. Tried once."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no such mechanism; use Linux"
    if platform.machine() not in MACHINES:
        return f"the numbers of system calls on {platform.machine()} are not known"
    if form is Form.LANDLOCK and (found := landlock.interface()) < landlock.LEAST:
        return f"the kernel's Landlock interface is {found or 'not there'}; {landlock.LEAST} (Linux 6.2) is needed"
    try:
        supervisor = Supervisor(Job(form, Limits(), python, user, code="import ctypes, json; print(6 * 7)"))
    except OSError as error:
        return f"starting {python}: {error.strerror}"
    try:
        ran = supervisor.result()
    except (RefusedError, RuntimeError) as error:
        return str(error)
    finally:
        supervisor.close()
    return None if ran.stdout == "42\n" else f"a trial program ended with {ran.ending} {ran.exit}: {ran.stderr.strip()[-200:]}"


def interpreter() -> str:
    """The interpreter that programs run in by default: the one under this environment, without its packages."""
    return getattr(sys, "_base_executable", None) or sys.executable


def sandbox_report(python: str = "", user: int | None = None) -> Report:
    """Tries every form, once a process, and says which is used and what holds each protection."""
    python = python or interpreter()
    refused = {form: why for form in Form if (why := _trial(form, python, user))}
    form = next((form for form in Form if form not in refused), None)
    return Report(form, HELD[form] if form else {}, refused)


def usable(form: Form | None, processes: int, python: str, user: int | None) -> Form:
    """The form asked for, or the first that holds here. Raises UserError where none does."""
    report = sandbox_report(python, user)
    form = form or report.form
    if form is None:
        raise UserError(f"sandbox: this machine cannot protect against model-written code ({_why(report)}); run it on another")
    if form in report.refused:
        raise UserError(
            f"sandbox: form is {form} but it does not hold here ({report.refused[form]}); leave form out or use another machine"
        )
    if processes > 1 and form is not Form.NAMESPACES:
        why = report.refused.get(Form.NAMESPACES)
        raise UserError(
            f"sandbox: processes is {processes} but without namespaces only one can be held{f' ({why})' if why else ''}; use processes=1"
        )
    return form


def _why(report: Report) -> str:
    return "; ".join(f"{form}: {why}" for form, why in report.refused.items())
