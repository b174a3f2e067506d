"""Runs the benchmarks and keeps their figures: `make bench`, or `python tools/bench.py NAME …` for some of them.

A benchmark is a script `benchmarks/<name>.py` that prints one JSON object per measurement. The lines are stored in
`benchmarks/results/<name>.jsonl` with the commit, date, machine and versions they were measured with; the README's table is made from them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from blocks import ROOT
from reasonry.core.run import environment, write_whole

BENCHMARKS = ROOT / "benchmarks"


def measure(script: Path) -> list[dict[str, object]]:
    """The measurements a benchmark prints; other lines pass through to the terminal."""
    rows: list[dict[str, object]] = []
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("{"):
                rows.append(json.loads(line))
    if process.returncode:
        raise SystemExit(f"{script.name} ended with code {process.returncode}; nothing was stored")
    return rows


def main() -> None:
    """Runs the benchmarks named on the command line, all of them by default."""
    names = sys.argv[1:] or sorted(p.stem for p in BENCHMARKS.glob("*.py") if not p.stem.startswith("_"))
    for name in names:
        print(f"== {name}", flush=True)
        where = environment()
        lines = [json.dumps({**row, "measured": where}, ensure_ascii=False) for row in measure(BENCHMARKS / f"{name}.py")]
        target = BENCHMARKS / "results" / f"{name}.jsonl"
        target.parent.mkdir(exist_ok=True)
        write_whole(target, "".join(line + "\n" for line in lines))
        print(f"wrote {target.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main()
