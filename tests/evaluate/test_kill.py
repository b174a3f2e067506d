"""A `kill -9` at any instant loses at most the attempts in flight, and `--resume` gives the report of an unkilled run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "scripted_cli.py"
REQUEST = ["compare", "--model", "scripted", "--task", "sums", "--solver", "single", "--solver", "self-consistency?k=3&max_tokens=32"]
REQUEST += ["--budget", "16,80", "--problems", "25", "--attempts", "2", "--seed", "4", "--concurrency", "8"]


def start(out: Path, *more: str, seconds: float = 0.05) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), str(seconds), *REQUEST, "--out", str(out), *more]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores Ctrl-C, and so would its children
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard)


def lines(out: Path) -> int:
    log = out / "attempts.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def finish(process: subprocess.Popen[bytes]) -> str:
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, complained.decode()
    return said.decode()


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("unkilled") / "run"
    said = finish(start(out, seconds=0))
    assert f"Report: {out / 'report.html'}" in said
    return out


def test_kill_9_then_resume_gives_the_report_of_an_unkilled_run(unkilled, tmp_path):
    """Killed three times, each at another place; the last line of the log is torn once more for good measure."""
    out, rng, done = tmp_path / "run", random.Random(0), 0
    for i in range(3):
        process = start(out, *(["--resume"] if i else []))
        until = done + rng.randint(5, 30)
        while lines(out) < until and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert lines(out) >= until > done
        done = lines(out)
    log = out / "attempts.jsonl"
    log.write_bytes(log.read_bytes() + b'{"solver":"single","budget":"compl')
    assert done < 200
    finish(start(out, "--resume", seconds=0))
    assert lines(out) == lines(unkilled) == 200
    for name in ("report.json", "report.csv"):
        assert (out / name).read_text() == (unkilled / name).read_text()


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(unkilled, tmp_path):
    out = tmp_path / "run"
    process = start(out)
    while lines(out) < 5 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    last = complained.decode().strip().splitlines()[-1]
    assert last.startswith("reasonry: stopped; go on with: reasonry compare --model scripted")
    assert last.endswith("--resume")
    assert "Traceback" not in complained.decode()
    finish(start(out, "--resume", seconds=0))
    assert (out / "report.json").read_text() == (unkilled / "report.json").read_text()


def test_a_finished_run_is_not_done_again_and_another_request_is_refused(unkilled):
    before = (unkilled / "attempts.jsonl").read_bytes()
    finish(start(unkilled, "--resume", seconds=0))
    assert (unkilled / "attempts.jsonl").read_bytes() == before
    for more, says in ((["--resume", "--seed", "5"], "--resume: seed was 4 and is now 5"), ([], "already holds a run; add --resume")):
        process = start(unkilled, *more, seconds=0)
        _, complained = process.communicate(timeout=60)
        assert process.returncode == 2
        assert says in complained.decode()
        assert len(complained.decode().strip().splitlines()) == 1


def test_the_stored_configuration_holds_what_decides_the_result_and_nothing_else(unkilled):
    config = json.loads((unkilled / "config.json").read_text())
    assert set(config) == {"model", "task", "split", "problems", "attempts", "seed", "solvers", "budgets"}
