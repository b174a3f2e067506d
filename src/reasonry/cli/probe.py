"""`reasonry probe`: tools for anyone's models, data and logs; none needs one of our experiments.

Invariant: a tool that ran exits with 0, whatever it found; input it cannot read is one sentence and exit code 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reasonry.cli import cli
from reasonry.core import UserError

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
    from reasonry.core.run import write_whole

    if out is None:
        return
    if not out.parent.is_dir():
        raise UserError(f"--out: there is no folder {out.parent}; make it first")
    write_whole(out, text())
    click.echo(f"\nPage: {out}", err=True)


@probe.command("thinking-cost")
@click.option(
    "--model", metavar="SPEC", help="A checkpoint folder, a config.json, or pocket.  [default: the shape of R1-Distill-Qwen-1.5B]"
)
@click.option("--layers", type=click.IntRange(1), help="Or the shape by its numbers: blocks,")
@click.option("--width", type=click.IntRange(1), help="hidden size,")
@click.option("--heads", type=click.IntRange(1), help="query heads,")
@click.option("--kv-heads", type=click.IntRange(1), help="key and value heads,  [default: as --heads]")
@click.option("--ff", type=click.IntRange(1), help="the MLP's inner width,")
@click.option("--vocab", type=click.IntRange(1), help="vocabulary.")
@click.option("--head-dim", type=click.IntRange(1), help="Size of a head.  [default: width / heads]")
@click.option("--thinking", default="8k,24k,96k,1M", show_default=True, help="Thinking lengths; k is 1024, M is 1024².")
@click.option("--chunk", default="8k", show_default=True, help="C, thinking tokens a chunk.")
@click.option("--carry", default="4k", show_default=True, help="m, tokens carried into the next chunk.")
@click.option("--query", default="200", show_default=True, help="Tokens of the question.")
@click.option("--kv-bytes", default=2, show_default=True, type=click.IntRange(1), help="Bytes of a number in the cache.")
@JSON
@OUT
def thinking_cost(
    model: str | None,
    thinking: str,
    chunk: str,
    carry: str,
    query: str,
    kv_bytes: int,
    as_json: bool,
    out: Path | None,
    **given: int | None,
) -> None:
    """Linear against quadratic: what long thinking costs on your model's shape, and from where chunking it pays."""
    from reasonry.evaluate.thinking_cost import DEFAULT, Setting, cost_html, cost_json, cost_text, length, lengths, price, shape, shape_of

    numbers = {name: value for name, value in given.items() if value is not None}
    if model is not None and numbers:
        raise UserError(f"--{next(iter(numbers)).replace('_', '-')}: the shape is --model's already; give one of the two")
    name, config = DEFAULT if model is None else shape_of(model)
    if numbers:
        if missing := [flag for flag in ("layers", "width", "heads", "ff", "vocab") if flag not in numbers]:
            raise UserError(f"--{missing[0]}: it is missing; a shape needs --layers, --width, --heads, --ff and --vocab")
        name, config = "this shape", shape(**{"kv_heads": numbers["heads"], **numbers})
    setting = Setting(name, config, length(chunk, "--chunk"), length(carry, "--carry"), length(query, "--query"), kv_bytes)
    rows = price(setting, lengths(thinking))
    if as_json:
        _print_json(cost_json(setting, rows))
    else:
        click.echo(cost_text(setting, rows))
    _write(out, lambda: cost_html(setting, rows))


@probe.command()
@click.argument("data", metavar="[DATA]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--reward", "spec", required=True, metavar="MODULE:NAME", help="A TRL reward function or one of our signals; FILE.py:NAME too."
)
@click.option("--judge", "judge_name", metavar="NAME", help="Judges DATA's answers: exact, numeric or math.  [default: a quality column]")
@click.option("--model", metavar="SPEC", help="Sample fresh answers instead: pocket, a checkpoint folder, or an endpoint.")
@click.option("--task", metavar="SPEC", help="The task to sample on, and its judge.")
@click.option("-n", "--problems", default=20, show_default=True, type=click.IntRange(1), help="How many problems to sample on.")
@click.option("--group", default=8, show_default=True, type=click.IntRange(2), help="Answers to each.")
@click.option("--max-tokens", default=128, show_default=True, type=click.IntRange(1), help="Tokens of a fresh answer.")
@click.option("--split", default="train", show_default=True, help="Which part of the task.")
@click.option("--seed", default=0, show_default=True, help="Decides problems, sampling and intervals.")
@JSON
@OUT
def reward(
    data: Path | None, spec: str, judge_name: str | None, model: str | None, task: str | None, problems: int, group: int, max_tokens: int,
    split: str, seed: int, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Say what a reward would teach: does it tell a group's answers apart, track quality, pay for dawdling, fall for tricks?

    DATA is a JSONL of prompt and completions (a list, or one completion a line) with further columns, or a run directory of compare.
    """
    if (data is None) == (model is None or task is None):
        raise UserError("DATA: name a file or run directory, or sample fresh answers with both --model and --task")
    import asyncio
    from dataclasses import replace

    from reasonry.evaluate.reward_data import judge_of, load_reward, read_groups, sample_groups, score_of
    from reasonry.evaluate.reward_page import lint_html, lint_json, lint_text
    from reasonry.probe.reward_lint import lint

    judge = judge_of(judge_name) if judge_name else None
    wanted, lacking = load_reward(spec)
    if data is not None:
        groups, used = read_groups(data, judge)
    else:
        groups, used = asyncio.run(sample_groups(str(model), str(task), problems, group, max_tokens, seed, split))
    source = str(data) if data is not None else f"{model} on {task}"
    found = lint(score_of(wanted, judge or used), groups, seed=seed)
    found = replace(found, findings=(*found.findings, *lacking))
    if as_json:
        _print_json(lint_json(spec, found))
    else:
        click.echo(lint_text(spec, found))
    _write(out, lambda: lint_html(spec, source, found))


@probe.command()
@click.argument("log", metavar="LOG", type=click.Path(path_type=Path))
@click.option(
    "--grams",
    "known",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Use these: a JSON written by --save, or a text file of phrases and /regexes/.",
)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the extracted grams: FILE.json.")
@click.option("-n", "sizes", nargs=2, default=(3, 5), show_default=True, type=click.IntRange(1), help="Fewest and most words of a gram.")
@click.option(
    "--top",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of clusters kept, by document frequency.",
)
@click.option("--clusters", type=click.IntRange(1), help="How many clusters.  [default: 100, or a third of the grams where these are few]")
@click.option("--min-documents", default=5, show_default=True, type=click.IntRange(1), help="Solutions a gram must stand in.")
@click.option(
    "--encoder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="A sentence encoder (Hugging Face folder).  [default: by letters and words]",
)
@click.option("--strip", multiple=True, metavar="REGEX", help="Template text to leave out. Repeat it.")
@click.option("--check", metavar="MODULE:NAME", help="Says of each step of a text whether it is right.  [default: of equations in digits]")
@click.option("--model", metavar="SPEC", help="Whose tokenizer made a run's ids.  [default: the run's model]")
@JSON
@OUT
def grams(
    log: Path, known: Path | None, save: Path | None, sizes: tuple[int, int], top: float, clusters: int | None, min_documents: int,
    encoder: Path | None, strip: tuple[str, ...], check: str | None, model: str | None, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Find the phrases that announce strategies, and measure planning against execution.

    LOG is a JSONL with a text a line (and, where known, passed, step, tokens, logprobs), or a run directory with attempts. Grams are
    extracted from the attempts that passed, unless --grams names them.
    """
    from reasonry.evaluate.grams_page import grams_html, grams_json, grams_text, look
    from reasonry.probe.gram_embeddings import letters, sentence_encoder
    from reasonry.probe.gram_metrics import equations
    from reasonry.probe.strategic_grams import extract, load
    from reasonry.probe.trace_log import read_traces, solutions
    from reasonry.train.compose import imported

    if known is not None and save is not None:
        raise UserError("--save: it writes what is extracted, but --grams says to extract nothing; give one of the two")
    traces = read_traces(log, model)
    if known is not None:
        found, used = load(known), f"{len(traces)} attempts, grams of {known}"
    else:
        right, used = solutions(traces)
        embed = letters if encoder is None else sentence_encoder(encoder)
        found = extract(right, sizes, top, clusters, min_documents, embed, strip)
    seen = look(str(log), traces, found, used, equations if check is None else imported(check))
    if as_json:
        _print_json(grams_json(seen))
    else:
        click.echo(grams_text(seen))
    if save is not None:
        found.save(save)
        click.echo(f"\nGrams: {save}", err=True)
    _write(out, lambda: grams_html(seen))
