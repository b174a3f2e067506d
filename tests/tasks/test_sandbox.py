"""What runs in the sandbox behaves as it does outside, and what a machine cannot hold is refused."""

import asyncio
import contextlib
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest
from sandbox_lab import Ground, each_ground

from reasonry.core import UserError
from reasonry.tasks.sandbox import Ending, Form, Limits, Sandbox, report, sandbox_report
from reasonry.tasks.sandbox.inside import bpf, landlock
from reasonry.tasks.sandbox.inside.syscalls import table

NAMESPACES = Ground(Form.NAMESPACES)


@pytest.fixture(scope="module", params=list(Form))
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Ground(request.param).sandbox(seconds=120, workers=4)


# What programs see


def test_output_is_exact(sandbox: Sandbox):
    ran = sandbox.run_now("import sys\nprint('a\\tb', 'é', '中')\nprint('to the other', file=sys.stderr)\nsys.stdout.write('no end')")
    assert (ran.stdout, ran.stderr, ran.exit, ran.ending, ran.truncated) == ("a\tb é 中\nno end", "to the other\n", 0, Ending.EXIT, False)
    assert ran.ok
    assert ran.peak > 0


def test_what_a_program_raises_is_text_without_our_frames(sandbox: Sandbox):
    ran = sandbox.run_now("def f(x):\n    return 1 / x\n\nf(0)\n")
    lines = [line for line in ran.stderr.splitlines() if "^" not in line]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "main.py", line 4, in <module>',
        "    f(0)",
        '  File "main.py", line 2, in f',
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]
    assert (ran.exit, ran.ending) == (1, Ending.EXIT)


@pytest.mark.parametrize(
    ("code", "exit", "stderr"),
    [
        ("import sys; sys.exit(3)", 3, ""), ("raise SystemExit", 0, ""), ("exit = 1", 0, ""), ("raise SystemExit('said')", 1, "said\n"),
        ("import os; os._exit(9)", 9, ""), ("x = ", 1, "SyntaxError"), ("x = '\\ud800'", 0, ""), ("\0", 1, "null bytes"),
        ("import atexit; atexit.register(print, 'bye'); raise ValueError('x')", 1, "ValueError: x"), ("", 0, ""),
    ],
)  # fmt: skip
def test_exit_statuses(sandbox: Sandbox, code: str, exit: int, stderr: str):
    ran = sandbox.run_now(code)
    assert ran.exit == exit
    assert stderr in ran.stderr
    assert bool(stderr) == bool(ran.stderr)


def test_standard_input_is_given_whatever_its_size(sandbox: Sandbox):
    assert sandbox.run_now("print(input(), len(input()))", stdin="é\n" + "x" * 100).stdout == "é 100\n"
    assert sandbox.run_now("import sys; print(len(sys.stdin.read()))", stdin="y" * 5_000_000).stdout == "5000000\n"
    assert "EOFError" in sandbox.run_now("input()").stderr


def test_files_go_in_and_come_out(sandbox: Sandbox):
    code = "import helper; print(open('data/in.txt').read()); open('out.bin', 'wb').write(bytes(range(256))); print(helper.twice(4))"
    files: dict[str, str | bytes] = {"helper.py": "def twice(x): return 2 * x", "data/in.txt": b"in"}
    ran = sandbox.run_now(code, files=files, keep=["out.bin", "absent"])
    assert (ran.stdout, ran.files) == ("in\n8\n", {"out.bin": bytes(range(256))})


def test_every_program_starts_with_an_empty_folder(sandbox: Sandbox):
    code = "import os, tempfile; print(os.listdir('.'), os.path.realpath(tempfile.gettempdir()) == os.getcwd()); open('left', 'w')"
    assert {sandbox.run_now(code).stdout for _ in range(2)} == {"[] True\n"}


def test_it_looks_like_a_program(sandbox: Sandbox):
    code = "import sys, os\nprint(__name__, sys.argv, 'inside' in str(sys.modules.keys()), os.environ['HOME'] == os.getcwd())"
    assert sandbox.run_now(code).stdout == "__main__ ['main.py'] False True\n"


def test_hashes_and_sets_are_the_same_every_time(sandbox: Sandbox):
    assert len({sandbox.run_now("print(hash('x'), list({'a', 'b', 'c', 'd'}))").stdout for _ in range(3)}) == 1


def test_common_libraries_work(sandbox: Sandbox):
    names = (
        "math random json re itertools functools collections decimal fractions statistics datetime heapq bisect string textwrap hashlib "
    )
    names += (
        "csv io sqlite3 zlib bz2 lzma ssl asyncio unittest dataclasses typing enum urllib.request logging pprint zipfile tarfile ctypes"
    )
    ran = sandbox.run_now(f"for name in {names.split()!r}:\n    __import__(name)\nimport asyncio; print(asyncio.run(asyncio.sleep(0, 7)))")
    assert (ran.stdout, ran.stderr) == ("7\n", "")


def test_files_behave(sandbox: Sandbox):
    code = """
import os, shutil, sqlite3, tempfile, zipfile, pathlib
os.makedirs('a/b'); open('a/b/c', 'w').write('x'); os.rename('a/b/c', 'a/d'); os.symlink('a/d', 'l'); print(open('l').read())
shutil.copyfile('a/d', 'e'); shutil.rmtree('a'); print(sorted(os.listdir('.')))
db = sqlite3.connect('t.db'); db.execute('create table t(x)'); db.execute('insert into t values (1)'); db.commit()
print(db.execute('select x from t').fetchall())
with tempfile.NamedTemporaryFile() as f: f.write(b'x')
with zipfile.ZipFile('z.zip', 'w') as z: z.write('e')
print(zipfile.ZipFile('z.zip').namelist(), pathlib.Path('e').read_text())"""
    ran = sandbox.run_now(code)
    assert (ran.stdout, ran.stderr) == ("x\n['e', 'l']\n[(1,)]\n['e'] x\n", "")


@pytest.mark.parametrize("form", list(Form))
def test_packages_are_read_where_asked_for(form: Form):
    """And not otherwise."""
    packages = sysconfig.get_paths()["purelib"]
    ground = Ground(form)
    code = "import numpy; print(numpy.ones(3).sum(), numpy.linalg.det(numpy.eye(2)))"
    ran = ground.sandbox(readable=[packages], memory=2048 << 20, seconds=60, cpu_seconds=60).run_now(code)
    assert ran.stdout == "3.0 1.0\n", ran
    assert "ModuleNotFoundError" in ground.sandbox(seconds=30).run_now(code).stderr


def test_the_parents_environment_is_not_the_programs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Neither as values, nor as paths to read code from, nor as files it left open."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('from outside')")
    (tmp_path / "json.py").write_text("raise SystemExit('from outside')")
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    monkeypatch.chdir(tmp_path)
    reads, writes = os.pipe()
    os.set_inheritable(reads, True)
    ran = sandbox.run_now("import json, os; print('a-secret-key' in str(os.environb), 'from outside' in str(os.environ))")
    os.close(reads)
    os.close(writes)
    assert (ran.stdout, ran.stderr) == ("False False\n", "")


# Many at once, and sessions


async def test_many_wait_for_their_turn(sandbox: Sandbox):
    """The loop goes on meanwhile, and every program gets its own answer."""
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    task = asyncio.create_task(beat())
    ran = await asyncio.gather(*(sandbox.run(f"print({i})") for i in range(12)))
    task.cancel()
    assert [r.stdout for r in ran] == [f"{i}\n" for i in range(12)]
    assert beats > 5


async def test_a_session_keeps_its_variables(sandbox: Sandbox):
    async with sandbox.session(files={"f.txt": "from a file"}) as session:
        first = await session.run("x = 20\ndef f(y):\n    return x / y")
        assert (first.stdout, first.fresh) == ("", True)
        assert (await session.run("x += 1; f(2)")).stdout == "10.5\n"
        failed = await session.run("print('before')\nf(0)")
        assert (failed.stdout, failed.exit, failed.fresh) == ("before\n", 1, False)
        assert 'File "snippet 1", line 3, in f\n    return x / y' in failed.stderr
        assert "SyntaxError" in (await session.run("x =")).stderr
        assert (await session.run("None\nx, open('f.txt').read()")).stdout == "(21, 'from a file')\n"
        ended = await session.run("import sys; sys.exit(4)")
        assert (ended.exit, ended.ending) == (4, Ending.EXIT)
        again = await session.run("x")
        assert again.fresh
        assert "NameError" in again.stderr


def test_a_session_is_ended_by_its_limits_and_begins_anew():
    with NAMESPACES.sandbox(seconds=3, output=1000).session() as session:
        session.run_now("x = 1")
        assert session.run_now("while True: pass").ending is Ending.SECONDS
        fresh = session.run_now("'x' in globals()")
        assert (fresh.stdout, fresh.fresh) == ("False\n", True)
        assert session.run_now("print('y' * 5000)").ending is Ending.OUTPUT
        assert session.run_now("1 + 1").stdout == "2\n"


def test_a_session_cannot_be_fooled_about_its_turns(sandbox: Sandbox):
    """A program that writes its own marks, or closes the files it is talked to by, harms itself alone: its output comes a turn late."""
    with sandbox.session() as session:
        session.run_now("import os; n = os.write(4, b'\\0\\0\\0')")
        assert session.run_now("7").stdout in ("7\n", "")
        session.run_now("import time; time.sleep(0.1)")
        assert session.run_now("8").stdout in ("8\n", "")
        assert session.run_now("os.close(3)").stdout in ("8\n", "")
        session.run_now("9")
        session.run_now("import os; os.close(4)")
        assert session.run_now("10").stdout == "10\n"


def test_a_session_that_is_left_is_over(sandbox: Sandbox):
    with sandbox.session() as session:
        session.run_now("import ctypes; ctypes.CDLL(None).prctl(15, b'left-session', 0, 0, 0)")
    assert _named("left-session") == []


def test_a_snippet_has_a_size(sandbox: Sandbox):
    with sandbox.session() as session:
        assert session.run_now("x = '" + "a" * 400_000 + "'; len(x)").stdout == "400000\n"
        with pytest.raises(UserError, match="a snippet has 600000 characters"):
            session.run_now("#" * 600_000)


def test_threads_may_share_a_sandbox(sandbox: Sandbox):
    found = []
    threads = [threading.Thread(target=lambda i=i: found.append(sandbox.run_now(f"print({i})").stdout)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"{i}\n" for i in range(4)]


# What is refused


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", 0), ("memory", 1000), ("processes", 0), ("output", 0), ("disk", 0), ("cpu_seconds", 0)]
)
def test_limits_that_nothing_could_run_under_are_refused(name: str, value: int):
    with pytest.raises(UserError, match=f"sandbox: {name} is {value} but must be at least"):
        Limits(**{name: value})


def test_files_beyond_the_disk_are_refused(sandbox: Sandbox):
    with pytest.raises(UserError, match="files hold 17825792 bytes but disk is 16777216"):
        sandbox.run_now("", files={"large": bytes(17 << 20)})


def test_a_path_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="/not/there is not there"):
        Sandbox(readable=["/not/there"])


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch):
    """Trials are made anew, before and after."""
    report._trial.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    report._trial.cache_clear()


def test_another_system_is_refused(untried: pytest.MonkeyPatch):
    untried.setattr(sys, "platform", "darwin")
    assert sandbox_report().form is None
    with pytest.raises(UserError, match=r"this machine cannot protect against model-written code .*darwin has no such mechanism"):
        Sandbox()


def test_another_processor_is_refused(untried: pytest.MonkeyPatch):
    untried.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UserError, match="the numbers of system calls on riscv64 are not known"):
        Sandbox()


@pytest.mark.parametrize("version", [0, 2])
def test_an_old_kernel_is_refused(untried: pytest.MonkeyPatch, version: int):
    """Where neither form holds; with one, that is used, and the report says why not the other."""
    untried.setattr(landlock, "interface", lambda: version)
    found = sandbox_report()
    assert "3 (Linux 6.2) is needed" in found.refused[Form.LANDLOCK]
    with pytest.raises(UserError, match="sandbox: form is landlock but it does not hold here"):
        Sandbox(form=Form.LANDLOCK)


def test_an_interpreter_that_does_not_start_is_refused():
    with pytest.raises(UserError, match="/not/python"):
        Sandbox(python="/not/python")
    with pytest.raises(UserError, match="cannot protect"):
        Sandbox(python="/bin/true")


def test_the_report_names_a_mechanism_for_every_protection():
    found = sandbox_report()
    assert {tuple(rows) for rows in report.HELD.values()} == {tuple(report.HELD[Form.NAMESPACES])}
    for form in Form:
        assert all(report.HELD[form].values())
    assert str(found).startswith(f"form: {found.form}")


@each_ground
def test_what_landlock_does_not_hold_is_as_the_report_says(ground: Ground):
    """With namespaces a path outside is not even known; Landlock tells that a guessed one exists, and nothing of what is in it."""
    ran = ground.sandbox().run_now(
        "import os; print(os.path.exists('/etc/passwd'))\ntry: open('/etc/passwd')\nexcept OSError: print('refused')"
    )
    assert ran.stdout == f"{ground.form is Form.LANDLOCK}\nrefused\n"


# The filter, run by hand


def decide(code: bytes, number: int, arguments: tuple[int, ...] = (0,) * 6, architecture: int = 0xC000003E) -> int:
    """A naive machine for the filter's instructions: what the kernel would answer."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments)
    program, at, word = list(struct.iter_unpack("=HBBI", code)), 0, 0
    while True:
        what, yes, no, k = program[at]
        at += 1
        match what:
            case 0x20:
                (word,) = struct.unpack_from("=I", data, k)
            case 0x54:
                word &= k
            case 0x15:
                at += yes if word == k else no
            case 0x35:
                at += yes if word >= k else no
            case 0x06:
                return k
            case _:
                raise AssertionError(hex(what))


ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("processes", [1, 4])
def test_the_filter_allows_its_list_and_nothing_else(machine: str, processes: int):
    code, architecture = bpf.program(processes, True, True, 77, machine), ARCHITECTURES[machine]
    rules = bpf.rules(processes, True, True, 77, machine)
    clone3 = table(machine)["OURS"]["clone3"]
    for number in range(1200):
        plain = all(0 in values for _, values, _ in rules[number]) if number in rules else False
        absent = number == clone3 or number >= 451
        expected = bpf.ALLOW if plain else bpf.ABSENT if absent and number not in rules else bpf.REFUSE
        assert decide(code, number, architecture=architecture) == expected, number
    assert len(code) // 8 < 4096
    for other in {0x40000003, 0x40000028, *ARCHITECTURES.values()} - {architecture}:
        assert decide(code, 1, architecture=other) == bpf.KILL


def test_the_filter_ends_calls_of_the_third_instruction_set():
    code = bpf.program(1, True, True, 77, "x86_64")
    assert {decide(code, 0x40000000 | number) for number in range(600)} == {bpf.KILL}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_reads_arguments(machine: str):
    groups = table(machine)
    numbers = {**groups["CHECKED"], **groups["TREE"], **groups["FILES"], **groups["MODES"]}

    def answer(name: str, *arguments: int, processes: int = 1, own: bool = True) -> bool:
        code = bpf.program(processes, own, own, 77, machine)
        return decide(code, numbers[name], (*arguments, *[0] * (6 - len(arguments))), ARCHITECTURES[machine]) == bpf.ALLOW

    assert answer("kill", 77, 9)
    assert not any(answer("kill", pid & 0xFFFFFFFFFFFFFFFF, 9) for pid in (0, 1, -1, -77, 76, 78))
    assert answer("kill", 78, 9, processes=4)
    assert not answer("kill", 78, 9, processes=4, own=False)
    assert answer("fcntl", 5, 3)
    assert not any(answer("fcntl", 5, command) for command in (8, 10, 15, 1031, 8 | 1 << 32, 1024))
    assert not any(answer("ioctl", 0, command) for command in (0x5412, 0x5412 | 1 << 32, 0x8901, 0x541C, 0x40045436))
    assert answer("socketpair", 1, 0x80001)
    assert not any(answer("socketpair", *pair) for pair in ((1, 2), (1, 5), (2, 1), (1, 0x80002)))
    assert answer("prlimit64", 0, 7, 0, 1 << 40)
    assert not any(answer("prlimit64", *four) for four in ((78, 7, 0, 1), (0, 7, 1, 0), (0, 7, 1 << 32, 0)))
    assert answer("openat", 0, 0, 0o101, 0o777)
    assert not any(answer("openat", 0, 0, 0o101, mode) for mode in (0o4755, 0o2755, 0o6000))
    assert not answer("clone", 17)
    assert answer("clone", 17, processes=4)
    assert not any(answer("clone", 17 | flag, processes=4) for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x2000000))
    assert answer("fchmodat", 0)
    assert not answer("fchmodat", 0, own=False)


@pytest.mark.parametrize("header", ["x86_64-linux-gnu/asm/unistd_64.h"])
def test_the_numbers_are_the_kernels(header: str):
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    theirs = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", path.read_text())}
    ours = {name: number for group in table("x86_64").values() for name, number in group.items()}
    assert {name: number for name, number in ours.items() if theirs[name] != number} == {}


def test_the_numbers_of_the_other_machine_are_the_kernels():
    path = Path("/usr/include/asm-generic/unistd.h")
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    text = path.read_text()
    theirs = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", text)}
    renamed = {"newfstatat": "fstatat"}
    ours = {name: number for group in table("aarch64").values() for name, number in group.items()}
    assert {name: number for name, number in ours.items() if theirs.get(name, theirs.get(renamed.get(name, ""))) != number} == {}


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("whom", ["parent", "supervisor"])
def test_who_is_killed_takes_everything_along(form: Form, whom: str):
    """The program, its supervisor and whatever it started."""
    mark = f"{whom[0]}{time.monotonic_ns()}"[-15:]
    code = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {mark.encode()!r}, 0, 0, 0); time.sleep(1000)"
    source = f"from reasonry.tasks.sandbox import *\nSandbox(Limits(seconds=1000), form=Form({form.value!r})).run_now({code!r})"
    Ground(form).sandbox()  # or a skip
    parent = subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.DEVNULL)
    try:
        while not _named(mark):
            assert parent.poll() is None
            time.sleep(0.05)
        (program,) = _named(mark)
        while whom == "supervisor" and _parent_of(program) != parent.pid:
            program = _parent_of(program)
        os.kill(parent.pid if whom == "parent" else program, signal.SIGKILL)
        deadline = time.monotonic() + 200
        while _named(mark):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()


def _named(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if entry.read_text().strip() == mark:
                found.append(int(entry.parent.name))
    return found


def _parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
