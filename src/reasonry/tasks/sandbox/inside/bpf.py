"""The seccomp filter: which system calls the program may make, as a classic BPF program the kernel runs before each call.

Invariant: what is not allowed by name is refused, and a call through another instruction set (i386 by `int 0x80`, x32) ends the program:
its numbers mean other calls. A filter sees registers, never memory, so no rule rests on what a pointer points to; where that would be
needed (the path of an open, the address of a send) the call is refused or another mechanism holds it.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .kernel import libc_call
from .syscalls import MACHINES, table

ALLOW, KILL, REFUSE, ABSENT = 0x7FFF0000, 0x80000000, 0x00050000 | 1, 0x00050000 | 38  # SECCOMP_RET_ERRNO | EPERM, | ENOSYS
_LOAD, _AND, _EQUAL, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # ld [k]; and k; jeq k; jge k; ret k
_NEWEST = 451
"""Calls from here on are newer than our table: they are said to be absent, as on an older kernel, so that the C library does without."""


Check = tuple[int, tuple[int, ...], int]
"""(word, values, mask): that word of the arguments, masked, must be one of the values. Word 2i is the low half of argument i and 2i + 1 its
high half, which is noise where the kernel reads an `int`."""
_ALL = 0xFFFFFFFF


def _rule(number: int, checks: tuple[Check, ...]) -> list[tuple[int, int, int, int]]:
    """Instructions for one call: allowed if every check holds, else refused; any other call falls through to what follows."""
    body: list[tuple[int, int, int, int]] = []
    for word, values, mask in checks:
        body.append((_LOAD, 0, 0, 16 + 4 * word))
        body.append((_AND, 0, 0, mask))
        for i, value in enumerate(values):
            body.append((_EQUAL, len(values) - i, 0, value))  # over the other values and the refusal
        body.append((_RETURN, 0, 0, REFUSE))
    body.append((_RETURN, 0, 0, ALLOW))
    return [(_EQUAL, 0, len(body), number), *body]


def rules(processes: int, own_files: bool, own_pids: bool, pid: int, machine: str = "") -> dict[int, tuple[Check, ...]]:
    """Call number -> what its arguments must satisfy.

    `own_files`: only the program's own files can be reached for writing, and all others may be read, so that it may change modes and times
    and ask for attributes (Landlock does not hold those). `own_pids`: no other process can be named. `pid`: the program's own, as it sees
    it.
    """
    groups = table(machine)
    allowed: dict[int, tuple[Check, ...]] = {
        n: () for group in ("FILES", "MEMORY", "WAITING", "ASKING", "RUNNING", "PAIRS") for n in groups[group].values()
    }
    if own_files:
        allowed |= dict.fromkeys(groups["MODES"].values(), ())
    tree, checked = groups["TREE"], groups["CHECKED"]
    if processes > 1 and own_pids:
        allowed |= dict.fromkeys(tree.values(), ())
        allowed[checked["clone"]] = ((0, (0,), 0x7E020000),)  # no flag that makes a namespace
    else:
        allowed |= {tree["kill"]: ((0, (pid,), _ALL),), tree["tgkill"]: ((0, (pid,), _ALL),)}
    files = groups["FILES"]
    for name, mode in (("open", 2), ("openat", 3), ("creat", 1)):
        if name in files:
            allowed[files[name]] = ((2 * mode, (0,), 0o6000),)  # no new file with a set-user or set-group bit
    return allowed | {
        # F_SETOWN, F_SETSIG and FIOSETOWN would have the kernel send any signal to any process of the same user.
        checked["fcntl"]: ((2, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032), _ALL),),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: asking and flags; no TIOCSTI, which types on a terminal.
        checked["ioctl"]: ((2, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451), _ALL),),
        checked["prctl"]: ((0, (15, 16), _ALL),),  # the thread's name
        checked["prlimit64"]: ((0, (0, pid), _ALL), (4, (0,), _ALL), (5, (0,), _ALL)),  # asking for one's own limits; no new ones
        # Connected pairs of streams only: a pair of datagrams could still send to any path by name.
        checked["socketpair"]: ((0, (1,), _ALL), (2, (1,), 0xF)),
    }


def program(processes: int, own_files: bool, own_pids: bool, pid: int, machine: str = "") -> bytes:
    """The filter as the kernel takes it: eight bytes an instruction."""
    machine = machine or os.uname().machine
    column, architecture = MACHINES[machine]
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, KILL), (_LOAD, 0, 0, 0)]
    if column == 1:
        code += [(_ABOVE, 0, 1, 0x40000000), (_RETURN, 0, 0, KILL)]  # x32
    for number, checks in sorted(rules(processes, own_files, own_pids, pid, machine).items()):
        code += _rule(number, checks)
    # clone3 keeps its flags in memory, where no filter can see them; told that it is absent, the C library uses clone.
    code += [(_EQUAL, 0, 1, table(machine)["OURS"]["clone3"]), (_RETURN, 0, 0, ABSENT)]
    code += [(_ABOVE, 0, 1, _NEWEST), (_RETURN, 0, 0, ABSENT), (_RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install(code: bytes) -> None:
    """Puts the filter on this process, for good. Raises OSError where the kernel refuses it."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc_call("prctl", 22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
