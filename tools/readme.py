"""Outputs in the README are real: this runs the commands that stand above them.

`<!-- output: COMMAND -->` blocks are quick and the same on every machine; `--check` (part of the tests) fails where one is out of date.
`<!-- measured: COMMAND -->` blocks take long or depend on the machine; they are renewed only by `make readme`.
Commands run with the project's environment in a folder that holds nothing but this repository's `docs` and `evidence`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from blocks import ROOT, Maker, fenced, fill

README = ROOT / "README.md"


def shell(command: str, folder: str) -> str:
    """What `command` prints, standard error included where it fails; raises CalledProcessError when it exits with an error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE).strip("\n")


def renewed(text: str, kinds: set[str]) -> str:
    """The README with the outputs of these kinds made anew, in order, in one folder: a later command may use what an earlier one wrote."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("docs", "evidence"):
            (Path(folder) / name).symlink_to(ROOT / name)

        def output(command: str, body: str) -> str:
            return fenced(f"$ {command}\n{shell(command, folder)}", "console")

        makers: dict[str, Maker] = dict.fromkeys(kinds, output)
        return fill(text, makers)


def main() -> int:
    """Renews the README, or with `--check` says whether its quick outputs are current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only run the quick commands and compare")
    arguments = parser.parse_args()
    before = README.read_text()
    after = renewed(before, {"output"} if arguments.check else {"output", "measured"})
    if not arguments.check:
        README.write_text(after)
    elif after != before:
        print("README.md shows an output that its command no longer prints; run: make readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
