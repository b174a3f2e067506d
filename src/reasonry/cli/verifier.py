"""`reasonry probe verifier`: how wrong a process verifier is, and which decoder puts up with it."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe
from reasonry.core import UserError


@probe.command()
@click.argument("data", metavar="[DATA]", required=False, type=click.Path(path_type=Path))
@click.option("--model", metavar="SPEC", help="Sample fresh answers instead: pocket, a checkpoint folder, or an endpoint.")
@click.option("--task", metavar="SPEC", help="The task to sample on, and its judge.")
@click.option("--verifier", "spec", metavar="SPEC", help="Scores the fresh answers' prefixes: a reward model's folder or address.")
@click.option("--link", default="sigmoid", show_default=True, type=click.Choice(["sigmoid", "none"]), help="From its numbers to values.")
@click.option("-n", "--problems", default=30, show_default=True, type=click.IntRange(1), help="How many problems to sample on.")
@click.option("-k", "--answers", default=8, show_default=True, type=click.IntRange(1), help="Answers to each.")
@click.option("--max-tokens", default=256, show_default=True, type=click.IntRange(1), help="Tokens of an answer.")
@click.option("--split", default="test", show_default=True, help="Which part of the task.")
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write what was sampled: FILE.jsonl.")
@click.option("--seed", default=0, show_default=True, help="Decides problems, sampling and intervals.")
@JSON
@OUT
def verifier(
    data: Path | None, model: str | None, task: str | None, spec: str | None, link: str, problems: int, answers: int, max_tokens: int,
    split: str, keep: Path | None, seed: int, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Say how wrong a process verifier is, depth by depth, and which decoder puts up with it.

    DATA is a JSONL, a line an answer: {"problem", "scores": [one for each partial answer], "outcome"}; or a line a prefix: {"problem",
    "depth", "score", "outcomes": [of each rollout from it]}. Answers must be drawn from the model as it is, not selected. Fresh ones are
    cut at line ends.
    """
    given = [model, task, spec]
    if (data is None) == (None in given) or (data is not None and any(given)):
        raise UserError("DATA: name a file, or sample fresh answers with all of --model, --task and --verifier")
    import asyncio

    from reasonry.evaluate.verifier_data import sampled, write_answers
    from reasonry.evaluate.verifier_page import check_html, check_json, check_text
    from reasonry.probe.verifier import check, expanded, read_prefixes

    if data is not None:
        found = check(*read_prefixes(data), seed=seed)
    else:
        rows = asyncio.run(sampled(str(model), str(task), str(spec), link, problems, answers, max_tokens, split, seed))
        if keep is not None:
            write_answers(keep, rows)
        found = check(*expanded(rows), seed=seed)
    if as_json:
        _print_json(check_json(found))
    else:
        click.echo(check_text(found))
    _write(out, lambda: check_html(found, str(data) if data is not None else f"{spec} on {model}'s answers to {task}"))
