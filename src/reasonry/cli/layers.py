"""`reasonry probe layers`: which of a model's layers a user's inputs skip or repeat."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe
from reasonry.core import UserError


@probe.command()
@click.option("--model", required=True, metavar="SPEC", help="pocket, pocket-1m or a checkpoint folder.")
@click.option("--task", metavar="SPEC", help="Where inputs with answers come from: a built-in task or a .jsonl file.")
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Or inputs alone: a .jsonl of prompt or messages."
)
@click.option("--adapter", type=click.Path(path_type=Path), metavar="FOLDER", help="Routers.  [default: search with the answers at hand]")
@click.option("--p", "knob", default=-0.5, show_default=True, type=click.FloatRange(-1, 1), help="The routers' knob; lower skips more.")
@click.option("-n", "--problems", default=40, show_default=True, type=click.IntRange(1), help="How many inputs.")
@click.option("--by", metavar="COLUMN", help="What tells inputs apart.  [default: level, difficulty or steps, where they have it]")
@click.option(
    "--search", default="tree", show_default=True, type=click.Choice(["tree", "edits", "chain"]), help="How programs are looked for."
)
@click.option("--simulations", default=50, show_default=True, type=click.IntRange(1), help="Programs tried for an input, at most.")
@click.option("--max-tokens", default=15, show_default=True, type=click.IntRange(1), help="Tokens of an answer.")
@click.option("--split", default="test", show_default=True, help="Which part of the task.")
@click.option("--seed", default=0, show_default=True, help="Decides inputs and search.")
@JSON
@OUT
def layers(
    model: str, task: str | None, data: Path | None, adapter: Path | None, knob: float, problems: int, by: str | None, search: str,
    simulations: int, max_tokens: int, split: str, seed: int, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Say which layers your inputs skip or repeat, by difficulty, and how many are saved.

    With --adapter it is what routers decide (train them with: reasonry train --recipe drllm); without, the shortest program under which
    the answer is right, found by search: what could be saved if one knew.
    """
    if (task is None) == (data is None):
        raise UserError("--task: name a task, or inputs alone with --data")
    if data is not None and adapter is None:
        raise UserError("--data: it has no answers to search with; add --adapter, or give answers with --task")
    import asyncio

    from reasonry.accel.drllm import load_routers
    from reasonry.evaluate.layer_data import SEARCHES, group_of, local_lm, prompts_of, routed_use, search_programs, use_of
    from reasonry.evaluate.layers_page import layers_html, layers_json, layers_text
    from reasonry.probe.layer_use import Use, layer_use
    from reasonry.solve.layer_search import Rules
    from reasonry.tasks import load_task

    source = None if task is None else load_task(task)
    inputs = prompts_of(data)[:problems] if data is not None else source.problems(split, problems, seed) if source is not None else []

    async def found() -> list[Use]:
        async with local_lm(model) as lm:
            if adapter is not None:
                return await routed_use(lm, load_routers(lm.decoder, adapter), knob, source, inputs, max_tokens, by)
            assert source is not None
            group, rules = group_of(inputs, by), Rules(simulations=simulations)
            programs = await search_programs(lm, source, inputs, SEARCHES[search], rules, max_tokens, seed)
            return [use_of(p, f, lm.decoder.config.num_layers, group(p)) for p, f in zip(inputs, programs, strict=True)]

    use = layer_use(asyncio.run(found()))
    if as_json:
        _print_json(layers_json(use))
    else:
        click.echo(layers_text(use))
    how = f"routers of {adapter}, p = {knob:g}" if adapter is not None else f"search with the answers, {search}, {simulations} programs"
    _write(out, lambda: layers_html(use, f"{model} on {task or data}: {how}"))
