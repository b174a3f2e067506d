"""`reasonry probe traces`: whether a data set of written answers suits the student that is to learn it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe
from reasonry.core import UserError


@probe.command()
@click.option("--model", required=True, metavar="SPEC", help="The student: pocket, pocket-1m or a checkpoint folder.")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="What it is to learn, a .jsonl.",
)
@click.option("--rare", default=0.01, show_default=True, help="The probability below which a token counts as nearly impossible.")
@click.option("-n", "--rows", type=click.IntRange(1), help="Judge the first so many rows.  [default: all]")
@click.option("--max-rows", default=64, show_default=True, type=click.IntRange(1), help="Most rows computed at once.")
@JSON
@OUT
def traces(model: str, data: Path, rare: float, rows: int | None, max_rows: int, as_json: bool, out: Path | None) -> None:
    """Say how likely the student finds every token of a data set, row by row, and whether to train on it.

    FILE is what train --sft takes: rows of messages, of a prompt and an answer, or of ids with a mask.
    """
    from rich.console import Console
    from rich.progress import Progress

    from reasonry.evaluate.traces_page import check_html, check_json, check_text
    from reasonry.lm.load import load_lm
    from reasonry.lm.local import LocalLM
    from reasonry.probe.traces import TraceCheck, check_traces
    from reasonry.train.supervised import read_examples

    lm = load_lm(model, max_rows=max_rows)
    if not isinstance(lm, LocalLM):
        raise UserError("--model: is an endpoint, which does not say how likely it finds given tokens; give pocket or a checkpoint folder")
    read = read_examples(data, lm.tokenizer, longest=10**9)[:rows]
    if any(e.groups is not None for e in read):
        raise UserError(f"--data: {data} has rows of parallel paths, which are no plain texts; check the paths as rows of their own")

    async def checked() -> TraceCheck:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("rows", total=len(read))
            async with lm:
                return await check_traces(lm, [(e.ids, e.mask) for e in read], rare, max_rows, lambda: progress.advance(bar))

    found = asyncio.run(checked())
    if as_json:
        _print_json(check_json(found))
    else:
        click.echo(check_text(found))
    _write(out, lambda: check_html(found, f"{data} under {model}"))
