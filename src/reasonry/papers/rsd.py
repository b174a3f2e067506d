"""RSD, measured: a small student learns a stronger teacher's traces, those it approved of, its own, and others, on the same problems.

Composition only: traces are written by `synth.reverse_speculative` and chosen by `synth.trace_set`; problems and styles are `rsd_task`, the
arms `rsd_arms`, claims and rules `rsd_findings`, the page `rsd_page`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.rsd_arms import models, one_seed
from reasonry.papers.rsd_findings import CLAIMS, Found, Plan, findings, measures
from reasonry.papers.rsd_page import report

PLAN = Plan()


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, seed by seed."""
    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    others = models(plan, path)
    found = Found([], [])
    for seed in seeds:
        folder = path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        if not (folder / "found.json").exists():
            write_whole(folder / "found.json", msgspec.json.encode(one_seed(plan, seed, folder, others)).decode())
        more = msgspec.json.decode((folder / "found.json").read_bytes(), type=Found)
        found = Found([*found.rows, *more.rows], [*found.solved, *more.solved])
        click.echo(f"seed {seed}: done", err=True)
    evidence = Evidence(
        paper="rsd",
        scale="students of 90 thousand weights and a teacher of 320 thousand over single bytes, taught here",
        command=f"reasonry run rsd --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"every arm: {plan.problems} problems, {plan.trials} attempts at each, {plan.steps} steps of {plan.tokens} tokens",
        measures=measures(found),
        findings=findings(plan, found),
        meta={
            "plan": asdict(plan),
            "n": "seeds; accuracy: the wider of Student's interval over seeds and the bootstrap over their problems, others: Student's",
        },
    )
    write_whole(path / "report.html", report(plan, found, evidence))
    return evidence


PAPER = Paper(
    slug="rsd",
    title="In their own words: reasoning traces tailored for small models make them better reasoners",
    arxiv="2509.22230",
    method="reasonry.synth.reverse_speculative",
    summary="A teacher writes traces token by token, and a token that the student finds nearly impossible gives way to the student's own; "
    "small models learn from such traces where a teacher's own make them worse.",
    differs=(
        "Students of 90 thousand weights and a teacher of 320 thousand, taught here on sums of digits; the paper's have 0.6B and 7B.",
        "The student's law is judged at temperature 1 before truncation; the authors' code depends on its engine's version.",
        "The rule is that of one proposal; the authors' code draws up to five from the teacher's likeliest tokens, which `by_pool` does.",
        "A token that the student's vocabulary lacks counts as impossible; the authors' code leaves it out of the draw.",
        "Six attempts a problem, not 16; a beginning is 12 tokens, not 128, of answers that are a few dozen tokens long.",
        "Answers are judged exactly; no second model grades them.",
        "Teacher and student differ by how the teacher writes a step, an invented style that the student has seen once in a hundred steps.",
    ),
    fails_when="The teacher writes what the student can never follow: with digits that it does not know nearly every token is the "
    "student's own, no trace passes the limit on fallback, and only beginnings are left.",
    claims=CLAIMS,
    run=run,
)
