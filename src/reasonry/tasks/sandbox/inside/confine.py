"""Takes every right from the process that will run the program. Two forms, alike in what they promise.

`namespaces`: user, mount, process, network, IPC and host-name namespaces of its own. Its root directory holds what it may read and a
bounded folder in memory, there is no other process and no network device; Landlock too, where the kernel has it. `landlock`: no namespace
is needed, Landlock holds the files. In both, the seccomp filter refuses every call not known to be harmless, resource limits hold memory,
time and sizes, and no capability is left.

Invariant: the filter goes on last, since it refuses what sets up the others; nothing of the program runs before it.
"""

from __future__ import annotations

import os
import resource
import sys

from . import bpf, landlock, mounts
from .kernel import NEWCGROUP, NEWIPC, NEWNET, NEWNS, NEWPID, NEWUSER, NEWUTS, die_with_parent, drop_capabilities, libc_call, system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INNER = 1000
"""The user the program is, as it sees it, in the form with namespaces."""

_DEVICES = [(path, landlock.DEVICE) for path in mounts.DEVICES]


def go_first() -> None:
    """Should the machine run out of memory, this process is to go before others."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # a kindness to the machine; no protection rests on it


def interpreter_paths() -> tuple[list[str], list[str], list[str]]:
    """(the standard library's folders, the folders of shared libraries in use, folders of others' packages within them)."""
    library = [path for path in sys.path if os.path.isdir(path)]
    with open("/proc/self/maps") as maps:
        mapped = {line.split(None, 5)[5].rstrip("\n") for line in maps if ".so" in line and "/" in line}
    shared = {os.path.dirname(path) for path in mapped} - set(library)
    packages = [f"{path}/{name}" for path in library for name in ("site-packages", "dist-packages")]
    return library, sorted(path for path in shared if not any(path.startswith(f"{other}/") for other in library)), packages


def _library_rights() -> list[tuple[str, int]]:
    """Landlock's rights on the interpreter's library: its packages folder apart, and of a folder that holds more, shared objects alone."""
    library, shared, packages = interpreter_paths()
    rights: list[tuple[str, int]] = [("/etc/ld.so.cache", landlock.READ)]
    for folder in library:
        rights.append((folder, landlock.READ_DIR))
        rights += [(f"{folder}/{name}", landlock.READ) for name in os.listdir(folder) if f"{folder}/{name}" not in packages]
    for folder in shared:
        if any(path.startswith(f"{folder}/") for path in library):
            rights += [(f"{folder}/{name}", landlock.READ) for name in os.listdir(folder) if ".so" in name]
        else:
            rights.append((folder, landlock.READ))
    return rights


def own_namespaces() -> None:
    """New namespaces for this process; it is alone in them only after a fork. Raises OSError where they are forbidden."""
    if os.geteuid() == 0:
        os.setgroups([])
    libc_call("unshare", NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP)


def map_users(pid: int, owner: tuple[int, int]) -> int:
    """Called by the parent of a process with a new user namespace: who its users are outside. Returns the program's user inside.

    As root, the program becomes the `owner` of its folder (nobody, without one) and root is mapped too, to set things up.
    """
    if os.geteuid():
        with open(f"/proc/{pid}/setgroups", "w") as file:
            file.write("deny")
        users, groups, inner = f"{INNER} {os.geteuid()} 1", f"{INNER} {os.getegid()} 1", INNER
    elif owner[0] == 0:
        users, groups, inner = "0 0 1", "0 0 1", 0
    else:
        users, groups, inner = f"0 0 1\n{INNER} {owner[0]} 1", f"0 0 1\n{INNER} {owner[1]} 1" if owner[1] else f"{INNER} 0 1", INNER
    with open(f"/proc/{pid}/uid_map", "w") as file:
        file.write(users)
    with open(f"/proc/{pid}/gid_map", "w") as file:
        file.write(groups)
    return inner


def _to_run_again() -> list[str]:
    """What it takes to start the interpreter once more: its file, and the loaders that such files ask for by name."""
    folders = [os.path.realpath(folder) for folder in ("/lib64", "/lib") if os.path.isdir(folder)]
    loaders = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder) if name.startswith("ld-")]
    return [os.path.realpath(sys.executable), sys.executable, *loaders]


def inside_namespaces(plan: dict[str, Any], inner: int) -> None:
    """The first process of the new process namespace: its root directory, its user, and Landlock for it and all it starts."""
    libc_call("sethostname", b"sandbox", 7)
    library, shared, packages = interpreter_paths()
    programs = _to_run_again() if plan["processes"] > 1 else []
    readable = [*library, *shared, "/etc/ld.so.cache", *programs, *plan["readable"]]
    hidden = [path for path in packages if not any(path == other or path.startswith(f"{other}/") for other in plan["readable"])]
    mounts.enter_root(readable, hidden, plan["folder"], plan["disk"], plan["files"], inner)
    os.setresgid(inner, inner, inner)
    os.setresuid(inner, inner, inner)
    die_with_parent()
    drop_capabilities()
    if landlock.interface() >= landlock.LEAST:
        execute = landlock.EXECUTE if plan["processes"] > 1 else 0
        rights = [("/", landlock.READ | execute), (mounts.WORK, landlock.OWN), *_DEVICES]
        landlock.restrict(rights)


def by_landlock(plan: dict[str, Any]) -> None:
    """The form without namespaces: Landlock holds the files, for this process and what it becomes."""
    die_with_parent()
    drop_capabilities()
    os.chdir(plan["work"])
    rights = [*_library_rights(), *((path, landlock.READ) for path in plan["readable"]), (plan["work"], landlock.OWN)]
    landlock.restrict([*rights, *_DEVICES])


def last_rights(plan: dict[str, Any], kept_files: int) -> None:
    """The program's own process: a session of its own, no open file from `kept_files` on, the limits, and the filter, last."""
    os.setsid()
    libc_call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: the supervisor looks at its open files; nobody else can name it
    system_call("close_range", 436, kept_files, 0x7FFFFFFF, 0)
    own = plan["form"] == "namespaces"
    limits = {
        resource.RLIMIT_AS: plan["memory"] // plan["processes"],
        resource.RLIMIT_CPU: plan["cpu_seconds"],
        resource.RLIMIT_FSIZE: plan["disk"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_STACK: 8 << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NPROC: plan["processes"] + 1 if own else 1,  # with the process that waits for it
    }
    for limit, value in limits.items():
        kept = resource.getrlimit(limit)[1]
        value = value if kept == resource.RLIM_INFINITY else min(value, kept)
        resource.setrlimit(limit, (value, value))
    bpf.install(bpf.program(plan["processes"], own and not plan["folder"], own, os.getpid()))
