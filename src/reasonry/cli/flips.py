"""`reasonry probe flips`: what talking did to agents that answered in rounds."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe


@probe.command()
@click.argument("log", metavar="LOG", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Decides the intervals.")
@JSON
@OUT
def flips(log: Path, seed: int, as_json: bool, out: Path | None) -> None:
    """Say what talking did: who gave up right answers, who mended wrong ones, and whether the vote is better for it.

    LOG is a JSONL with a question a line (problem, answer, rounds of turns) or a turn a line (problem, round, agent, answer, correct), or a
    run directory of compare with a debate in it.
    """
    from reasonry.evaluate.flips_page import debates_of, examine, flips_html, flips_json, flips_text

    found = examine(debates_of(log), seed)
    if as_json:
        _print_json(flips_json(found))
    else:
        click.echo(flips_text(found))
    _write(out, lambda: flips_html(found, str(log)))
