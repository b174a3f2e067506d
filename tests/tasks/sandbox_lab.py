"""What the sandbox's tests run in: every form, as our user and, for root, as an ordinary one too; and a world worth breaking into."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reasonry.tasks.sandbox import Form, Limits, Sandbox, sandbox_report
from reasonry.tasks.sandbox.inside import bpf
from reasonry.tasks.sandbox.report import interpreter

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@dataclass(frozen=True)
class Ground:
    """A form and a user to run as."""

    form: Form
    user: int | None = None

    def __str__(self) -> str:
        return f"{self.form}{'' if self.user is None else '-nobody'}"

    @property
    def python(self) -> str:
        """An interpreter that the user can reach."""
        ours = interpreter()
        usual = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
        return ours if self.user is None or not usual or not sandbox_report(ours, self.user).refused.get(self.form) else usual

    def sandbox(self, **limits: Any) -> Sandbox:
        """A sandbox here, or a skip that says why there is none."""
        if self.user is not None and os.geteuid():
            pytest.skip("only root can run as another user; the other grounds already run as an ordinary one")
        if why := sandbox_report(self.python, self.user).refused.get(self.form):
            pytest.skip(f"the {self.form} form does not hold here for {'nobody' if self.user else 'this user'}: {why}")
        workers = limits.pop("workers", 2)
        given = {name: limits.pop(name) for name in ("readable", "folder") if name in limits}
        return Sandbox(Limits(**limits), form=self.form, user=self.user, python=self.python, workers=workers, **given)


GROUNDS = [Ground(form, user) for form in Form for user in (None, NOBODY)]
each_form = pytest.mark.parametrize("ground", GROUNDS[::2], ids=str)
each_ground = pytest.mark.parametrize("ground", GROUNDS, ids=str)


@contextmanager
def world(form: Form, user: int | None) -> Iterator[dict[str, Any]]:
    """A folder open to all, a process of the user, servers: all there to be attacked."""
    canary = Path(tempfile.mkdtemp(prefix="canary-"))
    (canary / "empty").mkdir()
    (canary / "secret").write_text("a secret")
    (canary / "writable").write_text("untouched")
    with contextlib.suppress(OSError):  # not every file system keeps attributes
        os.setxattr(canary / "secret", "user.note", b"a secret")
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(str(canary / "datagrams"))
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract.bind("")
    server = socket.create_server(("127.0.0.1", 0))
    for path in (canary, *canary.iterdir()):
        path.chmod(0o777 if path.is_dir() or path.name == "datagrams" else 0o666)
        if user is not None:
            os.chown(path, user, user)
    victim = subprocess.Popen(
        ["sleep", "1000"],
        env={"SECRET": "hidden"},
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        start_new_session=True,
    )
    package = next((str(p) for p in Path(os.__file__).parent.glob("site-packages/*/__init__.py")), "/usr/lib/python3/dist-packages/README")
    try:
        yield {
            "canary": str(canary), "victim": victim.pid, "port": server.getsockname()[1], "abstract": abstract.getsockname().decode(),
            "home": os.path.expanduser("~"), "repository": str(ROOT), "package": package, "python": shutil.which("true"),
            "allowed": sorted(bpf.rules(1, form is Form.NAMESPACES, True, 2)),
        }  # fmt: skip
        assert victim.poll() is None, "the victim was ended"
    finally:
        victim.kill()
        victim.wait()
        for sock in (datagrams, abstract, server):
            sock.close()
        shutil.rmtree(canary)


def untouched(seen: dict[str, Any]) -> None:
    """Asserts that the world is as it was made."""
    canary, victim = Path(seen["canary"]), seen["victim"]
    assert sorted(p.name for p in canary.iterdir()) == ["datagrams", "empty", "secret", "writable"]
    assert (canary / "secret").read_text() == "a secret"
    assert (canary / "writable").read_text() == "untouched"
    assert (canary / "secret").stat().st_mode & 0o7777 == 0o666
    assert (canary / "secret").stat().st_mtime > 1
    assert os.sched_getaffinity(victim) == os.sched_getaffinity(0)
    assert os.getpriority(os.PRIO_PROCESS, victim) == os.getpriority(os.PRIO_PROCESS, 0)


def _files() -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(__file__).parent.glob("sandbox_attempts*.py")}


def _code(seen: dict[str, Any], names: list[str]) -> str:
    modules = ", ".join(name.removesuffix(".py") for name in sorted(_files()))
    return f"import json, {modules}\nsandbox_attempts.WORLD.update(json.loads({json.dumps(seen)!r}))\nsandbox_attempts.main({names!r})"


def _outcomes(stdout: str, names: list[str], else_shown: object) -> dict[str, dict[str, str]]:
    rows = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    assert [row["name"] for row in rows] == names, else_shown
    return {row["name"]: row for row in rows}


def attempts_in(sandbox: Sandbox, seen: dict[str, Any], names: list[str]) -> dict[str, dict[str, str]]:
    """What became of each attempt in the sandbox."""
    ran = sandbox.run_now(_code(seen, names), files=_files())
    return _outcomes(ran.stdout, names, ran)


def attempts_outside(seen: dict[str, Any], names: list[str], user: int | None) -> dict[str, dict[str, str]]:
    """What becomes of the same attempts in a plain process."""
    python = Ground(Form.LANDLOCK, user).python if user else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        for name, source in _files().items():
            Path(folder, name).write_text(source)
        done = subprocess.run(
            [python, "-B", "-c", _code(seen, names)], text=True, capture_output=True, cwd=folder, user=user, group=user,
            extra_groups=None if user is None else (), check=False,
        )  # fmt: skip
    return _outcomes(done.stdout, names, done.stderr)
