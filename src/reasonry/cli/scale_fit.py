"""`reasonry scale-fit`: which recipe to scale, from the logs of small runs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reasonry.cli import cli
from reasonry.core import UserError

if TYPE_CHECKING:
    from reasonry.probe.scale_recipe import Recipe


@cli.command("scale-fit")
@click.argument("logs", metavar="LOG…", nargs=-1, required=True)
@click.option("--x", metavar="COLUMN", help="Compute: FLOPs, GPU-hours, tokens, steps.  [default: by its name]")
@click.option("--y", metavar="COLUMN", help="The metric.  [default: by its name, held-out ones first]")
@click.option("--add-up", is_flag=True, help="The compute column counts each record's own; sum it.")
@click.option("--max", "ceiling", default=1.0, show_default=True, help="The highest the metric can be: 100 for percent.")
@click.option("--start", type=float, help="The metric before training, held exact.  [default: the value at the least compute]")
@click.option("--skip", default="5%", show_default=True, help="Compute dropped as transient: a share (5%) or an amount (1500).")
@click.option("--until", default="40%", show_default=True, help="Share of the compute the tested forecast is fitted on.")
@click.option("--at", metavar="C,…", help="Compute to forecast at.  [default: 2 and 10 times the longest log]")
@click.option("--tie", type=float, help="Differences in ceiling that do not count.  [default: 2% of --max]")
@click.option("--paper-grid", is_flag=True, help="Also fit as ScaleRL did: A from 0.45 to 0.8, C_mid from 100 to 40,000.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with plots.")
def scale_fit(
    logs: tuple[str, ...], x: str | None, y: str | None, add_up: bool, ceiling: float, start: float | None, skip: str, until: str,
    at: str | None, tie: float | None, paper_grid: bool, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Fit the compute-performance law to training logs: where does each recipe end, how soon, and can one know that yet?

    LOG is a run directory, CSV, JSON lines, trainer_state.json, or a trackio file. Several LOGs are compared: the ceiling first, then the
    speed. NAME=LOG,LOG names a recipe and its seeds.
    """
    from reasonry.probe.scale_recipe import Options, compare, recipe
    from reasonry.probe.scale_words import values

    share, fixed = _skip(skip)
    options = Options(
        start=start,
        ceiling=ceiling,
        skip=share,
        skip_compute=fixed,
        until=_share("--until", until),
        tie=0.02 * ceiling if tie is None else tie,
    )
    if start is not None and start >= ceiling:
        raise UserError(f"--start: {start:g} is not below the metric's maximum {ceiling:g}; give a lower one, or --max")
    recipes = [recipe(name, found, options, paper_grid) for name, found in _read(logs, x, y, add_up)]
    longest = max(float(r.fit.points.compute.max()) for r in recipes)
    forecast_at = _amounts(at) if at else [2 * longest, 10 * longest]
    comparisons = compare(recipes, options)
    if out:
        from reasonry.core.run import write_whole
        from reasonry.evaluate.scale_page import scale_page

        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, scale_page(recipes, comparisons, forecast_at, options))
    if as_json:
        click.echo(json.dumps(values(recipes, comparisons, forecast_at, options), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(recipes, comparisons, forecast_at)
    if out:
        click.echo(f"\nPage: {out}", err=True)


def _read(given: Sequence[str], x: str | None, y: str | None, add_up: bool) -> list:
    """(recipe, its logs) in the order given; every run of an unnamed file is a recipe of its own."""
    from reasonry.probe.scale_log import Log, read_logs

    found: list[tuple[str, list[Log]]] = []
    for text in given:
        name, sign, paths = text.partition("=")
        if sign and not Path(text).exists():
            if not name or not all(paths.split(",")):
                raise UserError(f"LOG: {text!r} names no recipe or no log; write name=log or name=log,log")
            found.append((name, [log for path in paths.split(",") for log in read_logs(Path(path), x, y, add_up)]))
        else:
            found += [(log.name, [log]) for log in read_logs(Path(text), x, y, add_up)]
    names = [name for name, _ in found]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise UserError(f"LOG: two recipes are called {twice!r}; write name=log for each, or {twice}=log,log if they are seeds of one")
    axes = {(logs[0].x.rsplit("/", 1)[-1]) for _, logs in found}
    if len(axes) > 1:
        raise UserError(f"--x: the logs count compute in different columns ({', '.join(sorted(axes))}); name one that all have")
    measures = {log.y.rpartition(" - ")[2].rsplit("/", 1)[-1] for _, logs in found for log in logs}
    if len(measures) > 1:
        raise UserError(f"--y: the logs hold different metrics ({', '.join(sorted(measures))}); name one that all have")
    return found


def _show(recipes: Sequence[Recipe], comparisons: Sequence, at: Sequence[float]) -> None:
    from reasonry.probe.scale_fit import amount
    from reasonry.probe.scale_words import between, choice, findings, metric, verdict

    x, y = recipes[0].logs[0].x, recipes[0].logs[0].y
    click.secho(choice(recipes, comparisons), bold=True)
    click.echo(f"{y} against {x}; intervals 95 %\n")
    head = ["recipe", "points", "R_0", "A, ceiling", "B", f"C_mid, {x}", *(f"at {amount(c)}" for c in at)]
    rows = []
    for r in recipes:
        f = r.fit
        b = f"{f.B.value:.2f} ({f.B.low:.2f} to {'open' if math.isinf(f.B.high) else f'{f.B.high:.2f}'})"
        forecasts = ["refused" if r.refused else f"{metric(i.value)} ({between(i)})" for i in (f.forecast(c) for c in at)]
        row = [r.name, str(len(f.points)), metric(f.law.R0), f"{metric(f.A.value)} ({between(f.A)})", b]
        rows.append([*row, f"{amount(f.C_mid.value)} ({between(f.C_mid, of_compute=True)})", *forecasts])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for i, row in enumerate([head, *rows]):
        click.secho("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip(), dim=i == 0)
    for c in comparisons:
        click.echo(("\n" if c is comparisons[0] else "") + verdict(c))
    for r in recipes:
        click.echo(f"\n{r.name}")
        for sentence in findings(r):
            click.echo(f"  {sentence}")


def _share(option: str, text: str) -> float:
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = math.nan
    if not 0 < found < 1:
        raise UserError(f"{option}: {text!r} is not a share between 0 and 1; write for example 40%")
    return found


def _skip(text: str) -> tuple[float, float | None]:
    """(share, amount)."""
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        found = math.nan
    if text.endswith("%") and 0 <= found < 100:
        return found / 100, None
    if not text.endswith("%") and 0 <= found < math.inf:
        return 0.0, found
    raise UserError(f"--skip: {text!r} is neither a share nor an amount of compute; write for example 5% or 1500")


def _amounts(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(0 < c < math.inf for c in found):
        raise UserError(f"--at: {text!r} is not a list of compute amounts; write for example 20000,100000")
    return found
