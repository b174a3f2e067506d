"""Calls into the C library that Python has no function for.

Invariant: every failure is an OSError that names the call.
"""

from __future__ import annotations

import ctypes
import os

from .syscalls import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWPID, NEWNET, NEWIPC, NEWUTS, NEWCGROUP = 0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000


def libc_call(name: str, *arguments: Any) -> int:
    """A function of the C library that answers -1 on failure; whole numbers are passed as `long`."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = getattr(_LIBC, name)(*passed)
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return answer


def system_call(what: str, number: int, *arguments: Any) -> int:
    """A system call by number; `what` names it in the error."""
    try:
        return libc_call("syscall", number, *arguments)
    except OSError as error:
        raise OSError(error.errno, f"{what}: {os.strerror(error.errno or 0)}") from None


def drop_capabilities() -> None:
    """Gives up every capability of this process; with no_new_privs (set here) none can come back."""
    libc_call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    system_call("capset", table()["OURS"]["capset"], header, (ctypes.c_uint32 * 6)())


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends. Changing users undoes it."""
    libc_call("prctl", 1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
