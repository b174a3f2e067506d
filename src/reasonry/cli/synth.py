"""`reasonry synth`: data sets made by models, for `reasonry train`."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from datetime import datetime
from pathlib import Path

import click

from reasonry.cli import cli
from reasonry.core import UserError


@cli.group()
def synth() -> None:
    """Make data sets to train on."""


@synth.command()
@click.option("--teacher", required=True, metavar="SPEC", help="Who writes: pocket, pocket-1m or a checkpoint folder.")
@click.option("--student", required=True, metavar="SPEC", help="Who approves, and is to learn: the same.")
@click.option("--task", required=True, metavar="SPEC", help="As in compare; its judge says which traces are right.")
@click.option("-n", "--problems", type=click.IntRange(1), help="How many problems.  [default: 100, or all where a file holds fewer]")
@click.option("--split", default="train", show_default=True, help="Which part of the task.")
@click.option("--trials", default=16, show_default=True, type=click.IntRange(1), help="Attempts at each problem.")
@click.option("--p-th", default=0.01, show_default=True, help="The least probability the student gives a teacher's token.")
@click.option(
    "--ahead", default=8, show_default=True, type=click.IntRange(1), help="Tokens the teacher drafts at a time; changes speed alone."
)
@click.option("--authors", is_flag=True, help="Five proposals from 20 likeliest tokens, as the authors' code; slower, token by token.")
@click.option("--temperature", default=0.7, show_default=True, help="Of both models.")
@click.option("--top-p", default=0.95, show_default=True, help="Of both models.")
@click.option("--max-tokens", default=1024, show_default=True, type=click.IntRange(1), help="Tokens of a trace.")
@click.option("--max-fallback", default=0.5, show_default=True, help="The most of a whole trace that may be the student's own.")
@click.option("--close", metavar="TEXT", help="A text that a whole trace holds exactly once, such as </think>.")
@click.option("--prefix", default=128, show_default=True, type=click.IntRange(0), help="Tokens learnt of an unsolved problem; 0: none.")
@click.option(
    "--special", multiple=True, metavar="TOKEN=TEXT", help="What stands for a token of the student alone in the teacher's context."
)
@click.option("--seed", default=0, show_default=True, help="Decides problems and sampling.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Directory.  [default: runs/rsd-DATE-TIME]")
@click.option("--resume", is_flag=True, help="Go on with the attempts in --out.")
@click.option("--at-once", default=64, show_default=True, type=click.IntRange(1), help="Most attempts under way.")
def rsd(
    teacher: str, student: str, task: str, problems: int | None, split: str, trials: int, p_th: float, ahead: int, authors: bool,
    temperature: float, top_p: float, max_tokens: int, max_fallback: float, close: str | None, prefix: int, special: tuple[str, ...],
    seed: int, out: Path | None, resume: bool, at_once: int,
) -> None:  # fmt: skip
    """Have a TEACHER write traces that a STUDENT can follow, for train --sft (reverse speculative decoding).

    A token of the teacher stays where the student gives it at least --p-th; else the student's own token stands there. Writes
    attempts.jsonl (every attempt, its tokens' sources and probabilities), traces.jsonl (ids and mask, ready to be learnt) and card.json.
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import Progress

    from reasonry.core import open_run
    from reasonry.lm.load import load_lm
    from reasonry.lm.local import LocalLM
    from reasonry.synth.reverse_speculative import AUTHORS, Rule, by_lookahead, by_pool, pair
    from reasonry.synth.spec import load
    from reasonry.synth.trace_set import Attempt, Choice, approved, as_lines, attempts, card, choose
    from reasonry.tasks import Data

    if resume and out is None:
        raise UserError("--resume: the attempts to go on with are not named; add --out and their directory")
    marks = dict(_mark(text) for text in special)
    rule = replace(AUTHORS, p_th=p_th, max_tokens=max_tokens) if authors else Rule(p_th=p_th, ahead=ahead, max_tokens=max_tokens)
    rule = replace(
        rule,
        teacher=replace(rule.teacher, temperature=temperature, top_p=top_p),
        student=replace(rule.student, temperature=temperature, top_p=top_p),
    )
    choice = Choice(trials, max_fallback, close, prefix)
    source = load(task)
    wanted = problems or (None if isinstance(source, Data) else 100)
    asked = source.problems(split, wanted, seed)
    lms = [load_lm(spec, max_rows=at_once) for spec in (teacher, student)]
    if not all(isinstance(lm, LocalLM) for lm in lms):
        raise UserError("--teacher, --student: one is an endpoint, which cannot be gone along with token by token; give checkpoint folders")
    folder = out or Path("runs") / f"rsd-{datetime.now():%Y-%m-%d-%H%M%S}"
    given = {
        "teacher": teacher, "student": student, "task": task, "problems": wanted, "split": split, "trials": trials, "p_th": p_th,
        "authors": authors, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "special": marks, "seed": seed,
    }  # fmt: skip
    run = open_run(folder, given, resume)

    async def made() -> list[Attempt]:
        first, second = (lm for lm in lms if isinstance(lm, LocalLM))
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("attempts", total=len(asked) * trials)
            async with first, second:
                make = approved(pair(first, second, marks), rule, by_pool if authors else by_lookahead)
                return await attempts(make, second, source, asked, trials, seed, run, at_once, lambda attempt: progress.advance(bar))

    try:
        found = asyncio.run(made())
    except KeyboardInterrupt:
        again = shlex.join([*sys.argv[1:], *([] if out else ["--out", str(folder)]), *([] if resume else ["--resume"])])
        click.echo(f"\nreasonry: stopped; go on with: reasonry {again}", err=True)
        sys.exit(130)
    rows = choose(found, choice)
    run.write("traces.jsonl", as_lines(rows))
    told = card(found, rows, choice)
    run.write("card.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    click.echo(
        f"{told['good']} of {told['attempts']} attempts are good, for {told['whole']} of {told['problems']} problems; "
        f"{told['prefixes']} others give a beginning. The student's own are {100 * told['fallback rate of attempts']:.1f} % of all tokens."
    )
    if not rows:
        raise UserError(
            f"rsd: no attempt is good and prefix is {prefix}, so there is nothing to learn; look at {folder / 'attempts.jsonl'}"
        )
    traces = folder / "traces.jsonl"
    click.echo(f"\nTraces: {traces}\nCard:   {folder / 'card.json'}\nTrain:  reasonry train --model {student} --sft {traces}")


def _mark(text: str) -> tuple[str, str]:
    token, equals, stands = text.partition("=")
    if not (token and equals and stands):
        raise UserError(f"--special: {text!r} is not a token and a text; write TOKEN=TEXT, as '<think>=Let me think.'")
    return token, stands
