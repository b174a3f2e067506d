"""`reasonry probe difficulty`: how hard a data set is for a model, as a file that `reasonry train` reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from reasonry.cli.probe import probe
from reasonry.core import UserError


@probe.command()
@click.option("--model", required=True, metavar="SPEC", help="pocket, pocket-1m, a checkpoint folder, or an endpoint.")
@click.option("--task", required=True, metavar="SPEC", help="A built-in task, a .jsonl file, or gym:DATASET.")
@click.option("--solver", default="single", show_default=True, metavar="SPEC", help="The method that will be trained.")
@click.option("-n", type=click.IntRange(1), help="How many problems.  [default: 200, or all where a file holds fewer]")
@click.option("--attempts", default=8, show_default=True, type=click.IntRange(2), help="Attempts at each.")
@click.option("--max-tokens", default=256, show_default=True, type=click.IntRange(1), help="Tokens an attempt may sample.")
@click.option("--split", default="train", show_default=True, help="Which part of the task.")
@click.option("--seed", default=0, show_default=True, help="Decides problems and sampling.")
@click.option("--json", "as_json", is_flag=True, help="Print the histogram as JSON.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The profile, a .jsonl; where it holds some of it already, the rest is measured.",
)  # fmt: skip
def difficulty(out: Path, as_json: bool, **given: Any) -> None:
    """Say how hard a task's problems are for a model: pass rates over several attempts at each.

    Train on what teaches: reasonry train --set profile=FILE, and resample with --set difficulty='{easy=1, medium=2, hard=1}'.
    """
    import json

    from reasonry.evaluate.difficulty import Measurement, difficulty_text, measure
    from reasonry.probe.difficulty import histogram

    if out.suffix != ".jsonl":
        raise UserError(f"--out: {out} does not end with .jsonl; give the profile such a name")
    if not out.parent.is_dir():
        raise UserError(f"--out: there is no folder {out.parent}; make it first")
    terminal = sys.stderr.isatty()

    def progress(done: int, n: int) -> None:
        if terminal:
            click.echo(f"\r{done} of {n} problems", err=True, nl=done == n)

    profile = measure(Measurement(**given), out, progress)
    click.echo(json.dumps(histogram(profile)) if as_json else f"{difficulty_text(profile)}\n\nProfile: {out}")
