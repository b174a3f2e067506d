"""The process the parent starts: forks the confined program, holds the limits that need a watcher, and brings its results back as data.

Invariant: when a run has ended, in whatever way, no process of it is alive. Every end is SIGKILL: to the first process of a process
namespace, which the kernel follows by killing all others in it; without namespaces, to the one process there can be. If the parent goes,
standard input closes and everything is killed; if this process goes, the kernel kills what it started.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import stat
import struct
import time

from . import confine, mounts, program
from .frames import receive, send, write_all
from .kernel import libc_call, system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

TICK = 0.02
"""Seconds between two looks at what a folder on disk holds, or ten times what a look takes; a folder in memory is bounded by the kernel."""
_PIPE = 1 << 16


def main() -> None:
    """Serves one request from standard input: a program, or a session of snippets."""
    first, *blobs = receive(0)
    plan = marshal.loads(first)
    try:
        run = _Supervisor(plan, blobs)
        run.session() if plan["session"] else run.once()
    except _RefusedError as refused:
        send(1, [repr({"error": str(refused)}).encode()])
    except EOFError:
        pass  # the parent is gone


class _RefusedError(Exception):
    """The barriers could not be put up; the message says which."""


def _high(file: int) -> int:
    """The same open file under a number that the program's own will not take."""
    high = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 32)
    os.close(file)
    return high


def _pipe() -> tuple[int, int]:
    reads, writes = os.pipe()
    return _high(reads), _high(writes)


def _memory_file(content: bytes) -> int:
    """A file in memory that nobody can change, open at its start."""
    file = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return _high(file)


class _Supervisor:
    """One program from fork to end."""

    def __init__(self, plan: dict[str, Any], blobs: Sequence[bytes]) -> None:
        self.plan = plan
        self.code, self.stdin = blobs[0].decode(), blobs[1]
        self.files = dict(zip(plan["names"], blobs[2:], strict=True))
        self.work: str | None = plan["folder"] or plan["work"]
        """The folder on disk, if there is one."""
        self.stdout, self.stderr, self.status = bytearray(), bytearray(), bytearray()
        self.ending: str | None = None
        self.truncated = False
        self.mark = b""
        """What a session's program said at the end of a snippet: its exit status."""
        self.pid = 0
        """The process whose end is everybody's."""
        self._start()

    # Starting

    def _start(self) -> None:
        stdin = _memory_file(self.stdin)
        pipes = {name: _pipe() for name in ("stdout", "stderr", "status", "go", "snippets", "marks")}
        ends = {"stdin": stdin, **{name: pair[name not in ("go", "snippets")] for name, pair in pipes.items()}}
        ours = {name: pair[name in ("go", "snippets")] for name, pair in pipes.items()}
        self.reads = {ours["stdout"]: self.stdout, ours["stderr"]: self.stderr, ours["status"]: self.status}
        self.go, self.snippets, self.marks, self.tells = ours["go"], ours["snippets"], ours["marks"], ours["status"]
        libc_call("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what our child leaves behind becomes ours
        child = os.fork()
        if child == 0:
            for file in ours.values():
                os.close(file)
            self._child(ends)
        for file in ends.values():
            os.close(file)
        if self.plan["form"] == "namespaces":
            self._told(child, "unshared")
            folder = os.stat(self.plan["folder"]) if self.plan["folder"] else None
            try:
                inner = confine.map_users(child, (folder.st_uid, folder.st_gid) if folder else (65534, 65534))
            except OSError as error:
                self.pid = child
                self._end()
                raise _RefusedError(f"mapping users: {error}") from None
            os.write(self.go, bytes([inner == 0]))
            self.pid = self._told(child, "first")
            os.waitpid(child, 0)
            os.write(self.go, b"x")
        else:
            self.pid = child
        self._told(self.pid, "ready")
        for file in (*self.reads, self.marks, self.snippets):
            os.set_blocking(file, False)

    def _told(self, child: int, what: str) -> int:
        """Waits for what the child says next and returns its value. Raises _RefusedError where it says something else, or nothing."""
        try:
            said = marshal.loads(receive(self.tells)[0])
        except EOFError:
            said = {}
        if what not in said:
            self.pid = child
            self._end()
            raise _RefusedError(said.get("error", f"it ended before it was {what}"))
        return said[what]

    # The children

    def _child(self, ends: Mapping[str, int]) -> NoReturn:
        """Everything on the other side of the fork; a bug's traceback goes to our standard error, which the parent shows."""

        def tell(**said: Any) -> None:
            send(ends["status"], [marshal.dumps(said)])

        try:
            confine.go_first()
            if self.plan["form"] == "namespaces":
                confine.own_namespaces()
                tell(unshared=1)
                go = os.read(ends["go"], 1)
                if not go:
                    os._exit(1)
                if first := os.fork():
                    tell(first=first)
                    os._exit(0)
                if not os.read(ends["go"], 1):
                    os._exit(1)
                confine.inside_namespaces(self.plan, 0 if go == b"\1" else confine.INNER)
                self._first(ends, tell)
            else:
                confine.by_landlock(self.plan)
                self._program(ends, tell)
        except OSError as error:
            tell(error=str(error))
        os._exit(1)

    def _first(self, ends: Mapping[str, int], tell: Any) -> NoReturn:
        """The first process of the namespace: waits for the program, ends all others, and reads the files to keep."""
        libc_call("signal", 2, 1)  # SIGINT is ignored: Python would raise; the kernel keeps all other signals from a first process
        child = os.fork()
        if child == 0:
            self._program(ends, tell)
        for name, file in ends.items():
            if name != "status":
                os.close(file)
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == child:
                break
        try:
            os.kill(-1, 9)
            while True:
                os.waitpid(-1, 0)
        except OSError:
            pass  # nobody else is left
        kept = {} if self.plan["folder"] else collect(mounts.WORK, self.plan["keep"], self.plan["disk"])
        tell(status=os.waitstatus_to_exitcode(status), kept=kept)
        os._exit(0)

    def _program(self, ends: Mapping[str, int], tell: Any) -> NoReturn:
        """The program's process: the last rights go, the supervisor hears of it, and only then the program begins."""
        for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2), ("snippets", program.SNIPPETS), ("marks", program.MARKS)):
            os.dup2(ends[name], number)
        status = os.dup2(ends["status"], program.MARKS + 1)
        try:
            confine.last_rights(self.plan, status + 1)
            send(status, [marshal.dumps({"ready": 1})])
        except OSError as error:
            send(status, [marshal.dumps({"error": str(error)})])
            os._exit(1)
        os.close(status)
        scope = program.prepare([path for path in self.plan["readable"] if os.path.isdir(path)], self.files)
        if self.plan["session"]:
            program.session(scope)
        os.close(program.SNIPPETS)
        os.close(program.MARKS)
        program.once(self.code, scope)

    # Watching

    def _stop(self, ending: str) -> None:
        self.ending = self.ending or ending
        self._kill()

    def _kill(self) -> None:
        try:  # noqa: SIM105  # contextlib takes longer to import than all of this
            os.kill(self.pid, 9)
        except ProcessLookupError:
            pass

    def _end(self) -> None:
        """Kills everything and waits until it is gone."""
        self._kill()
        os.waitpid(self.pid, 0)

    def _watch(self, snippet: bytes | None = None) -> bool:
        """Collects output and holds the limits until everything has ended (False), or the snippet has (True).

        Raises EOFError when the parent is gone, after ending everything.
        """
        deadline, ended, poll = time.monotonic() + self.plan["seconds"], os.pidfd_open(self.pid), select.poll()
        look = 0.0
        poll.register(0, select.POLLHUP)
        for file in (*self.reads, ended):
            poll.register(file, select.POLLIN)
        if snippet is not None:
            poll.register(self.marks, select.POLLIN)
            poll.register(self.snippets, select.POLLOUT)
        try:
            while True:
                left = deadline - time.monotonic()
                wait = min(left, TICK) if self.work else left
                events = dict(poll.poll(max(0.0, wait) * 1000 + 1))
                if events.get(0, 0) & (select.POLLHUP | select.POLLERR):
                    self._end()
                    raise EOFError
                if snippet and self.snippets in events:
                    snippet = snippet[self._written(snippet) :]
                    if not snippet:
                        poll.unregister(self.snippets)
                for file in events.keys() & self.reads.keys():
                    if not self._collect(file):
                        poll.unregister(file)
                if self.marks in events:
                    self.mark = os.read(self.marks, _PIPE)
                    if not self.mark:  # closed: it is ending, or was closed by the program, which then has a second left
                        poll.unregister(self.marks)
                        deadline = min(deadline, time.monotonic() + 1)
                if ended in events or self.mark:
                    for file in self.reads:
                        while self._collect(file, wait=False):
                            pass
                    if ended in events:
                        return False
                    if self.ending is None:
                        return True
                if left <= 0:
                    self._stop("seconds")
                elif self.work and (start := time.monotonic()) >= look:
                    if _too_much(self.work, self.pid, self.plan["disk"], self.plan["files"]):
                        self._stop("disk")
                    look = start + max(TICK, 10 * (time.monotonic() - start))  # a large folder is not looked at all the time
        finally:
            os.close(ended)

    def _written(self, snippet: bytes) -> int:
        """Bytes of a snippet that the program's pipe took. A program that closed it is ended."""
        try:
            return os.write(self.snippets, snippet[:_PIPE])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._stop("signal")
            return len(snippet)

    def _collect(self, file: int, wait: bool = True) -> bool:
        """Reads what there is; False at the end of the file, and with `wait` false where nothing is there yet."""
        try:
            part = os.read(file, _PIPE)
        except BlockingIOError:
            return wait
        kept = self.reads[file]
        room = len(part) if kept is self.status else self.plan["output"] - len(kept)
        kept += part[:room]
        if len(part) > room:
            self.truncated = True
            self._stop("output")
        return bool(part)

    # Ending

    def _reap(self) -> tuple[int, dict[str, bytes], Any]:
        """(exit status, files to keep, resources used) of what has ended."""
        _, status, used = os.wait4(self.pid, 0)
        exit, kept = os.waitstatus_to_exitcode(status), dict[str, bytes]()
        if self.plan["form"] == "namespaces" and self.status:
            (size,) = struct.unpack_from("!I", self.status, 4)
            said = marshal.loads(self.status[8 : 8 + size])
            exit, kept = said["status"], said["kept"]
        if self.work:
            kept = collect(self.work, self.plan["keep"], self.plan["disk"])
        if self.ending is None and exit < 0:
            spent = used.ru_utime + used.ru_stime > self.plan["cpu_seconds"] / 2  # the limit counts in ticks, and differs a little
            self.ending = "cpu_seconds" if exit == -9 and spent else "signal"
        return exit, kept, used

    def _said(self, seconds: float, exit: int, peak: int, files: Mapping[str, bytes], going: bool = False) -> None:
        header = {"exit": exit, "ending": self.ending or "exit", "going": going, "seconds": seconds, "peak": peak}
        header |= {"truncated": self.truncated, "files": list(files)}
        send(1, [repr(header).encode(), bytes(self.stdout), bytes(self.stderr), *files.values()])
        self.stdout.clear()
        self.stderr.clear()

    def once(self) -> None:
        """Runs one program to its end and sends what came of it."""
        start = time.monotonic()
        self._watch()
        seconds = time.monotonic() - start
        exit, kept, used = self._reap()
        self._said(seconds, exit, used.ru_maxrss * 1024, kept)

    def session(self) -> None:
        """Runs a snippet for each frame that comes, until the parent or the interpreter ends."""
        send(1, [b"{}"])
        while True:
            try:
                (code,) = receive(0)
            except EOFError:
                self._end()
                return
            start = time.monotonic()
            try:  # noqa: SIM105
                os.read(self.marks, _PIPE)  # marks that the program wrote on its own account
            except BlockingIOError:
                pass
            self.mark = b""
            more = self._watch(len(code).to_bytes(4, "big") + code)
            seconds = time.monotonic() - start
            if not more:
                exit, kept, used = self._reap()
                self._said(seconds, exit, used.ru_maxrss * 1024, kept)
                return
            self._said(seconds, self.mark[-1], 0, {}, going=True)


def collect(folder: str, names: Sequence[str], most: int) -> dict[str, bytes]:
    """The contents of the named plain files under a folder; no link is followed, and what is no plain file is left out.

    At most `most` bytes together; a file that would pass it is left out.
    """
    root, found = os.open(folder, os.O_PATH | os.O_DIRECTORY), dict[str, bytes]()
    how = struct.pack(
        "=QQQ", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, 0, 0x08 | 0x04 | 0x02
    )  # RESOLVE_BENEATH, NO_SYMLINKS, NO_MAGICLINKS
    for name in names:
        try:
            file = system_call("openat2", 437, root, name.encode(), how, len(how))
        except OSError:
            continue
        about = os.fstat(file)
        if stat.S_ISREG(about.st_mode) and about.st_size <= most:
            found[name] = b""
            while len(found[name]) < about.st_size and (part := os.read(file, about.st_size - len(found[name]))):
                found[name] += part
            most -= len(found[name])
        os.close(file)
    os.close(root)
    return found


def _too_much(folder: str, first: int, disk: int, files: int) -> bool:
    """Whether a folder holds more than it may, files without a name that the program still has open among it.

    What cannot be looked into counts as too much.
    """
    size, count = 0, 0
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    try:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        count += 1
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            continue
        except OSError:
            return True
        if size > disk or count > files:
            return True
    processes = [first]
    for pid in processes:
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                processes += [int(child) for child in children.read().split()]
            for name in os.listdir(f"/proc/{pid}/fd"):
                about = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(about.st_mode) and about.st_nlink == 0 and name != "0":
                    size += about.st_blocks * 512
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return size > disk
