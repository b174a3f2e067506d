"""`reasonry probe ladder`: what majority, weighted votes, scores, an aggregator and an oracle are worth on one set of candidates."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe
from reasonry.core import UserError


@probe.command()
@click.argument("data", metavar="[DATA]", required=False, type=click.Path(path_type=Path))
@click.option("--m", "m", type=click.IntRange(1), help="Candidates of a set.  [default: all that the smallest problem has]")
@click.option("--judge", "judge_name", metavar="NAME", help="Reads and judges answers that DATA does not: exact, numeric or math.")
@click.option("--task", metavar="SPEC", help="The task: reads and judges answers; to be sampled on with --model.")
@click.option("--equivalent", is_flag=True, help="Count answers as one vote when the judge takes one for the other, as 1/2 for 0.5.")
@click.option("--model", metavar="SPEC", help="Sample fresh candidates instead of DATA: pocket, a checkpoint folder, or an endpoint.")
@click.option("--solver", default="single", show_default=True, metavar="SPEC", help="What makes a fresh candidate.")
@click.option("-n", "--problems", default=50, show_default=True, type=click.IntRange(1), help="How many problems to sample on.")
@click.option("-k", "--candidates", default=16, show_default=True, type=click.IntRange(1), help="Fresh candidates of each.")
@click.option("--split", default="test", show_default=True, help="Which part of the task.")
@click.option("--aggregator", metavar="SPEC", help="A model that aggregates every set; its rung is measured too.")
@click.option("--words", default="plain", show_default=True, help="The aggregator's prompt: plain, or bare for one taught so.")
@click.option("--max-tokens", default=1024, show_default=True, type=click.IntRange(1), help="Tokens of an aggregation.")
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write candidates and aggregations.")
@click.option("--seed", default=0, show_default=True, help="Decides problems, sampling and intervals.")
@JSON
@OUT
def ladder(
    data: Path | None, m: int | None, judge_name: str | None, task: str | None, equivalent: bool, model: str | None, solver: str,
    problems: int, candidates: int, split: str, aggregator: str | None, words: str, max_tokens: int, keep: Path | None, seed: int,
    as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Say what each way of making one answer of several candidates is worth: votes, scores, an aggregator, an oracle.

    DATA is a JSONL of problems with candidates (a line: prompt, answer, candidates), or a run directory of compare.
    """
    if (data is None) == (model is None or task is None):
        raise UserError("DATA: name a file or run directory, or sample fresh candidates with both --model and --task")
    if judge_name and task:
        raise UserError("--judge: the task judges already; give one of the two")
    import asyncio

    from reasonry.evaluate.ladder_page import ladder_html, ladder_json, ladder_text
    from reasonry.evaluate.pools import aggregated_by, pools_of, reader, sampled_by
    from reasonry.probe.ladder import ladder as measure
    from reasonry.probe.votes import judged, spelled
    from reasonry.tasks.pool import write_pools

    reads = reader(judge_name, task)
    if equivalent and reads is None:
        raise UserError("--equivalent: nothing judges; name --judge or --task")
    pools = (
        pools_of(data, reads)
        if data is not None
        else asyncio.run(sampled_by(str(model), str(task), solver, problems, candidates, split, seed))
    )
    if aggregator is not None:
        if reads is None:
            raise UserError("--aggregator: nothing reads its answers; name --judge or --task")
        pools = asyncio.run(aggregated_by(aggregator, reads, pools, m, words, max_tokens, seed))
    if keep is not None:
        write_pools(keep, pools)
    found = measure(pools, m, (lambda pool: judged(reads, pool.problem)) if equivalent and reads else (lambda _: spelled), seed)
    if as_json:
        _print_json(ladder_json(found))
    else:
        click.echo(ladder_text(found))
    _write(out, lambda: ladder_html(found, str(data) if data is not None else f"{solver} by {model} on {task}"))
