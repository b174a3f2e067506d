"""Programs that take too much, will not end, or lie about what they did: each ends within its limits, and leaves nothing behind."""

import os
import pickle
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from sandbox_lab import NOBODY, Ground, each_form, each_ground

from reasonry.core import UserError
from reasonry.tasks.sandbox import Ending, Form, Ran, sandbox_report
from reasonry.tasks.sandbox.inside.supervise import collect
from reasonry.tasks.sandbox.remove import remove_tree

MIB = 1 << 20
NAMESPACES = Ground(Form.NAMESPACES)
LANDLOCK = Ground(Form.LANDLOCK)


def ran(ground: Ground, code: str, files: dict[str, Any] | None = None, keep: list[str] | None = None, **limits: Any) -> Ran:
    return ground.sandbox(**limits).run_now(code, files=files or {}, keep=keep or [])


def processes_with(mark: str) -> list[str]:
    """Processes of the machine whose environment or arguments hold a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                seen = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes() + (entry / "comm").read_bytes()
            except OSError:
                continue
            if mark.encode() in seen:
                found.append(entry.name)
    return found


# Time

ENDLESS = {
    "an endless loop": "while True: pass",
    "a long sleep": "import time; time.sleep(1000)",
    "a wait for nothing": "import select; select.select([], [], [])",
    "a read that never comes": "import os; r, w = os.pipe(); os.read(r, 1)",
    "a loop that ignores every signal": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass""",
    "a loop in the C library": "import re; re.match('(a*)*b', 'a' * 40)",
    "an end that does not end": "import atexit, time; atexit.register(time.sleep, 1000)",
    "a loop that closed its output": "import os; os.close(1); os.close(2)\nwhile True: pass",
}


@each_form
@pytest.mark.parametrize("what", ENDLESS)
def test_wall_time_ends(ground: Ground, what: str):
    found = ran(ground, ENDLESS[what], seconds=0.3)
    assert (found.ending, found.exit) == (Ending.SECONDS, -9)


@each_form
def test_cpu_time_ends_though_its_signal_is_ignored(ground: Ground):
    found = ran(ground, "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", seconds=250, cpu_seconds=1)
    assert found.ending is Ending.CPU_SECONDS


# Memory

HUNGRY = {
    "anonymous": "a = bytearray({size})",
    "bit by bit": "a = []\nwhile True: a.append(bytearray(1 << 20))",
    "shared": "import mmap; a = mmap.mmap(-1, {size}); a.write(b'x' * {size})",
    "a mapped file": "import mmap\nf = open('f', 'w+b'); f.truncate({size}); a = mmap.mmap(f.fileno(), {size}); a.write(b'x' * {size})",
    "one long number": "print(len(str(1 << 10**12)))",
    "text": "a = 'x' * 1000\nwhile True: a += a",
}


@each_form
@pytest.mark.parametrize("what", HUNGRY)
def test_memory_ends(ground: Ground, what: str):
    found = ran(ground, HUNGRY[what].format(size=400 * MIB), memory=128 * MIB, seconds=250)
    assert not found.ok
    assert any(error in found.stderr for error in ("MemoryError", "Cannot allocate memory", "File too large", "OverflowError")), found
    assert found.peak <= 140 * MIB


def test_memory_is_shared_out_among_processes():
    """No tree of processes has more than the whole."""
    code = """
import os
for _ in range(3):
    if os.fork() == 0:
        try: a = bytearray(100 << 20); print('took it')
        except MemoryError: print('refused')
        os._exit(0)
for _ in range(3): os.wait()"""
    found = ran(NAMESPACES, code, processes=4, memory=256 * MIB)
    assert found.stdout.split("\n")[:-1] == ["refused"] * 3


# Processes

each_user = pytest.mark.parametrize("ground", [NAMESPACES, Ground(Form.NAMESPACES, NOBODY)], ids=str)


@each_user
def test_a_fork_bomb_is_bounded(ground: Ground):
    code = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0: time.sleep(1000)
        made += 1
except OSError: print(made)"""
    found = ran(ground, code, processes=8, seconds=250)
    assert found.stdout == "7\n"


def test_a_fork_bomb_of_forks_is_ended():
    assert (
        ran(NAMESPACES, "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", processes=8, seconds=0.5).ending
        is Ending.SECONDS
    )


def test_a_thread_bomb_is_bounded():
    code = """
import threading, time
threading.stack_size(1 << 16)
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        made += 1
except RuntimeError: print(made)"""
    assert ran(NAMESPACES, code, processes=8, memory=2048 * MIB).stdout == "7\n"


def test_no_grandchild_survives():
    """One that left its session, its group and its parent still ends with the program."""
    mark = f"mark{os.getpid()}x{time.monotonic_ns()}"[:15]
    code = f"""
import os, signal, time, ctypes
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, {mark.encode()!r}, 0, 0, 0)
        os.write(w, b'x')
        time.sleep(1000)
    os._exit(0)
os.read(r, 1)
print('left')"""
    sandbox = NAMESPACES.sandbox(processes=8)
    found = sandbox.run_now(code)
    assert (found.stdout, found.ending) == ("left\n", Ending.EXIT)
    assert processes_with(mark) == []


def test_with_more_processes_a_new_namespace_is_still_refused():
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]
for flags in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000):
    print(libc.syscall(number, ctypes.c_long(flags | 17), 0, 0, 0, 0), ctypes.get_errno())
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.syscall(435, bytes(64), 64), ctypes.get_errno())"""
    assert ran(NAMESPACES, code, processes=8).stdout.splitlines() == ["-1 1"] * 8 + ["-1 38"]


def test_with_more_processes_another_interpreter_is_as_confined():
    code = """
import subprocess, sys
inner = "import os\\nfor p in ('/etc/passwd', '/proc/1/environ'):\\n    try: open(p)\\n    except OSError as e: print(type(e).__name__)\\n"
inner += "import socket\\ntry: socket.socket()\\nexcept OSError as e: print(type(e).__name__)"
print(subprocess.run([sys.executable, '-S', '-c', inner], capture_output=True, text=True))"""
    found = ran(NAMESPACES, code, processes=4, memory=1024 * MIB)
    assert "stdout='FileNotFoundError\\nFileNotFoundError\\nPermissionError\\n'" in found.stdout, found


def test_processes_of_root_are_not_counted_and_refused(tmp_path: Path):
    """The kernel bounds the processes of every user but root; a folder that root owns is worked in as root."""
    if os.geteuid():
        pytest.skip("only root owns such a folder")
    with pytest.raises(UserError, match=r"root owns .* and the kernel counts no processes of root"):
        NAMESPACES.sandbox(processes=2, folder=tmp_path)


def test_more_processes_are_refused_where_they_cannot_be_held():
    if LANDLOCK.form in sandbox_report().refused:
        pytest.skip(sandbox_report().refused[LANDLOCK.form])
    with pytest.raises(UserError, match="processes is 2 but without namespaces only one can be held"):
        LANDLOCK.sandbox(processes=2)


# Output


@each_form
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_cut(ground: Ground, stream: str):
    found = ran(ground, f"import sys\nwhile True: sys.{stream}.write('x' * 1000)", output=5000, seconds=250)
    assert (found.ending, found.truncated, len(getattr(found, stream))) == (Ending.OUTPUT, True, 5000)


@each_ground
def test_output_is_not_parsed(ground: Ground):
    """Bytes that are no text, a pickle that would run code, frames that look like ours: all come back as text."""

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, ("/tmp/unpickled-by-mistake",))

    bomb = pickle.dumps(Bomb())
    frame = b"\0\0\0\1\0\0\0\2{}" + b'{"exit": 0, "ending": "exit"}' + b"\xff\xfe\x00\x80"
    found = ran(ground, f"import os; os.write(1, {bomb!r}); os.write(1, {frame!r}); os.write(2, bytes(range(256)))", keep=["result"])
    assert found.ok
    assert found.stdout == (bomb + frame).decode(errors="replace")
    assert found.stderr == bytes(range(256)).decode(errors="replace")
    assert not os.path.exists("/tmp/unpickled-by-mistake")


@each_form
def test_closed_output_is_no_trouble(ground: Ground):
    assert ran(ground, "import os; os.close(0); os.close(1); os.close(2); os._exit(5)").exit == 5


# Files


@each_form
def test_a_full_disk_ends_or_fails(ground: Ground):
    code = "for i in range(1000): open(f'f{i}', 'wb').write(bytes(1 << 20))"
    found = ran(ground, code, disk=4 * MIB, seconds=250)
    assert found.ending is Ending.DISK or "No space left" in found.stderr or "File too large" in found.stderr, found


@each_form
def test_a_file_that_is_too_large_fails(ground: Ground):
    found = ran(ground, "f = open('f', 'wb'); f.seek(1 << 40); f.write(b'x'); f.close()", disk=4 * MIB)
    assert "File too large" in found.stderr or "No space left" in found.stderr, found


@each_form
def test_files_without_a_name_count(ground: Ground):
    code = """
import os
kept = []
while True:
    file = open('f', 'wb', buffering=0)
    os.unlink('f')
    file.write(bytes(1 << 20))
    kept.append(file)"""
    found = ran(ground, code, disk=4 * MIB, seconds=250)
    assert found.ending is Ending.DISK or "No space left" in found.stderr or "Too many open files" in found.stderr, found


@each_ground
@pytest.mark.parametrize(
    "make", ["open(f'f{i}', 'w').close()", "os.mkdir(f'd{i}')", "os.symlink('x', f'l{i}')", "os.mkdir('d'); os.chdir('d')"]
)
def test_many_small_files_end_or_fail(ground: Ground, make: str):
    found = ran(ground, f"import os\nfor i in range(10**6): {make}", disk=64 * MIB, seconds=250, cpu_seconds=30)
    assert found.ending is Ending.DISK or "No space left" in found.stderr, found


@each_ground
def test_a_folder_closed_to_looking_is_removed(ground: Ground, monkeypatch: pytest.MonkeyPatch):
    base = tempfile.mkdtemp()
    os.chmod(base, 0o777)
    monkeypatch.setattr(tempfile, "tempdir", base)
    code = (
        "import os\nfor name in ('a', 'b'):\n    os.mkdir(name); open(name + '/x', 'w').close()\nos.symlink('/', 'root')\nos.mkdir('c', 0)"
    )
    assert ran(ground, code).ending in (Ending.EXIT, Ending.DISK)
    os.rmdir(base)  # it is empty


@each_form
def test_removing_its_own_folder_harms_nothing(ground: Ground):
    assert ran(ground, "import os\ntry: os.rmdir(os.getcwd())\nexcept OSError: print('refused')").stdout == "refused\n"


def test_a_deep_tree_is_removed(tmp_path: Path):
    """Deeper than paths may be long and calls may be nested; links in it are not followed."""
    outside = tmp_path / "outside"
    outside.write_text("kept")
    top, here = tmp_path / "top", os.open(".", os.O_RDONLY)
    top.mkdir()
    try:
        os.chdir(top)
        for _ in range(1200):
            os.mkdir("deep")
            os.chdir("deep")
        os.symlink(outside, "link")
        os.symlink(tmp_path, "folder")
    finally:
        os.fchdir(here)
        os.close(here)
    remove_tree(str(top))
    assert os.listdir(tmp_path) == ["outside"]
    assert outside.read_text() == "kept"


@each_ground
def test_what_is_brought_back_is_a_plain_file_of_its_own(ground: Ground):
    """A link out, a link in, a folder, a link on the way: none is followed, in any form."""
    code = """
import os
open('mine', 'w').write('mine')
os.symlink('/etc/passwd', 'out'); os.symlink('mine', 'in'); os.mkdir('folder'); os.symlink('/etc', 'etc')
open('folder/deep', 'w').write('deep')"""
    found = ran(ground, code, keep=["mine", "out", "in", "folder", "etc/passwd", "folder/deep", "absent"])
    assert found.files == {"mine": b"mine", "folder/deep": b"deep"}


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(100))
    assert collect(str(tmp_path), ["pipe", "large", "../x"], 99) == {}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a//b", "a\0b"])
def test_names_that_lead_out_are_refused(name: str):
    sandbox = NAMESPACES.sandbox()
    with pytest.raises(UserError, match="files and keep name files within the folder"):
        sandbox.run_now("", files={name: "x"})
    with pytest.raises(UserError, match="files and keep name files within the folder"):
        sandbox.run_now("", keep=[name])


@each_ground
def test_a_folder_on_disk_does_not_lead_out(ground: Ground, tmp_path_factory: pytest.TempPathFactory):
    """Links and modules an earlier program left behind lead neither the supervisor nor the parent anywhere."""
    base = Path(os.path.realpath(os.path.join("/tmp", f"sandbox-test-{os.getpid()}-{time.monotonic_ns()}")))
    folder, outside = base / "folder", base / "outside"
    folder.mkdir(parents=True)
    outside.write_text("untouched")
    outside.chmod(0o666)
    if ground.user is not None and os.geteuid() == 0:
        os.chown(folder, ground.user, ground.user)
    try:
        sandbox = ground.sandbox(folder=folder)
        left = "import os; os.symlink('../outside', 'data'); open('sitecustomize.py', 'w').write('print(1)'); "
        left += "open('json.py', 'w').write('1/0'); open('usercustomize.py', 'w').write('1/0'); open('marshal.py', 'w').write('1/0')"
        assert sandbox.run_now(left).ok
        second = sandbox.run_now("print('still here')", files={"data": "overwritten"}, keep=["data"])
        assert second.files == {}
        assert outside.read_text() == "untouched"
        assert sandbox.run_now("print(sorted(__import__('os').listdir('.')))", keep=["sitecustomize.py"]).files == {
            "sitecustomize.py": b"print(1)"
        }
        full = ground.sandbox(folder=folder, disk=MIB, seconds=250)
        full_ran = full.run_now("import itertools\nfor i in itertools.count(): open(f'f{i}', 'wb').write(bytes(1 << 19))")
        assert full_ran.ending is Ending.DISK or "Errno" in full_ran.stderr
    finally:
        remove_tree(str(base))


# Other instruction sets

INT80 = """
import ctypes, mmap
code = bytes.fromhex('b814000000cd80c3')  # mov eax, 20 (getpid); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=7)
page.write(code)
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())"""
X32 = "import ctypes; print(ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39)))"


@each_form
@pytest.mark.parametrize("code", [INT80, X32], ids=["i386", "x32"])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have no second instruction set for calls")
def test_calls_of_another_instruction_set_end_the_program(ground: Ground, code: str):
    found = ran(ground, code)
    assert (found.ending, found.exit, found.stdout) == (Ending.SIGNAL, -31, "")


@each_form
def test_a_crash_is_reported(ground: Ground):
    found = ran(ground, "import ctypes; print('before', flush=True); ctypes.string_at(0)")
    assert (found.ending, found.exit, found.stdout) == (Ending.SIGNAL, -11, "before\n")
