"""`reasonry probe`: tools for anyone's models, data and logs; none needs one of our experiments.

Invariant: a tool that ran exits with 0, whatever it found; input it cannot read is one sentence and exit code 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reasonry.cli import cli

OUT = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write a page: FILE.html.")
JSON = click.option("--json", "as_json", is_flag=True, help="The same as JSON.")


@cli.group()
def probe() -> None:
    """Look at training logs, rewards and costs, yours or ours."""


@probe.command()
@click.argument("logs", metavar="LOG…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--join", is_flag=True, help="The LOGs are parts of one run, as wandb exports them.")
@JSON
@OUT
def health(logs: tuple[Path, ...], join: bool, as_json: bool, out: Path | None) -> None:
    """Say what went wrong in a training run, from when on, and what to do.

    A LOG is a run directory, a steps.jsonl, a TRL output folder or trainer_state.json, a CSV or JSONL exported from wandb or trackio, or
    verl's console output.
    """
    from reasonry.evaluate.health_page import health_html, health_json, health_text
    from reasonry.probe.monitors import examine
    from reasonry.probe.training_log import read_log

    read = [read_log(logs)] if join else [read_log(path) for path in logs]
    examined = [(log, examine(log)) for log in read]
    if as_json:
        _print_json([health_json(log, found) for log, found in examined])
    else:
        click.echo("\n\n".join(health_text(log, found) for log, found in examined))
    _write(out, lambda: health_html(examined))


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _write(out: Path | None, text: Any) -> None:
    from reasonry.core import UserError
    from reasonry.core.run import write_whole

    if out is None:
        return
    if not out.parent.is_dir():
        raise UserError(f"--out: there is no folder {out.parent}; make it first")
    write_whole(out, text())
    click.echo(f"\nPage: {out}", err=True)
