"""What holding a program costs: the sandbox beside a plain child process of the same interpreter, in the same run.

    python benchmarks/sandbox.py [--runs 40]

`print(1 + 1)` is run by `Sandbox.run_now`, a fresh process with everything that holds it, by an open `Session` (one program after another
in a sandbox that stays), and by `subprocess.run([python, "-I", "-S", "-c", …])`, which holds nothing. Ways alternate, after a warm-up.
One JSON line per way: median and 95th percentile in milliseconds, and `ratio`, its median over that of the plain child.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from reasonry.core.run import machine
from reasonry.tasks.sandbox import Sandbox, sandbox_report

CODE = "print(1 + 1)"


def plain() -> str:
    """By a child process that nothing holds."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", CODE], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Prints one JSON line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()
    form = sandbox_report().form
    if form is None:
        raise SystemExit(str(sandbox_report()))
    box = Sandbox()
    with box.session() as session:
        ways: dict[str, Callable[[], str]] = {
            "plain child": plain,
            "sandbox": lambda: box.run_now(CODE).stdout,
            "open session": lambda: session.run_now(CODE).stdout,
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for i in range(args.runs + 3):
            for way, run in ways.items():
                began = time.perf_counter()
                said = run()
                if said != "2\n":
                    raise SystemExit(f"{way} printed {said!r}, not 2")
                if i >= 3:
                    taken[way].append((time.perf_counter() - began) * 1000)
    base = statistics.median(taken["plain child"])
    for way, ms in taken.items():
        median, late = statistics.median(ms), statistics.quantiles(ms, n=20)[-1]
        row = {
            "benchmark": "sandbox", "way": way, "form": form.value, "median_ms": round(median, 1), "p95_ms": round(late, 1),
            "ratio": round(median / base, 2), "runs": args.runs, "python": sys.version.split()[0], "machine": machine(),
        }  # fmt: skip
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
