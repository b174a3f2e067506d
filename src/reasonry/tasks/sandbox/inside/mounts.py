"""A root directory of the program's own: what it may read, read-only at its usual place; a bounded folder in memory; nothing else.

Invariant: after `enter_root` no path leads to a file that was not put there. Needs a mount namespace of one's own.
"""

from __future__ import annotations

import os

from .kernel import libc_call, system_call
from .syscalls import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WORK = "/sandboxed"
"""The program's folder; a name that nothing it may read is likely to have."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE, _DETACH = 1, 2, 4, 8, 16384, 1 << 18, 2
_AT_FDCWD, _EMPTY_PATH, _RECURSIVE = -100, 0x1000, 0x8000


def _copy(path: str, attributes: int) -> int:
    """A detached copy of the mount tree at a path, with attributes that hold for all of it."""
    copy = system_call(f"open_tree {path}", 428, _AT_FDCWD, path.encode(), 1 | os.O_CLOEXEC | _RECURSIVE)  # OPEN_TREE_CLONE
    settings = attributes.to_bytes(8, "little") + bytes(24)
    system_call("mount_setattr", 442, copy, b"", _EMPTY_PATH | _RECURSIVE, settings, len(settings))
    return copy


def _attach(copy: int, target: str) -> None:
    system_call(f"move_mount {target}", 429, copy, b"", _AT_FDCWD, target.encode(), 4)  # MOVE_MOUNT_F_EMPTY_PATH
    os.close(copy)


def _tmpfs(target: str, flags: int, options: str) -> None:
    libc_call("mount", b"none", target.encode(), b"tmpfs", flags, options.encode())


def enter_root(readable: Sequence[str], hidden: Sequence[str], folder: str | None, disk: int, files: int, uid: int) -> None:
    """Makes the new root the root of this process and leaves no way back.

    `readable`: files and folders, shown read-only; `hidden`: folders among them to be shown empty. `folder`: shown for writing as `WORK`;
    without it `WORK` is memory, of at most `disk` bytes and `files` files. Raises OSError where the kernel refuses.
    """
    libc_call("mount", b"none", b"/", None, _REC | _PRIVATE, None)  # nothing done here spreads
    copies = [
        (path, os.path.isdir(path), _copy(path, _RDONLY | _NOSUID | _NODEV)) for path in sorted(set(readable)) if os.path.exists(path)
    ]
    copies += [(path, False, _copy(path, _RDONLY | _NOSUID | _NOEXEC)) for path in DEVICES if os.path.exists(path)]
    own = _copy(folder, _NOSUID | _NODEV | _NOEXEC) if folder else None
    links = [(name, os.readlink(name)) for name in ("/lib", "/lib64") if os.path.islink(name)]
    root = next(path for path in ("/tmp", "/var", "/usr") if os.path.isdir(path))  # covered, in this namespace alone
    _tmpfs(root, _NOSUID | _NODEV, "size=1m,nr_inodes=4096,mode=755")
    shown: list[str] = []
    for path, is_folder, copy in copies:
        target = root + path
        if not any(path.startswith(f"{other}/") for other in shown):
            os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
            if not is_folder:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o666))
        _attach(copy, target)
        shown.append(path)
    for path in hidden:
        if os.path.isdir(root + path):
            _tmpfs(root + path, _RDONLY, "size=4k,nr_inodes=2")
    for name, to in links:
        if not os.path.lexists(root + name):
            os.symlink(to, root + name)
    os.makedirs(root + WORK)
    if own is None:
        _tmpfs(root + WORK, _NOSUID | _NODEV | _NOEXEC, f"size={disk},nr_inodes={files + 1},mode=700,uid={uid},gid={uid}")
    else:
        _attach(own, root + WORK)
    os.chdir(root)
    libc_call("mount", b"none", root.encode(), None, 32 | _RDONLY | _NOSUID | _NODEV, None)  # MS_REMOUNT: no more names in the root
    system_call("pivot_root", table()["OURS"]["pivot_root"], b".", b".")
    libc_call("umount2", b".", _DETACH)
    os.chdir(WORK)
